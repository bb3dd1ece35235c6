//! What a run returns: the JSON record that loadgen writes and other programs read.
//!
//! Latencies are in nanoseconds, the unit of every other figure is in its name.
//! A figure that there is no ground for is `null`, never a default.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::units::format_ns;
use crate::load::{Load, MAX_SEGMENTS, Poll};

/// The value of [`Outcome::schema`].
pub const SCHEMA: &str = "tenk.outcome/1";

/// The cause under which the connections of a lost process are counted.
pub const PROCESS_LOST: &str = "PROCESS_LOST";

/// A quantile is given only with at least this many samples beyond it.
pub const SAMPLES_BEYOND: f64 = 100.0;

/// Everything one run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: String,
    /// The server's address.
    pub target: String,
    /// Every setting in force, the seed included.
    pub load: Load,
    /// False when the run was interrupted: what is here is what there was.
    pub complete: bool,
    /// Start of the window, nanoseconds since the Unix epoch; absent if it never began.
    pub window_start_unix_ns: Option<u64>,
    /// Length of the window, in seconds; shorter than asked for if interrupted.
    pub window_s: f64,
    /// From the first connect to the barrier, in seconds.
    pub ramp_s: f64,
    /// Connections, over the whole run.
    pub connections: Connections,
    /// Requests due in the window.
    pub requests: Requests,
    /// Requests and bytes of the whole run, for balancing against a server's own books.
    pub whole_run: WholeRun,
    /// Latencies of the window.
    pub latency_ns: Latencies,
    /// How late this generator sent: from when a request was due and its connection
    /// free, to its actual send. Empty in a closed loop, which has no schedule.
    pub schedule_slip_ns: Quantiles,
    /// What the generator itself used inside the window.
    pub generator: Generator,
    /// How evenly the connections were served.
    pub fairness: Fairness,
    /// Whether to believe the figures.
    pub verdict: Verdict,
    /// Why, if not simply valid.
    pub reasons: Vec<Reason>,
    /// The first failure of each kind, in words.
    pub failures: Vec<Failure>,
    /// The window second by second.
    pub series: Vec<Second>,
    /// This machine's floor and ceiling against a null server, if measured here before.
    pub floor: Option<Floor>,
    /// Base64 of uncompressed V2 HdrHistograms, 1 ns to 2 minutes, 3 digits, by the
    /// names of [`Latencies`] and `slip`; censored values stand at their lower bound.
    pub histograms: BTreeMap<String, String>,
}

impl Outcome {
    /// The outcome of a load of which nothing is known yet.
    #[must_use]
    pub fn of_nothing(load: Load) -> Self {
        Self {
            schema: SCHEMA.into(),
            target: load.target.to_string(),
            load,
            complete: false,
            window_start_unix_ns: None,
            window_s: 0.0,
            ramp_s: 0.0,
            connections: Connections::default(),
            requests: Requests::default(),
            whole_run: WholeRun::default(),
            latency_ns: Latencies::default(),
            schedule_slip_ns: Quantiles::default(),
            generator: Generator::default(),
            fairness: Fairness::default(),
            verdict: Verdict::default(),
            reasons: Vec::new(),
            failures: Vec::new(),
            series: Vec::new(),
            floor: None,
            histograms: BTreeMap::new(),
        }
    }
}

/// What became of the connections, over the whole run. Conservation: attempts =
/// established + refused + timed_out + Σ connect_failed + Σ local_failures + pending;
/// established = closed_by_us + closed_by_peer + reset_later + open_at_end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Established connections that ended in an error (ECONNRESET and others).
    pub reset_later: u64,
    /// Connections open when the run ended.
    pub open_at_end: u64,
    /// Of those closed by this side: because the server had sent what nobody had asked for.
    pub unasked: u64,
    /// How often `--reconnect-rate` asked for a connection to be replaced.
    pub reconnects_due: u64,
    /// Of those, not done: the connection was still being replaced when its turn came again.
    pub reconnects_missed: u64,
    /// Connections served inside the window, per second.
    pub per_s: f64,
    /// SYNs sent again (TCP_INFO): each costs 1 s, 3 s, 7 s …, a full listen queue's mark.
    pub syn_retries: u64,
    /// Segments retransmitted on established connections (TCP_INFO).
    pub retransmits: u64,
    /// Rise of the host's ListenOverflows during the run; absent if unreadable.
    pub listen_overflows: Option<u64>,
}

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

impl Connections {
    /// Adds the counts of another worker or process. Rates are left to [`Connections::set_rate`],
    /// and overflows, which are the host's, are not added.
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
        self.reset_later += other.reset_later;
        self.open_at_end += other.open_at_end;
        self.unasked += other.unasked;
        self.reconnects_due += other.reconnects_due;
        self.reconnects_missed += other.reconnects_missed;
        self.syn_retries += other.syn_retries;
        self.retransmits += other.retransmits;
        self.listen_overflows = self.listen_overflows.max(other.listen_overflows);
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

fn describe_broken(what: &str, laws: &[(&str, u64, u64)]) -> Vec<String> {
    let broken = laws.iter().filter(|(_, left, right)| left != right);
    broken
        .map(|(law, left, right)| format!("{what}: {law}, but {left} ≠ {right}"))
        .collect()
}

/// The total of counts by name.
#[must_use]
pub fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// Adds every count of `other` to `counts`.
pub fn add_all(counts: &mut BTreeMap<String, u64>, other: &BTreeMap<String, u64>) {
    for (name, count) in other {
        *counts.entry(name.clone()).or_default() += count;
    }
}

fn per_second(count: u64, window_s: f64) -> f64 {
    if window_s > 0.0 {
        count as f64 / window_s
    } else {
        0.0
    }
}

/// Totals of the whole run, all phases together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WholeRun {
    /// Requests sent.
    pub sent: u64,
    /// Requests answered and verified.
    pub completed: u64,
    /// Bytes that write(2) accepted.
    pub bytes_sent: u64,
    /// Bytes that read(2) returned.
    pub bytes_received: u64,
}

impl WholeRun {
    /// Adds the totals of another process.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.completed += other.completed;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }
}

/// Latencies by kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// From when a request was due to its last byte (open loop); equals `service` in a closed loop.
    pub response: Quantiles,
    /// From the actual send to the last byte.
    pub service: Quantiles,
    /// From connect(2) to established: of the window where connections are replaced
    /// as part of the load, of the ramp otherwise.
    pub connect: Quantiles,
    /// From established to the first byte received: of the same connections.
    pub first_byte: Quantiles,
}

/// Quantiles of one histogram, in nanoseconds.
///
/// Censored samples (unanswered, timed out, dropped) stand in it at the time they
/// had waited, so a quantile at or above [`Quantiles::censored_from`] is a lower
/// bound; so are then `max` and `mean`. [`Quantiles::show`] prints it as `≥ x`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// Samples, the censored ones included.
    pub count: u64,
    /// Samples whose true value is at least, not equal to, the recorded one.
    pub censored: u64,
    /// The smallest censored value.
    pub censored_from: Option<u64>,
    /// Smallest.
    pub min: Option<u64>,
    /// Median; like all quantiles `null` with fewer than 100 samples beyond it.
    pub p50: Option<u64>,
    /// 0.9 quantile.
    pub p90: Option<u64>,
    /// 0.99 quantile.
    pub p99: Option<u64>,
    /// 0.999 quantile.
    pub p999: Option<u64>,
    /// Largest.
    pub max: Option<u64>,
    /// Arithmetic mean.
    pub mean: Option<u64>,
}

impl Quantiles {
    /// Reads the quantiles off a histogram of nanoseconds in which the `censored`
    /// samples stand at their lower bounds, `censored_from` being the smallest.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>, censored: u64, censored_from: Option<u64>) -> Self {
        let count = histogram.len();
        if count == 0 {
            return Self::default();
        }
        let quantile = |q: f64| quantile(histogram, q);
        Self {
            count,
            censored,
            censored_from,
            min: Some(histogram.min()),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: Some(histogram.max()),
            mean: Some(histogram.mean() as u64),
        }
    }

    /// Whether a value read off this distribution is only a lower bound.
    #[must_use]
    pub fn is_lower_bound(&self, value_ns: u64) -> bool {
        self.censored_from.is_some_and(|from| value_ns >= from)
    }

    /// A value of this distribution for people: `84.3 µs`, `≥ 5.00 s`, `n/a`.
    #[must_use]
    pub fn show(&self, value_ns: Option<u64>) -> String {
        match value_ns {
            None => "n/a".into(),
            Some(ns) if self.is_lower_bound(ns) => format!("≥ {}", format_ns(ns)),
            Some(ns) => format_ns(ns),
        }
    }
}

/// What the generator used inside the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// User time of the workers, in seconds.
    pub cpu_user_s: f64,
    /// System time of the workers, in seconds; on loopback it includes the softirq work of what they send.
    pub cpu_system_s: f64,
    /// User and system time less [`Generator::spin_s`], per completed request, in microseconds.
    pub cpu_us_per_request: Option<f64>,
    /// Useful CPU time over the CPUs the workers may use, 0 to 1; empty polls excluded.
    pub cpu_utilisation: f64,
    /// Time spent polling in vain, in seconds.
    pub spin_s: f64,
    /// Time inside the window in which a worker did not run although it had to, in seconds; a sum over workers. Only
    /// pauses of 15 ms and more are seen.
    pub stalled_s: f64,
    /// The longest of them, in nanoseconds.
    pub longest_stall_ns: u64,
    /// Largest resident set of the process, in KiB; a sum over processes.
    pub max_rss_kib: u64,
    /// CPUs the workers may use.
    pub cpus: u64,
    /// Worker threads, over all processes.
    pub threads: u64,
    /// Processes.
    pub processes: u64,
    /// How they waited: `spin` or `sleep`, or `auto` where they did both in turn.
    pub poll: Poll,
}

impl Generator {
    /// Adds what another process used; ratios are left to [`Generator::set_ratios`].
    pub fn merge(&mut self, other: &Self) {
        self.cpu_user_s += other.cpu_user_s;
        self.cpu_system_s += other.cpu_system_s;
        self.spin_s += other.spin_s;
        self.stalled_s += other.stalled_s;
        self.longest_stall_ns = self.longest_stall_ns.max(other.longest_stall_ns);
        self.max_rss_kib += other.max_rss_kib;
        self.cpus += other.cpus;
        self.threads += other.threads;
        self.processes += other.processes;
    }

    /// Derives the ratios from the sums; useful time is all but empty polls.
    pub fn set_ratios(&mut self, completed: u64, window_s: f64) {
        let useful_s = (self.cpu_user_s + self.cpu_system_s - self.spin_s).max(0.0);
        let available_s = window_s * self.cpus as f64;
        self.cpu_us_per_request = (completed > 0).then(|| useful_s * 1e6 / completed as f64);
        self.cpu_utilisation = if available_s > 0.0 {
            useful_s / available_s
        } else {
            0.0
        };
    }
}

impl Fairness {
    /// Counts one connection that completed `requests`.
    pub fn add(&mut self, requests: u64) {
        self.connections += 1;
        self.starved_connections += u64::from(requests == 0);
        self.sum += requests;
        self.sum_of_squares = self
            .sum_of_squares
            .saturating_add(requests.saturating_mul(requests));
    }

    /// Adds the connections of another worker or process; the index is left to [`Fairness::set_index`].
    pub fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.starved_connections += other.starved_connections;
        self.sum += other.sum;
        self.sum_of_squares = self.sum_of_squares.saturating_add(other.sum_of_squares);
    }

    /// Derives the index from the sums.
    pub fn set_index(&mut self) {
        let (sum, squares) = (self.sum as f64, self.sum_of_squares as f64);
        self.jain = (self.sum > 0).then(|| sum * sum / (self.connections as f64 * squares));
    }
}

/// How evenly the active connections were served in the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fairness {
    /// Jain's index over requests completed per active connection, 1/n to 1: (Σx)² / (n·Σx²)
    /// (Jain, Chiu, Hawe, DEC-TR-301, 1984); absent if nothing was completed.
    pub jain: Option<f64>,
    /// Active connections without one completed request in the window.
    pub starved_connections: u64,
    /// Active connections counted.
    pub connections: u64,
    /// Σx, requests completed.
    pub sum: u64,
    /// Σx², so that outcomes can be merged exactly.
    pub sum_of_squares: u64,
}

/// Whether a run's figures are to be believed; the greater the worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing speaks against them.
    #[default]
    Valid,
    /// Usable with the reasons in mind.
    Suspect,
    /// Not to be ranked or drawn.
    Invalid,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Suspect => "suspect",
            Self::Invalid => "invalid",
        })
    }
}

/// One reason for a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// W01 to W10, as the README lists them.
    pub code: String,
    /// The measured figure against its limit, in words.
    pub text: String,
}

/// The first failure of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// `local`, `connect`, `request` or `connection`.
    pub stage: String,
    /// `ramp`, `warmup`, `window` or `drain`.
    pub phase: String,
    /// Errno name, or `EOF`, `TIMEOUT`, `MISMATCH`, `PROTOCOL`, `STATUS`.
    pub kind: String,
    /// How often it occurred.
    pub count: u64,
    /// The first occurrence: which connection, when, what was seen, and what lifts a local limit.
    pub first: String,
}

/// One second of the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Second {
    /// Which second, from 0.
    pub second: u64,
    /// Requests completed in it.
    pub completed: u64,
    /// Requests given up in it, which stand in the histogram at the time they had waited.
    pub censored: u64,
    /// The shortest such time, in nanoseconds; quantiles from there on would be lower bounds, and are left out.
    pub censored_from_ns: Option<u64>,
    /// Requests that failed in it: timed out, failed and mismatched.
    pub errors: u64,
    /// Response times of those completed in it.
    pub response_p50_ns: Option<u64>,
    /// 0.99 quantile of the same.
    pub response_p99_ns: Option<u64>,
    /// Largest of the same.
    pub response_max_ns: Option<u64>,
    /// Base64 of their uncompressed V2 histogram.
    pub histogram: String,
}

/// This machine against a null server of its own: nothing measured here can be
/// faster than the floor or more than the ceiling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Median response time of one connection, in nanoseconds.
    pub response_p50_ns: u64,
    /// 0.99 quantile of the same.
    pub response_p99_ns: u64,
    /// Requests per second of 50 connections.
    pub requests_per_s: f64,
    /// When it was measured, nanoseconds since the Unix epoch.
    pub measured_unix_ns: u64,
}

/// Reads an outcome that somebody wrote, and refuses one whose counts are none: they are going to be added up.
///
/// # Errors
/// A sentence that says what is wrong with it, and where.
pub fn read(text: &[u8]) -> Result<Outcome, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match value.get("schema").and_then(Value::as_str) {
        Some(SCHEMA) => {}
        other => {
            return Err(format!(
                "the schema is {}, not {SCHEMA:?}",
                other.unwrap_or("missing")
            ));
        }
    }
    check_numbers(&value, "")?;
    let outcome: Outcome = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let segment = outcome.load.segment;
    if segment.index >= segment.count || segment.count > MAX_SEGMENTS {
        return Err(format!("there is no segment {segment}"));
    }
    if outcome.target.parse::<SocketAddr>().is_err() {
        return Err("the target is no address".into());
    }
    Ok(outcome)
}

/// Larger than any count; the sum over thousands of segments still fits in 64 bits.
const MOST: u64 = 1 << 50;

/// Larger than any time since 1970, in nanoseconds.
const MOST_NS: u64 = 1 << 62;

fn check_numbers(value: &Value, name: &str) -> Result<(), String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .try_for_each(|(name, v)| check_numbers(v, name)),
        Value::Array(items) => items.iter().try_for_each(|v| check_numbers(v, name)),
        Value::Number(number) if name != "seed" => {
            let most = if name.ends_with("_ns") { MOST_NS } else { MOST };
            let fits = match number.as_u64() {
                Some(whole) => whole <= most,
                None => number
                    .as_f64()
                    .is_some_and(|v| (0.0..=MOST as f64).contains(&v)),
            };
            match fits {
                true => Ok(()),
                false => Err(format!("{name} is {number}: no figure of ours")),
            }
        }
        _ => Ok(()),
    }
}

/// Whether at least [`SAMPLES_BEYOND`] of `count` samples lie beyond quantile `q`.
#[must_use]
pub fn enough_beyond(count: u64, q: f64) -> bool {
    count as f64 * (1.0 - q) >= SAMPLES_BEYOND - 1e-6
}

/// The value at quantile `q`, if enough samples lie beyond it.
#[must_use]
pub fn quantile(histogram: &Histogram<u64>, q: f64) -> Option<u64> {
    enough_beyond(histogram.len(), q).then(|| histogram.value_at_quantile(q))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl Iterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds");
        values.for_each(|value| histogram.record(value).expect("in range"));
        histogram
    }

    #[test]
    fn an_empty_histogram_has_no_figures() {
        assert_eq!(
            Quantiles::of(&histogram([].into_iter()), 0, None),
            Quantiles::default()
        );
    }

    #[test]
    fn jains_index_is_one_for_equals_and_one_nth_for_a_monopoly() {
        let jain = |requests: [u64; 4]| {
            let mut fairness = Fairness::default();
            requests.iter().for_each(|count| fairness.add(*count));
            fairness.set_index();
            (fairness.jain, fairness.starved_connections)
        };
        assert_eq!(jain([10; 4]), (Some(1.0), 0));
        assert_eq!(jain([40, 0, 0, 0]), (Some(0.25), 3));
        assert_eq!(jain([0; 4]), (None, 4));
    }

    #[test]
    fn a_missing_request_or_connection_breaks_a_law_by_name() {
        let requests = Requests {
            offered: 3,
            sent: 3,
            completed: 2,
            ..Requests::default()
        };
        let broken = requests.broken_laws("window");
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(
            broken[0].contains("window: sent = completed") && broken[0].contains("3 ≠ 2"),
            "{broken:?}"
        );
        let connections = Connections {
            attempts: 1,
            ..Connections::default()
        };
        assert!(connections.broken_laws()[0].contains("attempts = "));
        assert!(
            Requests::default().broken_laws("ramp").is_empty()
                && Connections::default().broken_laws().is_empty()
        );
    }

    #[test]
    fn a_quantile_needs_a_hundred_samples_beyond_it() {
        let few = Quantiles::of(&histogram(1..=199), 0, None);
        assert_eq!((few.p50, few.min, few.max), (None, Some(1), Some(199)));
        let some = Quantiles::of(&histogram(1..=10_000), 0, None);
        assert!(some.p50.is_some() && some.p99.is_some() && some.p999.is_none());
        assert!(
            Quantiles::of(&histogram(1..=100_000), 0, None)
                .p999
                .is_some()
        );
    }

    #[test]
    fn quantiles_among_censored_values_are_lower_bounds() {
        let values = (1..=9_000u64)
            .map(|_| 1_000)
            .chain((1..=1_000).map(|_| 5_000_000_000));
        let q = Quantiles::of(&histogram(values), 1_000, Some(5_000_000_000));
        assert_eq!(q.show(q.p50), "1.00 µs");
        assert_eq!(q.show(q.p99), "≥ 5.00 s");
        assert_eq!(q.show(q.p999), "n/a");
    }
}
