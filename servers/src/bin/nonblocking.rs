//! Busy polling: one loop asks every connection in turn and never sleeps.
//!
//! Without a call that waits for many descriptors at once, a single thread can
//! still serve many: make them nonblocking and try each. Every sweep costs one
//! system call per connection, whether or not it has anything to say, and an
//! idle server burns a whole CPU. Compare with `select`, which asks the kernel
//! about all of them in one call, and sleeps.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) stalls every
//! connection.

use std::io;
use std::process::ExitCode;

use servers::nonblocking::{Connections, Ready};
use servers::program::{self, Server};

fn main() -> ExitCode {
    program::main("nonblocking", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut door = server.listen_nonblocking()?;
    let mut connections = Connections::new(server.service);
    loop {
        server.slot().wakeups(1);
        while let Some(guest) = door.try_accept()? {
            connections.insert(guest, |_| Ok(()));
        }
        for fd in 0..connections.end() {
            // What a connection waits for is of no interest: it is asked anyway.
            connections.on_ready(fd, Ready::BOTH, |_, _| Ok(()));
        }
        connections.expire();
    }
}
