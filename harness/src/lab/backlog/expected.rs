//! When clients are connected, by the settings.

use super::{BACKLOG, Evidence, LATE};
use crate::lab::Settings;
use std::time::Duration;

/// What the settings lead one to expect.
pub struct Expected {
    /// Connections that the queue takes.
    pub places: usize,
    /// When each of the others gets in, s.
    pub late_s: Vec<u64>,
}

/// Whoever sends its SYN again when a place is free gets it; at whole seconds t, t places have become free.
pub fn expected(settings: &Settings) -> Expected {
    let longest = settings.number("net/core/somaxconn").unwrap_or(4096);
    let all_s = settings
        .syn_timeouts()
        .sent_again_after_s(Duration::from_secs(32));
    let mut late_s = Vec::new();
    for &at_s in &all_s {
        let free = (at_s as usize).saturating_sub(late_s.len());
        late_s.extend(vec![at_s; free.min(LATE - late_s.len())]);
    }
    Expected {
        places: (BACKLOG as u64).min(longest) as usize + 1,
        late_s,
    }
}

impl Expected {
    /// How many were connected before any SYN was sent again.
    pub fn at_once(&self, evidence: &Evidence) -> usize {
        let first_s = self.late_s.first().copied().unwrap_or(1) as f64;
        let is_early = |at: &&f64| **at < first_s - 0.2;
        evidence
            .connected_after_s
            .iter()
            .take_while(is_early)
            .count()
    }
}

/// Whether each of the others came when it should have.
pub fn is_on_time(expected: &Expected, evidence: &Evidence) -> bool {
    let late = &evidence.connected_after_s[expected.at_once(evidence)..];
    let mut pairs = late.iter().zip(&expected.late_s);
    late.len() == expected.late_s.len() && pairs.all(|(at, due)| is_near(*at, *due))
}

/// A timer of the kernel's is never early, and late by up to an eighth of its length (kernel/time/timer.c).
fn is_near(at: f64, due_s: u64) -> bool {
    let due = due_s as f64;
    (due - 0.05..=due * 1.125 + 0.2).contains(&at)
}
