//! The connections of one loop, found by descriptor, with their deadlines.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use crate::deadlines::Deadlines;

/// A connection that is over at some time, unless something happens.
pub trait Expires {
    /// When; none: never.
    fn deadline(&self) -> Option<Instant>;
}

/// Connections by descriptor.
pub struct ByDescriptor<C> {
    by_fd: Vec<Option<C>>,
    deadlines: Deadlines,
}

impl<C> Default for ByDescriptor<C> {
    fn default() -> ByDescriptor<C> {
        ByDescriptor {
            by_fd: Vec::new(),
            deadlines: Deadlines::default(),
        }
    }
}

impl<C: Expires> ByDescriptor<C> {
    /// Takes a connection in.
    pub fn insert(&mut self, fd: RawFd, connection: C) {
        let index = index(fd);
        if self.by_fd.len() <= index {
            self.by_fd.resize_with(index + 1, || None);
        }
        let connection = self.by_fd[index].insert(connection);
        if let Some(deadline) = connection.deadline() {
            self.deadlines.watch(fd, deadline);
        }
    }

    /// The connection with this descriptor, if it is still there.
    pub fn get(&mut self, fd: RawFd) -> Option<&mut C> {
        self.by_fd.get_mut(index(fd))?.as_mut()
    }

    /// Drops the connection with this descriptor, which closes it.
    pub fn remove(&mut self, fd: RawFd) {
        if let Some(place) = self.by_fd.get_mut(index(fd)) {
            *place = None;
        }
    }

    /// One more than the highest descriptor in use so far.
    pub fn end(&self) -> RawFd {
        self.by_fd.len() as RawFd
    }

    /// Has the connection looked at then, or earlier if it already is.
    pub fn watch(&mut self, fd: RawFd, due: Instant) {
        self.deadlines.watch(fd, due);
    }

    /// The connections whose time is over.
    pub fn expired(&mut self) -> Vec<RawFd> {
        let by_fd = &self.by_fd;
        self.deadlines
            .expired(|fd| by_fd.get(index(fd))?.as_ref()?.deadline())
    }

    /// How long until one has to be looked at.
    pub fn next(&self) -> Option<Duration> {
        self.deadlines.next()
    }
}

/// Descriptors are never negative.
fn index(fd: RawFd) -> usize {
    usize::try_from(fd).unwrap_or(usize::MAX)
}
