//! Async tasks on all CPUs: tokio's work-stealing runtime.
//!
//! The same tasks as in `tokio`, run by several threads. Each has a queue of
//! ready tasks, and one that runs dry steals from another, so a connection has
//! no home and no thread is idle while tasks wait. The price is waking threads
//! and moving tasks between CPUs. Compare with `reuseport`, which never moves
//! anything, and `epoll-oneshot`.
//!
//! A handler that computes (`--work-iters`) holds one thread, from which others
//! steal; one that waits (`--block`) gets a thread of its own.

use std::io;
use std::process::ExitCode;

use nix::libc::SOCK_NONBLOCK;
use servers::accept::Accepted;
use servers::program::{self, Server};
use servers::service::Service;
use servers::tasks::{self, Connection, accept4};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    program::main("tokio-multi", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let listener = server.socket(SOCK_NONBLOCK)?.bind()?.listen()?;
    let service = Box::leak(Box::new(server.service));
    let runtime = Builder::new_multi_thread()
        .worker_threads(server.workers())
        .enable_all()
        .build()?;
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
