//! io_uring: one loop asks the kernel to accept, receive and send, and is told
//! when it has (a proactor).
//!
//! The loops of `select` to `epoll` learn that a call would not block, and then
//! make it. Here the call itself is handed over, and so are many at once: one
//! system call submits everything asked for since the last and waits for
//! results. Accepts and receives stay armed over many results where the kernel
//! has such operations, receiving into buffers that connections share; each ends
//! sooner or later, and is then asked for again. `--ops plain` does without.
//! Compare with `epoll`.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) stalls the
//! loop, while the kernel goes on with what it was asked for.

use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use servers::completion::Connections;
use servers::program::{self, Server};
use servers::sys::uring::{Op, Ring};

fn main() -> ExitCode {
    program::main("io-uring", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let ring = Ring::io_uring_setup(server.word("ops") == "multishot")?;
    let mut listener = server.socket(0)?.bind()?.listen()?;
    let (mut connections, mut handler) = (Connections::new(), server.handler());
    let (mut accepting, mut completions) = (false, Vec::new());
    loop {
        if !accepting && listener.is_open() {
            ring.accept(listener.as_raw_fd())?;
            accepting = true;
        }
        ring.io_uring_enter(connections.timeout(&listener), &mut completions)?;
        server.worker(0).woke("io_uring_enter", completions.len());
        for completion in completions.drain(..) {
            let mut fd = completion.fd;
            match completion.op {
                Op::Accept => {
                    accepting = completion.more;
                    // Whether to ask again at once or after a pause, the listener
                    // knows next time around.
                    if let Err(error) = completion.result {
                        listener.accept_failed(error)?;
                    }
                    let stream = completion.accepted.map(Into::into);
                    let Some(accepted) = stream.and_then(|stream| listener.admit(stream)) else {
                        continue;
                    };
                    fd = accepted.as_raw_fd();
                    connections.insert(accepted);
                }
                Op::Recv => match connections.get(fd) {
                    Some(connection) => {
                        if let Some(buffer) = connection.received(completion, ring)? {
                            connection.answer_with_send(buffer, &mut handler, ring)?;
                        }
                    }
                    None => ring.give_back_unused(completion)?,
                },
                Op::Send => {
                    if let Some(connection) = connections.get(fd) {
                        connection.sent(completion, ring)?;
                    }
                }
                Op::Other => continue,
            }
            // Asks for the next recv, or closes.
            connections.recv_or_close(fd, ring)?;
        }
        connections.close_expired(ring)?;
    }
}
