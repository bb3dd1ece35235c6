//! Reading `trials.jsonl`, a line at a time.

use super::line::{End, SetAside, TrialLine};
use super::run::Run;
use super::saved::{Columns, Fault};
use crate::model::histograms::Window;
use crate::model::instrumented::{Instrumented, Profile, Syscalls};
use crate::model::latency_seconds::LatencySecond;
use crate::model::row::{COLUMNS, Row};
use crate::model::stages::Stage;
use crate::model::timeline::WindowSecond;
use crate::model::took::Took;
use crate::model::workers::Worker;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};

/// A longer line is none of ours: a day's seconds and five histograms take half of it.
const MOST_IN_A_LINE: u64 = 16 << 20;

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
    workers: Vec<Worker>,
    took: Option<Took>,
    perf_events_open: Option<u64>,
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
    let mut columns = Columns::default();
    let mut ended = false;
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let at = |what: String| Fault::from((Some(number), what));
        let mut rest = reader.by_ref().take(MOST_IN_A_LINE + 1);
        let read = rest.read_until(b'\n', &mut bytes);
        match read.map_err(|e| at(e.to_string()).caused_by(e))? as u64 {
            0 => break,
            n if n > MOST_IN_A_LINE => {
                return Err(at("the line is longer than any of ours".into()));
            }
            _ if bytes.trim_ascii().is_empty() => continue,
            _ => {}
        }
        let line: Line = match serde_json::from_slice(bytes.trim_ascii_end()) {
            Ok(line) => line,
            // The run was killed while it wrote this line, so that nothing follows it.
            Err(e) if !bytes.ends_with(b"\n") && !e.is_data() => {
                run.notes.push(format!(
                    "line {number} of trials.jsonl is torn (the run was ended while it wrote it): passed over"
                ));
                break;
            }
            Err(e) => {
                // The line is known better here: the parser sees only this one.
                let what = e.to_string();
                let what = what.split(" at line ").next().unwrap_or_default();
                return Err(at(format!("column {}: {what}", e.column())).caused_by(e));
            }
        };
        if ended {
            return Err(at("a line after the end of the run".into()));
        }
        ended = line.end.is_some();
        let applied = apply(line, &bytes, run, &mut columns);
        applied.map_err(|fault| fault.at_line(Some(number)))?;
    }
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

/// Blocks that were set aside and never made again.
fn blocks_not_run_again(run: &Run) -> Vec<String> {
    let blocks = |rows: &[Row]| -> BTreeSet<u32> { rows.iter().map(|row| row.block).collect() };
    let waiting = &blocks(&run.set_aside) - &blocks(&run.rows);
    waiting.iter().map(u32::to_string).collect()
}

fn apply(line: Line, bytes: &[u8], run: &mut Run, columns: &mut Columns) -> Result<(), Fault> {
    if let Some(SetAside { block }) = line.set_aside {
        run.set_aside(block);
    }
    if let Some(End { complete }) = line.end {
        run.complete = complete;
    }
    if let Some(looked) = line.instrumented {
        run.instrumented.push(Instrumented {
            row: row_of(looked.row)?,
            syscalls: looked.syscalls,
            profile: looked.profile,
            notes: looked.notes,
        });
        return Ok(());
    }
    let Some(row) = line.row else {
        if line.set_aside.is_none() && line.end.is_none() {
            run.notes.push(unknown_kind(bytes));
        }
        return Ok(());
    };
    columns.note(
        &|column| row.contains_key(column),
        row.keys().map(String::as_str),
    );
    let added = run.add(TrialLine {
        row: row_of(row)?,
        window: line.window,
        response_censored_from_ns: line.response_censored_from_ns,
        histograms: line.histograms,
        timeline: line.timeline,
        latency_seconds: line.latency_seconds,
        stages: line.stages,
        workers: line.workers,
        took: line.took,
        perf_events_open: line.perf_events_open,
    });
    added.map_err(Fault::from_error)
}

pub(super) fn row_of(columns: Map<String, Value>) -> Result<Row, Fault> {
    Row::from_json(columns.clone()).map_err(|error| {
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
            Row::from_json(row).is_err()
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
