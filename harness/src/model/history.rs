//! A line of a history: the figures of one run, or of one side of a gate, with the commit and the machine that they are
//! of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a line of this version calls itself.
pub const SCHEMA: &str = "tenk.history/1";

/// One run's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryLine {
    /// `tenk.history/1`.
    pub schema: String,
    /// The run's name.
    pub run_id: String,
    /// The commit whose servers were measured.
    pub commit: String,
    /// Its subject.
    pub title: String,
    /// When it was committed, s since 1970.
    pub committed_s: i64,
    /// The commit that a gate held it against, in the same blocks.
    pub against: Option<String>,
    /// Where it was measured.
    pub machine: HistoryMachine,
    /// The figures.
    pub figures: Vec<HistoryFigures>,
}

/// A machine in one state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryMachine {
    /// A digest of the facts: runs with another are never drawn on one line.
    pub id: String,
    /// What people call it: its CPU, their number, its kernel.
    pub what: String,
    /// Everything that figures depend on, as runs are compared by it.
    pub facts: BTreeMap<String, String>,
}

/// The figures of one arm under one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryFigures {
    /// The arm, without the side of a gate.
    pub arm: String,
    /// Its model.
    pub model: String,
    /// The workload in one word.
    pub workload: String,
    /// By the name of the column.
    pub metrics: BTreeMap<String, HistoryFigure>,
}

/// A figure over trials.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryFigure {
    /// Median over trials.
    pub median: f64,
    /// Lower end of its 95 % interval; with fewer than 6 trials, which have none, the smallest trial.
    pub low: f64,
    /// Upper end, likewise.
    pub high: f64,
    /// Trials.
    pub trials: usize,
    /// What a gate found against the other commit.
    pub change: Option<HistoryChange>,
}

/// What a gate found: head ÷ base − 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryChange {
    /// The estimate.
    pub change: f64,
    /// Lower end of its 95 % interval; none with fewer than 6 blocks.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}
