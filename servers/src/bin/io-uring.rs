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

use servers::completion::Conversations;
use servers::program::{self, Server};
use servers::sys::uring::{Op, Ring};

fn main() -> ExitCode {
    program::main("io-uring", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let ring = Ring::new(server.word("ops") == "multishot")?;
    let mut door = server.listen()?;
    let mut conversations = Conversations::new(server.service);
    let mut accepting = false;
    let mut completions = Vec::new();
    loop {
        if !accepting && door.is_open() {
            ring.accept(door.as_raw_fd())?;
            accepting = true;
        }
        ring.wait(conversations.timeout(&door), &mut completions)?;
        server.slot().wakeups(1);
        for completion in completions.drain(..) {
            match completion.op {
                Op::Accept => {
                    accepting = completion.more;
                    // Whether to ask again at once or after a pause, the door
                    // knows next time around.
                    if let Err(error) = completion.result {
                        door.fault(error)?;
                    }
                    if let Some(guest) = completion.accepted.and_then(|fd| door.admit(fd.into())) {
                        conversations.insert(guest, ring)?;
                    }
                }
                Op::Receive => conversations.received(completion, ring)?,
                Op::Send => conversations.sent(completion, ring)?,
                Op::Other => {}
            }
        }
        conversations.expire(ring)?;
    }
}
