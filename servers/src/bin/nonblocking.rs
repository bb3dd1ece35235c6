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

use nix::libc::SOCK_NONBLOCK;
use servers::nonblocking::Connections;
use servers::program::{self, Server};
use servers::readiness::Want;
use servers::sys::memory::Buffer;

fn main() -> ExitCode {
    program::main("nonblocking", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut listener = server.socket(SOCK_NONBLOCK)?.bind()?.listen()?;
    let (mut buffer, mut handler) = (Buffer::new(), server.handler());
    let (mut connections, worker) = (Connections::new(), server.worker(0));
    loop {
        worker.swept();
        while let Some(accepted) = listener.accept4_nonblock()? {
            connections.insert(accepted);
        }
        for fd in 0..connections.end() {
            let Some(connection) = connections.get(fd) else {
                continue;
            };
            // Either call may say EAGAIN: then it is asked again next time.
            connection.send_waiting();
            if let Some(request) = connection.recv(&mut buffer) {
                let reply = handler.answer(&mut connection.session, request);
                connection.send(reply);
            }
            if connections.changed(fd) == Some(Want::Close) {
                connections.close(fd);
            }
        }
        connections.close_expired();
    }
}
