//! Runs of versions that kept `run.json`, `trials.csv` and, beside them, seconds, workers and response times in a file
//! each. The rows are those of `trials.csv`, which was saved first; `run.json` says where the run was made.

use super::interval_log;
use super::run::Run;
use super::saved::{Columns, Fault, LoadError, SavedRun, contents};
use super::table;
use crate::model::histograms::Histograms;
use crate::model::row::{Row, is_column};
use crate::model::timeline::TimelineRow;
use crate::model::workers::WorkerRow;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The schema of `run.json`.
pub const SCHEMA: &str = "tenk.run/1";

const RUN: &str = "run.json";
const TRIALS: &str = "trials.csv";
const REDONE: &str = "redone.csv";
const TIMELINE: &str = "timeline.csv";
const WORKERS: &str = "workers.csv";
const LOG: &str = "latency.hlog";

/// Reads the run in this folder.
pub(super) fn load(folder: &Path) -> Result<SavedRun, LoadError> {
    let in_file = |name: &str| {
        let file = folder.join(name);
        move |fault: Fault| fault.in_file(file)
    };
    let read = |name: &str| contents(&folder.join(name)).map_err(in_file(name));
    let (json, csv) = (read(RUN)?, read(TRIALS)?);
    if json.is_none() && csv.is_none() {
        let what = "there is neither trials.jsonl nor run.json nor trials.csv: is this the folder of a run?";
        return Err(Fault::from((None, what.to_string())).in_file(folder.into()));
    }
    let json = json.map(|bytes| parse(&bytes)).transpose();
    let json = json.map_err(in_file(RUN))?;
    let mut columns = Columns::default();
    let csv = csv
        .map(|bytes| table::rows(&bytes, &mut columns))
        .transpose();
    let csv = csv.map_err(in_file(TRIALS))?;
    let mut run = Run {
        is_older: true,
        ..Run::default()
    };
    match (json, csv) {
        (Some(json), Some(rows)) => {
            add_rows(&mut run, rows).map_err(in_file(TRIALS))?;
            complete(&mut run, json, &mut columns).map_err(in_file(TRIALS))?;
        }
        (Some(json), None) => rows_of(&mut run, json, &mut columns).map_err(in_file(RUN))?,
        (None, rows) => {
            add_rows(&mut run, rows.unwrap_or_default()).map_err(in_file(TRIALS))?;
            let note = "run.json is not there: where the run was made is not known";
            run.notes.push(note.into());
        }
    }
    run.notes.extend(columns.notes());
    beside(folder, &mut run)?;
    Ok(SavedRun {
        run,
        sources: vec![RUN, TRIALS, REDONE, TIMELINE, WORKERS, LOG],
        goes_on: false,
    })
}

/// The part of `run.json` that is read back; its summary and ranking are made again from the rows.
#[derive(Debug, Deserialize)]
struct Document {
    schema: Option<String>,
    complete: bool,
    #[serde(default)]
    environment: Value,
    /// None where they are left to `trials.csv` alone, as in pools that a bench keeps.
    trials: Option<Vec<Map<String, Value>>>,
}

fn parse(bytes: &[u8]) -> Result<Document, Fault> {
    let document: Document = serde_json::from_slice(bytes)?;
    match document.schema.as_deref() {
        Some(SCHEMA) => Ok(document),
        // What stood there until the first trial was saved.
        None if document.trials.as_ref().is_none_or(Vec::is_empty) => Ok(document),
        other => {
            let what = format!(
                "the schema is `{}`; this program reads {SCHEMA}",
                other.unwrap_or_default().escape_debug()
            );
            Err((line_of(bytes, "schema"), what).into())
        }
    }
}

/// The line that a key first stands in.
fn line_of(json: &[u8], key: &str) -> Option<u64> {
    let text = String::from_utf8_lossy(json);
    let quoted = format!("\"{key}\":");
    let line = text.lines().position(|line| line.contains(&quoted))?;
    Some(line as u64 + 1)
}

fn add_rows(run: &mut Run, rows: Vec<(u64, Row)>) -> Result<(), Fault> {
    for (line, row) in rows {
        run.add_row(row)
            .map_err(|e| Fault::from_error(e).at_line(Some(line)))?;
    }
    Ok(())
}

/// What only `run.json` says of a run whose rows are there.
fn complete(run: &mut Run, json: Document, columns: &mut Columns) -> Result<(), Fault> {
    run.environment = json.environment;
    run.complete = json.complete;
    let Some(of_json) = json.trials else {
        return Ok(());
    };
    let (rows, trials) = (run.rows.len(), of_json.len());
    if rows < trials {
        let what = format!("{rows} rows, but run.json has {trials} trials: the file was cut off");
        return Err((None, what).into());
    }
    if rows > trials {
        run.complete = false;
        run.notes.push(format!(
            "run.json has {trials} of the {rows} trials in trials.csv: the run was ended while it saved them"
        ));
    }
    let of = |row: &Map<String, Value>| row.get("trial").and_then(Value::as_u64);
    let trials = of_json.into_iter().filter_map(|row| Some((of(&row)?, row)));
    let mut trials: BTreeMap<u64, Map<String, Value>> = trials.collect();
    for row in &mut run.rows {
        let more = trials.remove(&u64::from(row.trial)).unwrap_or_default();
        let more = more.into_iter().filter(|(name, _)| !is_column(name));
        for (name, value) in more {
            columns.note(&|_| true, std::iter::once(name.as_str()));
            row.unknown.entry(name).or_insert(value);
        }
    }
    Ok(())
}

/// The run as `run.json` alone has it.
fn rows_of(run: &mut Run, json: Document, columns: &mut Columns) -> Result<(), Fault> {
    run.environment = json.environment;
    run.complete = json.complete;
    if json.schema.is_none() {
        let note = "the run was ended before its first trial was saved";
        run.notes.push(note.into());
    }
    for (n, trial) in json.trials.into_iter().flatten().enumerate() {
        let names = trial.keys().map(String::as_str);
        columns.note(&|column| trial.contains_key(column), names);
        let name = format!("trials[{n}]");
        let row = super::lines::row_of(trial).map_err(|fault| fault.of_part(&name))?;
        let added = run.add_row(row);
        added.map_err(|e| Fault::from_error(e).of_part(&name))?;
    }
    Ok(())
}

/// What stands beside the rows. A file that is not there is said, and its charts are left out.
fn beside(folder: &Path, run: &mut Run) -> Result<(), LoadError> {
    let trials: BTreeMap<u32, &Row> = run.rows.iter().map(|row| (row.trial, row)).collect();
    let mut missing = Vec::new();
    let timeline = part(folder, TIMELINE, &mut missing, |bytes| {
        table::lines(bytes, |line: &TimelineRow| {
            belongs(&trials, line.trial, &line.run_id, &line.arm)
        })
    })?;
    let workers = part(folder, WORKERS, &mut missing, |bytes| {
        table::lines(bytes, |line: &WorkerRow| {
            belongs(&trials, line.trial, &line.run_id, &line.arm)
        })
    })?;
    let histograms: Histograms = part(folder, LOG, &mut missing, |bytes| {
        interval_log::histograms(bytes, &trials)
    })?;
    let mut columns = Columns::default();
    let redone = part(folder, REDONE, &mut Vec::new(), |bytes| {
        table::rows(bytes, &mut columns)
    })?;
    run.set_aside = redone.into_iter().map(|(_, row)| row).collect();
    run.notes.extend(missing);
    (run.timeline, run.workers, run.histograms) = (timeline, workers, histograms);
    Ok(())
}

/// One file: what is in it, or nothing if it is not there.
fn part<T: Default>(
    folder: &Path,
    name: &'static str,
    missing: &mut Vec<String>,
    parse: impl FnOnce(&[u8]) -> Result<T, Fault>,
) -> Result<T, LoadError> {
    let file = folder.join(name);
    let parsed = match contents(&file) {
        Ok(Some(bytes)) => parse(&bytes),
        Ok(None) => {
            missing.push(format!("{name} is not there: its charts are left out"));
            Ok(T::default())
        }
        Err(fault) => Err(fault),
    };
    parsed.map_err(|fault| fault.in_file(file))
}

fn belongs(
    trials: &BTreeMap<u32, &Row>,
    trial: u32,
    run_id: &str,
    arm: &str,
) -> Result<(), String> {
    match trials.get(&trial) {
        Some(row) if row.run_id == run_id && row.arm == arm => Ok(()),
        Some(row) => Err(format!(
            "trial {trial} of {arm:?} in run {run_id:?}, but trials.csv has it as {:?} of {:?}",
            row.arm, row.run_id
        )),
        None => Err(format!("trial {trial} is not in trials.csv")),
    }
}
