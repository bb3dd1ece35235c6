//! Iterative server: one client at a time (UNP design 0).
//!
//! Accept, serve until the client leaves, accept the next. Whoever comes
//! meanwhile waits in the kernel's listen queue: connected, and unserved. The
//! simplest server there is, and the baseline to subtract from the others: it
//! spends nothing on concurrency. Compare with `process` and `thread`, which
//! have somebody else run the inner loop.
//!
//! A handler that computes (`--work-iters`) or waits (`--block`) holds up
//! everybody else.

use std::io;
use std::process::ExitCode;

use servers::blocking::Connection;
use servers::program::{self, Server};
use servers::sys::memory::Buffer;

fn main() -> ExitCode {
    program::main("iterative", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut listener = server.socket(0)?.bind()?.listen()?;
    let (mut buffer, mut handler) = (Buffer::new(), server.handler());
    loop {
        let mut connection = Connection::new(listener.accept4()?);
        while let Some(request) = connection.recv(&mut buffer) {
            let reply = handler.answer(&mut connection.session, request);
            connection.send(reply);
        }
        connection.close();
    }
}
