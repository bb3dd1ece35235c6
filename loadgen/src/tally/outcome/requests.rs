//! What became of the requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::counts::{add_all, describe_broken, per_second, sum};

/// What became of the requests due in the window. Conservation: offered = sent +
/// dropped; sent = completed + timed_out + Σ failed + mismatched + unanswered_at_end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Due in the window.
    pub offered: u64,
    /// Of those, sent.
    pub sent: u64,
    /// Answered, every byte verified.
    pub completed: u64,
    /// Never sent: due and still waiting when the drain ended.
    pub dropped: u64,
    /// Unanswered within `--request-timeout`.
    pub timed_out: u64,
    /// Ended by an error, by errno; `EOF` for a connection closed before its answer,
    /// `PROTOCOL` for an answer that cannot be parsed, `STATUS` for an error answer.
    pub failed: BTreeMap<String, u64>,
    /// Answered with other bytes than those expected.
    pub mismatched: u64,
    /// Without an answer when the drain ended.
    pub unanswered_at_end: u64,
    /// Completed inside the first and the second half of the window, whenever they were due.
    pub completed_halves: [u64; 2],
    /// Request bytes of those.
    pub bytes: u64,
    /// Completed inside the window, per second.
    pub per_s: f64,
    /// Request bytes of those, per second: the goodput of one direction.
    pub bytes_per_s: f64,
}

impl Requests {
    /// Adds the counts of another worker or process; rates are left to [`Requests::set_rates`].
    pub fn merge(&mut self, other: &Self) {
        self.offered += other.offered;
        self.sent += other.sent;
        self.completed += other.completed;
        self.dropped += other.dropped;
        self.timed_out += other.timed_out;
        add_all(&mut self.failed, &other.failed);
        self.mismatched += other.mismatched;
        self.unanswered_at_end += other.unanswered_at_end;
        self.completed_halves[0] += other.completed_halves[0];
        self.completed_halves[1] += other.completed_halves[1];
        self.bytes += other.bytes;
    }

    /// Derives the rates from the counts and the window's length.
    pub fn set_rates(&mut self, window_s: f64) {
        self.per_s = per_second(self.completed_halves.iter().sum(), window_s);
        self.bytes_per_s = per_second(self.bytes, window_s);
    }

    /// Timed out, failed and mismatched together.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.timed_out + sum(&self.failed) + self.mismatched
    }

    /// The conservation laws that do not hold in `phase`, with their figures.
    #[must_use]
    pub fn broken_laws(&self, phase: &str) -> Vec<String> {
        let fates = self.completed + self.errors() + self.unanswered_at_end;
        let laws = [
            (
                "offered = sent + dropped",
                self.offered,
                self.sent + self.dropped,
            ),
            (
                "sent = completed + timed_out + failed + mismatched + unanswered_at_end",
                self.sent,
                fates,
            ),
        ];
        describe_broken(&format!("requests of the {phase}"), &laws)
    }
}
