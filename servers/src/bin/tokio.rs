//! Async tasks on one thread: tokio's current-thread runtime.
//!
//! A task per connection is written like the blocking server: receive, answer,
//! repeat. At each `.await` the runtime parks the task and runs another, on the
//! same epoll that `epoll-et` drives by hand. So this is that model with the
//! state machine made by the compiler, at the price of a scheduler between the
//! event and its handler. Compare with `epoll-et` and `tokio-multi`.
//!
//! A handler that computes (`--work-iters`) stalls every task; one that waits
//! (`--block`) is sent to a thread kept for such.

use std::io;
use std::process::ExitCode;

use nix::libc::SOCK_NONBLOCK;
use servers::accept::Accepted;
use servers::program::{self, Server};
use servers::service::Service;
use servers::tasks::{self, Connection, accept4};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    program::main("tokio", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let listener = server.socket(SOCK_NONBLOCK)?.bind()?.listen()?;
    let service = Box::leak(Box::new(server.service));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut listener = tasks::register(listener)?;
        loop {
            let accepted = accept4(&mut listener).await?;
            tokio::spawn(converse(accepted, service));
        }
    })
}

/// One task, from the first byte to the last.
async fn converse(accepted: Accepted, service: &'static Service) {
    let Some(mut connection) = Connection::register(accepted) else {
        return;
    };
    while let Some(mut request) = connection.recv(service).await {
        let reply = connection.answer(&mut request).await;
        connection.send(reply).await;
    }
    connection.close().await;
}
