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

use servers::program::{self, Server};
use servers::{sys, tasks};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    program::main("tokio-multi", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let door = server.listen_nonblocking()?;
    let service = Box::leak(Box::new(server.service));
    let runtime = Builder::new_multi_thread()
        .worker_threads(server.workers())
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut door = sys::register(door)?;
        loop {
            let guest = tasks::accept(&mut door).await?;
            tokio::spawn(tasks::serve(guest, service));
        }
    })
}
