//! Async tasks on one thread: tokio's current-thread runtime.
//!
//! A task per connection is written like the blocking server: read, answer,
//! repeat. At each `.await` the runtime parks the task and runs another, on the
//! same epoll that `epoll-et` drives by hand. So this is that model with the
//! state machine made by the compiler, at the price of a scheduler between the
//! event and its handler. Compare with `epoll-et` and `tokio-multi`.
//!
//! A handler that computes (`--work-iters`) stalls every task; one that waits
//! (`--block`) is sent to a thread kept for such.

use std::io;
use std::process::ExitCode;

use servers::program::{self, Server};
use servers::{sys, tasks};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    program::main("tokio", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let door = server.listen_nonblocking()?;
    let service = Box::leak(Box::new(server.service));
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let mut door = sys::register(door)?;
            loop {
                let guest = tasks::accept(&mut door).await?;
                tokio::spawn(tasks::serve(guest, service));
            }
        })
}
