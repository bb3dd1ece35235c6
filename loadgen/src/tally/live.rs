//! One second of the window as it is told while the run lasts: to a file, to a collector of metrics, and to the
//! conditions under which the run ends early.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::latency::Latency;
use super::outcome::{Quantiles, Requests, Second, add_all, sum};
use crate::base::clock::unix_now_ns;
use crate::load::Load;

/// The value of [`SecondRecord::schema`].
pub const SCHEMA: &str = "tenk.second/1";

/// What is counted besides the times of responses; from the start, or in one second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Requests sent.
    pub sent: u64,
    /// Bytes written.
    pub bytes_sent: u64,
    /// Bytes read.
    pub bytes_received: u64,
    /// Requests that failed, by cause.
    pub requests_failed: BTreeMap<String, u64>,
    /// Connections that could not be had, or that ended in an error, by cause.
    pub connections_failed: BTreeMap<String, u64>,
}

impl Counted {
    /// Counts the requests of one phase.
    pub fn add_requests(&mut self, requests: &Requests) {
        self.sent += requests.sent;
        add_all(&mut self.requests_failed, &requests.failed);
        let others = [
            ("TIMEOUT", requests.timed_out),
            ("MISMATCH", requests.mismatched),
        ];
        for (cause, count) in others {
            if count > 0 {
                *self.requests_failed.entry(cause.into()).or_default() += count;
            }
        }
    }

    /// Adds what another worker or process counted.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        add_all(&mut self.requests_failed, &other.requests_failed);
        add_all(&mut self.connections_failed, &other.connections_failed);
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let rise = |now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>| {
            let risen = now.iter().map(|(cause, count)| {
                let before = before.get(cause).copied().unwrap_or(0);
                (cause.clone(), count.saturating_sub(before))
            });
            risen.filter(|(_, count)| *count > 0).collect()
        };
        Self {
            sent: self.sent.saturating_sub(before.sent),
            bytes_sent: self.bytes_sent.saturating_sub(before.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(before.bytes_received),
            requests_failed: rise(&self.requests_failed, &before.requests_failed),
            connections_failed: rise(&self.connections_failed, &before.connections_failed),
        }
    }

    /// Failures of one cause, of requests and of connections.
    #[must_use]
    pub fn of_cause(&self, cause: &str) -> u64 {
        let of = |counts: &BTreeMap<String, u64>| counts.get(cause).copied().unwrap_or(0);
        of(&self.requests_failed) + of(&self.connections_failed)
    }

    /// All failures, of requests and of connections.
    #[must_use]
    pub fn failures(&self) -> u64 {
        sum(&self.requests_failed) + sum(&self.connections_failed)
    }
}

/// One second of the window, of all workers.
#[derive(Clone, Debug)]
pub struct Live {
    /// As it will stand in the outcome.
    pub second: Second,
    /// Its response times.
    pub response: Latency,
    /// Its service times, in an open loop.
    pub service: Option<Latency>,
    /// How late its requests were sent, in an open loop.
    pub slip: Option<Latency>,
    /// What else was counted in it.
    pub counted: Counted,
}

/// One second of a run as one line of JSON (`--progress-json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondRecord {
    /// [`SCHEMA`].
    pub schema: String,
    /// When it was written, nanoseconds since the Unix epoch.
    pub written_unix_ns: u64,
    /// The server's address.
    pub target: String,
    /// What the run's figures are found again by.
    pub labels: BTreeMap<String, String>,
    /// Which second of the window, from 0.
    pub second: u64,
    /// Requests due in it, by the rate asked for; absent in a closed loop.
    pub asked: Option<f64>,
    /// Requests sent in it.
    pub sent: u64,
    /// Requests completed in it that were due in the window.
    pub completed: u64,
    /// Requests that failed in it, by cause: an errno's name, `EOF`, `TIMEOUT`, `MISMATCH`, `PROTOCOL`, `STATUS`.
    pub requests_failed: BTreeMap<String, u64>,
    /// Connections that could not be had in it, or ended in an error, by cause.
    pub connections_failed: BTreeMap<String, u64>,
    /// Connections open at its end.
    pub connections_open: u64,
    /// Bytes written in it.
    pub bytes_sent: u64,
    /// Bytes read in it.
    pub bytes_received: u64,
    /// Response times of the requests completed, or given up, in it.
    pub response_ns: Quantiles,
    /// Their service times; absent in a closed loop, where they are the response times.
    pub service_ns: Option<Quantiles>,
    /// How late requests were sent in it; absent in a closed loop.
    pub slip_ns: Option<Quantiles>,
}

impl SecondRecord {
    /// The record of a second of this load, with so many connections open at its end.
    #[must_use]
    pub fn of(live: &Live, load: &Load, open: u64) -> Self {
        let Counted {
            sent,
            bytes_sent,
            bytes_received,
            requests_failed,
            connections_failed,
        } = live.counted.clone();
        Self {
            schema: SCHEMA.into(),
            written_unix_ns: unix_now_ns(),
            target: load.target.to_string(),
            labels: load.labels.clone(),
            second: live.second.second,
            asked: load.asked_in_second(live.second.second),
            sent,
            completed: live.second.completed,
            requests_failed,
            connections_failed,
            connections_open: open,
            bytes_sent,
            bytes_received,
            response_ns: live.response.quantiles(),
            service_ns: live.service.as_ref().map(Latency::quantiles),
            slip_ns: live.slip.as_ref().map(Latency::quantiles),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        let pairs = pairs.iter();
        pairs.map(|(name, n)| ((*name).to_owned(), *n)).collect()
    }

    #[test]
    fn a_second_is_what_was_counted_since_the_last() {
        let requests = |sent, timed_out, reset| Requests {
            sent,
            timed_out,
            failed: counts(&[("ECONNRESET", reset)]),
            ..Requests::default()
        };
        let (mut before, mut now) = (Counted::default(), Counted::default());
        before.add_requests(&requests(10, 1, 2));
        now.add_requests(&requests(25, 1, 5));
        now.connections_failed = counts(&[("ECONNREFUSED", 4)]);
        let second = now.since(&before);
        assert_eq!((second.sent, second.failures()), (15, 7));
        assert_eq!(second.requests_failed, counts(&[("ECONNRESET", 3)]));
        assert_eq!(second.of_cause("ECONNREFUSED"), 4);
        let mut both = before.clone();
        both.merge(&second);
        assert_eq!(both, now);
    }
}
