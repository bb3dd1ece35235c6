//! Process per connection: fork a child for every client (UNP design 1).
//!
//! The child inherits the connection and serves it with plain blocking calls;
//! the parent does nothing but accept. A crash in one child harms no other
//! client. The price is a fork per connection, which grows with the parent's
//! memory (`--ballast`), and a process with its page tables for each client,
//! idle or not. Compare with `thread`, and with `prefork`, which pays for its
//! processes beforehand.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) holds up its
//! own client.

use std::io;
use std::process::ExitCode;

use servers::blocking;
use servers::program::{self, Server};
use servers::service::Workbench;
use servers::sys::{Fork, Parent};

fn main() -> ExitCode {
    program::main("process", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let parent = Parent::new()?;
    parent.reap_children()?;
    let mut door = server.listen()?;
    loop {
        let guest = door.accept()?;
        match parent.fork() {
            Ok(Fork::Child) => {
                // The parent's copy of the listener would outlive the parent here.
                drop(door);
                blocking::serve(guest, &mut Workbench::new(server.service));
                return Ok(());
            }
            // Only when both copies of a connection are closed does the client
            // see its end.
            Ok(Fork::Parent(_)) => guest.leave_to_child(),
            Err(_) => door.start_failed(),
        }
    }
}
