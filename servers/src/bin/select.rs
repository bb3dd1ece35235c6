//! select(2): one loop sleeps until a bitmap of descriptors has a ready one.
//!
//! The bitmaps are copied in and out, and scanned bit by bit by both sides, on
//! every turn, so a turn costs in proportion to the highest descriptor. Its wall:
//! a bitmap holds the numbers 0 to 1023 (FD_SETSIZE), and a connection beyond must
//! be turned away. A handler that computes or waits (`--work-iters`, `--block`)
//! stalls every connection. With `--stdin` the keyboard is one more descriptor:
//! the line `quit` ends the server. Compare with `poll` and `epoll`.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;

use servers::accept::Door;
use servers::keyboard::{Keyboard, Typed};
use servers::nonblocking::{Connections, Ready, Want, woken};
use servers::program::{self, Server};
use servers::sys::{self, FdSet};

fn main() -> ExitCode {
    program::main("select", serve)
}

/// The descriptors waited for, to be copied for each call.
#[derive(Default)]
struct Watched {
    read: FdSet,
    write: FdSet,
}

fn serve(server: Server) -> io::Result<()> {
    let mut door = server.listen_nonblocking()?;
    let mut connections = Connections::new(server.service);
    let mut watched = Watched::default();
    let mut keyboard = server.switched_on("stdin").then(Keyboard::default);
    loop {
        let listener = door.as_raw_fd();
        watched.read.set(listener, door.is_open());
        watched.read.set(Keyboard::FD, keyboard.is_some());
        let (mut read, mut write) = (watched.read, watched.write);
        let end = connections.end().max(listener + 1);
        let ready = woken(sys::select(
            end,
            &mut read,
            &mut write,
            connections.timeout(&door),
        ))?;
        server.slot().wakeups(1);
        if ready == 0 {
            (read, write) = Default::default();
        }
        if read.take(listener) {
            accept_all(&mut door, &mut connections, &mut watched)?;
        }
        if let Some(keys) = keyboard.as_mut().filter(|_| read.take(Keyboard::FD)) {
            match keys.read_line()? {
                Typed::Quit => return Ok(()),
                Typed::End => keyboard = None,
                Typed::Other => {}
            }
        }
        for fd in 0..end {
            let ready = Ready {
                read: read.contains(fd),
                write: write.contains(fd),
            };
            if ready.read || ready.write {
                watched.set(fd, connections.on_ready(fd, ready, |_, _| Ok(())));
            }
        }
        for fd in connections.expire() {
            watched.set(fd, Want::Close);
        }
    }
}

fn accept_all(
    door: &mut Door,
    connections: &mut Connections,
    watched: &mut Watched,
) -> io::Result<()> {
    while let Some(guest) = door.try_accept()? {
        let fd = guest.stream.as_raw_fd();
        if fd >= FdSet::SIZE {
            door.shed(guest);
            continue;
        }
        connections.insert(guest, |_: &TcpStream| Ok(()));
        watched.set(fd, Want::Read);
    }
    Ok(())
}

impl Watched {
    fn set(&mut self, fd: RawFd, want: Want) {
        self.read.set(fd, want.reads());
        self.write.set(fd, want.writes());
    }
}
