//! The window second by second: workers hand in a histogram each second, the
//! main thread adds them up.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use crate::blob;
use crate::outcome::{Quantiles, Second};
use crate::tally::Latency;
use crate::worker::Interval;

/// Adds up intervals as they come.
#[derive(Debug)]
pub struct Series {
    intervals: Receiver<Interval>,
    workers: usize,
    partial: BTreeMap<u64, (Latency, u64, usize)>,
    total: Latency,
    seconds: Vec<Second>,
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
            seconds: Vec::new(),
        }
    }

    /// Takes in what has come; returns the seconds that became complete.
    pub fn collect(&mut self) -> &[Second] {
        let known = self.seconds.len();
        while let Ok(interval) = self.intervals.try_recv() {
            self.take(interval);
        }
        &self.seconds[known..]
    }

    /// The sum of everything, and the seconds, once all workers have returned.
    pub fn finish(&mut self) -> (Latency, Vec<Second>) {
        self.collect();
        while let Some((second, (latency, errors, _))) = self.partial.pop_first() {
            self.complete(second, &latency, errors);
        }
        (
            std::mem::take(&mut self.total),
            std::mem::take(&mut self.seconds),
        )
    }

    fn take(&mut self, interval: Interval) {
        let entry = self.partial.entry(interval.second).or_default();
        let piece = Latency {
            histogram: interval.responses,
            ..Latency::default()
        };
        entry.0.merge(&piece);
        entry.1 += interval.errors;
        entry.2 += 1;
        if entry.2 == self.workers
            && let Some((latency, errors, _)) = self.partial.remove(&interval.second)
        {
            self.complete(interval.second, &latency, errors);
        }
    }

    fn complete(&mut self, second: u64, latency: &Latency, errors: u64) {
        self.total.merge(latency);
        self.seconds.push(second_of(second, latency, errors));
    }
}

/// The record of one second.
#[must_use]
pub fn second_of(second: u64, latency: &Latency, errors: u64) -> Second {
    let quantiles: Quantiles = latency.quantiles();
    Second {
        second,
        completed: quantiles.count,
        errors,
        response_p50_ns: quantiles.p50,
        response_p99_ns: quantiles.p99,
        response_max_ns: quantiles.max,
        histogram: blob::encode(&latency.histogram),
    }
}
