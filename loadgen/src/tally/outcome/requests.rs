//! What became of the requests.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::counts::{add_all, describe_broken, per_second, sum};

/// What became of the requests due in the window. Conservation: offered = sent +
/// dropped; sent = completed + timed_out + Σ failed + mismatched + unanswered_at_end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Due in the window.
    pub offered: u64,
    /// Of those, sent.
    pub sent: u64,
    /// Answered, every byte verified.
    pub completed: u64,
    /// How often one was sent again, since its connection was closed without a byte of its answer after it had answered
    /// others: on the next connection, and no failure (RFC 9112 §9.3.1).
    #[serde(default)]
    pub resent: u64,
    /// Never sent: due and still waiting when the drain ended.
    pub dropped: u64,
    /// Unanswered within `--request-timeout`.
    pub timed_out: u64,
    /// Ended by an error, by errno; `EOF` for a connection closed before its answer,
    /// `PROTOCOL` for an answer that cannot be parsed, `STATUS` for an error answer.
    pub failed: BTreeMap<String, u64>,
    /// Answers by status: HTTP's number, or for Redis `ok`, `nil` or the name of the error, such as `WRONGTYPE`, and where
    /// values are verified `hit` or `miss` of a GET. Empty where answers have none, and in older outcomes.
    #[serde(default)]
    pub by_status: BTreeMap<String, u64>,
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
    /// Request bytes of those, per second: what was asked, and not what was answered.
    pub bytes_per_s: f64,
    /// Bytes that write(2) accepted inside the window, whatever became of their requests. Absent, like the next three,
    /// in older outcomes.
    pub bytes_sent: Option<u64>,
    /// Bytes that read(2) returned inside the window.
    pub bytes_received: Option<u64>,
    /// Bytes sent inside the window, per second.
    pub bytes_sent_per_s: Option<f64>,
    /// Bytes received inside the window, per second.
    pub bytes_received_per_s: Option<f64>,
}

impl Requests {
    /// Adds the counts of another worker or process; rates are left to [`Requests::set_rates`].
    pub fn merge(&mut self, other: &Self) {
        self.offered += other.offered;
        self.sent += other.sent;
        self.completed += other.completed;
        self.resent += other.resent;
        self.dropped += other.dropped;
        self.timed_out += other.timed_out;
        add_all(&mut self.failed, &other.failed);
        add_all(&mut self.by_status, &other.by_status);
        self.mismatched += other.mismatched;
        self.unanswered_at_end += other.unanswered_at_end;
        self.completed_halves[0] += other.completed_halves[0];
        self.completed_halves[1] += other.completed_halves[1];
        self.bytes += other.bytes;
        self.bytes_sent = both(self.bytes_sent, other.bytes_sent);
        self.bytes_received = both(self.bytes_received, other.bytes_received);
    }

    /// Derives the rates from the counts and the window's length.
    pub fn set_rates(&mut self, window_s: f64) {
        self.per_s = per_second(self.completed_halves.iter().sum(), window_s);
        self.bytes_per_s = per_second(self.bytes, window_s);
        self.bytes_sent_per_s = self.bytes_sent.map(|bytes| per_second(bytes, window_s));
        self.bytes_received_per_s = self.bytes_received.map(|bytes| per_second(bytes, window_s));
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
        let refused = self.failed.get("STATUS").copied().unwrap_or(0);
        let mut laws = vec![
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
        if !self.by_status.is_empty() {
            laws.push((
                "answers by status = completed + failed by STATUS",
                sum(&self.by_status),
                self.completed + refused,
            ));
        }
        describe_broken(&format!("requests of the {phase}"), &laws)
    }
}

/// The sum of two counts, unknown if one of them is.
fn both(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one? + other?)
}
