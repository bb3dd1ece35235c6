//! The response times of a window second by second, counted in classes: what a picture of latency over time is drawn
//! from. The seconds' whole histograms would make a run's file twenty times as large.

use hdrhistogram::Histogram;
use loadgen::tally::blob::{self, BlobError};
use loadgen::tally::outcome::Outcome;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Classes in each decade: one is 26 % wide.
pub const CLASSES_PER_DECADE: u16 = 10;

/// The last class: two minutes, the longest time that is told apart, is in it.
pub const LAST_CLASS: u16 = 110;

/// One second of a window, or several that were joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatencySecond {
    /// Second of the window, from 0; of joined ones the first.
    pub second: u64,
    /// How many seconds it is.
    pub length_s: u64,
    /// Class and number of response times in it, rising; class n holds those from 10^(n÷10) ns on.
    pub counts: Vec<(u16, u64)>,
}

/// The seconds of trials that have them, by trial.
pub type LatencySeconds = BTreeMap<u32, Vec<LatencySecond>>;

/// The class of a time.
pub fn class_of(ns: u64) -> u16 {
    let class = (ns.max(1) as f64).log10() * f64::from(CLASSES_PER_DECADE);
    // What is the beginning of a class is not below it, whatever the logarithm left of it.
    ((class + 1e-9) as u16).min(LAST_CLASS)
}

/// Where a class begins, ns.
pub fn begin_ns(class: u16) -> f64 {
    10f64.powf(f64::from(class) / f64::from(CLASSES_PER_DECADE))
}

/// A second of the generator whose histogram is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the generator's second {second}: {source}")]
pub struct DamagedSecond {
    second: u64,
    source: BlobError,
}

/// The seconds of an outcome.
///
/// # Errors
/// When a histogram of the generator is damaged.
pub fn of(outcome: &Outcome) -> Result<Vec<LatencySecond>, DamagedSecond> {
    let seconds = outcome.series.iter().map(|second| {
        let histogram = blob::decode(&second.histogram).map_err(|source| DamagedSecond {
            second: second.second,
            source,
        })?;
        Ok(LatencySecond {
            second: second.second,
            length_s: second.length_s.max(1),
            counts: counts(&histogram),
        })
    });
    seconds.collect()
}

fn counts(histogram: &Histogram<u64>) -> Vec<(u16, u64)> {
    let mut counts: Vec<(u16, u64)> = Vec::new();
    for value in histogram.iter_recorded() {
        let class = class_of(value.value_iterated_to());
        match counts.last_mut() {
            Some((last, n)) if *last == class => *n += value.count_at_value(),
            _ => counts.push((class, value.count_at_value())),
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_in_classes() {
        for (ns, class) in [
            (0, 0),
            (1, 0),
            (1000, 30),
            (999, 29),
            (1_258_925, 60),
            (1_258_926, 61),
        ] {
            assert_eq!(class_of(ns), class, "{ns}");
        }
        assert_eq!(class_of(u64::MAX), LAST_CLASS);
        assert!((begin_ns(30) - 1000.0).abs() < 1e-6);
        let mut histogram = loadgen::tally::latency::new_histogram();
        for ns in [1010, 1020, 1_000_000, 1_001_000, 120_000_000_000] {
            histogram.record(ns).unwrap();
        }
        assert_eq!(counts(&histogram), [(30, 2), (60, 2), (110, 1)]);
    }
}
