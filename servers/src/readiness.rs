//! Waiting for many descriptors at once: select(2), poll(2), epoll(7). Each call
//! counts and traces that it has come back, and takes a signal for no result.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::libc::{POLLIN, POLLOUT, pollfd};
use nix::poll::PollTimeout;
use nix::sys::epoll::{EpollCreateFlags, EpollEvent, EpollFlags};

pub use crate::sys::waiting::FdSet;

use crate::sys::waiting;
use crate::trace::Worker;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Input.
    Read,
    /// Room for output; input is not read until there is some.
    Write,
    /// Either.
    ReadWrite,
    /// Nothing: it is over, and to be closed.
    Close,
}

impl Want {
    /// Whether it waits for input.
    pub fn reads(self) -> bool {
        matches!(self, Want::Read | Want::ReadWrite)
    }

    /// Whether it waits for room for output.
    pub fn writes(self) -> bool {
        matches!(self, Want::Write | Want::ReadWrite)
    }

    /// The same for poll(2).
    pub fn poll_events(self) -> i16 {
        let read = if self.reads() { POLLIN } else { 0 };
        let write = if self.writes() { POLLOUT } else { 0 };
        read | write
    }
}

impl From<Want> for EpollFlags {
    fn from(want: Want) -> EpollFlags {
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, want.reads());
        flags.set(EpollFlags::EPOLLOUT, want.writes());
        flags
    }
}

/// What the system says a descriptor can do. An error or a hang-up is both: the
/// next call will tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// A read will not block.
    pub read: bool,
    /// A write will not block.
    pub write: bool,
}

impl Ready {
    /// What poll(2) has returned.
    pub fn from_poll(revents: i16) -> Ready {
        let fault = revents & !(POLLIN | POLLOUT) != 0;
        Ready {
            read: fault || revents & POLLIN != 0,
            write: fault || revents & POLLOUT != 0,
        }
    }
}

impl From<EpollFlags> for Ready {
    fn from(flags: EpollFlags) -> Ready {
        let fault = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        Ready {
            read: fault || flags.contains(EpollFlags::EPOLLIN),
            write: fault || flags.contains(EpollFlags::EPOLLOUT),
        }
    }
}

/// select(2) on the descriptors below `end`. Leaves in the sets what is ready.
///
/// # Errors
/// What the system says, EINTR aside.
pub fn select(
    worker: Worker,
    end: RawFd,
    read: &mut FdSet,
    write: &mut FdSet,
    timeout: PollTimeout,
) -> io::Result<usize> {
    let ready = woken(worker, "select", waiting::select(end, read, write, timeout))?;
    if ready == 0 {
        (*read, *write) = (FdSet::new(), FdSet::new());
    }
    Ok(ready)
}

/// poll(2): says how many entries have something in `revents`.
///
/// # Errors
/// What the system says, EINTR aside.
pub fn poll(worker: Worker, fds: &mut [pollfd], timeout: PollTimeout) -> io::Result<usize> {
    woken(worker, "poll", waiting::poll(fds, timeout))
}

/// An epoll instance, in which every descriptor stands for itself.
#[derive(Clone)]
pub struct Epoll {
    epoll: Arc<nix::sys::epoll::Epoll>,
    worker: Worker,
}

impl Epoll {
    /// epoll_create1(2), for this worker to wait at.
    ///
    /// # Errors
    /// What the system says.
    pub fn epoll_create1(worker: Worker) -> io::Result<Epoll> {
        let epoll = nix::sys::epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Epoll {
            epoll: Arc::new(epoll),
            worker,
        })
    }

    /// The same instance, for another worker to wait at.
    pub fn counted_by(&self, worker: Worker) -> Epoll {
        Epoll {
            epoll: Arc::clone(&self.epoll),
            worker,
        }
    }

    /// epoll_ctl(2), EPOLL_CTL_ADD.
    ///
    /// # Errors
    /// What the system says.
    pub fn epoll_ctl_add(&self, fd: &impl AsFd, events: EpollFlags) -> io::Result<()> {
        Ok(self.epoll.add(fd, event(fd, events))?)
    }

    /// epoll_ctl(2), EPOLL_CTL_MOD.
    ///
    /// # Errors
    /// What the system says.
    pub fn epoll_ctl_mod(&self, fd: &impl AsFd, events: EpollFlags) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut event(fd, events))?)
    }

    /// epoll_ctl(2), EPOLL_CTL_DEL.
    ///
    /// # Errors
    /// What the system says.
    pub fn epoll_ctl_del(&self, fd: &impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// epoll_wait(2): the events that have happened, each with its descriptor as
    /// its data.
    ///
    /// # Errors
    /// What the system says, EINTR aside.
    pub fn epoll_wait<'e>(
        &self,
        events: &'e mut [EpollEvent],
        timeout: PollTimeout,
    ) -> io::Result<&'e [EpollEvent]> {
        let count = woken(self.worker, "epoll_wait", self.epoll.wait(events, timeout))?;
        Ok(&events[..count])
    }
}

fn event(fd: &impl AsFd, events: EpollFlags) -> EpollEvent {
    // Descriptors are never negative.
    EpollEvent::new(events, fd.as_fd().as_raw_fd() as u64)
}

/// The shorter of two waits, if there are any, in whole milliseconds: rounded
/// down, a wait would end early and be repeated many times over.
pub fn shorter(one: Option<Duration>, other: Option<Duration>) -> PollTimeout {
    let wait = one.into_iter().chain(other).min();
    wait.map_or(PollTimeout::NONE, |wait| {
        PollTimeout::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
    })
}

/// A wait that a signal has cut short found nothing ready.
fn woken(worker: Worker, call: &str, ready: nix::Result<usize>) -> io::Result<usize> {
    let ready = match ready {
        Err(nix::Error::EINTR) => 0,
        other => other?,
    };
    worker.woke(call, ready);
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_is_ready_for_everything() {
        assert_eq!(Want::ReadWrite.poll_events(), POLLIN | POLLOUT);
        let both = Ready {
            read: true,
            write: true,
        };
        assert_eq!(Ready::from_poll(nix::libc::POLLHUP), both);
        assert_eq!(Ready::from(EpollFlags::EPOLLERR), both);
        assert!(!Ready::from_poll(POLLIN).write);
    }

    #[test]
    fn the_shorter_wait_counts_and_is_rounded_up() {
        let short = Some(Duration::from_micros(1100));
        let long = Some(Duration::from_secs(5));
        assert_eq!(shorter(long, short), PollTimeout::from(2u8));
        assert_eq!(shorter(None, None), PollTimeout::NONE);
    }
}
