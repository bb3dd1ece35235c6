//! Whether the last seconds of a run meet a condition under which it ends early. Pure: seconds in, an answer out.

use std::collections::{BTreeMap, VecDeque};

use super::buckets::Buckets;
use super::live::Live;
use super::outcome::enough_beyond;
use crate::base::units::{format_count, format_ns, format_rate};
use crate::load::abort::{Condition, Kind, Limit, Metric};

pub use super::outcome::Aborted;

/// Looks at every second of a run as it ends.
#[derive(Debug)]
pub struct Watch {
    conditions: Vec<(Condition, Recent)>,
    /// The first condition that was met.
    met: Option<Aborted>,
}

impl Watch {
    /// Looks out for these conditions.
    #[must_use]
    pub fn for_any_of(conditions: &[Condition]) -> Self {
        let conditions = conditions.iter();
        Self {
            conditions: conditions
                .map(|condition| (condition.clone(), Recent::default()))
                .collect(),
            met: None,
        }
    }

    /// Whether there is anything to look out for.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Takes in the next second, in which so many requests were due, if there is a rate.
    pub fn take(&mut self, live: &Live, asked: Option<f64>) {
        if self.met.is_some() {
            return;
        }
        for (condition, recent) in &mut self.conditions {
            recent.push(Piece::of(&condition.metric, live, asked), condition.over_s);
            let found = recent.verdict(condition);
            if let Some(found) = found {
                self.met = Some(Aborted {
                    condition: condition.to_string(),
                    second: live.second.second + live.second.length_s - 1,
                    found,
                });
                return;
            }
        }
    }

    /// The condition that was met, if one was.
    #[must_use]
    pub fn met(&self) -> Option<&Aborted> {
        self.met.as_ref()
    }
}

/// What one second says of one metric.
#[derive(Clone, Debug, Default, PartialEq)]
struct Piece {
    /// What is counted: failures, or requests completed.
    count: u64,
    /// What it is a share of; absent where that is unknown.
    of: Option<f64>,
    /// Latencies.
    buckets: Buckets,
    /// The smallest of them that is a lower bound.
    censored_from: Option<u64>,
}

impl Piece {
    fn of(metric: &Metric, live: &Live, asked: Option<f64>) -> Self {
        let counted = &live.counted;
        let ended = || Some((live.second.completed + counted.failures()) as f64);
        let counts = |count, of| Self {
            count,
            of,
            ..Self::default()
        };
        let latency = match metric {
            Metric::Errors => return counts(counted.failures(), ended()),
            Metric::Cause(cause) => return counts(counted.of_cause(cause), ended()),
            Metric::Rate => return counts(live.second.completed, asked),
            Metric::Latency(Kind::Response, _) => Some(&live.response),
            // In a closed loop a service time is a response time.
            Metric::Latency(Kind::Service, _) => live.service.as_ref().or(Some(&live.response)),
            Metric::Latency(Kind::Slip, _) => live.slip.as_ref(),
        };
        latency.map_or_else(Self::default, |latency| Self {
            buckets: Buckets::of(&latency.histogram),
            censored_from: latency.censored_from,
            ..Self::default()
        })
    }
}

/// The last seconds, as far back as a condition looks.
#[derive(Debug, Default)]
struct Recent {
    pieces: VecDeque<Piece>,
    /// The latencies of all of them, by value.
    latencies: BTreeMap<u64, u64>,
    samples: u64,
}

impl Recent {
    fn push(&mut self, piece: Piece, over_s: u64) {
        for (value, count) in piece.buckets.iter() {
            *self.latencies.entry(value).or_default() += count;
            self.samples += count;
        }
        self.pieces.push_back(piece);
        while self.pieces.len() as u64 > over_s {
            let old = self.pieces.pop_front().unwrap_or_default();
            for (value, count) in old.buckets.iter() {
                self.samples -= count;
                if let Some(held) = self.latencies.get_mut(&value) {
                    *held -= count;
                    if *held == 0 {
                        self.latencies.remove(&value);
                    }
                }
            }
        }
    }

    /// What was found, in words, if it meets the condition; nothing before as many seconds are there.
    fn verdict(&self, condition: &Condition) -> Option<String> {
        if (self.pieces.len() as u64) < condition.over_s {
            return None;
        }
        match condition.metric {
            Metric::Latency(_, quantile) => self.latency(condition, quantile),
            _ => self.counts(condition),
        }
    }

    fn counts(&self, condition: &Condition) -> Option<String> {
        let count: u64 = self.pieces.iter().map(|piece| piece.count).sum();
        let of: Option<f64> = self.pieces.iter().map(|piece| piece.of).sum();
        let per_s = count as f64 / condition.over_s as f64;
        let percent = of
            .filter(|of| *of > 0.0)
            .map(|of| count as f64 * 100.0 / of);
        let (value, limit) = match condition.limit {
            Limit::Percent(limit) => (percent?, limit),
            Limit::Count(limit) => (count as f64, limit as f64),
            Limit::PerS(limit) => (per_s, limit),
            Limit::Ns(_) => return None,
        };
        let name = &condition.metric;
        let met = condition.comparison.holds(value, limit);
        met.then(|| match (name, percent) {
            (Metric::Rate, Some(percent)) => format!(
                "{} were completed, {percent:.1} % of what was asked for",
                format_rate(per_s)
            ),
            (Metric::Rate, None) => format!("{} were completed", format_rate(per_s)),
            (_, percent) => format!(
                "{name} were {} of {} that ended, {:.2} %",
                format_count(count),
                format_count(of.unwrap_or(0.0) as u64),
                percent.unwrap_or(0.0)
            ),
        })
    }

    fn latency(&self, condition: &Condition, quantile: f64) -> Option<String> {
        let Limit::Ns(limit) = condition.limit else {
            return None;
        };
        let value = self.quantile(quantile)?;
        let from = self
            .pieces
            .iter()
            .filter_map(|piece| piece.censored_from)
            .min();
        let is_bound = from.is_some_and(|from| value >= from);
        // What is at least so much may be more, and is not known to be less.
        if is_bound && !condition.comparison.is_above() {
            return None;
        }
        let met = condition.comparison.holds(value as f64, limit as f64);
        met.then(|| {
            let sign = if is_bound { "≥ " } else { "" };
            let (name, samples) = (&condition.metric, format_count(self.samples));
            format!(
                "{name} was {sign}{} over {samples} requests",
                format_ns(value)
            )
        })
    }

    /// The value at a quantile, if enough samples lie beyond it; the largest is always known.
    fn quantile(&self, quantile: f64) -> Option<u64> {
        if quantile >= 1.0 {
            return self.latencies.last_key_value().map(|(value, _)| *value);
        }
        let wanted = ((quantile * self.samples as f64).ceil() as u64).max(1);
        let mut so_far = 0;
        let mut values = self.latencies.iter();
        let found = values.find(|(_, count)| {
            so_far += **count;
            so_far >= wanted
        });
        found
            .filter(|_| enough_beyond(self.samples, quantile))
            .map(|(value, _)| *value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tally::latency::Latency;
    use crate::tally::live::Counted;
    use crate::tally::second::second_of;

    fn live(second: u64, completed: u64, failed: u64, ns: u64) -> Live {
        let mut response = Latency::default();
        (0..completed).for_each(|_| response.record(ns));
        let failures = (failed > 0).then(|| ("ECONNRESET".to_owned(), failed));
        Live {
            second: second_of(second, &response, failed),
            response,
            service: None,
            slip: None,
            counted: Counted {
                requests_failed: failures.into_iter().collect(),
                ..Counted::default()
            },
        }
    }

    fn met(
        text: &str,
        seconds: impl IntoIterator<Item = Live>,
        asked: Option<f64>,
    ) -> Option<Aborted> {
        let mut watch = Watch::for_any_of(&[text.parse().expect(text)]);
        seconds
            .into_iter()
            .for_each(|live| watch.take(&live, asked));
        watch.met().cloned()
    }

    #[test]
    fn a_share_is_that_of_all_seconds_it_looks_back_to() {
        let seconds = |last: u64| {
            [
                live(0, 100, 0, 5),
                live(1, 100, 0, 5),
                live(2, 100, last, 5),
            ]
        };
        assert_eq!(met("errors>1% over 3s", seconds(3), None), None);
        let found = met("errors>1% over 3s", seconds(4), None).expect("met");
        assert_eq!(found.second, 2);
        assert_eq!(
            found.to_string(),
            "`errors>1% over 3s` was met after 3 s: errors were 4 of 304 that ended, 1.32 %"
        );
        assert!(met("ECONNRESET>=4 over 1s", seconds(4), None).is_some());
        assert!(met("TIMEOUT>=4 over 1s", seconds(4), None).is_none());
        // Not before there are as many seconds as it looks back to.
        assert_eq!(met("errors>1% over 4s", seconds(100), None), None);
    }

    #[test]
    fn a_rate_below_what_was_asked_for_is_seen() {
        let seconds = || (0..2).map(|n| live(n, 90, 0, 5));
        let found = met("rate<95% over 2s", seconds(), Some(100.0)).expect("met");
        assert_eq!(
            found.found,
            "90.00/s were completed, 90.0 % of what was asked for"
        );
        assert!(met("rate<85% over 2s", seconds(), Some(100.0)).is_none());
        // In a closed loop nothing is asked for.
        assert!(met("rate<95% over 2s", seconds(), None).is_none());
        assert!(met("rate<95 over 2s", seconds(), None).is_some());
    }

    #[test]
    fn a_bound_proves_more_and_never_less() {
        let censored = |ns| {
            let mut second = live(0, 1000, 0, 1000);
            (0..1000).for_each(|_| second.response.record_censored(ns));
            second
        };
        let found = met("response_p90_ns>5us over 1s", [censored(9000)], None).expect("met");
        assert!(
            found.found.starts_with("response_p90_ns was ≥ 9"),
            "{}",
            found.found
        );
        assert!(met("response_p90_ns>20us over 1s", [censored(9000)], None).is_none());
        assert!(met("response_p90_ns<20us over 1s", [censored(9000)], None).is_none());
        // Of five samples no quantile is known.
        assert!(met("response_p50_ns>1ns over 1s", [live(0, 5, 0, 1000)], None).is_none());
        assert!(met("response_max_ns>1ns over 1s", [live(0, 5, 0, 1000)], None).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Taken in and given up second by second, or added up at once: the same.
        #[test]
        fn what_has_passed_is_forgotten(
            seconds in proptest::collection::vec((0u64..300, 0u64..5, 100u64..100_000), 1..20), over_s in 1u64..6,
        ) {
            let lives: Vec<Live> = (seconds.iter().enumerate())
                .map(|(n, (completed, failed, ns))| live(n as u64, *completed, *failed, *ns))
                .collect();
            let metric = Metric::Latency(Kind::Response, 0.5);
            let mut recent = Recent::default();
            for live in &lives {
                recent.push(Piece::of(&metric, live, None), over_s);
            }
            let mut fresh = Recent::default();
            for live in &lives[lives.len().saturating_sub(over_s as usize)..] {
                fresh.push(Piece::of(&metric, live, None), over_s);
            }
            prop_assert_eq!(&recent.latencies, &fresh.latencies);
            prop_assert_eq!(recent.samples, fresh.samples);
            prop_assert_eq!(recent.quantile(0.5), fresh.quantile(0.5));
        }

        /// The first second at which it is met is the first at which the sums say so.
        #[test]
        fn it_is_met_at_the_first_second_that_it_holds(
            seconds in proptest::collection::vec((0u64..50, 0u64..4), 1..30), over_s in 1usize..5, limit in 1u32..20,
        ) {
            let text = format!("errors>{limit}% over {over_s}s");
            let lives = seconds.iter().enumerate().map(|(n, (completed, failed))| live(n as u64, *completed, *failed, 5));
            let expected = (over_s..=seconds.len()).find(|end| {
                let last = &seconds[end - over_s..*end];
                let failed: u64 = last.iter().map(|(_, failed)| failed).sum();
                let all: u64 = last.iter().map(|(completed, failed)| completed + failed).sum();
                all > 0 && failed * 100 > all * u64::from(limit)
            });
            let found = met(&text, lives, None).map(|aborted| aborted.second as usize + 1);
            prop_assert_eq!(found, expected);
        }
    }
}
