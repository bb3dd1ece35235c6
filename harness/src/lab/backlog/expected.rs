//! When clients are connected, by the settings.

use super::{BACKLOG, LATE};
use crate::lab::Settings;
use std::time::Duration;

/// What the settings lead one to expect.
pub struct Expected {
    /// Connections that the queue takes.
    pub places: usize,
    /// When SYNs are sent again, s.
    pub all_s: Vec<u64>,
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
        all_s,
        late_s,
    }
}

/// A timer of the kernel's is never early, and late by up to an eighth of its length (kernel/time/timer.c).
pub fn is_near(at: f64, due_s: u64) -> bool {
    let due = due_s as f64;
    (due - 0.05..=due * 1.125 + 0.2).contains(&at)
}
