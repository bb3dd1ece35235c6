//! Nonblocking connections that several threads serve: a table with a lock for
//! each. It takes the place of [`Connections`](crate::nonblocking::Connections),
//! which belongs to one loop.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit};

use crate::accept::Accepted;
use crate::by_descriptor::Expires;
use crate::deadlines::Deadlines;
use crate::nonblocking::Connection;

/// Places are made so many at a time, where a descriptor first needs one: there
/// may be a million descriptors, of which most servers use few.
const CHUNK: usize = 1024;

/// Descriptors beyond are not expected.
const MOST: usize = 1 << 20;

/// Of a descriptor: its connection, if it is one.
type Place = Option<Box<Connection>>;

/// [`CHUNK`] of them, each with its lock.
type Chunk = Box<[Mutex<Place>]>;

/// Connections by descriptor. A lock is contended only where an event for a
/// closed connection meets the next one of its number.
pub struct SharedConnections {
    chunks: Box<[OnceLock<Chunk>]>,
}

impl SharedConnections {
    /// Room for as many connections as this process may have descriptors.
    ///
    /// # Errors
    /// What getrlimit(2) says.
    pub fn new() -> io::Result<SharedConnections> {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let chunks = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(MOST)
            .div_ceil(CHUNK);
        Ok(SharedConnections {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
        })
    }

    /// Has `arm` make a connection's events known, which another thread may get as
    /// soon as it is taken in. If that fails, it is shed.
    pub fn insert(
        &self,
        accepted: Accepted,
        deadlines: &mut Deadlines,
        arm: impl FnOnce(&Accepted) -> io::Result<()>,
    ) {
        let fd = accepted.as_raw_fd();
        let Some(mut place) = self.lock(fd) else {
            return accepted.shed_for(&nix::Error::EMFILE.into());
        };
        if let Err(error) = arm(&accepted) {
            return accepted.shed_for(&error);
        }
        let connection = place.insert(Box::new(Connection::new(accepted)));
        if let Some(due) = connection.deadline() {
            deadlines.watch(fd, due);
        }
    }

    /// Lets one thread serve a connection, if it is still there, and ask for its
    /// next event, which another thread may get. It is closed if `serve` says
    /// false.
    pub fn serve(
        &self,
        fd: RawFd,
        deadlines: &mut Deadlines,
        serve: impl FnOnce(&mut Connection) -> bool,
    ) {
        let Some(mut place) = self.lock(fd) else {
            return;
        };
        let Some(connection) = place.as_mut() else {
            return;
        };
        if !serve(connection) {
            *place = None;
        } else if let Some(due) = connection.deadline() {
            deadlines.watch(fd, due);
        }
    }

    /// Closes the connections whose time is over.
    pub fn close_expired(&self, deadlines: &mut Deadlines) {
        let deadline = |fd| self.lock(fd)?.as_ref()?.deadline();
        for fd in deadlines.expired(deadline) {
            // Another thread may have served it meanwhile.
            let is_due = |c: &Connection| c.deadline().is_some_and(|due| due <= Instant::now());
            self.serve(fd, deadlines, |connection| !is_due(connection));
        }
    }

    /// The place of a descriptor, for one thread at a time.
    fn lock(&self, fd: RawFd) -> Option<MutexGuard<'_, Place>> {
        let fd = usize::try_from(fd).ok()?;
        let places = || (0..CHUNK).map(|_| Mutex::new(None)).collect();
        let chunk = self.chunks.get(fd / CHUNK)?.get_or_init(places);
        Some(lock(&chunk[fd % CHUNK]))
    }
}

/// Locks what no panic can leave broken.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
