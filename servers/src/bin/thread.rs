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

use servers::blocking;
use servers::program::{self, Server};
use servers::service::Workbench;

const STACK_SIZE: usize = 2 << 20;

fn main() -> ExitCode {
    program::main("thread", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let stack_size = server.size("stack-size").unwrap_or(STACK_SIZE);
    let service = server.service;
    let mut door = server.listen()?;
    loop {
        let guest = door.accept()?;
        let started = thread::Builder::new()
            .stack_size(stack_size)
            .spawn(move || blocking::serve(guest, &mut Workbench::new(service)));
        // Nobody waits for the thread: dropping its handle detaches it.
        if started.is_err() {
            door.start_failed();
        }
    }
}
