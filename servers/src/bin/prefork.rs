//! Preforked pool: processes forked beforehand serve one client each (UNP
//! designs 2 to 5).
//!
//! The fork is paid once per worker instead of once per connection; in exchange
//! the number of clients served at a time is fixed, and further ones wait in the
//! listen queue. `--accept` chooses who calls accept: `shared`, all workers wait
//! there and the kernel wakes one; `mutex`, they take turns under a lock, as
//! kernels that woke all of them once made advisable; `pass-fd`, one process
//! accepts and sends the descriptors to the others. Compare with `process` and
//! `thread-pool`.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) holds a worker,
//! of which there are so many.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use servers::accept::Door;
use servers::program::{self, Server};
use servers::service::Workbench;
use servers::sys::{self, ProcessMutex};
use servers::{blocking, crew};

fn main() -> ExitCode {
    program::main("prefork", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mutex = ProcessMutex::new()?;
    let (sending, receiving) = sys::message_pair()?;
    let listener = server.listener()?;
    let pass_descriptors = server.word("accept") == "pass-fd";
    // The process that accepts for the others comes after them.
    let acceptor = server.workers();
    let processes = if pass_descriptors {
        acceptor + 1
    } else {
        acceptor
    };
    crew::run(processes, server.slot(), |worker| {
        let mut door = server.door(&listener, worker)?;
        let mut bench = Workbench::new(server.service);
        match server.word("accept") {
            "mutex" => loop {
                let guest = mutex.holding(|| door.accept())??;
                blocking::serve(guest, &mut bench);
            },
            "pass-fd" if worker == acceptor => pass_on(door, sending),
            "pass-fd" => loop {
                let stream = sys::receive_descriptor(&receiving)?.into();
                let guest = door.adopt(stream, server.ledger.slot(acceptor));
                blocking::serve(guest, &mut bench);
            },
            _ => loop {
                let guest = door.accept()?;
                blocking::serve(guest, &mut bench);
            },
        }
    })
}

/// All workers receive from one socket: the first that is free gets the next
/// connection. When none is, the socket fills up and this process waits.
fn pass_on(mut door: Door, sending: OwnedFd) -> io::Result<()> {
    loop {
        let guest = door.accept()?;
        match sys::send_descriptor(&sending, &guest.stream) {
            Ok(()) => guest.leave_to_child(),
            Err(_) => {
                drop(guest);
                door.start_failed();
            }
        }
    }
}
