//! One epoll, many threads: EPOLLONESHOT gives each event to one thread alone.
//! That disarms its descriptor; the thread that has served it arms it again, at
//! the price of a system call, and any free thread gets the next one. A handler
//! that computes or waits (`--work-iters`, `--block`) holds one of the threads.
//! Compare with `reuseport`, where a connection stays with one loop for life.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::libc::SOCK_NONBLOCK;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use servers::accept::Listener;
use servers::deadlines::Deadlines;
use servers::program::{self, Server};
use servers::readiness::{Epoll, Ready, Want, shorter};
use servers::shared::{SharedConnections, lock};
use servers::sys::memory::Buffer;

fn main() -> ExitCode {
    program::main("epoll-oneshot", serve)
}

/// What all threads share.
struct Shared {
    epoll: Epoll,
    listener: Mutex<Listener>,
    connections: SharedConnections,
}

fn serve(server: Server) -> io::Result<()> {
    let shared = Arc::new(Shared {
        epoll: Epoll::epoll_create1(server.worker(0))?,
        listener: Mutex::new(server.socket(SOCK_NONBLOCK)?.bind()?.listen()?),
        connections: SharedConnections::new()?,
    });
    shared
        .epoll
        .epoll_ctl_add(&*lock(&shared.listener), once(Want::Read))?;
    let server = Arc::new(server);
    for number in 1..server.workers() {
        let (shared, own) = (Arc::clone(&shared), Arc::clone(&server));
        let work = move || program::end("epoll-oneshot", shared.work(&own, number));
        server.note_start(thread::Builder::new().spawn(work));
    }
    shared.work(&server, 0)
}

impl Shared {
    fn work(&self, server: &Server, number: usize) -> io::Result<()> {
        let (mut buffer, mut handler) = (Buffer::new(), server.handler());
        let (mut deadlines, mut pause) = (Deadlines::default(), None);
        let epoll = self.epoll.counted_by(server.worker(number));
        // Few, since a thread must not take more than it can serve at once.
        let mut events = [EpollEvent::empty(); 16];
        let listener = lock(&self.listener).as_raw_fd();
        loop {
            let timeout = shorter(pause, deadlines.next());
            let happened = epoll.epoll_wait(&mut events, timeout)?;
            let someone_waits = |event: &EpollEvent| event.data() as RawFd == listener;
            // Whoever has met a shortage keeps the listener until it is over.
            if pause.is_some() || happened.iter().any(someone_waits) {
                let mut listener = lock(&self.listener);
                while let Some(accepted) = listener.accept4_nonblock()? {
                    let accepted = accepted.counted_by(server.worker(number));
                    self.connections.insert(accepted, &mut deadlines, |c| {
                        epoll.epoll_ctl_add(c, once(Want::Read))
                    });
                }
                pause = listener.paused();
                if pause.is_none() {
                    epoll.epoll_ctl_mod(&*listener, once(Want::Read))?;
                }
            }
            for event in happened {
                let (fd, ready) = (event.data() as RawFd, Ready::from(event.events()));
                self.connections.serve(fd, &mut deadlines, |connection| {
                    if ready.write {
                        connection.send_waiting();
                    }
                    if ready.read
                        && let Some(request) = connection.recv(&mut buffer)
                    {
                        let reply = handler.answer(&mut connection.session, request);
                        connection.send(reply);
                    }
                    let want = connection.wants();
                    want != Want::Close && epoll.epoll_ctl_mod(connection, once(want)).is_ok()
                });
            }
            self.connections.close_expired(&mut deadlines);
        }
    }
}

fn once(want: Want) -> EpollFlags {
    EpollFlags::EPOLLET | EpollFlags::EPOLLONESHOT | want.into()
}
