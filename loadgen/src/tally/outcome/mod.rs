//! What a run returns: the JSON record that loadgen writes and other programs read.
//!
//! Latencies are in nanoseconds, the unit of every other figure is in its name.
//! A figure that there is no ground for is `null`, never a default.

mod aborted;
mod connections;
mod counts;
mod fairness;
mod generator;
mod hosts;
mod quantiles;
mod read;
mod requests;
mod stage;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::Handshakes;
use crate::load::Load;

pub use aborted::Aborted;
pub use connections::Connections;
pub use counts::{add_all, sum};
pub use fairness::Fairness;
pub use generator::Generator;
pub use hosts::{HostFigures, alike, skew_ns};
pub use quantiles::{Latencies, Quantiles, SAMPLES_BEYOND, enough_beyond, quantile};
pub use read::{ReadError, check_numbers, read};
pub use requests::Requests;
pub use stage::Stage;

/// The value of [`Outcome::schema`].
pub const SCHEMA: &str = "tenk.outcome/1";

/// The cause under which the connections of a lost process are counted.
pub const PROCESS_LOST: &str = "PROCESS_LOST";

/// The cause under which the connections of a lost host are counted.
pub const HOST_LOST: &str = "HOST_LOST";

/// Everything one run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: String,
    /// The server's address.
    pub target: String,
    /// Every setting in force, the seed included.
    pub load: Load,
    /// False when the run was interrupted or ended early: what is here is what there was.
    pub complete: bool,
    /// The condition of `--abort-on` that ended the run early, if one did.
    #[serde(default)]
    pub aborted: Option<Aborted>,
    /// Whether parts of the load are lost and that was tolerated; the figures are those of the others.
    #[serde(default)]
    pub degraded: bool,
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
    /// Requests and bytes of the whole run, for comparison with what a server counted.
    pub whole_run: WholeRun,
    /// Latencies of the window.
    pub latency_ns: Latencies,
    /// How late this generator sent: from when a request was due and its connection
    /// free, to its actual send. Empty in a closed loop, which has no schedule.
    pub schedule_slip_ns: Quantiles,
    /// What TLS handshakes came to; absent without TLS.
    #[serde(default)]
    pub tls: Option<Handshakes>,
    /// What the generator itself used inside the window.
    pub generator: Generator,
    /// The hosts the load was sent from, in the order of their segments; empty where that was one, this one.
    #[serde(default)]
    pub hosts: Vec<HostFigures>,
    /// How evenly the connections were served.
    pub fairness: Fairness,
    /// Whether to believe the figures.
    pub verdict: Verdict,
    /// Why, if not simply valid.
    pub reasons: Vec<Reason>,
    /// The first failure of each kind, in words.
    pub failures: Vec<Failure>,
    /// The stages of a window whose load changes by plan; empty of any other, and in older outcomes.
    #[serde(default)]
    pub stages: Vec<Stage>,
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
            aborted: None,
            window_start_unix_ns: None,
            window_s: 0.0,
            ramp_s: 0.0,
            connections: Connections::default(),
            requests: Requests::default(),
            whole_run: WholeRun::default(),
            latency_ns: Latencies::default(),
            schedule_slip_ns: Quantiles::default(),
            tls: None,
            generator: Generator::default(),
            hosts: Vec::new(),
            degraded: false,
            fairness: Fairness::default(),
            verdict: Verdict::default(),
            reasons: Vec::new(),
            failures: Vec::new(),
            stages: Vec::new(),
            series: Vec::new(),
            floor: None,
            histograms: BTreeMap::new(),
        }
    }
}

/// Totals of the whole run, all phases together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WholeRun {
    /// Requests sent.
    pub sent: u64,
    /// How often one was sent again: a server that reads all that it is sent has received `sent + resent` requests.
    #[serde(default)]
    pub resent: u64,
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
        self.resent += other.resent;
        self.completed += other.completed;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }
}

/// Whether a run's figures are to be believed; the greater the worse.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The name of a [`Code`](super::code::Code).
    pub code: String,
    /// The measured figure against its limit, in words.
    pub text: String,
}

/// The first failure of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// One second of the window, or, of a window so long that its seconds would fill a file, several that were joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Second {
    /// Which second, from 0; of joined ones the first.
    pub second: u64,
    /// How many seconds it is; 1 unless some were joined.
    #[serde(default = "one")]
    pub length_s: u64,
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

/// The length of a second of an older outcome.
fn one() -> u64 {
    1
}

/// This machine against a null server of its own: nothing measured here can be
/// faster than the floor or more than the ceiling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
