//! The window second by second: workers hand in a histogram each second, the
//! main thread adds them up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::mpsc::Receiver;

use super::latency::Latency;
use super::outcome::Second;
use super::second::second_of;
use super::stretch::Kept;

/// One second's responses of one worker.
#[derive(Debug)]
pub struct Interval {
    /// Which second of the window.
    pub second: u64,
    /// Response times of requests due in the window and completed, or given up, in this second.
    pub responses: Latency,
    /// Requests failed in it.
    pub errors: u64,
}

/// Adds up intervals as they come.
#[derive(Debug)]
pub struct Series {
    intervals: Receiver<Interval>,
    workers: usize,
    partial: BTreeMap<u64, (Latency, u64, usize)>,
    total: Latency,
    /// The seconds that were completed by the last look.
    fresh: Vec<Second>,
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
            total: Latency::default(),
            fresh: Vec::new(),
            kept: Kept::default(),
        }
    }

    /// Takes in what has come; returns the seconds that became complete.
    pub fn collect(&mut self) -> &[Second] {
        self.fresh.clear();
        while let Ok(interval) = self.intervals.try_recv() {
            self.take(interval);
        }
        &self.fresh
    }

    /// The sum of everything, and the seconds, once all workers have returned.
    pub fn finish(&mut self) -> (Latency, Vec<Second>) {
        self.collect();
        while let Some((second, (latency, errors, _))) = self.partial.pop_first() {
            self.complete(second, &latency, errors);
        }
        (
            std::mem::take(&mut self.total),
            std::mem::take(&mut self.kept).into_seconds(),
        )
    }

    /// The main thread may share a worker's CPU: the first piece is moved in, not added to an empty histogram, whose
    /// fresh pages alone would cost more than everything else here.
    fn take(&mut self, interval: Interval) {
        let (second, errors) = (interval.second, interval.errors);
        let piece = interval.responses;
        let count = match self.partial.entry(second) {
            Entry::Vacant(entry) => entry.insert((piece, errors, 1)).2,
            Entry::Occupied(mut entry) => {
                let (latency, total_errors, count) = entry.get_mut();
                latency.merge(&piece);
                *total_errors += errors;
                *count += 1;
                *count
            }
        };
        if count == self.workers
            && let Some((latency, errors, _)) = self.partial.remove(&second)
        {
            self.complete(second, &latency, errors);
        }
    }

    fn complete(&mut self, second: u64, latency: &Latency, errors: u64) {
        self.total.merge(latency);
        let second = second_of(second, latency, errors);
        self.kept.push(second.clone());
        self.fresh.push(second);
    }
}
