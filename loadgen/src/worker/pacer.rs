//! The connections' own clock: when the next one may be opened.
//!
//! Connects of the whole load are one sequence; a worker opens those whose
//! position falls to it, so that however many workers there are, together they
//! open exactly the one sequence.

use super::plan::Share;
use crate::base::hash::mix;
use crate::load::schedule::Schedule;
use crate::load::{Arrival, Load};

/// A worker's part of the sequence of connects.
#[derive(Clone, Debug)]
pub(super) struct ConnectPacer {
    schedule: Schedule,
    is_random: bool,
    first: u64,
    stride: u64,
    start_ns: u64,
    position: u64,
    offset_ns: u64,
}

impl ConnectPacer {
    /// `None` without `--connect-rate`.
    pub(super) fn of(load: &Load, share: Share) -> Option<Self> {
        let rate_per_s = load.connect_rate_per_s?;
        // Connects and requests draw from different random sequences.
        let schedule = Schedule::new(load.connect_arrival, 1, rate_per_s, mix(load.seed));
        Some(Self {
            schedule,
            is_random: load.connect_arrival == Arrival::Poisson,
            first: share.first,
            stride: share.stride,
            start_ns: 0,
            position: 0,
            offset_ns: 0,
        })
    }

    /// Starts the sequence anew.
    pub(super) fn restart(&mut self, start_ns: u64) {
        self.start_ns = start_ns;
        self.position = 0;
        self.offset_ns = self.schedule.first(0);
        self.step(self.first);
    }

    /// When this worker's next connect is due.
    pub(super) fn due_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.offset_ns)
    }

    /// Goes on to the one after.
    pub(super) fn advance(&mut self) {
        self.step(self.stride);
    }

    fn step(&mut self, count: u64) {
        if !self.is_random {
            // An even sequence needs no predecessor.
            self.position += count;
            self.offset_ns = self.schedule.next(0, self.position, 0);
            return;
        }
        for _ in 0..count {
            self.position += 1;
            self.offset_ns = self.schedule.next(0, self.position, self.offset_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::flags::{LoadFlags, RunFlags, ShapeFlags};

    fn due_times(workers: u64, poisson: bool, each: usize) -> Vec<u64> {
        let flags = LoadFlags {
            connect_rate: Some(5000.0),
            connect_arrival: poisson.then_some(Arrival::Poisson),
            ..LoadFlags::default()
        };
        let run = RunFlags {
            seed: Some(3),
            ..RunFlags::default()
        };
        let load =
            Load::new("127.0.0.1:1", &ShapeFlags::default(), &flags, &run).expect("a valid load");
        let mut all = Vec::new();
        for first in 0..workers {
            let share = Share {
                first,
                stride: workers,
                slots: 1,
                descriptors: 1,
                inflight: 1,
                cpu: None,
            };
            let mut pacer = ConnectPacer::of(&load, share).expect("a rate");
            pacer.restart(1000);
            for _ in 0..each {
                all.push(pacer.due_ns());
                pacer.advance();
            }
        }
        all.sort_unstable();
        all
    }

    proptest! {
        #[test]
        fn workers_together_open_the_one_sequence(workers in 1u64..9, poisson in any::<bool>()) {
            let single = due_times(1, poisson, 40 * workers as usize);
            prop_assert_eq!(due_times(workers, poisson, 40), single);
        }
    }
}
