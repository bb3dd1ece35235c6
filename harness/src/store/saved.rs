//! What a run that was saved is read into, and what can be wrong with it.

use super::run::Run;
use crate::model::row::{COLUMNS, is_column};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The file that says where a run was made.
pub const ENVIRONMENT: &str = "environment.json";
/// A file larger than this, other than `trials.jsonl`, is none of ours: the most trials of a run make a tenth of it.
const MOST_BYTES: u64 = 64 << 20;
/// How many columns a note names.
const MOST_NAMED: usize = 8;

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

/// Where in its file what serde says is wrong is.
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
