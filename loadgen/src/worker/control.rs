//! What the main thread tells the workers, and what they let it see.
//!
//! Workers switch phases by the clock, at instants that are published some
//! milliseconds ahead; nobody waits for anybody inside the window.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed},
};

use serde::{Deserialize, Serialize};

use crate::base::clock::NEVER;
use crate::load::Phase;

/// How far ahead an instant is published. A worker sleeps at most half as long.
pub const LEAD_NS: u64 = 10_000_000;

/// Orders to all workers; instants in nanoseconds of CLOCK_MONOTONIC.
#[derive(Debug)]
pub struct Control {
    warmup_start_ns: AtomicU64,
    window_start_ns: AtomicU64,
    window_end_ns: AtomicU64,
    /// Whether connections that were not served by now are waited for no longer.
    others_wait: AtomicBool,
    finish: AtomicBool,
    hurry: AtomicBool,
}

impl Default for Control {
    fn default() -> Self {
        let never = || AtomicU64::new(NEVER);
        Self {
            warmup_start_ns: never(),
            window_start_ns: never(),
            window_end_ns: never(),
            others_wait: AtomicBool::new(false),
            finish: AtomicBool::new(false),
            hurry: AtomicBool::new(false),
        }
    }
}

impl Control {
    /// Starts the load at an instant.
    pub fn start_warmup(&self, at_ns: u64) {
        self.warmup_start_ns.store(at_ns, Relaxed);
    }

    /// Sets the window.
    pub fn set_window(&self, start_ns: u64, end_ns: u64) {
        self.window_end_ns.store(end_ns, Relaxed);
        self.window_start_ns.store(start_ns, Relaxed);
    }

    /// Ends the window early.
    pub fn cut_window(&self, end_ns: u64) {
        self.window_end_ns.fetch_min(end_ns, Relaxed);
    }

    /// Tells the workers that the server serves as many connections as it ever will: for the others nobody waits.
    pub fn leave_others_waiting(&self) {
        self.others_wait.store(true, Relaxed);
    }

    /// Whether connections that were not served are waited for no longer.
    #[must_use]
    pub fn leaves_others_waiting(&self) -> bool {
        self.others_wait.load(Relaxed)
    }

    /// Tells the workers to close everything and return.
    pub fn finish(&self) {
        self.finish.store(true, Relaxed);
    }

    /// Whether the workers have to return.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.finish.load(Relaxed)
    }

    /// Tells the workers that nobody waits for what is still to be counted.
    pub fn hurry(&self) {
        self.hurry.store(true, Relaxed);
    }

    /// Whether nobody waits for what is still to be counted.
    #[must_use]
    pub fn hurried(&self) -> bool {
        self.hurry.load(Relaxed)
    }

    /// The instants as known now.
    #[must_use]
    pub fn edges(&self) -> Edges {
        Edges {
            warmup_start_ns: self.warmup_start_ns.load(Relaxed),
            window_start_ns: self.window_start_ns.load(Relaxed),
            window_end_ns: self.window_end_ns.load(Relaxed),
        }
    }
}

/// The instants at which phases change; [`NEVER`] while unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edges {
    /// End of the ramp.
    pub warmup_start_ns: u64,
    /// End of the warm-up.
    pub window_start_ns: u64,
    /// End of the window.
    pub window_end_ns: u64,
}

impl Edges {
    /// The phase an instant belongs to.
    #[must_use]
    pub fn phase(&self, at_ns: u64) -> Phase {
        if at_ns < self.warmup_start_ns {
            Phase::Ramp
        } else if at_ns < self.window_start_ns {
            Phase::Warmup
        } else if at_ns < self.window_end_ns {
            Phase::Window
        } else {
            Phase::Drain
        }
    }

    /// The first of the instants that lies after `now_ns`.
    #[must_use]
    pub fn next_after(&self, now_ns: u64) -> u64 {
        let all = [
            self.warmup_start_ns,
            self.window_start_ns,
            self.window_end_ns,
        ];
        all.into_iter()
            .filter(|edge| *edge > now_ns)
            .min()
            .unwrap_or(NEVER)
    }
}

/// What one worker lets the main thread see, refreshed every millisecond or so.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Progress {
    /// Connection slots whose first attempt has ended, one way or the other.
    pub settled: AtomicU64,
    /// Of those, served.
    pub served: AtomicU64,
    /// Requests completed so far.
    pub completed: AtomicU64,
    /// Requests failed so far.
    pub errors: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Set once nothing is in flight after the window.
    pub drained: AtomicBool,
}

/// What several workers' progress adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Slots settled: read before `served`, so that none appears settled and not yet served.
    pub settled: u64,
    /// Slots served.
    pub served: u64,
    /// Requests completed.
    pub completed: u64,
    /// Requests failed.
    pub errors: u64,
    /// Connections open.
    pub open: u64,
}

impl Sum {
    /// Adds up the progress of all workers.
    pub fn of<'a>(all: impl Iterator<Item = &'a Progress>) -> Self {
        all.map(|progress| Self {
            settled: progress.settled.load(Acquire),
            served: progress.served.load(Relaxed),
            completed: progress.completed.load(Relaxed),
            errors: progress.errors.load(Relaxed),
            open: progress.open.load(Relaxed),
        })
        .sum()
    }
}

impl std::iter::Sum for Sum {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            settled: sum.settled + one.settled,
            served: sum.served + one.served,
            completed: sum.completed + one.completed,
            errors: sum.errors + one.errors,
            open: sum.open + one.open,
        })
    }
}
