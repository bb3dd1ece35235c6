//! Multi-reactor: an epoll loop in each of several processes, which share
//! nothing (nginx's shape).
//!
//! Each worker is the server that `epoll` is. What differs is how connections
//! get to them, `--listen-mode`: `reuseport`, a listener each, over which the
//! kernel spreads connections by a hash of their addresses, blind to who is
//! busy; `shared`, one listener in every worker's epoll, where a connection may
//! wake several workers of which one gets it; `exclusive`, the same with
//! EPOLLEXCLUSIVE, which wakes few, and mostly the same one. With as many
//! workers as CPUs it uses all of them; with one it is `epoll`.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) stalls its
//! worker's clients.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use servers::accept::Door;
use servers::crew;
use servers::ledger::Slot;
use servers::nonblocking::{Connections, Ready, Want, woken};
use servers::program::{self, Server};

const EVENTS_PER_TURN: usize = 256;

/// What marks the listener's events; descriptors are smaller.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    program::main("reuseport", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let (listeners, how) = match server.word("listen-mode") {
        "shared" => (vec![server.listener()?], EpollFlags::EPOLLIN),
        "exclusive" => (
            vec![server.listener()?],
            EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE,
        ),
        _ => (server.listener_each()?, EpollFlags::EPOLLIN),
    };
    for listener in &listeners {
        listener.set_nonblocking(true)?;
    }
    crew::run(server.workers(), server.slot(), |worker| {
        let door = server.door(&listeners[worker % listeners.len()], worker)?;
        react(
            door,
            how,
            server.ledger.slot(worker),
            Connections::new(server.service),
        )
    })
}

/// The loop of `epoll`. Its epoll is made after the fork: one made before would
/// be shared by all.
fn react(
    mut door: Door,
    how: EpollFlags,
    slot: Slot,
    mut connections: Connections,
) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut events = [EpollEvent::empty(); EVENTS_PER_TURN];
    loop {
        match door.watch() {
            Some(true) => epoll.add(&door, EpollEvent::new(how, LISTENER))?,
            Some(false) => epoll.delete(&door)?,
            None => {}
        }
        let count = woken(epoll.wait(&mut events, connections.timeout(&door)))?;
        slot.wakeups(1);
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
