//! Waiting: one epoll, and a timer where milliseconds are too coarse.

use std::io;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::base::units::SECOND_NS;

/// The token of the timer; no slot has it.
pub(super) const TIMER: u64 = u64::MAX;

/// What a worker waits with.
pub(super) struct Poller {
    pub(super) epoll: Epoll,
    timer: TimerFd,
    timer_at_ns: u64,
    /// Whether it never sleeps.
    pub(super) spins: bool,
    /// Whether the last pass found nothing to do.
    pub(super) idle_pass: bool,
}

impl Poller {
    /// # Errors
    /// When the kernel grants no epoll or timer descriptor.
    pub(super) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        epoll.add(
            &timer,
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, TIMER),
        )?;
        Ok(Self {
            epoll,
            timer,
            timer_at_ns: 0,
            spins: false,
            idle_pass: false,
        })
    }

    pub(super) fn wait(&self, events: &mut [EpollEvent], timeout: EpollTimeout) -> usize {
        match self.epoll.wait(events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            // epoll_wait fails otherwise only for a bad descriptor or buffer, which cannot become good again.
            Err(errno) => unreachable!("epoll_wait: {errno}"),
        }
    }

    /// epoll_wait counts in milliseconds; the timer in nanoseconds.
    pub(super) fn arm_timer(&mut self, at_ns: u64) {
        if self.timer_at_ns == at_ns {
            return;
        }
        let at = TimeSpec::new((at_ns / SECOND_NS) as i64, (at_ns % SECOND_NS) as i64);
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        if self.timer.set(Expiration::OneShot(at), flags).is_ok() {
            self.timer_at_ns = at_ns;
        }
    }
}
