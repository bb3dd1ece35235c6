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

use servers::accept::Guest;
use servers::blocking;
use servers::ledger::Slot;
use servers::program::{self, Server};
use servers::service::Workbench;
use servers::shared::lock;

const STACK_SIZE: usize = 2 << 20;

/// So many accepted connections may wait for a worker.
const QUEUE: usize = 64;

fn main() -> ExitCode {
    program::main("thread-pool", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut door = server.listen()?;
    let (queue, waiting) = sync_channel(QUEUE);
    let waiting = Arc::new(Mutex::new(waiting));
    for worker in 0..server.workers() {
        let (waiting, slot) = (Arc::clone(&waiting), server.ledger.slot(worker));
        let bench = Workbench::new(server.service);
        let started = thread::Builder::new()
            .stack_size(server.size("stack-size").unwrap_or(STACK_SIZE))
            .spawn(move || work(&waiting, slot, bench));
        if let (Err(error), 0) = (started, worker) {
            return Err(error);
        }
    }
    loop {
        let guest = door.accept()?;
        if queue.send(guest).is_err() {
            return Err(io::Error::other("every worker has ended"));
        }
    }
}

/// One worker waits at the queue, the others for the lock: each connection wakes
/// one of them.
fn work(waiting: &Mutex<Receiver<Guest>>, slot: Slot, mut bench: Workbench) {
    loop {
        let next = lock(waiting).recv();
        let Ok(mut guest) = next else { return };
        guest.hand_over(slot);
        blocking::serve(guest, &mut bench);
    }
}
