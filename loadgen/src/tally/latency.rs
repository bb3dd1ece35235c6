//! One kind of latency: a histogram, and what is known of its censored samples.

use hdrhistogram::Histogram;

use super::outcome::Quantiles;

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

/// The smallest latency that is one value with `ns` to every histogram: their layout keeps the first 11 bits.
#[must_use]
pub fn least_equivalent(ns: u64) -> u64 {
    const BITS: u32 = 11;
    if ns >= LATENCY_MAX_NS {
        return LATENCY_MAX_NS;
    }
    let ns = ns.max(1);
    let dropped = (ns.ilog2() + 1).saturating_sub(BITS);
    ns >> dropped << dropped
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

    /// Records that `count` latencies are at least `ns`, one value to the histogram, the smallest of them `least_ns`.
    pub fn record_censored_group(&mut self, count: u64, ns: u64, least_ns: u64) {
        let value = ns.clamp(1, LATENCY_MAX_NS);
        self.histogram.saturating_record_n(value, count);
        self.note_censored(count, least_ns.clamp(1, LATENCY_MAX_NS));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_a_histogram_cannot_tell_apart_are_known_without_one() {
        let histogram = new_histogram();
        for i in 0..20_000u64 {
            let ns = 1 + crate::base::hash::mix(i) % (1 << (i % 37)).min(LATENCY_MAX_NS - 1);
            assert_eq!(
                least_equivalent(ns),
                histogram.lowest_equivalent(ns).max(1),
                "{ns}"
            );
        }
        assert_eq!(least_equivalent(u64::MAX), LATENCY_MAX_NS);
        let (mut singly, mut group) = (Latency::default(), Latency::default());
        (5000..5004).for_each(|ns| singly.record_censored(ns));
        group.record_censored_group(4, 5003, 5000);
        assert_eq!(singly.quantiles(), group.quantiles());
    }

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
            let ns = 1 + crate::base::hash::mix(i) % 5_000_000;
            single.record(ns);
            shards[i as usize % 4].record(ns);
        }
        let mut merged = Latency::default();
        shards.iter().for_each(|shard| merged.merge(shard));
        assert_eq!(merged.histogram, single.histogram);
        assert_eq!(merged.quantiles(), single.quantiles());
    }
}
