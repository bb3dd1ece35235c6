//! A histogram of our layout as those of its buckets that hold anything: where thousands are kept and read, a small part
//! of the memory and of the time that all 29 000 buckets of each would take.

use hdrhistogram::Histogram;

use super::blob::{self, BlobError};
use super::latency::LATENCY_MAX_NS;

/// Values below this have a bucket each; above, twice as many values share one with every halving of the resolution.
/// It is the power of two that resolves [`DIGITS`](super::latency::DIGITS) digits.
const RESOLVED: u64 = 2048;

/// The buckets of a histogram that hold samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// The largest value of each bucket, rising, and how many samples are in it or in one before.
    cumulative: Vec<(u64, u64)>,
}

impl Buckets {
    /// Those of a histogram of the layout that all of ours share.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let mut total = 0;
        let cumulative = histogram.iter_recorded().map(|step| {
            total += step.count_at_value();
            (step.value_iterated_to(), total)
        });
        Self {
            cumulative: cumulative.collect(),
        }
    }

    /// Those of an encoded histogram ([`blob`], without the base64), which is not unpacked on the way: nearly all of its
    /// 29 000 buckets are empty.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlobError> {
        blob::check_header(bytes)?;
        let mut rest = &bytes[blob::HEADER..];
        let (mut cumulative, mut total, mut index) = (Vec::new(), 0u64, 0u64);
        while !rest.is_empty() {
            match number(&mut rest).ok_or(BlobError::Counts("end inside one"))? {
                // So many buckets are empty.
                empty @ ..0 => index = index.saturating_add(empty.unsigned_abs()),
                count => {
                    let count = count as u64;
                    if count > blob::MOST_SAMPLES {
                        return Err(BlobError::TooManySamples);
                    }
                    if count > 0 {
                        let value = largest_in(index).ok_or(BlobError::Counts("are too many"))?;
                        total += count;
                        cumulative.push((value, total));
                    }
                    index += 1;
                }
            }
        }
        Ok(Self { cumulative })
    }

    /// Samples.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.cumulative.last().map_or(0, |(_, total)| *total)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cumulative.is_empty()
    }

    /// The largest value, or what it cannot be told from; 0 of none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.cumulative.last().map_or(0, |(value, _)| *value)
    }

    /// Every bucket's largest value with its samples.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut before = 0;
        self.cumulative.iter().map(move |&(value, total)| {
            let count = total - before;
            before = total;
            (value, count)
        })
    }

    /// The value that this share of the samples does not exceed, to the histogram's resolution; 0 of none.
    #[must_use]
    pub fn value_at_quantile(&self, quantile: f64) -> u64 {
        let wanted = (quantile.clamp(0.0, 1.0) * self.len() as f64).ceil() as u64;
        let at = self
            .cumulative
            .partition_point(|(_, total)| *total < wanted.max(1));
        self.cumulative.get(at).map_or(0, |(value, _)| *value)
    }

    /// The samples of both.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        let mut cumulative = Vec::with_capacity(self.cumulative.len().max(other.cumulative.len()));
        let mut total = 0;
        while let Some(value) = [ours.peek(), theirs.peek()]
            .into_iter()
            .flatten()
            .map(|(value, _)| *value)
            .min()
        {
            for side in [&mut ours, &mut theirs] {
                total += side
                    .next_if(|(theirs, _)| *theirs == value)
                    .map_or(0, |(_, count)| count);
            }
            cumulative.push((value, total));
        }
        Self { cumulative }
    }

    /// Mean and standard deviation, each bucket's samples taken as its middle.
    #[must_use]
    pub fn mean_and_deviation(&self) -> (f64, f64) {
        let len = self.len() as f64;
        if self.is_empty() {
            return (0.0, 0.0);
        }
        let middles = || {
            self.iter()
                .map(|(value, count)| (middle(value) as f64, count as f64))
        };
        let mean = middles()
            .map(|(value, count)| value * count / len)
            .sum::<f64>();
        let squares = middles().map(|(value, count)| (value - mean).powi(2) * count);
        (mean, (squares.sum::<f64>() / len).sqrt())
    }

    /// Value, quantile and samples so far, at `ticks` quantiles for every halving of the distance to 1, as HdrHistogram's
    /// tools print them.
    #[must_use]
    pub fn by_quantile(&self, ticks: u32) -> Vec<(u64, f64, u64)> {
        let mut steps = Vec::new();
        let mut quantile = 0.0;
        let len = self.len();
        for &(value, total) in &self.cumulative {
            if total == len {
                // The last bucket: what is left of the quantiles would all have its value.
                if quantile < 1.0 {
                    steps.push((value, quantile, total));
                }
                steps.push((value, 1.0, total));
                break;
            }
            while quantile < 1.0 && total as f64 / len as f64 >= quantile {
                steps.push((value, quantile, total));
                quantile = after(quantile, ticks);
            }
        }
        steps
    }
}

/// The next number: LEB128 whose ninth byte has eight bits, the sign in the lowest bit (HdrHistogram's zigzag).
fn number(bytes: &mut &[u8]) -> Option<i64> {
    let mut zigzag = 0;
    for place in 0..9 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if place == 8 {
            zigzag |= u64::from(byte) << 56;
            break;
        }
        zigzag |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
}

/// The largest value of the bucket with this index; none beyond those of our layout. The first [`RESOLVED`] have a value
/// each; the next half as many have two each, then four, and so on.
fn largest_in(index: u64) -> Option<u64> {
    let half = RESOLVED / 2;
    let doublings = (index / half).saturating_sub(1);
    let within = index - doublings * half;
    // The last doubling begins at the largest value of all or below it.
    let is_in_layout = doublings < 54 && (half << doublings) <= LATENCY_MAX_NS;
    is_in_layout.then(|| (within << doublings) + ((1 << doublings) - 1))
}

/// The next quantile: equal steps until the distance to 1 is halved, then steps of half the size.
fn after(quantile: f64, ticks: u32) -> f64 {
    let halvings = (1.0 / (1.0 - quantile)).log2() as i32;
    let next = quantile + 1.0 / (f64::from(ticks) * 2f64.powi(halvings + 1));
    // So near to 1 that no number lies between them.
    if next == quantile { 1.0 } else { next }
}

/// The middle of the bucket whose largest value this is.
fn middle(value: u64) -> u64 {
    let width = (value / RESOLVED + 1).next_power_of_two();
    value - (width - 1) + width / 2
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::tally::latency::{LATENCY_MAX_NS, new_histogram};

    fn of(values: &[u64]) -> Histogram<u64> {
        let mut histogram = new_histogram();
        values
            .iter()
            .for_each(|value| histogram.saturating_record(*value));
        histogram
    }

    #[test]
    fn nothing_has_no_figures() {
        let none = Buckets::of(&new_histogram());
        assert!(none.is_empty() && none.by_quantile(5).is_empty());
        assert_eq!(
            (none.len(), none.max(), none.value_at_quantile(0.5)),
            (0, 0, 0)
        );
        assert_eq!(none.mean_and_deviation(), (0.0, 0.0));
        assert_eq!(none.merged(&none), none);
    }

    proptest! {
        /// The crate reads the same out of all of its buckets.
        #[test]
        fn figures_are_those_of_the_histogram(
            values in proptest::collection::vec(prop_oneof![1..5_000u64, 1..=LATENCY_MAX_NS, Just(70_000u64)], 1..300),
            quantile in 0.0..=1.0f64,
            ticks in 1..8u32,
        ) {
            let histogram = of(&values);
            let buckets = Buckets::of(&histogram);
            prop_assert_eq!(buckets.len(), histogram.len());
            prop_assert_eq!(buckets.max(), histogram.max());
            for quantile in [quantile, 0.5, 0.99, 1.0] {
                prop_assume!(quantile > 0.0);
                prop_assert_eq!(buckets.value_at_quantile(quantile), histogram.value_at_quantile(quantile));
            }
            let (mean, deviation) = buckets.mean_and_deviation();
            prop_assert!((mean - histogram.mean()).abs() <= 1e-9 * mean, "{} {}", mean, histogram.mean());
            prop_assert!((deviation - histogram.stdev()).abs() <= 1e-6 * mean, "{}", deviation);
            let mut total = 0;
            let expected: Vec<(u64, f64, u64)> = histogram.iter_quantiles(ticks).map(|step| {
                total += step.count_since_last_iteration();
                (step.value_iterated_to(), step.quantile_iterated_to(), total)
            }).collect();
            prop_assert_eq!(buckets.by_quantile(ticks), expected);
        }

        /// The crate's decoder unpacks all of its buckets, and is not asked before the header is known to be ours.
        #[test]
        fn what_is_encoded_is_decoded_as_the_crate_does_it_even_if_it_is_damaged(
            values in proptest::collection::vec(prop_oneof![1..5_000u64, 1..=LATENCY_MAX_NS, Just(70_000u64)], 0..300),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let mut bytes = STANDARD.decode(blob::encode(&of(&values))).expect("base64");
            prop_assert_eq!(Buckets::decode(&bytes).expect("ours"), Buckets::of(&of(&values)));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let theirs = blob::decode_bytes(&bytes).map(|histogram| Buckets::of(&histogram));
            prop_assert_eq!(Buckets::decode(&bytes).ok(), theirs.ok());
        }

        #[test]
        fn both_together_are_what_the_histograms_are_together(
            a in proptest::collection::vec(1..=LATENCY_MAX_NS, 0..200),
            b in proptest::collection::vec(1..100_000u64, 0..200),
        ) {
            let both = of(&[a.clone(), b.clone()].concat());
            let merged = Buckets::of(&of(&a)).merged(&Buckets::of(&of(&b)));
            prop_assert_eq!(merged, Buckets::of(&both));
        }
    }
}
