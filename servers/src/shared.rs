//! Nonblocking connections that several threads serve: a table with a lock for
//! each. It takes the place of [`Connections`](crate::nonblocking::Connections),
//! which belongs to one loop.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit};

use crate::accept::Guest;
use crate::nonblocking::{Connection, Ready, Want};
use crate::service::{Service, Workbench};

/// Connections by descriptor. A lock is contended only where an event for a
/// closed connection meets the next one of its number.
pub struct SharedConnections {
    seats: Vec<Mutex<Option<Box<Connection>>>>,
    service: Service,
}

impl SharedConnections {
    /// Room for as many connections as this process may have descriptors. If
    /// there is a rule on idle ones, a thread is started that closes them.
    ///
    /// # Errors
    /// What getrlimit(2) says, or that no thread can be started.
    pub fn new(service: Service) -> io::Result<Arc<SharedConnections>> {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let seats = usize::try_from(limit).unwrap_or(usize::MAX).min(1 << 20);
        let seats = (0..seats).map(|_| Mutex::new(None)).collect();
        let connections = Arc::new(SharedConnections { seats, service });
        if let Some(timeout) = service.idle_timeout {
            let connections = Arc::clone(&connections);
            thread::Builder::new().spawn(move || {
                loop {
                    thread::sleep(timeout / 4);
                    connections.expire();
                }
            })?;
        }
        Ok(connections)
    }

    /// Takes a connection in, then has `arm` make its events known. If either
    /// fails, this connection is closed.
    pub fn insert(&self, guest: Guest, arm: impl FnOnce(&TcpStream) -> nix::Result<()>) {
        let Some(mut seat) = self.seat(guest.stream.as_raw_fd()) else {
            return;
        };
        let connection = seat.insert(Box::new(Connection::new(guest, &self.service)));
        if arm(connection.socket()).is_err() {
            *seat = None;
        }
    }

    /// Serves a connection that is ready, then has `rearm` ask for its next
    /// event, which another thread may get.
    pub fn on_ready(
        &self,
        fd: RawFd,
        ready: Ready,
        bench: &mut Workbench,
        rearm: impl FnOnce(&TcpStream, Want) -> nix::Result<()>,
    ) {
        let Some(mut seat) = self.seat(fd) else {
            return;
        };
        let Some(connection) = seat.as_mut() else {
            return;
        };
        let want = connection.on_ready(ready, bench);
        if want == Want::Close || rearm(connection.socket(), want).is_err() {
            *seat = None;
        }
    }

    fn expire(&self) {
        let now = Instant::now();
        for seat in &self.seats {
            let mut seat = lock(seat);
            let deadline = seat
                .as_ref()
                .and_then(|connection| connection.deadline(&self.service));
            if deadline.is_some_and(|due| due <= now) {
                *seat = None;
            }
        }
    }

    fn seat(&self, fd: RawFd) -> Option<MutexGuard<'_, Option<Box<Connection>>>> {
        self.seats.get(usize::try_from(fd).ok()?).map(lock)
    }
}

/// Locks what no panic can leave broken.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
