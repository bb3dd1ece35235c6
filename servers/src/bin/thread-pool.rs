//! Prethreaded pool: threads started beforehand serve one client each, fed by a
//! bounded queue (UNP design 8).
//!
//! As `thread`, but starting threads is paid once, and their number bounds what
//! a flood of clients can take: when all are busy and the queue is full, the
//! main thread stops accepting, and further clients wait in the listen queue.
//! Since a worker belongs to a client until that one leaves, clients who stay
//! connected keep everybody else out. Compare with `prefork` and `epoll-oneshot`.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) holds one of
//! the workers.

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use servers::accept::Accepted;
use servers::blocking::Connection;
use servers::program::{self, Server};
use servers::service::Handler;
use servers::shared::lock;
use servers::sys::memory::Buffer;
use servers::trace::Worker;

const STACK_SIZE: usize = 2 << 20;

/// So many accepted connections may wait for a worker.
const QUEUE: usize = 64;

fn main() -> ExitCode {
    program::main("thread-pool", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut listener = server.socket(0)?.bind()?.listen()?;
    let (queue, waiting) = sync_channel(QUEUE);
    let waiting = Arc::new(Mutex::new(waiting));
    for number in 0..server.workers() {
        let (waiting, worker) = (Arc::clone(&waiting), server.worker(number));
        let handler = server.handler();
        let started = thread::Builder::new()
            .stack_size(server.size("stack-size").unwrap_or(STACK_SIZE))
            .spawn(move || work(&waiting, worker, handler));
        match (started, number) {
            (Err(error), 0) => return Err(error),
            (started, _) => server.note_start(started),
        }
    }
    loop {
        let accepted = listener.accept4()?;
        if queue.send(accepted).is_err() {
            return Err(io::Error::other("every worker has ended"));
        }
    }
}

/// One worker waits at the queue (futex(2)), the others for the lock: each
/// connection wakes one of them.
fn work(waiting: &Mutex<Receiver<Accepted>>, worker: Worker, mut handler: Handler) {
    let mut buffer = Buffer::new();
    loop {
        let next = lock(waiting).recv();
        let Ok(accepted) = next else { return };
        let mut connection = Connection::new(accepted.counted_by(worker));
        while let Some(request) = connection.recv(&mut buffer) {
            let reply = handler.answer(&mut connection.session, request);
            connection.send(reply);
        }
        connection.close();
    }
}
