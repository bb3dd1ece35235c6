//! epoll, level-triggered: one loop, told only of the connections that are ready.
//!
//! The kernel keeps the list that `select` and `poll` hand over on every turn,
//! so a turn costs in proportion to the ready connections, not to all. Level-
//! triggered means that an event is repeated for as long as its cause lasts: one
//! recv per event is enough, and what it leaves is reported again. Compare with
//! `epoll-et`, which is told once.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) stalls every
//! connection: one loop is one thread.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;

use nix::libc::SOCK_NONBLOCK;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use servers::nonblocking::Connections;
use servers::program::{self, Server};
use servers::readiness::{Epoll, Ready, Want};
use servers::sys::memory::Buffer;

const EVENTS_PER_TURN: usize = 256;

fn main() -> ExitCode {
    program::main("epoll", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut listener = server.socket(SOCK_NONBLOCK)?.bind()?.listen()?;
    let (mut buffer, mut handler) = (Buffer::new(), server.handler());
    let mut connections = Connections::new();
    let epoll = Epoll::epoll_create1(server.worker(0))?;
    let mut events = [EpollEvent::empty(); EVENTS_PER_TURN];
    loop {
        // Not while accepting is paused: its event would come again and again.
        match listener.watch() {
            Some(true) => epoll.epoll_ctl_add(&listener, EpollFlags::EPOLLIN)?,
            Some(false) => epoll.epoll_ctl_del(&listener)?,
            None => {}
        }
        for event in epoll.epoll_wait(&mut events, connections.timeout(&listener))? {
            let (fd, ready) = (event.data() as RawFd, Ready::from(event.events()));
            if fd == listener.as_raw_fd() {
                while let Some(accepted) = listener.accept4_nonblock()? {
                    match epoll.epoll_ctl_add(&accepted, Want::Read.into()) {
                        Ok(()) => connections.insert(accepted),
                        Err(error) => accepted.shed_for(&error),
                    }
                }
                continue;
            }
            let Some(connection) = connections.get(fd) else {
                continue;
            };
            if ready.write {
                connection.send_waiting();
            }
            if ready.read
                && let Some(request) = connection.recv(&mut buffer)
            {
                let reply = handler.answer(&mut connection.session, request);
                connection.send(reply);
            }
            match connections.changed(fd) {
                Some(Want::Close) => connections.close(fd),
                Some(want) => connections.keep_if(fd, |c| epoll.epoll_ctl_mod(c, want.into())),
                None => {}
            }
        }
        connections.close_expired();
    }
}
