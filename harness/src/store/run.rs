//! A run in memory: what its lines say together, whether it is being made or was read back.

use super::line::TrialLine;
use crate::model::gate_words::GateWords;
use crate::model::histograms::{HistogramError, Histograms, Recorded};
use crate::model::instrumented::Instrumented;
use crate::model::latency_seconds::{LatencySecond, LatencySeconds};
use crate::model::load_hosts::{LoadHost, LoadHostRow};
use crate::model::row::Row;
use crate::model::stages::{Stage, StageRow};
use crate::model::timeline::{TimelineRow, WindowSecond};
use crate::model::workers::{Worker, WorkerRow};
use serde_json::Value;
use std::collections::BTreeSet;

/// The name under which a line has the histogram that charts are drawn from.
pub(super) const RESPONSE: &str = "response";

/// What a trial left, its response times unpacked.
pub(super) struct Left {
    pub row: Row,
    pub response: Option<Result<Recorded, HistogramError>>,
    pub timeline: Vec<WindowSecond>,
    pub latency_seconds: Vec<LatencySecond>,
    pub stages: Vec<Stage>,
    pub hosts: Vec<LoadHost>,
    pub workers: Vec<Worker>,
}

/// Everything that a run left, trial by trial.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Where it was made; null where that is not known.
    pub environment: Value,
    /// Whether it came to its end.
    pub complete: bool,
    /// Its result: one row per trial that counts.
    pub rows: Vec<Row>,
    /// Trials of blocks that were run again.
    pub set_aside: Vec<Row>,
    /// Response times of the trials that count.
    pub histograms: Histograms,
    /// Their seconds.
    pub timeline: Vec<TimelineRow>,
    /// The response times of each of them, counted in classes; trials of older versions have none.
    pub latency_seconds: LatencySeconds,
    /// The stages of those whose load changes by plan.
    pub stages: Vec<StageRow>,
    /// The hosts that their load came from, where those were others.
    pub hosts: Vec<LoadHostRow>,
    /// Their servers' workers.
    pub workers: Vec<WorkerRow>,
    /// Trials in which servers were looked into; no figure of them is among those above.
    pub instrumented: Vec<Instrumented>,
    /// Whether it was read from what older versions kept, which is less.
    pub is_older: bool,
    /// What its reader must know.
    pub notes: Vec<String>,
    /// What a gate says of it, where it is one.
    pub gate: Option<GateWords>,
    /// Every trial so far.
    pub(super) trials: BTreeSet<u32>,
}

/// Why a trial cannot be added to a run.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It is of another run.
    #[error("this trial is of the run {run_id:?}, those before it of {first:?}")]
    OtherRun {
        /// Whose it is.
        run_id: String,
        /// Whose the others are.
        first: String,
    },
    /// It is there already.
    #[error("trial {0} is there twice")]
    Twice(u32),
    /// Its response times cannot be unpacked.
    #[error(transparent)]
    Histogram(#[from] HistogramError),
}

impl Run {
    /// Adds a trial.
    ///
    /// # Errors
    /// A trial that is there already, one of another run, or a damaged histogram.
    pub fn add(&mut self, line: TrialLine) -> Result<(), AddError> {
        let response = line.histograms.get(RESPONSE).map(|packed| {
            let window = line.window.unwrap_or_default();
            Recorded::of(packed, window, line.response_censored_from_ns)
        });
        self.add_unpacked(Left {
            row: line.row,
            response,
            timeline: line.timeline,
            latency_seconds: line.latency_seconds,
            stages: line.stages,
            hosts: line.hosts,
            workers: line.workers,
        })
    }

    /// The same with its response times unpacked.
    pub(super) fn add_unpacked(&mut self, left: Left) -> Result<(), AddError> {
        let row = left.row;
        self.check(&row)?;
        if let Some(recorded) = left.response {
            let added = self.histograms.insert(row.trial, recorded?);
            added.map_err(|_| AddError::Twice(row.trial))?;
        }
        let seconds = left.timeline.iter().map(|second| second.of_trial(&row));
        self.timeline.extend(seconds);
        if !left.latency_seconds.is_empty() {
            self.latency_seconds.insert(row.trial, left.latency_seconds);
        }
        let stages = left.stages.iter().map(|stage| stage.of_trial(&row));
        self.stages.extend(stages);
        let hosts = left.hosts.iter().map(|host| host.of_trial(&row));
        self.hosts.extend(hosts);
        let workers = left.workers.iter().map(|worker| worker.of_trial(&row));
        self.workers.extend(workers);
        self.rows.push(row);
        Ok(())
    }

    /// Adds a row alone, under the same conditions.
    pub fn add_row(&mut self, row: Row) -> Result<(), AddError> {
        self.check(&row)?;
        self.rows.push(row);
        Ok(())
    }

    fn check(&mut self, row: &Row) -> Result<(), AddError> {
        let first = self.rows.first().map_or(&row.run_id, |first| &first.run_id);
        if row.run_id != *first {
            return Err(AddError::OtherRun {
                run_id: row.run_id.clone(),
                first: first.clone(),
            });
        }
        match self.trials.insert(row.trial) {
            true => Ok(()),
            false => Err(AddError::Twice(row.trial)),
        }
    }

    /// Takes the trials of a block out of the result.
    pub fn set_aside(&mut self, block: u32) {
        let rows = std::mem::take(&mut self.rows);
        let (aside, kept): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.block == block);
        let trials: BTreeSet<u32> = aside.iter().map(|row| row.trial).collect();
        let is_aside = |trial: u32| trials.contains(&trial);
        self.timeline.retain(|line| !is_aside(line.trial));
        self.stages.retain(|line| !is_aside(line.trial));
        self.hosts.retain(|line| !is_aside(line.trial));
        self.workers.retain(|line| !is_aside(line.trial));
        self.histograms.retain(|trial| !is_aside(trial));
        self.latency_seconds.retain(|trial, _| !is_aside(*trial));
        self.rows = kept;
        self.set_aside.extend(aside);
    }
}
