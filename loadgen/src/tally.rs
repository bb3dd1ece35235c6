//! What one worker counts, and how the counts of several are added up.
//!
//! Counters are added, histograms are added; nothing is ever averaged.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use nix::errno::Errno;

use crate::outcome::{Connections, Failure, Fairness, Quantiles, Requests};

/// Largest latency a histogram holds apart: two minutes. What is longer stands
/// at this value as a lower bound.
pub const LATENCY_MAX_NS: u64 = 120_000_000_000;

/// Significant digits of every histogram: values are exact to 0.1 %.
pub const DIGITS: u8 = 3;

/// A histogram with the one layout all of them share, 230 KB.
#[must_use]
pub fn new_histogram() -> Histogram<u64> {
    // The bounds are constants that the crate accepts, so the fallback is never taken.
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS)
        .unwrap_or_else(|_| unreachable!("constant bounds"))
}

/// One kind of latency: a histogram and what is known of its censored samples.
#[derive(Clone, Debug)]
pub struct Latency {
    /// All samples, the censored ones at their lower bounds.
    pub histogram: Histogram<u64>,
    /// How many are censored.
    pub censored: u64,
    /// The smallest censored value.
    pub censored_from: Option<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            histogram: new_histogram(),
            censored: 0,
            censored_from: None,
        }
    }
}

impl Latency {
    /// Records a latency in nanoseconds.
    pub fn record(&mut self, ns: u64) {
        if ns > LATENCY_MAX_NS {
            return self.record_censored(LATENCY_MAX_NS);
        }
        self.histogram.saturating_record(ns.max(1));
    }

    /// Records that a latency is at least `ns`.
    pub fn record_censored(&mut self, ns: u64) {
        let ns = ns.clamp(1, LATENCY_MAX_NS);
        self.histogram.saturating_record(ns);
        self.note_censored(1, ns);
    }

    /// Notes samples that are in the histogram already as censored from `ns` up.
    pub fn note_censored(&mut self, count: u64, ns: u64) {
        self.censored += count;
        self.censored_from = Some(self.censored_from.map_or(ns, |from| from.min(ns)));
    }

    /// Adds the samples of another.
    pub fn merge(&mut self, other: &Self) {
        // All histograms come from `new_histogram` or passed the check in `blob`: one layout.
        let added = self.histogram.add(&other.histogram);
        debug_assert!(added.is_ok(), "histograms of two layouts");
        if let Some(from) = other.censored_from {
            self.note_censored(other.censored, from);
        }
    }

    /// Its quantiles.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        Quantiles::of(&self.histogram, self.censored, self.censored_from)
    }
}

/// The phases of a run. A request belongs to the one in which it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Until all connections are served.
    Ramp,
    /// Load that is not reported.
    Warmup,
    /// Load that is.
    Window,
    /// After the window: nothing new is due.
    Drain,
}

impl Phase {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Ramp, Self::Warmup, Self::Window, Self::Drain];

    /// Its name in records and on the phase socket.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["ramp", "warmup", "window", "drain"][self as usize]
    }
}

/// Everything one worker counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Connections, over the whole run.
    pub connections: Connections,
    /// Requests by the phase in which they were due.
    pub phases: [Requests; 4],
    /// Response times of the window (the last, unsent interval until the end of the run).
    pub response: Latency,
    /// Service times of the window, kept apart in an open loop only.
    pub service: Latency,
    /// Connect times.
    pub connect: Latency,
    /// Times to the first byte.
    pub first_byte: Latency,
    /// Slip of the window.
    pub slip: Latency,
    /// Bytes written, over the whole run.
    pub bytes_sent: u64,
    /// Bytes read, over the whole run.
    pub bytes_received: u64,
    /// User and system CPU time inside the window, in nanoseconds.
    pub cpu_ns: [u64; 2],
    /// Time polled in vain inside the window, in nanoseconds.
    pub spin_ns: u64,
    /// Time inside the window in which a worker did not run, in nanoseconds.
    pub stalled_ns: u64,
    /// The longest such time.
    pub longest_stall_ns: u64,
    /// Fairness of the window.
    pub fairness: Fairness,
    /// First failure of each kind.
    pub failures: Vec<Failure>,
}

impl Tally {
    /// Adds another worker's counts.
    pub fn merge(&mut self, other: &Self) {
        self.connections.merge(&other.connections);
        self.phases
            .iter_mut()
            .zip(&other.phases)
            .for_each(|(mine, theirs)| mine.merge(theirs));
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.connect.merge(&other.connect);
        self.first_byte.merge(&other.first_byte);
        self.slip.merge(&other.slip);
        self.cpu_ns[0] += other.cpu_ns[0];
        self.cpu_ns[1] += other.cpu_ns[1];
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.spin_ns += other.spin_ns;
        self.stalled_ns += other.stalled_ns;
        self.longest_stall_ns = self.longest_stall_ns.max(other.longest_stall_ns);
        self.fairness.merge(&other.fairness);
        other
            .failures
            .iter()
            .for_each(|failure| merge_failure(&mut self.failures, failure));
    }

    /// Notes a failure; `first` is asked for words only the first time.
    pub fn fail(&mut self, stage: &str, phase: Phase, kind: &str, first: impl FnOnce() -> String) {
        let known = self
            .failures
            .iter_mut()
            .find(|f| f.stage == stage && f.phase == phase.name() && f.kind == kind);
        match known {
            Some(failure) => failure.count += 1,
            None => self.failures.push(Failure {
                stage: stage.into(),
                phase: phase.name().into(),
                kind: kind.into(),
                count: 1,
                first: first(),
            }),
        }
    }

    /// Errors of all phases together.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.phases.iter().map(Requests::errors).sum()
    }
}

/// Adds a failure of another worker or process to a list.
pub fn merge_failure(failures: &mut Vec<Failure>, other: &Failure) {
    let same =
        |f: &&mut Failure| f.stage == other.stage && f.phase == other.phase && f.kind == other.kind;
    match failures.iter_mut().find(same) {
        Some(failure) => failure.count += other.count,
        None => failures.push(other.clone()),
    }
}

/// Counts one event under a name.
pub fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// The name of an errno, such as `ECONNRESET`.
#[must_use]
pub fn errno_name(errno: Errno) -> String {
    format!("{errno:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_long_is_a_lower_bound() {
        let mut latency = Latency::default();
        (0..1000).for_each(|_| latency.record(LATENCY_MAX_NS * 2));
        let quantiles = latency.quantiles();
        assert_eq!((quantiles.count, quantiles.censored), (1000, 1000));
        assert!(
            quantiles.show(quantiles.p50).starts_with("≥ 120"),
            "{}",
            quantiles.show(quantiles.p50)
        );
    }

    #[test]
    fn shards_merged_equal_a_single_pass() {
        let (mut single, mut shards) = (Latency::default(), vec![Latency::default(); 4]);
        for i in 0..40_000u64 {
            let ns = 1 + crate::schedule::mix(i) % 5_000_000;
            single.record(ns);
            shards[i as usize % 4].record(ns);
        }
        let mut merged = Latency::default();
        shards.iter().for_each(|shard| merged.merge(shard));
        assert_eq!(merged.histogram, single.histogram);
        assert_eq!(merged.quantiles(), single.quantiles());
    }
}
