//! A run while it is made, as it is told to whoever follows it: a line of `--progress-json`.

use super::row::{Row, Status, Verdict};
use loadgen::tally::live::SecondRecord;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The value of [`ProgressLine::schema`].
pub const SCHEMA: &str = "tenk.progress/1";

/// The phase of a trial that is over.
pub const OVER: &str = "over";

/// The phase of a run that is over.
pub const END: &str = "end";

/// Where a run is; a line when a trial begins and when it is over, and in between one a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgressLine {
    /// [`SCHEMA`].
    pub schema: String,
    /// When it was written, nanoseconds since the Unix epoch.
    pub written_unix_ns: u64,
    /// The run.
    pub run_id: String,
    /// What its figures are found again by (`--label`).
    pub labels: BTreeMap<String, String>,
    /// Trials to be made, as far as is known: at most so many under a budget, more where disturbed blocks are run again.
    pub trials: u64,
    /// Of those, over or left out.
    pub trials_over: u64,
    /// How long the rest takes, about, s; of a gate, at most.
    pub left_s: Option<f64>,
    /// The trial.
    pub trial: u32,
    /// Its block; 0: it is not ranked.
    pub block: u32,
    /// Its arm.
    pub arm: String,
    /// Active connections asked for.
    pub conns: u64,
    /// Requests per second asked for; absent in a closed loop, and in stages, whose seconds say it.
    pub rate_per_s: Option<f64>,
    /// What is done in it: `start`, `ramp`, `warmup`, `window`, `drain`, `clean up`, `over`; `end`: the run is over.
    pub phase: String,
    /// The second of its window that has just ended, as the generator tells it; absent where none has.
    pub second: Option<SecondRecord>,
    /// What it came to, once it is over.
    pub result: Option<TrialResult>,
}

/// What a trial came to, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialResult {
    /// What the server did.
    pub status: Status,
    /// Whether to believe the figures.
    pub verdict: Verdict,
    /// Completed in the window, per second.
    pub requests_per_s: Option<f64>,
    /// Response time, 99th percentile, ns.
    pub response_p99_ns: Option<u64>,
    /// Everything asked for and not given.
    pub errors: Option<u64>,
}

impl TrialResult {
    /// Of this row.
    pub fn of(row: &Row) -> TrialResult {
        TrialResult {
            status: row.status,
            verdict: row.verdict,
            requests_per_s: row.requests_per_s,
            response_p99_ns: row.response_p99_ns,
            errors: row.errors,
        }
    }
}
