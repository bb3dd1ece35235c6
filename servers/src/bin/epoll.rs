//! epoll, level-triggered: one loop, told only of the connections that are ready.
//!
//! The kernel keeps the list that `select` and `poll` hand over on every turn,
//! so a turn costs in proportion to the ready connections, not to all. Level-
//! triggered means that an event is repeated for as long as its cause lasts: one
//! read per event is enough, and what it leaves is reported again. Compare with
//! `epoll-et`, which is told once.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) stalls every
//! connection: one loop is one thread.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use servers::nonblocking::{Connections, Ready, Want, woken};
use servers::program::{self, Server};

const EVENTS_PER_TURN: usize = 256;

/// What marks the listener's events; descriptors are smaller.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    program::main("epoll", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut door = server.listen_nonblocking()?;
    let mut connections = Connections::new(server.service);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut events = [EpollEvent::empty(); EVENTS_PER_TURN];
    loop {
        // Not while accepting is paused: its event would come again and again.
        match door.watch() {
            Some(true) => epoll.add(&door, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?,
            Some(false) => epoll.delete(&door)?,
            None => {}
        }
        let count = woken(epoll.wait(&mut events, connections.timeout(&door)))?;
        server.slot().wakeups(1);
        for event in &events[..count] {
            if event.data() == LISTENER {
                while let Some(guest) = door.try_accept()? {
                    connections.insert(guest, |socket| {
                        epoll.add(socket, interest(socket, Want::Read))
                    });
                }
            } else {
                let ready = Ready::from(event.events());
                connections.on_ready(event.data() as RawFd, ready, |socket, want| {
                    epoll.modify(socket, &mut interest(socket, want))
                });
            }
        }
        connections.expire();
    }
}

fn interest(socket: &TcpStream, want: Want) -> EpollEvent {
    EpollEvent::new(want.into(), socket.as_raw_fd() as u64)
}
