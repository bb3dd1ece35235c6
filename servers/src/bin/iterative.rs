//! Iterative server: one client at a time (UNP design 0).
//!
//! Accept, serve until the client leaves, accept the next. Whoever comes
//! meanwhile waits in the kernel's listen queue: connected, and unserved. The
//! simplest server there is, and the baseline to subtract from the others: it
//! spends nothing on concurrency. Compare with `process` and `thread`, which
//! differ in one line each.
//!
//! A handler that computes (`--work-iters`) or waits (`--block`) holds up
//! everybody else.

use std::io;
use std::process::ExitCode;

use servers::blocking;
use servers::program::{self, Server};
use servers::service::Workbench;

fn main() -> ExitCode {
    program::main("iterative", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut door = server.listen()?;
    let mut bench = Workbench::new(server.service);
    loop {
        let guest = door.accept()?;
        blocking::serve(guest, &mut bench);
    }
}
