//! What a line of `trials.jsonl` holds: a trial with everything that it left behind, or a remark about the trials
//! before it.

use crate::model::histograms::{HistogramError, Window, packed};
use crate::model::instrumented::Instrumented;
use crate::model::latency_seconds::{self, DamagedSecond, LatencySecond};
use crate::model::load_hosts::{self, LoadHost};
use crate::model::row::Row;
use crate::model::stages::{self, Stage};
use crate::model::timeline::{self, WindowSecond};
use crate::model::took::Took;
use crate::model::workers::{self, Worker};
use loadgen::tally::blob::{self, BlobError};
use loadgen::tally::outcome::Outcome;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servers::ledger::Tally;
use std::collections::BTreeMap;

/// One trial.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TrialLine {
    /// The row, as in `trials.csv`.
    pub row: Row,
    /// When the window was; none where the generator returned nothing.
    pub window: Option<Window>,
    /// From here on response times are lower bounds, ns: these requests were never answered.
    pub response_censored_from_ns: Option<u64>,
    /// Histograms of the window (HdrHistogram V2 deflate, base64) by what they measure: `response`, and those that
    /// are not the same.
    pub histograms: BTreeMap<String, String>,
    /// The window second by second, as in `timeline.csv`.
    pub timeline: Vec<WindowSecond>,
    /// The response times of each second, counted in classes.
    pub latency_seconds: Vec<LatencySecond>,
    /// The stages of the window, where its load changes by plan, as in `stages.csv`; none in older runs.
    pub stages: Vec<Stage>,
    /// The hosts that the load came from, as in `hosts.csv`; none where that was the one of the run.
    pub hosts: Vec<LoadHost>,
    /// The server's workers, as in `workers.csv`.
    pub workers: Vec<Worker>,
    /// Where the trial's time went; none in older runs.
    pub took: Option<Took>,
    /// Perf events that this program held open in the window: 0, since nothing looks into a server whose trial may be
    /// ranked; none where there was no window.
    pub perf_events_open: Option<u64>,
}

/// A trial with instruments: a line that readers of trials pass over.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct InstrumentedLine {
    /// What was seen in it.
    pub instrumented: Instrumented,
    /// Perf events that this program held open in the window.
    pub perf_events_open: Option<u64>,
}

/// A line that is no trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Remark {
    /// Trials before it are out of the result.
    SetAside(SetAside),
    /// No trial comes after it.
    End(End),
}

/// A block that something else disturbed (W07), and that is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetAside {
    /// The block.
    pub block: u32,
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// False when the run was interrupted.
    pub complete: bool,
}

impl TrialLine {
    /// The line of a trial that is over.
    ///
    /// # Errors
    /// When a histogram of the generator is damaged.
    pub fn of(
        row: Row,
        outcome: Option<&Outcome>,
        tallies: &[Tally],
        took: Option<Took>,
    ) -> Result<Self, LineError> {
        Ok(TrialLine {
            row,
            window: outcome.map(|outcome| Window {
                start_unix_ns: outcome.window_start_unix_ns.unwrap_or(0),
                length_s: outcome.window_s,
            }),
            response_censored_from_ns: outcome.and_then(|o| o.latency_ns.response.censored_from),
            histograms: outcome.map_or(Ok(BTreeMap::new()), histograms)?,
            timeline: outcome.map(timeline::of).unwrap_or_default(),
            latency_seconds: outcome.map_or(Ok(Vec::new()), latency_seconds::of)?,
            stages: outcome.map(stages::of).unwrap_or_default(),
            hosts: outcome.map(load_hosts::of).unwrap_or_default(),
            workers: workers::of(tallies),
            took,
            perf_events_open: None,
        })
    }
}

/// Why a trial makes no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// A histogram of the generator is damaged.
    #[error("the generator's histogram {name}: {source}")]
    Generator {
        /// Which.
        name: String,
        /// What is wrong with it.
        source: BlobError,
    },
    /// A second of the generator is damaged.
    #[error(transparent)]
    Second(#[from] DamagedSecond),
    /// One cannot be packed.
    #[error(transparent)]
    Pack(#[from] HistogramError),
}

/// What the generator measured, packed: without what is empty, and without what is the response times once more, as
/// service times are in a closed loop.
fn histograms(outcome: &Outcome) -> Result<BTreeMap<String, String>, LineError> {
    let response = outcome.histograms.get("response");
    let mut all = BTreeMap::new();
    for (name, text) in &outcome.histograms {
        if name != "response" && Some(text) == response {
            continue;
        }
        let histogram = blob::decode(text).map_err(|source| LineError::Generator {
            name: name.clone(),
            source,
        })?;
        if !histogram.is_empty() {
            all.insert(name.clone(), packed(&histogram)?);
        }
    }
    Ok(all)
}
