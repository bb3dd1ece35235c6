//! The seconds of a window that lasts for hours: more than fit into a file that can still be read are joined, two by two
//! and again, so that the record stays small however long the run.

use super::blob::BlobError;
use super::outcome::Second;
use super::second::{latency_of, second_of};

/// What the histograms of a window's seconds may take together, as text, in bytes: a quarter of the largest outcome
/// that is read. A second's takes 10 KB, with every value in use 80 KB.
const BUDGET: usize = 64 << 20;

/// The seconds of a window, joined as far as their budget makes necessary.
#[derive(Debug)]
pub struct Kept {
    seconds: Vec<Second>,
    /// How many seconds are one entry: a power of two.
    width: u64,
    bytes: usize,
    budget: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self::within(BUDGET)
    }
}

impl Kept {
    fn within(budget: usize) -> Self {
        Self {
            seconds: Vec::new(),
            width: 1,
            bytes: 0,
            budget,
        }
    }

    /// Keeps one more second, later than all before.
    pub fn push(&mut self, second: Second) {
        self.add(second);
        // A single entry cannot be made smaller.
        while self.bytes > self.budget && self.seconds.len() > 1 {
            self.width *= 2;
            self.bytes = 0;
            let seconds = std::mem::take(&mut self.seconds);
            seconds.into_iter().for_each(|second| self.add(second));
        }
    }

    /// All that was kept, in order.
    #[must_use]
    pub fn into_seconds(self) -> Vec<Second> {
        self.seconds
    }

    fn add(&mut self, second: Second) {
        let width = self.width;
        let joined = match self.seconds.last() {
            Some(last) if last.second / width == second.second / width => join(last, &second).ok(),
            _ => None,
        };
        match (joined, self.seconds.last_mut()) {
            (Some(joined), Some(last)) => {
                self.bytes = self.bytes - last.histogram.len() + joined.histogram.len();
                *last = joined;
            }
            _ => {
                self.bytes += second.histogram.len();
                self.seconds.push(second);
            }
        }
    }
}

/// Two that follow each other as one.
fn join(first: &Second, then: &Second) -> Result<Second, BlobError> {
    let mut latency = latency_of(first)?;
    latency.merge(&latency_of(then)?);
    Ok(Second {
        length_s: then.second + then.length_s - first.second,
        ..second_of(first.second, &latency, first.errors + then.errors)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tally::latency::Latency;
    use crate::tally::outcome::Outcome;

    fn second(number: u64) -> Second {
        let mut latency = Latency::default();
        for sample in 0..20 + number % 7 {
            latency.record(100 + (number * 31 + sample * 17) % 1500);
        }
        if number.is_multiple_of(5) {
            latency.record_censored(2000);
        }
        second_of(number, &latency, number % 3)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn however_long_a_run_its_seconds_fit_and_nothing_of_them_is_lost(count in 1u64..200, budget in 500usize..8000) {
            let mut kept = Kept::within(budget);
            let all: Vec<Second> = (0..count).map(second).collect();
            for second in &all {
                kept.push(second.clone());
                prop_assert!(kept.bytes <= budget || kept.seconds.len() == 1);
            }
            let seconds = kept.into_seconds();
            let sum = |of: fn(&Second) -> u64, list: &[Second]| list.iter().map(of).sum::<u64>();
            let figures: [fn(&Second) -> u64; 4] =
                [|s| s.completed, |s| s.censored, |s| s.errors, |s| s.length_s];
            for of in figures {
                prop_assert_eq!(sum(of, &seconds), sum(of, &all));
            }
            let mut next = 0;
            for stretch in &seconds {
                prop_assert_eq!(stretch.second, next);
                next += stretch.length_s;
                let latency = latency_of(stretch).expect("readable");
                prop_assert_eq!(latency.histogram.len(), stretch.completed + stretch.censored);
            }
            let text = serde_json::to_string(&seconds).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<Vec<Second>>(&text).expect("read back"), seconds);
        }
    }

    /// Sixteen hours of full seconds are some 600 MB, nine times what they may take. Here every half minute is one
    /// record, and a small one, with as much less room.
    #[test]
    fn sixteen_hours_of_seconds_are_an_outcome_that_can_be_read_again() {
        const STEP_S: u64 = 32;
        let count = 16 * 3600 / STEP_S;
        let one = second(3);
        let budget = count as usize * one.histogram.len() / 9;
        let mut kept = Kept::within(budget);
        for number in 0..count {
            kept.push(Second {
                second: number * STEP_S,
                length_s: STEP_S,
                ..one.clone()
            });
        }
        let seconds = kept.into_seconds();
        let covered: u64 = seconds.iter().map(|second| second.length_s).sum();
        let completed: u64 = seconds.iter().map(|second| second.completed).sum();
        assert_eq!((covered, completed), (16 * 3600, count * one.completed));
        assert!(
            seconds.len() as u64 > count / 20,
            "{} stretches",
            seconds.len()
        );
        let load = crate::load::Load::new(
            "127.0.0.1:1",
            &Default::default(),
            &Default::default(),
            &Default::default(),
        );
        let outcome = Outcome {
            series: seconds.clone(),
            ..Outcome::of_nothing(load.expect("a load"))
        };
        let text = serde_json::to_vec(&outcome).expect("JSON");
        let held: usize = seconds.iter().map(|second| second.histogram.len()).sum();
        assert!(held <= budget, "{held} bytes of {budget}");
        let read = crate::tally::outcome::read(&text).expect("an outcome");
        assert_eq!(read.series, seconds);
    }

    #[test]
    fn a_second_of_an_older_outcome_is_one_second_long() {
        let mut value = serde_json::to_value(second(3)).expect("JSON");
        value.as_object_mut().expect("an object").remove("length_s");
        let read: Second = serde_json::from_value(value).expect("read");
        assert_eq!(read, second(3));
    }
}
