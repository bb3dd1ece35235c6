//! What became of the connections.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::counts::{add_all, describe_broken, per_second, sum};

/// What became of the connections, over the whole run. Conservation: attempts =
/// established + refused + timed_out + Σ connect_failed + Σ local_failures + pending;
/// established = closed_by_us + closed_by_peer + reset_later + open_at_end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    /// Connections the load consists of at any time, idle ones included.
    pub requested: u64,
    /// Of those, how many had been served when the barrier opened. The shortfall
    /// of a run is `requested - served_at_barrier`.
    pub served_at_barrier: u64,
    /// Sockets asked for, replacements included.
    pub attempts: u64,
    /// Connects completed.
    pub established: u64,
    /// Connections whose first exchange was verified.
    pub served: u64,
    /// Of those, served inside the window.
    pub served_in_window: u64,
    /// Connects refused (ECONNREFUSED).
    pub refused: u64,
    /// Connects that timed out: ours or the kernel's (ETIMEDOUT).
    pub timed_out: u64,
    /// Other connect errors by errno.
    pub connect_failed: BTreeMap<String, u64>,
    /// Errors of this machine by errno: EMFILE, ENFILE, EADDRNOTAVAIL, ENOBUFS, ENOMEM.
    /// Connections above the descriptor limit are counted here as EMFILE, untried.
    pub local_failures: BTreeMap<String, u64>,
    /// Connects still under way at the end.
    pub pending: u64,
    /// Established connections that this side closed before the end, or by their plan.
    pub closed_by_us: u64,
    /// Established connections that the server closed.
    pub closed_by_peer: u64,
    /// Of those: unasked, where neither the load nor an answer had said that it would.
    #[serde(default)]
    pub closed_unasked: u64,
    /// Silent connections (`--idle`) that the server ended, with FIN or RST: each an error, for they were to be held.
    #[serde(default)]
    pub idle_lost: u64,
    /// Established connections that ended in an error (ECONNRESET and others).
    pub reset_later: u64,
    /// Connections open when the run ended.
    pub open_at_end: u64,
    /// Of those closed by this side: because the server had sent an answer to no request.
    pub unasked: u64,
    /// How often `--reconnect-rate` asked for a connection to be replaced.
    pub reconnects_due: u64,
    /// Of those, not done: the connection was still being replaced when its turn came again.
    pub reconnects_missed: u64,
    /// Connections served inside the window, per second.
    pub per_s: f64,
    /// SYNs sent again by these connections (TCP_INFO), those that were never established included; absent, as all that
    /// is TCP's, of a Unix socket.
    pub syn_retries: Option<u64>,
    /// Rise of the host's TCPSynRetrans during the run: SYNs of all programs, and SYN-ACKs, sent again; absent if
    /// unreadable, and in older outcomes.
    pub syn_retransmits: Option<u64>,
    /// Where connections came from, in words, if not from the kernel's choice alone. Empty in older outcomes.
    #[serde(default)]
    pub sources_used: Vec<String>,
    /// How long after the first a SYN is sent again under the settings in force, in seconds, each time until
    /// `--connect-timeout`: where connect times gather when a listen queue is full. Empty in older outcomes.
    #[serde(default)]
    pub syn_sent_again_after_s: Vec<u64>,
    /// Segments retransmitted on established connections (TCP_INFO).
    pub retransmits: Option<u64>,
    /// Rise of the host's ListenOverflows during the run; absent if unreadable.
    pub listen_overflows: Option<u64>,
}

impl Connections {
    /// Adds the counts of another worker or process. Rates are left to [`Connections::set_rate`],
    /// and what is the host's, its overflows and its SYNs, is not added.
    pub fn merge(&mut self, other: &Self) {
        self.requested += other.requested;
        self.served_at_barrier += other.served_at_barrier;
        self.attempts += other.attempts;
        self.established += other.established;
        self.served += other.served;
        self.served_in_window += other.served_in_window;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        add_all(&mut self.connect_failed, &other.connect_failed);
        add_all(&mut self.local_failures, &other.local_failures);
        self.pending += other.pending;
        self.closed_by_us += other.closed_by_us;
        self.closed_by_peer += other.closed_by_peer;
        self.closed_unasked += other.closed_unasked;
        self.idle_lost += other.idle_lost;
        self.reset_later += other.reset_later;
        self.open_at_end += other.open_at_end;
        self.unasked += other.unasked;
        self.reconnects_due += other.reconnects_due;
        self.reconnects_missed += other.reconnects_missed;
        self.syn_retries = either(self.syn_retries, other.syn_retries);
        self.retransmits = either(self.retransmits, other.retransmits);
        self.listen_overflows = self.listen_overflows.max(other.listen_overflows);
        self.syn_retransmits = self.syn_retransmits.max(other.syn_retransmits);
        for source in &other.sources_used {
            if !self.sources_used.contains(source) {
                self.sources_used.push(source.clone());
            }
        }
        if self.syn_sent_again_after_s.is_empty() {
            self.syn_sent_again_after_s
                .clone_from(&other.syn_sent_again_after_s);
        }
    }

    /// Derives the rate from the count and the window's length.
    pub fn set_rate(&mut self, window_s: f64) {
        self.per_s = per_second(self.served_in_window, window_s);
    }

    /// The conservation laws that do not hold, with their figures.
    #[must_use]
    pub fn broken_laws(&self) -> Vec<String> {
        let ended = self.refused
            + self.timed_out
            + sum(&self.connect_failed)
            + sum(&self.local_failures)
            + self.pending;
        let closed = self.closed_by_us + self.closed_by_peer + self.reset_later + self.open_at_end;
        let laws = [
            (
                "attempts = established + refused + timed_out + connect_failed + local_failures + pending",
                self.attempts,
                self.established + ended,
            ),
            (
                "established = closed_by_us + closed_by_peer + reset_later + open_at_end",
                self.established,
                closed,
            ),
        ];
        describe_broken("connections", &laws)
    }
}

/// The sum of what was counted; absent if nothing was.
fn either(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        _ => one.or(other),
    }
}
