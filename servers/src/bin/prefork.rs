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

use servers::accept::Listener;
use servers::blocking::Connection;
use servers::processes::fork_and_waitpid;
use servers::program::{self, Server};
use servers::sys::descriptors::{recvmsg_descriptor, sendmsg_descriptor, socketpair};
use servers::sys::memory::Buffer;
use servers::sys::process::ProcessMutex;

fn main() -> ExitCode {
    program::main("prefork", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let accept = server.word("accept");
    let mutex = ProcessMutex::new()?;
    let (sending, receiving) = socketpair()?;
    let listener = server.socket(0)?.bind()?.listen()?;
    // The process that accepts for the others comes after them.
    let acceptor = server.workers();
    let processes = acceptor + usize::from(accept == "pass-fd");
    let number = fork_and_waitpid(processes, server.worker(0))?;

    let mut listener = listener.counted_by(server.worker(number));
    if accept == "pass-fd" && number == acceptor {
        return pass_on(listener, sending);
    }
    let (mut buffer, mut handler) = (Buffer::new(), server.handler());
    loop {
        let accepted = match accept {
            "mutex" => mutex.holding(|| listener.accept4())??,
            "pass-fd" => {
                let stream = recvmsg_descriptor(&receiving)?.into();
                listener.adopt(stream, server.worker(acceptor))
            }
            _ => listener.accept4()?,
        };
        let mut connection = Connection::new(accepted);
        while let Some(request) = connection.recv(&mut buffer) {
            let reply = handler.answer(&mut connection.session, request);
            connection.send(reply);
        }
        connection.close();
    }
}

/// All workers receive from one socket: the first that is free gets the next
/// connection. When none is, the socket fills up and this process waits.
fn pass_on(mut listener: Listener, sending: OwnedFd) -> io::Result<()> {
    loop {
        let accepted = listener.accept4()?;
        match sendmsg_descriptor(&sending, &accepted) {
            Ok(()) => accepted.close_copy(),
            Err(error) => {
                drop(accepted);
                listener.start_failed(&error);
            }
        }
    }
}
