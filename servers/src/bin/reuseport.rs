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
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;

use nix::libc::SOCK_NONBLOCK;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use servers::nonblocking::Connections;
use servers::processes::fork_and_waitpid;
use servers::program::{self, Server};
use servers::readiness::{Epoll, Ready, Want};
use servers::sys::memory::Buffer;

const EVENTS_PER_TURN: usize = 256;

fn main() -> ExitCode {
    program::main("reuseport", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let socket = server.socket(SOCK_NONBLOCK)?;
    let (mut listeners, how) = match server.word("listen-mode") {
        "shared" => (vec![socket.bind()?.listen()?], EpollFlags::EPOLLIN),
        "exclusive" => (
            vec![socket.bind()?.listen()?],
            EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE,
        ),
        _ => (
            socket.bind_together(server.workers())?.listen()?,
            EpollFlags::EPOLLIN,
        ),
    };
    let number = fork_and_waitpid(server.workers(), server.worker(0))?;

    // From here on it is `epoll`. Its epoll is made after the fork: one made
    // before would be shared by all.
    let mine = number % listeners.len();
    let mut listener = listeners
        .swap_remove(mine)
        .counted_by(server.worker(number));
    let (mut buffer, mut handler) = (Buffer::new(), server.handler());
    let mut connections = Connections::new();
    let epoll = Epoll::epoll_create1(server.worker(number))?;
    let mut events = [EpollEvent::empty(); EVENTS_PER_TURN];
    loop {
        match listener.watch() {
            Some(true) => epoll.epoll_ctl_add(&listener, how)?,
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
