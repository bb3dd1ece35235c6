//! select(2): one loop sleeps until a bitmap of descriptors has a ready one.
//!
//! The bitmaps are copied in and out, and scanned bit by bit by both sides, on
//! every turn, so a turn costs in proportion to the highest descriptor. Its wall:
//! a bitmap holds the numbers 0 to 1023 (FD_SETSIZE), and a connection beyond must
//! be shed. A handler that computes or waits (`--work-iters`, `--block`) stalls
//! every connection. With `--stdin` the keyboard is one more descriptor: the line
//! `quit` ends the server. Compare with `poll` and `epoll`.

use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::libc::SOCK_NONBLOCK;
use servers::keyboard::{Keyboard, Typed};
use servers::nonblocking::Connections;
use servers::program::{self, Server};
use servers::readiness::{FdSet, Want, select};
use servers::sys::memory::Buffer;

fn main() -> ExitCode {
    program::main("select", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut listener = server.socket(SOCK_NONBLOCK)?.bind()?.listen()?;
    let (mut buffer, mut handler) = (Buffer::new(), server.handler());
    let (mut connections, worker) = (Connections::new(), server.worker(0));
    let mut keyboard = server.switched_on("stdin").then(Keyboard::default);
    // What is waited for. Each call gets copies, and leaves in them what is ready.
    let (mut readers, mut writers) = (FdSet::new(), FdSet::new());
    loop {
        readers.set(listener.as_raw_fd(), listener.is_open());
        readers.set(Keyboard::FD, keyboard.is_some());
        let (mut read, mut write) = (readers, writers);
        let end = connections.end().max(listener.as_raw_fd() + 1);
        let timeout = connections.timeout(&listener);
        select(worker, end, &mut read, &mut write, timeout)?;
        if read.take(listener.as_raw_fd()) {
            while let Some(accepted) = listener.accept4_nonblock()? {
                let fd = accepted.as_raw_fd();
                if fd >= FdSet::SIZE {
                    listener.shed(accepted);
                    continue;
                }
                readers.set(fd, true);
                connections.insert(accepted);
            }
        }
        if let Some(keys) = keyboard.as_mut().filter(|_| read.take(Keyboard::FD)) {
            match keys.read()? {
                Typed::Quit => return Ok(()),
                Typed::End => keyboard = None,
                Typed::Other => {}
            }
        }
        for fd in (0..end).filter(|&fd| read.contains(fd) || write.contains(fd)) {
            let Some(connection) = connections.get(fd) else {
                continue;
            };
            if write.contains(fd) {
                connection.send_waiting();
            }
            if read.contains(fd)
                && let Some(request) = connection.recv(&mut buffer)
            {
                let reply = handler.answer(&mut connection.session, request);
                connection.send(reply);
            }
            if let Some(want) = connections.changed(fd) {
                readers.set(fd, want.reads());
                writers.set(fd, want.writes());
                if want == Want::Close {
                    connections.close(fd);
                }
            }
        }
        for fd in connections.close_expired() {
            readers.set(fd, false);
            writers.set(fd, false);
        }
    }
}
