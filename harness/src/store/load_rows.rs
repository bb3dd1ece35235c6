//! Reading a run folder back: `trials.csv` and `run.json`, checked against each other.
//!
//! Every row is read or the reading fails, with file and line: a truncated, corrupt or foreign file never turns
//! into fewer rows.

use crate::model::row::{COLUMNS, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The schema of `run.json` that this program writes and reads.
pub const SCHEMA: &str = "tenk.run/1";

/// A file larger than this is none of ours: the most trials of a run make about a tenth of it.
const MOST_BYTES: u64 = 1 << 30;

/// A run that was saved.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedRun {
    /// All its rows.
    pub rows: Vec<Row>,
    /// The text of `run.json`.
    pub run_json: String,
    /// Whether the run came to its end.
    pub complete: bool,
    /// What the reader of the rows must know.
    pub note: Option<String>,
    /// What must stand beside the rows; unknown of a run that was ended while it saved, and of older ones.
    pub beside: Option<Beside>,
}

/// How much a run saved beside its rows, so that what was lost since is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// Lines of timeline.csv.
    pub seconds: usize,
    /// Lines of workers.csv.
    pub workers: usize,
    /// Histograms in latency.hlog.
    pub histograms: usize,
}

/// Why a run cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, if the fault has one.
    pub line: Option<u64>,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(f, "{}{line}: {}", self.file.display(), self.what)
    }
}

impl std::error::Error for LoadError {}

/// What a check of one file's contents found wrong: its line, and the words.
type Fault = (Option<u64>, String);

/// Reads the run in this folder.
pub fn load(folder: &Path) -> Result<SavedRun, LoadError> {
    let in_file = |name: &str| {
        let file = folder.join(name);
        move |(line, what): Fault| LoadError { file, line, what }
    };
    let json = read(&folder.join("run.json")).map_err(in_file("run.json"))?;
    let csv = read(&folder.join("trials.csv")).map_err(in_file("trials.csv"))?;
    let run = parse_json(&json).map_err(in_file("run.json"))?;
    let rows = parse_csv(&csv).map_err(in_file("trials.csv"))?;
    let note = agree(&rows, &run.trials).map_err(in_file("trials.csv"))?;
    Ok(SavedRun {
        rows: rows.into_iter().map(|(_, row)| row).collect(),
        run_json: String::from_utf8_lossy(&json).into_owned(),
        complete: run.complete,
        beside: run.beside.filter(|_| note.is_none()),
        note,
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    let failed = |e: std::io::Error| (None, format!("{e}; is this the folder of a run?"));
    match fs::metadata(file).map_err(failed)?.len() {
        n if n > MOST_BYTES => Err((None, format!("{n} bytes are too many for a file of a run"))),
        _ => fs::read(file).map_err(failed),
    }
}

/// The part of `run.json` that is read back; its summary and ranking are made again from the rows.
#[derive(Debug, Deserialize)]
struct Run {
    complete: bool,
    trials: Vec<Row>,
    beside: Option<Beside>,
}

fn parse_json(bytes: &[u8]) -> Result<Run, Fault> {
    let at = |e: serde_json::Error| (Some(e.line() as u64), e.to_string());
    let document: Map<String, Value> = serde_json::from_slice(bytes).map_err(at)?;
    match document.get("schema").and_then(Value::as_str) {
        Some(SCHEMA) => {}
        Some(other) => {
            let what = format!("the schema is `{other}`; this program reads {SCHEMA}");
            return Err((line_of(bytes, "schema"), what));
        }
        None => {
            let what = "there is no schema: the run was ended before its first trial was saved, or this is no run";
            return Err((None, what.into()));
        }
    }
    let trials = document.get("trials").and_then(Value::as_array);
    for (n, trial) in trials.into_iter().flatten().enumerate() {
        let keys: Vec<&str> = trial
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .collect();
        check_columns(&keys)
            .map_err(|(column, what)| (line_of(bytes, &column), format!("trials[{n}]: {what}")))?;
    }
    serde_json::from_slice(bytes).map_err(at)
}

/// The line that a key first stands in.
fn line_of(json: &[u8], key: &str) -> Option<u64> {
    let text = String::from_utf8_lossy(json);
    let line = text
        .lines()
        .position(|line| line.contains(&format!("\"{key}\":")))?;
    Some(line as u64 + 1)
}

/// Whether these are all the columns of a row and no other; the first that is not, and what is wrong with it.
fn check_columns(names: &[&str]) -> Result<(), (String, String)> {
    let wrong = |column: &str, what: &str| {
        let what = format!(
            "column `{}` {what}: written by another version of this program, or by another program",
            column.escape_debug()
        );
        Err((column.to_string(), what))
    };
    let mut seen = BTreeSet::new();
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(name)) {
        return wrong(unknown, "is not one of this program's");
    }
    if let Some(double) = names.iter().find(|name| !seen.insert(**name)) {
        return wrong(double, "is there twice");
    }
    match COLUMNS.iter().find(|column| !seen.contains(**column)) {
        Some(missing) => wrong(missing, "is missing"),
        None => Ok(()),
    }
}

/// The rows with the lines they end at.
fn parse_csv(bytes: &[u8]) -> Result<Vec<(u64, Row)>, Fault> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.iter().filter(|b| **b == b'\n').count() as u64;
    let mut reader = csv::Reader::from_reader(bytes);
    let headers = reader
        .headers()
        .map_err(|e| csv_fault(&e, &csv::StringRecord::new()))?
        .clone();
    check_columns(&headers.iter().collect::<Vec<_>>()).map_err(|(_, what)| (Some(1), what))?;
    // Every line ends with a line feed; a figure that was cut short would otherwise pass for a smaller one.
    if !bytes.ends_with(b"\n") {
        return Err((
            Some(lines + 1),
            "the file ends inside this line: it was cut off".into(),
        ));
    }
    let mut rows: Vec<(u64, Row)> = Vec::new();
    let mut trials = BTreeSet::new();
    for record in reader.records() {
        let record = record.map_err(|e| csv_fault(&e, &headers))?;
        let line = record.position().map_or(0, csv::Position::line);
        let row: Row = record
            .deserialize(Some(&headers))
            .map_err(|e| (Some(line), csv_fault(&e, &headers).1))?;
        check_finite(&headers, &record, &row).map_err(|what| (Some(line), what))?;
        let first = rows.first().map_or(&row.run_id, |(_, first)| &first.run_id);
        if row.run_id != *first {
            let what = format!(
                "this row is of the run {:?}, the rows before it of {first:?}",
                row.run_id
            );
            return Err((Some(line), what));
        }
        if !trials.insert(row.trial) {
            return Err((Some(line), format!("trial {} is there twice", row.trial)));
        }
        rows.push((line, row));
    }
    Ok(rows)
}

fn csv_fault(error: &csv::Error, headers: &csv::StringRecord) -> Fault {
    let line = error.position().map(csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => {
            let column = err
                .field()
                .and_then(|n| headers.get(n as usize))
                .unwrap_or("the row");
            format!("{column}: {}", err.kind())
        }
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("{len} cells where there should be {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "this is not UTF-8 text".into(),
        _ => error.to_string(),
    };
    (line, what)
}

/// `NaN` and `inf` are read as numbers, and no trial measures them.
fn check_finite(
    headers: &csv::StringRecord,
    record: &csv::StringRecord,
    row: &Row,
) -> Result<(), String> {
    let json = serde_json::to_value(row).map_err(|e| e.to_string())?;
    let lost = |(name, cell): &(&str, &str)| !cell.is_empty() && json[*name].is_null();
    match headers.iter().zip(record).find(lost) {
        Some((name, cell)) => Err(format!("{name} is `{cell}`, which is no figure")),
        None => Ok(()),
    }
}

/// Whether both files tell of the same trials. `trials.csv` is saved first, so a run that was killed between the
/// two saves has one row more there: that is no fault, and said.
fn agree(csv: &[(u64, Row)], json: &[Row]) -> Result<Option<String>, Fault> {
    let key = |row: &Row| (row.run_id.clone(), row.block, row.trial, row.arm.clone());
    for ((line, a), b) in csv.iter().zip(json) {
        if key(a) != key(b) {
            let what = format!(
                "trial {} of {:?} where run.json has trial {} of {:?}",
                a.trial, a.arm, b.trial, b.arm
            );
            return Err((Some(*line), what));
        }
        if let Some(column) = differing(a, b) {
            let what = format!(
                "`{column}` of trial {} is not what run.json has: one of the two was changed",
                a.trial
            );
            return Err((Some(*line), what));
        }
    }
    let last = csv.last().map_or(1, |(line, _)| *line);
    match (csv.len(), json.len()) {
        (rows, trials) if rows == trials => Ok(None),
        (rows, trials) if rows == trials + 1 => Ok(Some(format!(
            "the run was ended while it saved trial {rows}: run.json lacks it, trials.csv has it"
        ))),
        (rows, trials) if rows < trials => Err((
            Some(last),
            format!("the file ends after {rows} of the {trials} rows in run.json: it was cut off"),
        )),
        (rows, trials) => Err((
            Some(last),
            format!("{rows} rows, but run.json has {trials} trials"),
        )),
    }
}

/// The first column in which two rows differ. Numbers that were written as text twice may differ in their last bit.
fn differing(a: &Row, b: &Row) -> Option<String> {
    let cells = |row: &Row| serde_json::to_value(row).ok();
    let (a, b) = (cells(a)?, cells(b)?);
    let same = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) => (x - y).abs() <= 1e-12 * x.abs().max(y.abs()),
        _ => a == b,
    };
    let differs = |(name, value): &(&String, &Value)| {
        !b.get(name.as_str()).is_some_and(|other| same(value, other))
    };
    a.as_object()?
        .iter()
        .find(differs)
        .map(|(name, _)| name.clone())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::row::{Reason, Reasons, to_csv};
    use proptest::prelude::*;
    use tempfile::TempDir;

    pub(crate) fn rows(count: u32) -> Vec<Row> {
        let row = |trial: u32| Row {
            run_id: "run-1".into(),
            block: trial,
            trial,
            seed: u64::MAX,
            arm: "prefork:accept=mutex,workers=64".into(),
            requests_per_s: Some(0.1 + f64::from(trial) / 3.0),
            errors: Some(12),
            reasons: Reasons(vec![Reason {
                code: "W08".into(),
                text: "a \"quoted\" word,\nand a line".into(),
            }]),
            foreign_cpu_fraction: Some(0.0123),
            ..Row::blank()
        };
        (1..=count).map(row).collect()
    }

    pub(crate) fn json(rows: &[Row]) -> String {
        let value = serde_json::json!({
            "schema": SCHEMA, "run_dir": "results/run-1", "complete": true,
            "environment": {"seed": 1}, "trials": rows, "summary": [],
        });
        serde_json::to_string_pretty(&value).unwrap() + "\n"
    }

    pub(crate) fn folder(csv: &[u8], json: &[u8]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("trials.csv"), csv).unwrap();
        fs::write(folder.path().join("run.json"), json).unwrap();
        folder
    }

    fn fault(csv: &[u8], json: &[u8]) -> LoadError {
        load(folder(csv, json).path()).unwrap_err()
    }

    fn good(count: u32) -> (Vec<u8>, String) {
        (to_csv(&rows(count)).unwrap(), json(&rows(count)))
    }

    #[test]
    fn what_was_saved_is_read_back() {
        for count in [0, 1, 3] {
            let (csv, json) = good(count);
            let run = load(folder(&csv, json.as_bytes()).path()).unwrap();
            assert_eq!(run.rows, rows(count));
            assert_eq!((run.complete, run.note, run.run_json), (true, None, json));
        }
        // A spreadsheet's marks and line ends change nothing.
        let (csv, json) = good(0);
        let text = String::from_utf8(csv).unwrap().replace('\n', "\r\n");
        assert!(load(folder(format!("\u{feff}{text}").as_bytes(), json.as_bytes()).path()).is_ok());
    }

    #[test]
    fn a_run_killed_between_two_saves_is_read_and_said() {
        let run = load(folder(&good(3).0, good(2).1.as_bytes()).path()).unwrap();
        assert_eq!(run.rows.len(), 3);
        assert!(run.note.unwrap().contains("trial 3"));
        assert!(
            fault(&good(4).0, good(2).1.as_bytes())
                .what
                .contains("4 rows")
        );
    }

    #[test]
    fn every_fault_has_its_file_and_line() {
        let (csv, json) = good(2);
        let text = String::from_utf8(csv.clone()).unwrap();
        let csv_fault = |from: &str, to: &str| {
            fault(text.replacen(from, to, 1).as_bytes(), json.as_bytes()).to_string()
        };
        // The reasons hold a line feed, so the second row begins in line 4.
        let second = text.find("run-1,2").unwrap();
        let columns = COLUMNS.len();
        let too_many = format!(
            "trials.csv:2: {} cells where there should be {columns}",
            columns + 1
        );
        let foreign = format!("{}other{}", &text[..second], &text[second + 5..]);
        for (message, expected) in [
            (
                csv_fault("ok", "fine"),
                "trials.csv:2: the row: unknown variant `fine`",
            ),
            (csv_fault(",12,", ",-12,"), "trials.csv:2: errors: "),
            (
                csv_fault(",0.0123\n", ",NaN\n"),
                "trials.csv:2: foreign_cpu_fraction is `NaN`",
            ),
            (csv_fault(",0.0123\n", ",0.0123,\n"), &too_many),
            (
                csv_fault("run_id,", "run,"),
                "trials.csv:1: column `run` is not one",
            ),
            (
                csv_fault("jain,", ""),
                "trials.csv:1: column `jain` is missing",
            ),
            (
                csv_fault("jain,", "arm,"),
                "trials.csv:1: column `arm` is there twice",
            ),
            (
                csv_fault("run-1,2,2", "run-1,2,1"),
                "trials.csv:4: trial 1 is there twice",
            ),
            (csv_fault("run-1,2,2", "run-1,2,7"), "trials.csv:4: trial 7"),
            (
                fault(foreign.as_bytes(), json.as_bytes()).to_string(),
                "trials.csv:4: this row is of the run \"other\"",
            ),
            (
                fault(b"\xff\xfe\x00", json.as_bytes()).to_string(),
                "trials.csv:1: ",
            ),
            (
                fault(b"", json.as_bytes()).to_string(),
                "trials.csv:1: column `run_id` is missing",
            ),
            (
                fault(b"<html>\n", json.as_bytes()).to_string(),
                "trials.csv:1: column `<html>`",
            ),
        ] {
            assert!(message.contains(expected), "{message}\nexpected {expected}");
        }
    }

    #[test]
    fn a_foreign_or_older_run_json_is_refused() {
        let (csv, json) = good(1);
        let json_fault =
            |from: &str, to: &str| fault(&csv, json.replacen(from, to, 1).as_bytes()).to_string();
        for (message, expected) in [
            (
                json_fault("tenk.run/1", "tenk.run/0"),
                "the schema is `tenk.run/0`; this program reads tenk.run/1",
            ),
            (
                json_fault("\"jain\": null,", ""),
                "trials[0]: column `jain` is missing",
            ),
            (
                json_fault("\"jain\"", "\"jane\""),
                "trials[0]: column `jane` is not one",
            ),
            (json_fault("\"ok\"", "\"fine\""), "unknown variant `fine`"),
            (
                fault(&csv, b"{\"complete\":false}\n").to_string(),
                "run.json: there is no schema",
            ),
            (fault(&csv, b"[]").to_string(), "run.json:1: "),
        ] {
            assert!(message.contains(expected), "{message}\nexpected {expected}");
        }
        let line = json
            .lines()
            .position(|line| line.contains("\"status\""))
            .unwrap()
            + 1;
        assert!(json_fault("\"ok\"", "\"fine\"").contains(&format!("run.json:{line}: ")));
        let nowhere = load(Path::new("/no/such/run")).unwrap_err().to_string();
        assert!(nowhere.starts_with("/no/such/run/run.json: "), "{nowhere}");
    }

    #[test]
    fn no_truncation_passes_for_a_shorter_run() {
        let (csv, json) = good(2);
        let folder = folder(&csv, json.as_bytes());
        for cut in 0..csv.len() {
            fs::write(folder.path().join("trials.csv"), &csv[..cut]).unwrap();
            let error = load(folder.path()).unwrap_err();
            assert!(
                error.file.ends_with("trials.csv") && error.line.is_some(),
                "{cut}: {error}"
            );
        }
        // Only the line feed at the end may be missing from a JSON document.
        for cut in 0..json.len() - 1 {
            let (line, what) = parse_json(&json.as_bytes()[..cut]).unwrap_err();
            assert!(line.is_some(), "{cut}: {what}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_loses_a_row(at in any::<prop::sample::Index>(), byte: u8) {
            let (mut csv, json) = good(2);
            let at = at.index(csv.len());
            csv[at] = byte;
            // A changed figure cannot be told from a right one; a lost row can.
            if let Ok(rows) = parse_csv(&csv) {
                prop_assert_eq!(rows.len(), 2);
            }
            let mut json = json.into_bytes();
            let at = at % json.len();
            json[at] = byte;
            if let Ok(run) = parse_json(&json) {
                prop_assert_eq!(run.trials.len(), 2);
            }
        }

        #[test]
        fn truncated_and_overwritten_files_are_answered(
            cut in any::<prop::sample::Index>(),
            noise in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let (csv, json) = good(2);
            let spoilt = |bytes: &[u8]| [&bytes[..cut.index(bytes.len())], &noise[..]].concat();
            let _ = parse_csv(&spoilt(&csv));
            let _ = parse_json(&spoilt(json.as_bytes()));
        }
    }
}
