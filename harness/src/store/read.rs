//! Reading the folder of any run: `trials.jsonl`, or what older versions kept. The one place that knows both.
//!
//! Every trial is read or the reading fails, with file and line; only the line that a killed run was writing is passed
//! over, and said. A column that is missing is none, one that is not known is kept and named.

use super::journal::{TRIALS, is_being_written};
use super::run::Run;
use super::{lines, older};
use crate::model::gate_words::GateWords;
use crate::model::row::{COLUMNS, is_column};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The file that says where a run was made.
pub const ENVIRONMENT: &str = "environment.json";
/// A file larger than this, other than `trials.jsonl`, is none of ours: the most trials of a run make a tenth of it.
const MOST_BYTES: u64 = 64 << 20;
/// How many columns a note names.
const MOST_NAMED: usize = 8;

/// The file with what a gate found.
const GATE: &str = "gate.json";

/// A run that was read back.
#[derive(Debug, Clone)]
pub struct SavedRun {
    /// The run.
    pub run: Run,
    /// The files that it was read from, and which are therefore never made again in its folder.
    pub sources: Vec<&'static str>,
    /// Whether it is still being made.
    pub goes_on: bool,
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

/// What is wrong with the contents of a file: its line, and the words.
pub(super) type Fault = (Option<u64>, String);

/// Reads the run in this folder.
///
/// # Errors
/// The first thing that is wrong, with its file and line.
pub fn load(folder: &Path) -> Result<SavedRun, LoadError> {
    let file = folder.join(TRIALS);
    match File::open(&file) {
        Ok(trials) => read_lines(folder, trials),
        Err(e) if e.kind() == ErrorKind::NotFound => older::load(folder),
        Err(e) => Err(LoadError {
            file,
            line: None,
            what: e.to_string(),
        }),
    }
}

fn read_lines(folder: &Path, trials: File) -> Result<SavedRun, LoadError> {
    let in_file = |name: &str| {
        let file = folder.join(name);
        move |(line, what): Fault| LoadError { file, line, what }
    };
    let (environment, missing) = environment(folder).map_err(in_file(ENVIRONMENT))?;
    let mut run = Run {
        environment,
        notes: missing.into_iter().collect(),
        gate: gate_words(folder),
        ..Run::default()
    };
    let lock = trials.try_clone();
    lines::read(trials, &mut run).map_err(in_file(TRIALS))?;
    let goes_on = lock.is_ok_and(is_being_written);
    if !run.complete && goes_on {
        run.notes
            .push("the run goes on: this is what it has so far".into());
    }
    Ok(SavedRun {
        run,
        sources: vec![ENVIRONMENT, TRIALS],
        goes_on,
    })
}

/// What a gate said at its end. Where that cannot be read the run is one all the same.
fn gate_words(folder: &Path) -> Option<GateWords> {
    let bytes = contents(&folder.join(GATE)).ok()??;
    let mut gate: Value = serde_json::from_slice(&bytes).ok()?;
    serde_json::from_value(gate["words"].take()).ok()
}

/// The environment, and what is to be said about it.
fn environment(folder: &Path) -> Result<(Value, Option<String>), Fault> {
    let Some(bytes) = contents(&folder.join(ENVIRONMENT))? else {
        let note = format!("{ENVIRONMENT} is not there: where the run was made is not known");
        return Ok((Value::Object(Map::new()), Some(note)));
    };
    let mut environment: Value = serde_json::from_slice(&bytes).map_err(|e| at(&e))?;
    let Some(fields) = environment.as_object_mut() else {
        return Err((Some(1), "this is no JSON object".into()));
    };
    fields.remove("schema");
    Ok((environment, None))
}

pub(super) fn at(error: &serde_json::Error) -> Fault {
    (Some(error.line() as u64), error.to_string())
}

/// The bytes of a file; none if it is not there.
pub(super) fn contents(file: &Path) -> Result<Option<Vec<u8>>, Fault> {
    let failed = |e: io::Error| (None, e.to_string());
    match fs::metadata(file) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
        Ok(metadata) if metadata.len() > MOST_BYTES => {
            let what = format!(
                "{} bytes are too many for this file of a run",
                metadata.len()
            );
            Err((None, what))
        }
        Ok(_) => fs::read(file).map(Some).map_err(failed),
    }
}

/// The columns that the rows of a run have too many or too few.
#[derive(Debug, Default)]
pub(super) struct Columns {
    unknown: BTreeSet<String>,
    missing: BTreeSet<&'static str>,
}

impl Columns {
    /// Looks at the columns of a row, or of all rows.
    pub fn note<'a>(&mut self, has: &dyn Fn(&str) -> bool, names: impl Iterator<Item = &'a str>) {
        for name in names.filter(|name| !is_column(name)) {
            if !self.unknown.contains(name) {
                self.unknown.insert(name.into());
            }
        }
        let missing = COLUMNS.iter().filter(|column| !has(column));
        self.missing.extend(missing);
    }

    /// What a reader must know about them.
    pub fn notes(&self) -> Vec<String> {
        let unknown: Vec<&str> = self.unknown.iter().map(String::as_str).collect();
        let missing: Vec<&str> = self.missing.iter().copied().collect();
        let mut notes = Vec::new();
        if !missing.is_empty() {
            notes.push(format!(
                "{} not there, as in runs of older versions: shown as n/a",
                are("column", &missing)
            ));
        }
        if !unknown.is_empty() {
            notes.push(format!(
                "{} not known to this version: kept in csv and json, and not shown",
                are("column", &unknown)
            ));
        }
        notes
    }
}

/// `column "a" is`, `columns "a", "b" and 3 more are`.
fn are(what: &str, names: &[&str]) -> String {
    let named: Vec<String> = names
        .iter()
        .take(MOST_NAMED)
        .map(|name| format!("`{}`", name.escape_debug()))
        .collect();
    match (names.len(), names.len() - named.len()) {
        (1, _) => format!("{what} {} is", named[0]),
        (_, 0) => format!("{what}s {} are", named.join(", ")),
        (_, more) => format!("{what}s {} and {more} more are", named.join(", ")),
    }
}
