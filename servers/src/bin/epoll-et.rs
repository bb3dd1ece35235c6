//! epoll, edge-triggered: one loop, told once of every change.
//!
//! An event says that something has become possible; it is not repeated while
//! that stays so. Whoever stops reading before EAGAIN may wait for ever, so each
//! event is drained, and the last recv of each is one that finds nothing. Since
//! a peer that sends without pause would never let go of the loop, a turn has a
//! budget of bytes, and whoever exceeds it is remembered and gets another turn
//! (epoll(7), "Possible pitfalls"). Compare with `epoll`.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) stalls every
//! connection.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;

use nix::libc::SOCK_NONBLOCK;
use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};
use servers::nonblocking::{Connection, Connections};
use servers::program::{self, Server};
use servers::readiness::{Epoll, Want};
use servers::service::Handler;
use servers::sys::memory::Buffer;

const EVENTS_PER_TURN: usize = 256;

/// How many bytes one connection may send us before others get their turn.
const BUDGET: usize = 256 * 1024;

fn main() -> ExitCode {
    program::main("epoll-et", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut listener = server.socket(SOCK_NONBLOCK)?.bind()?.listen()?;
    let (mut buffer, mut handler) = (Buffer::new(), server.handler());
    let mut connections = Connections::new();
    let epoll = Epoll::epoll_create1(server.worker(0))?;
    epoll.epoll_ctl_add(&listener, edge(Want::Read))?;
    let mut events = [EpollEvent::empty(); EVENTS_PER_TURN];
    let mut ready: Vec<RawFd> = Vec::new();
    loop {
        let timeout = if ready.is_empty() {
            connections.timeout(&listener)
        } else {
            EpollTimeout::ZERO
        };
        // After a pause nobody announces again who has been waiting: look.
        let happened = epoll.epoll_wait(&mut events, timeout)?;
        let (unfinished, mut someone_waits) = (ready.len(), listener.retry_due());
        for fd in happened.iter().map(|event| event.data() as RawFd) {
            match fd == listener.as_raw_fd() {
                true => someone_waits = true,
                false if ready[..unfinished].contains(&fd) => {}
                false => ready.push(fd),
            }
        }
        if someone_waits {
            while let Some(accepted) = listener.accept4_nonblock()? {
                match epoll.epoll_ctl_add(&accepted, edge(Want::Read)) {
                    Ok(()) => connections.insert(accepted),
                    Err(error) => accepted.shed_for(&error),
                }
            }
        }
        // Whoever exceeded its budget stays in the list for the next turn.
        ready.retain(|&fd| {
            let Some(connection) = connections.get(fd) else {
                return false;
            };
            let unfinished = drain(connection, &mut buffer, &mut handler);
            match connections.changed(fd) {
                Some(Want::Close) => connections.close(fd),
                Some(want) => connections.keep_if(fd, |c| epoll.epoll_ctl_mod(c, edge(want))),
                None => {}
            }
            unfinished
        });
        connections.close_expired();
    }
}

/// Receives until EAGAIN, or until the budget is spent: then true.
fn drain(connection: &mut Connection, buffer: &mut Buffer, handler: &mut Handler) -> bool {
    let mut moved = 0;
    while connection.may_go_on(moved, BUDGET) {
        connection.send_waiting();
        let Some(request) = connection.recv(buffer) else {
            return false;
        };
        moved += request.len();
        let reply = handler.answer(&mut connection.session, request);
        connection.send(reply);
    }
    true
}

fn edge(want: Want) -> EpollFlags {
    EpollFlags::EPOLLET | want.into()
}
