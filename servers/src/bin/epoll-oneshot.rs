//! One epoll, many threads: EPOLLONESHOT gives each event to one thread alone.
//!
//! An event disarms its descriptor; the thread that has served it arms it again,
//! at the price of a system call, and any free thread gets the next one. A handler
//! that computes or waits (`--work-iters`, `--block`) holds one of the threads.
//! Compare with `reuseport`, where a connection stays with one loop for life.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use servers::accept::Door;
use servers::ledger::Slot;
use servers::nonblocking::{Ready, Want, round_up, woken};
use servers::program::{self, Server};
use servers::service::{Service, Workbench};
use servers::shared::{SharedConnections, lock};

/// What marks the listener's events; descriptors are smaller.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    program::main("epoll-oneshot", serve)
}

struct Hall {
    epoll: Epoll,
    door: Mutex<Door>,
    connections: Arc<SharedConnections>,
}

fn serve(server: Server) -> io::Result<()> {
    let hall = Arc::new(Hall {
        epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        door: Mutex::new(server.listen_nonblocking()?),
        connections: SharedConnections::new(server.service)?,
    });
    let listener = once(Want::Read, LISTENER);
    hall.epoll.add(&*lock(&hall.door), listener)?;
    for worker in 1..server.workers() {
        let (hall, slot) = (Arc::clone(&hall), server.ledger.slot(worker));
        let work = move || program::end("epoll-oneshot", hall.work(slot, server.service));
        let _ = thread::Builder::new().spawn(work);
    }
    hall.work(server.slot(), server.service)
}

impl Hall {
    fn work(&self, slot: Slot, service: Service) -> io::Result<()> {
        let mut bench = Workbench::new(service);
        // Few, since a thread must not take more than it can serve at once.
        let mut events = [EpollEvent::empty(); 16];
        let mut pause = EpollTimeout::NONE;
        loop {
            let count = woken(self.epoll.wait(&mut events, pause))?;
            slot.wakeups(1);
            // Whoever has met a shortage keeps the listener until it is over.
            if pause.is_some() {
                pause = self.accept(slot)?;
            }
            for (data, flags) in events[..count].iter().map(|e| (e.data(), e.events())) {
                if data == LISTENER {
                    pause = self.accept(slot)?;
                    continue;
                }
                let (fd, ready) = (data as RawFd, Ready::from(flags));
                self.connections
                    .on_ready(fd, ready, &mut bench, |socket, want| {
                        self.epoll.modify(socket, &mut once(want, data))
                    });
            }
        }
    }

    /// Accepts all who wait, then gives the listener back. Returns how long to
    /// keep it instead, in a shortage.
    fn accept(&self, slot: Slot) -> io::Result<EpollTimeout> {
        let mut door = lock(&self.door);
        while let Some(mut guest) = door.try_accept()? {
            guest.hand_over(slot);
            let data = guest.as_raw_fd() as u64;
            let arm = |socket: &TcpStream| self.epoll.add(socket, once(Want::Read, data));
            self.connections.insert(guest, arm);
        }
        if let Some(pause) = door.paused() {
            return Ok(round_up(pause));
        }
        self.epoll.modify(&*door, &mut once(Want::Read, LISTENER))?;
        Ok(EpollTimeout::NONE)
    }
}

fn once(want: Want, data: u64) -> EpollEvent {
    let once = EpollFlags::EPOLLET | EpollFlags::EPOLLONESHOT;
    EpollEvent::new(once | want.into(), data)
}
