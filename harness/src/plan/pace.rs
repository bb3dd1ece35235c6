//! How long things take on this machine beside what is expected of any: learned from the trials that were made here,
//! so that the next estimate is of this machine.

use crate::model::arm::Arm;
use loadgen::base::cache::{self, cache_file};
use loadgen::load::Load;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schema of the file.
const SCHEMA: &str = "tenk.pace/2";

/// What one more run says beside all that was known before.
const WEIGHT: f64 = 0.5;

/// The share of the blocks that may be run again which are, where nothing is known: between none and all, whichever it
/// is, the estimate is as far from one as from the other.
const REDONE: f64 = 0.4;

/// No run is believed that says more than this: a machine that was stopped for an hour is not slow.
const BOUNDS: [f64; 2] = [0.3, 10.0];

/// What was learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// [`SCHEMA`].
    schema: String,
    /// How long everything around warm-up and window took beside what was expected, by [`key`].
    around: BTreeMap<String, f64>,
    /// Of the blocks that may be run again when something disturbs them, the share that were.
    redone: f64,
}

impl Default for Pace {
    /// Nothing is known: everything is expected to take as long as it did where the constants were read off.
    fn default() -> Pace {
        Pace {
            schema: SCHEMA.into(),
            around: BTreeMap::new(),
            redone: REDONE,
        }
    }
}

/// What is learned together: a kind of server with so many connections, to the power of ten.
fn key(arm: &Arm, load: &Load) -> String {
    let digits = load.population().max(1).ilog10() + 1;
    format!("{}/{digits}", arm.subject.kind())
}

impl Pace {
    /// What was learned on this machine; nothing where nothing is kept, or nothing that can be read.
    pub fn kept() -> Pace {
        let read = || {
            let bytes = std::fs::read(cache_file("pace")?).ok()?;
            Pace::parse(&bytes)
        };
        read().unwrap_or_default()
    }

    fn parse(bytes: &[u8]) -> Option<Pace> {
        let pace: Pace = serde_json::from_slice(bytes).ok()?;
        let [least, most] = BOUNDS;
        let sound = |ratio: &f64| (least..=most).contains(ratio);
        let is_sound = pace.around.values().all(sound) && (0.0..=1.0).contains(&pace.redone);
        (pace.schema == SCHEMA && is_sound).then_some(pace)
    }

    /// Keeps it for later runs.
    pub fn keep(&self) -> std::io::Result<()> {
        cache::keep("pace", &serde_json::to_vec_pretty(self)?).map(drop)
    }

    /// How much longer than expected everything around the load takes: by what was seen of the same kind and size,
    /// else of anything.
    pub fn around(&self, arm: &Arm, load: &Load) -> f64 {
        let known = self.around.get(&key(arm, load)).copied();
        let all = || self.around.values().sum::<f64>() / self.around.len() as f64;
        known.unwrap_or_else(|| if self.around.is_empty() { 1.0 } else { all() })
    }

    /// Of the blocks that may be run again, the share that will be.
    pub fn redone(&self) -> f64 {
        self.redone
    }

    /// What it is after a run: its trials' times around the load, as expected of any machine and as they were, and the
    /// share of the blocks that might be run again which were.
    pub fn after(&self, lessons: &Lessons, redone: f64) -> Pace {
        let mut pace = self.clone();
        let [least, most] = BOUNDS;
        for (key, (expected_s, took_s)) in &lessons.0 {
            let seen = (took_s / expected_s).clamp(least, most);
            let ratio = pace.around.entry(key.clone()).or_insert(seen);
            *ratio += WEIGHT * (seen - *ratio);
        }
        pace.redone += WEIGHT * (redone.clamp(0.0, 1.0) - pace.redone);
        pace
    }
}

/// What a run shows: seconds expected of any machine, and seconds taken, by [`key`].
#[derive(Debug, Clone, Default)]
pub struct Lessons(BTreeMap<String, (f64, f64)>);

impl Lessons {
    /// One trial more.
    pub fn add(&mut self, arm: &Arm, load: &Load, expected_s: f64, took_s: f64) {
        if expected_s > 0.0 && took_s.is_finite() {
            let sum = self.0.entry(key(arm, load)).or_default();
            *sum = (sum.0 + expected_s, sum.1 + took_s);
        }
    }

    /// Whether there is nothing to learn from.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::plan::Plan;
    use clap::Parser;

    #[test]
    fn it_follows_what_was_seen_of_the_same_kind_and_of_others_what_was_seen_of_any() {
        let words = "tenk --model epoll,thread --conns 50,5000";
        let plan = Plan::new(&Cli::try_parse_from(words.split(' ')).unwrap().run).unwrap();
        let cells: Vec<_> = plan.cells().map(|(arm, s)| (arm, &s.load)).collect();
        let (epoll, thread, at_5000) = (cells[0], cells[1], cells[2]);
        let mut lessons = Lessons::default();
        assert!(lessons.is_empty());
        lessons.add(epoll.0, epoll.1, 0.1, 0.3);
        lessons.add(epoll.0, epoll.1, 0.1, 0.1);
        lessons.add(thread.0, thread.1, 0.2, 0.8);
        let once = Pace::default().after(&lessons, 0.25);
        assert_eq!(once.around(epoll.0, epoll.1), 2.0);
        assert_eq!(once.around(thread.0, thread.1), 4.0);
        assert_eq!(once.around(at_5000.0, at_5000.1), 3.0);
        assert_eq!(once.redone(), (REDONE + 0.25) / 2.0);
        let again = once.after(&Lessons::default(), 0.0);
        assert_eq!(
            (again.around(epoll.0, epoll.1), again.redone()),
            (2.0, once.redone() / 2.0)
        );
        let mut stopped = Lessons::default();
        stopped.add(epoll.0, epoll.1, 0.1, 3600.0);
        assert_eq!(
            Pace::default()
                .after(&stopped, 0.0)
                .around(epoll.0, epoll.1),
            10.0
        );
        assert_eq!(Pace::default().around(epoll.0, epoll.1), 1.0);
    }

    #[test]
    fn what_cannot_be_meant_is_not_read() {
        let text = serde_json::to_string(&Pace::default()).unwrap();
        assert_eq!(Pace::parse(text.as_bytes()), Some(Pace::default()));
        for (was, is) in [
            ("pace/2", "pace/9"),
            ("0.4", "-3.0"),
            ("{}", "{\"a/1\":1e9}"),
        ] {
            assert_eq!(Pace::parse(text.replace(was, is).as_bytes()), None, "{was}");
        }
        assert_eq!(Pace::parse(b""), None);
    }
}
