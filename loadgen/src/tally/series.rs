//! The window second by second: workers hand in a histogram each second, the
//! main thread adds them up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::mpsc::Receiver;

use super::latency::Latency;
use super::live::{Counted, Live};
use super::outcome::Second;
use super::second::second_of;
use super::stretch::Kept;

/// One second of one worker.
#[derive(Debug, Default)]
pub struct Interval {
    /// Which second of the window.
    pub second: u64,
    /// Response times of requests due in the window and completed, or given up, in this second.
    pub responses: Latency,
    /// Their service times, in an open loop.
    pub service: Option<Latency>,
    /// How late requests were sent, in an open loop.
    pub slip: Option<Latency>,
    /// Requests failed in it.
    pub errors: u64,
    /// What else was counted in it.
    pub counted: Counted,
}

impl Interval {
    fn merge(&mut self, other: &Self) {
        self.responses.merge(&other.responses);
        merge_known(&mut self.service, other.service.as_ref());
        merge_known(&mut self.slip, other.slip.as_ref());
        self.errors += other.errors;
        self.counted.merge(&other.counted);
    }
}

fn merge_known(mine: &mut Option<Latency>, theirs: Option<&Latency>) {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => mine.merge(theirs),
        (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
        (_, None) => {}
    }
}

/// What all seconds add up to.
#[derive(Debug, Default)]
pub struct Total {
    /// Response times.
    pub response: Latency,
    /// Service times, in an open loop.
    pub service: Latency,
    /// How late requests were sent, in an open loop.
    pub slip: Latency,
    /// The seconds.
    pub seconds: Vec<Second>,
}

/// Adds up intervals as they come.
#[derive(Debug)]
pub struct Series {
    intervals: Receiver<Interval>,
    workers: usize,
    /// Seconds that some have handed in, and how many.
    partial: BTreeMap<u64, (Interval, usize)>,
    total: Total,
    /// The seconds that were completed by the last look.
    fresh: Vec<Live>,
    kept: Kept,
}

impl Series {
    /// Expects one interval a second from each of `workers`.
    #[must_use]
    pub fn new(intervals: Receiver<Interval>, workers: usize) -> Self {
        Self {
            intervals,
            workers,
            partial: BTreeMap::new(),
            total: Total::default(),
            fresh: Vec::new(),
            kept: Kept::default(),
        }
    }

    /// Expects one from so many fewer from now on.
    pub fn expect(&mut self, workers: usize) {
        self.workers = workers;
    }

    /// Takes in what has come; returns the seconds that became complete.
    pub fn collect(&mut self) -> &[Live] {
        self.fresh.clear();
        while let Ok(interval) = self.intervals.try_recv() {
            self.take(interval);
        }
        &self.fresh
    }

    /// The sum of everything, and the seconds, once all workers have returned.
    pub fn finish(&mut self) -> Total {
        self.collect();
        while let Some((_, (interval, _))) = self.partial.pop_first() {
            self.complete(interval);
        }
        Total {
            seconds: std::mem::take(&mut self.kept).into_seconds(),
            ..std::mem::take(&mut self.total)
        }
    }

    /// The main thread may share a worker's CPU: the first piece is moved in, not added to an empty histogram, whose
    /// fresh pages alone would cost more than everything else here.
    fn take(&mut self, interval: Interval) {
        let second = interval.second;
        let count = match self.partial.entry(second) {
            Entry::Vacant(entry) => entry.insert((interval, 1)).1,
            Entry::Occupied(mut entry) => {
                let (sum, count) = entry.get_mut();
                sum.merge(&interval);
                *count += 1;
                *count
            }
        };
        if count >= self.workers
            && let Some((interval, _)) = self.partial.remove(&second)
        {
            self.complete(interval);
        }
    }

    fn complete(&mut self, interval: Interval) {
        self.total.response.merge(&interval.responses);
        let known = [
            (&mut self.total.service, &interval.service),
            (&mut self.total.slip, &interval.slip),
        ];
        for (total, piece) in known {
            piece.iter().for_each(|piece| total.merge(piece));
        }
        let second = second_of(interval.second, &interval.responses, interval.errors);
        self.kept.push(second.clone());
        self.fresh.push(Live {
            second,
            response: interval.responses,
            service: interval.service,
            slip: interval.slip,
            counted: interval.counted,
        });
    }
}
