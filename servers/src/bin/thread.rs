//! Thread per connection: start a thread for every client (UNP design 6).
//!
//! As `process`, but the children share the memory, so starting one is cheaper
//! and none has to be reaped. Each has a stack of its own (`--stack-size`), of
//! which only the touched pages cost memory; the kernel adds its own stack and
//! a scheduling entity. Compare with `thread-pool`, which bounds their number.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) holds up its
//! own client alone.

use std::io;
use std::process::ExitCode;
use std::thread;

use servers::accept::Accepted;
use servers::blocking::Connection;
use servers::program::{self, Server};
use servers::service::Handler;
use servers::sys::memory::Buffer;

const STACK_SIZE: usize = 2 << 20;

fn main() -> ExitCode {
    program::main("thread", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let stack_size = server.size("stack-size").unwrap_or(STACK_SIZE);
    let mut listener = server.socket(0)?.bind()?.listen()?;
    loop {
        let accepted = listener.accept4()?;
        let handler = server.handler();
        // clone(2). Nobody waits for the thread: dropping its handle detaches it.
        let started = thread::Builder::new()
            .stack_size(stack_size)
            .spawn(move || converse(accepted, handler));
        if let Err(error) = started {
            listener.start_failed(&error);
        }
    }
}

/// What one thread does, from the first byte to the last.
fn converse(accepted: Accepted, mut handler: Handler) {
    let (mut buffer, mut connection) = (Buffer::new(), Connection::new(accepted));
    while let Some(request) = connection.recv(&mut buffer) {
        let reply = handler.answer(&mut connection.session, request);
        connection.send(reply);
    }
    connection.close();
}
