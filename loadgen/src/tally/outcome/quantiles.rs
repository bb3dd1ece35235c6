//! Quantiles of latencies, and what may be said of them.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::units::format_ns;

/// A quantile is given only with at least this many samples beyond it.
pub const SAMPLES_BEYOND: f64 = 100.0;

/// Latencies by kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// From when a request was due to its last byte (open loop); equals `service` in a closed loop.
    pub response: Quantiles,
    /// From the actual send to the last byte.
    pub service: Quantiles,
    /// From connect(2) to established: of the window where connections are replaced
    /// as part of the load, of the ramp otherwise.
    pub connect: Quantiles,
    /// From established to the first byte received: of the same connections.
    pub first_byte: Quantiles,
    /// From established to the end of the TLS handshake: of the same connections. Empty without TLS.
    #[serde(default)]
    pub handshake: Quantiles,
}

/// Quantiles of one histogram, in nanoseconds.
///
/// Censored samples (unanswered, timed out, dropped) stand in it at the time they
/// had waited, so a quantile at or above [`Quantiles::censored_from`] is a lower
/// bound; so are then `max` and `mean`. [`Quantiles::show`] prints it as `≥ x`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// Samples, the censored ones included.
    pub count: u64,
    /// Samples whose true value is at least, not equal to, the recorded one.
    pub censored: u64,
    /// The smallest censored value.
    pub censored_from: Option<u64>,
    /// Smallest.
    pub min: Option<u64>,
    /// Median; like all quantiles `null` with fewer than 100 samples beyond it.
    pub p50: Option<u64>,
    /// 0.9 quantile.
    pub p90: Option<u64>,
    /// 0.99 quantile.
    pub p99: Option<u64>,
    /// 0.999 quantile.
    pub p999: Option<u64>,
    /// Largest.
    pub max: Option<u64>,
    /// Arithmetic mean.
    pub mean: Option<u64>,
}

impl Quantiles {
    /// Reads the quantiles off a histogram of nanoseconds in which the `censored`
    /// samples stand at their lower bounds, `censored_from` being the smallest.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>, censored: u64, censored_from: Option<u64>) -> Self {
        let count = histogram.len();
        if count == 0 {
            return Self::default();
        }
        let quantile = |q: f64| quantile(histogram, q);
        Self {
            count,
            censored,
            censored_from,
            min: Some(histogram.min()),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: Some(histogram.max()),
            mean: Some(histogram.mean() as u64),
        }
    }

    /// Whether a value read off this distribution is only a lower bound.
    #[must_use]
    pub fn is_lower_bound(&self, value_ns: u64) -> bool {
        self.censored_from.is_some_and(|from| value_ns >= from)
    }

    /// A value of this distribution for people: `84.3 µs`, `≥ 5.00 s`, `n/a`.
    #[must_use]
    pub fn show(&self, value_ns: Option<u64>) -> String {
        match value_ns {
            None => "n/a".into(),
            Some(ns) if self.is_lower_bound(ns) => format!("≥ {}", format_ns(ns)),
            Some(ns) => format_ns(ns),
        }
    }
}

/// Whether at least [`SAMPLES_BEYOND`] of `count` samples lie beyond quantile `q`.
#[must_use]
pub fn enough_beyond(count: u64, q: f64) -> bool {
    count as f64 * (1.0 - q) >= SAMPLES_BEYOND - 1e-6
}

/// The value at quantile `q`, if enough samples lie beyond it.
#[must_use]
pub fn quantile(histogram: &Histogram<u64>, q: f64) -> Option<u64> {
    enough_beyond(histogram.len(), q).then(|| histogram.value_at_quantile(q))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl Iterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds");
        values.for_each(|value| histogram.record(value).expect("in range"));
        histogram
    }

    #[test]
    fn an_empty_histogram_has_no_figures() {
        assert_eq!(
            Quantiles::of(&histogram([].into_iter()), 0, None),
            Quantiles::default()
        );
    }

    #[test]
    fn a_quantile_needs_a_hundred_samples_beyond_it() {
        let few = Quantiles::of(&histogram(1..=199), 0, None);
        assert_eq!((few.p50, few.min, few.max), (None, Some(1), Some(199)));
        let some = Quantiles::of(&histogram(1..=10_000), 0, None);
        assert!(some.p50.is_some() && some.p99.is_some() && some.p999.is_none());
        assert!(
            Quantiles::of(&histogram(1..=100_000), 0, None)
                .p999
                .is_some()
        );
    }

    #[test]
    fn quantiles_among_censored_values_are_lower_bounds() {
        let values = (1..=9_000u64)
            .map(|_| 1_000)
            .chain((1..=1_000).map(|_| 5_000_000_000));
        let q = Quantiles::of(&histogram(values), 1_000, Some(5_000_000_000));
        assert_eq!(q.show(q.p50), "1.00 µs");
        assert_eq!(q.show(q.p99), "≥ 5.00 s");
        assert_eq!(q.show(q.p999), "n/a");
    }
}
