//! Reading `trials.jsonl`, a line at a time.

use super::line::{End, SetAside};
use super::run::{Left, RESPONSE, Run};
use super::saved::{Columns, Fault};
use crate::base::parallel::in_parallel;
use crate::model::histograms::{HistogramError, Recorded, Window};
use crate::model::instrumented::{Instrumented, Profile, Syscalls};
use crate::model::latency_seconds::LatencySecond;
use crate::model::load_hosts::LoadHost;
use crate::model::row::{COLUMNS, Row};
use crate::model::stages::Stage;
use crate::model::timeline::WindowSecond;
use crate::model::workers::Worker;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};

/// A longer line is none of ours: a day's seconds and five histograms take half of it.
const MOST_IN_A_LINE: u64 = 16 << 20;

/// So many bytes are read before they are parsed, on all CPUs; the longest line may come on top.
const BATCH: usize = 4 << 20;

/// A line as it is read: a trial has a row, a remark has what it says.
#[derive(Debug, Deserialize)]
struct Line {
    row: Option<Map<String, Value>>,
    window: Option<Window>,
    response_censored_from_ns: Option<u64>,
    #[serde(default)]
    histograms: BTreeMap<String, String>,
    #[serde(default)]
    timeline: Vec<WindowSecond>,
    #[serde(default)]
    latency_seconds: Vec<LatencySecond>,
    #[serde(default)]
    stages: Vec<Stage>,
    #[serde(default)]
    hosts: Vec<LoadHost>,
    #[serde(default)]
    workers: Vec<Worker>,
    instrumented: Option<Looked>,
    set_aside: Option<SetAside>,
    end: Option<End>,
}

/// An instrumented trial as it is read.
#[derive(Debug, Deserialize)]
struct Looked {
    row: Map<String, Value>,
    syscalls: Option<Syscalls>,
    profile: Option<Profile>,
    #[serde(default)]
    notes: Vec<String>,
}

/// Adds everything that these lines say to the run.
pub(super) fn read(file: impl Read, run: &mut Run) -> Result<(), Fault> {
    let mut reader = BufReader::new(file);
    let mut reading = Reading {
        run,
        columns: Columns::default(),
        number: 0,
        has_ended: false,
    };
    loop {
        let batch = batch(&mut reader);
        if batch.is_empty() {
            break;
        }
        let parsed = in_parallel(&batch, |line| line.as_deref().ok().map(Parsed::of));
        for (line, parsed) in batch.into_iter().zip(parsed) {
            reading.number += 1;
            let added = match (line, parsed) {
                (Ok(line), Some(parsed)) => reading.add(&line, parsed),
                (line, _) => line.map(drop),
            };
            added.map_err(|fault| fault.at_line(Some(reading.number)))?;
        }
    }
    let Reading { run, columns, .. } = reading;
    run.notes.extend(columns.notes());
    let waiting = blocks_not_run_again(run);
    if !waiting.is_empty() {
        run.notes.push(format!(
            "the run was ended before what was to be run again was: block {} is missing",
            waiting.join(", ")
        ));
    }
    Ok(())
}

/// The next lines, the last one perhaps what kept it from being read; none at the end.
fn batch(reader: &mut impl BufRead) -> Vec<Result<Vec<u8>, Fault>> {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH {
        match line(reader) {
            Ok(line) if line.is_empty() => break,
            Ok(line) => {
                bytes += line.len();
                lines.push(Ok(line));
            }
            Err(fault) => {
                lines.push(Err(fault));
                break;
            }
        }
    }
    lines
}

/// The next line with its line feed; empty at the end.
fn line(reader: &mut impl BufRead) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut rest = reader.take(MOST_IN_A_LINE + 1);
    match rest.read_until(b'\n', &mut bytes)? as u64 {
        n if n > MOST_IN_A_LINE => Err("the line is longer than any of ours".to_string().into()),
        _ => Ok(bytes),
    }
}

/// A line, with everything unpacked that can be without knowing the others.
enum Parsed {
    /// Nothing stands in it.
    Blank,
    /// It is none of ours.
    Wrong(serde_json::Error),
    /// It says something.
    Line(Box<Line>, Option<Box<Trial>>),
}

/// What a line says of a trial, unpacked.
struct Trial {
    row: Result<Row, Fault>,
    response: Option<Result<Recorded, HistogramError>>,
    columns: Columns,
}

impl Parsed {
    fn of(bytes: &[u8]) -> Parsed {
        if bytes.trim_ascii().is_empty() {
            return Parsed::Blank;
        }
        match serde_json::from_slice::<Line>(bytes.trim_ascii_end()) {
            Err(error) => Parsed::Wrong(error),
            Ok(mut line) => {
                let trial = line.row.take().map(|row| Box::new(Trial::of(row, &line)));
                Parsed::Line(Box::new(line), trial)
            }
        }
    }
}

impl Trial {
    fn of(row: Map<String, Value>, line: &Line) -> Trial {
        let mut columns = Columns::default();
        columns.note(
            &|column| row.contains_key(column),
            row.keys().map(String::as_str),
        );
        Trial {
            columns,
            row: row_of(row),
            response: line.histograms.get(RESPONSE).map(|packed| {
                let window = line.window.unwrap_or_default();
                Recorded::of(packed, window, line.response_censored_from_ns)
            }),
        }
    }
}

/// A run that is being read.
struct Reading<'a> {
    run: &'a mut Run,
    columns: Columns,
    /// Lines so far.
    number: u64,
    /// Whether one of them was the run's end.
    has_ended: bool,
}

impl Reading<'_> {
    /// Adds a line.
    fn add(&mut self, bytes: &[u8], parsed: Parsed) -> Result<(), Fault> {
        let (line, trial) = match parsed {
            Parsed::Blank => return Ok(()),
            Parsed::Line(line, trial) => (*line, trial.map(|trial| *trial)),
            // The run was killed while it wrote this line, so that nothing follows it.
            Parsed::Wrong(e) if !bytes.ends_with(b"\n") && !e.is_data() => {
                self.run.notes.push(format!(
                    "line {} of trials.jsonl is torn (the run was ended while it wrote it): passed over",
                    self.number
                ));
                return Ok(());
            }
            Parsed::Wrong(e) => {
                // The line is known better here: the parser sees only this one.
                let what = e.to_string();
                let what = what.split(" at line ").next().unwrap_or_default();
                let what = format!("column {}: {what}", e.column());
                return Err(Fault::from(what).caused_by(e));
            }
        };
        if self.has_ended {
            return Err("a line after the end of the run".to_string().into());
        }
        self.has_ended = line.end.is_some();
        let is_known = trial.is_some()
            || line.set_aside.is_some()
            || line.end.is_some()
            || line.instrumented.is_some();
        if !is_known {
            self.run.notes.push(unknown_kind(bytes));
        }
        self.apply(line, trial)
    }

    fn apply(&mut self, line: Line, trial: Option<Trial>) -> Result<(), Fault> {
        if let Some(SetAside { block }) = line.set_aside {
            self.run.set_aside(block);
        }
        if let Some(End { complete }) = line.end {
            self.run.complete = complete;
        }
        if let Some(looked) = line.instrumented {
            self.run.instrumented.push(Instrumented {
                row: row_of(looked.row)?,
                syscalls: looked.syscalls,
                profile: looked.profile,
                notes: looked.notes,
            });
            return Ok(());
        }
        let Some(trial) = trial else {
            return Ok(());
        };
        self.columns.add(trial.columns);
        let left = Left {
            row: trial.row?,
            response: trial.response,
            timeline: line.timeline,
            latency_seconds: line.latency_seconds,
            stages: line.stages,
            hosts: line.hosts,
            workers: line.workers,
        };
        self.run.add_unpacked(left).map_err(Fault::from_error)
    }
}

/// Blocks that were set aside and never made again.
fn blocks_not_run_again(run: &Run) -> Vec<String> {
    let blocks = |rows: &[Row]| -> BTreeSet<u32> { rows.iter().map(|row| row.block).collect() };
    let waiting = &blocks(&run.set_aside) - &blocks(&run.rows);
    waiting.iter().map(u32::to_string).collect()
}

pub(super) fn row_of(columns: Map<String, Value>) -> Result<Row, Fault> {
    Row::from_json(&columns).map_err(|error| {
        let fault = Fault::from_error(error);
        match column_at_fault(&columns) {
            Some(column) => fault.of_part(&format!("column `{column}`")),
            None => fault,
        }
    })
}

/// The column whose value is none of its kind: the error itself does not say.
fn column_at_fault(columns: &Map<String, Value>) -> Option<&'static str> {
    let Ok(Value::Object(blank)) = serde_json::to_value(Row::blank()) else {
        return None;
    };
    let is_at_fault = |column: &&&str| {
        let value = columns.get(**column);
        value.is_some_and(|value| {
            let mut row = blank.clone();
            row.insert((**column).into(), value.clone());
            Row::from_json(&row).is_err()
        })
    };
    COLUMNS.iter().find(is_at_fault).copied()
}

/// A line of a newer version, by its keys.
fn unknown_kind(bytes: &[u8]) -> String {
    let keys: BTreeMap<String, IgnoredAny> = serde_json::from_slice(bytes).unwrap_or_default();
    let names: Vec<&str> = keys.keys().take(3).map(String::as_str).collect();
    format!(
        "a line of trials.jsonl is of no kind that this version knows (`{}`): passed over",
        names.join("`, `").escape_debug()
    )
}
