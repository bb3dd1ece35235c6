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

use servers::blocking::Connection;
use servers::program::{self, Server};
use servers::sys::memory::Buffer;
use servers::sys::process::{Fork, Parent};

fn main() -> ExitCode {
    program::main("process", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let parent = Parent::new()?;
    // Or ended children would stay as zombies.
    parent.waitpid_on_sigchld()?;
    let mut listener = server.socket(0)?.bind()?.listen()?;
    loop {
        let accepted = listener.accept4()?;
        match parent.fork() {
            Ok(Fork::Child) => {
                // close(2): the child's copy would outlive the parent's.
                drop(listener);
                let (mut buffer, mut handler) = (Buffer::new(), server.handler());
                let mut connection = Connection::new(accepted);
                while let Some(request) = connection.recv(&mut buffer) {
                    let reply = handler.answer(&mut connection.session, request);
                    connection.send(reply);
                }
                connection.close();
                return Ok(());
            }
            // Only when both copies of a connection are closed does the client
            // see its end.
            Ok(Fork::Parent(_)) => accepted.close_copy(),
            Err(error) => listener.start_failed(&error),
        }
    }
}
