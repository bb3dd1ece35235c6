//! epoll, edge-triggered: one loop, told once of every change.
//!
//! An event says that something has become possible; it is not repeated while
//! that stays so. Whoever stops reading before EAGAIN may wait for ever, so each
//! event is drained, and the last read of each is one that finds nothing. Since
//! a peer that sends without pause would never let go of the loop, a turn has a
//! budget of bytes, and whoever exceeds it is remembered and gets another turn
//! (epoll(7), "Possible pitfalls"). Compare with `epoll`.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) stalls every
//! connection.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use servers::nonblocking::{Connections, Want, woken};
use servers::program::{self, Server};

const EVENTS_PER_TURN: usize = 256;

/// How many bytes one connection may move before others get their turn.
const BUDGET: usize = 256 * 1024;

/// What marks the listener's events; descriptors are smaller.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    program::main("epoll-et", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut door = server.listen_nonblocking()?;
    let mut connections = Connections::new(server.service);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(
        &door,
        EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, LISTENER),
    )?;
    let mut events = [EpollEvent::empty(); EVENTS_PER_TURN];
    let mut ready: Vec<RawFd> = Vec::new();
    loop {
        let timeout = if ready.is_empty() {
            connections.timeout(&door)
        } else {
            EpollTimeout::ZERO
        };
        let count = woken(epoll.wait(&mut events, timeout))?;
        server.slot().wakeups(1);
        // After a pause nobody announces again who has been waiting: look.
        let mut someone_waits = door.retry_due();
        for event in &events[..count] {
            match event.data() {
                LISTENER => someone_waits = true,
                fd => ready.push(fd as RawFd),
            }
        }
        if someone_waits {
            while let Some(guest) = door.try_accept()? {
                connections.insert(guest, |socket| {
                    epoll.add(socket, interest(socket, Want::Read))
                });
            }
        }
        // Whoever exceeded its budget stays in the list for the next turn.
        ready.retain(|&fd| {
            connections.drain(fd, BUDGET, |socket, want| {
                epoll.modify(socket, &mut interest(socket, want))
            })
        });
        connections.expire();
    }
}

fn interest(socket: &TcpStream, want: Want) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLET | want.into(), socket.as_raw_fd() as u64)
}
