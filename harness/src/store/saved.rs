//! What a run that was saved is read into, and what can be wrong with it.

use super::run::Run;
use crate::model::row::{COLUMNS, is_column};
use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The file that says where a run was made.
pub const ENVIRONMENT: &str = "environment.json";
/// A file larger than this, other than `trials.jsonl`, is none of ours: the most trials of a run make a tenth of it.
const MOST_BYTES: u64 = 64 << 20;
/// What is wrong with a text file whose last line has no end: a figure that was cut short would pass for a smaller one.
pub(super) const CUT_OFF: &str = "the file ends inside this line: it was cut off";
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

/// The error behind another one.
type Cause = Box<dyn Error + Send + Sync>;

/// Why a run cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {what}", .file.display(), .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct LoadError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, if the fault has one.
    pub line: Option<u64>,
    /// What is wrong with it, its cause included, and what to do.
    pub what: String,
    /// The error behind it, where there is one.
    pub source: Option<Cause>,
}

/// What is wrong with the contents of a file that is not named yet.
#[derive(Debug)]
pub(super) struct Fault {
    line: Option<u64>,
    what: String,
    source: Option<Cause>,
}

impl Fault {
    /// With an error behind it, whose words `what` has already.
    pub fn caused_by(mut self, cause: impl Error + Send + Sync + 'static) -> Fault {
        self.source = Some(Box::new(cause));
        self
    }

    /// An error whose own words say it.
    pub fn from_error(error: impl Error + Send + Sync + 'static) -> Fault {
        Fault::from((None, error.to_string())).caused_by(error)
    }

    /// The same of a part that has a name.
    pub fn of_part(self, name: &str) -> Fault {
        let what = format!("{name}: {}", self.what);
        Fault { what, ..self }
    }

    /// The same in a line.
    pub fn at_line(self, line: Option<u64>) -> Fault {
        Fault { line, ..self }
    }

    /// The same in this file.
    pub fn in_file(self, file: PathBuf) -> LoadError {
        LoadError {
            file,
            line: self.line,
            what: self.what,
            source: self.source,
        }
    }
}

impl From<(Option<u64>, String)> for Fault {
    fn from((line, what): (Option<u64>, String)) -> Fault {
        let source = None;
        Fault { line, what, source }
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Fault {
        Fault::from((None, what))
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Fault {
        let line = error.line() as u64;
        Fault::from_error(error).at_line(Some(line))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::from_error(error)
    }
}

/// The bytes of a file; none if it is not there.
pub(super) fn contents(file: &Path) -> Result<Option<Vec<u8>>, Fault> {
    let too_many = |bytes: u64| {
        let what = format!("{bytes} bytes are too many for this file of a run");
        Fault::from((None, what))
    };
    let opened = match File::open(file) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let length = opened.metadata()?.len();
    if length > MOST_BYTES {
        return Err(too_many(length));
    }
    // What says that it is empty may have no end, as a device has.
    let mut bytes = Vec::new();
    opened.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST_BYTES {
        true => Err(too_many(bytes.len() as u64)),
        false => Ok(Some(bytes)),
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

    /// Those of other rows as well.
    pub fn add(&mut self, other: Columns) {
        self.unknown.extend(other.unknown);
        self.missing.extend(other.missing);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_leads_to_the_error_of_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let fault = contents(folder.path()).unwrap_err();
        let error = fault.in_file(folder.path().join(ENVIRONMENT));
        let shown = error.to_string();
        assert!(
            shown.contains("environment.json: Is a directory"),
            "{shown}"
        );
        let cause = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        assert_eq!(
            cause.map(io::Error::kind),
            Some(io::ErrorKind::IsADirectory)
        );
    }

    #[test]
    fn what_is_no_json_leads_to_the_parsers_error_and_its_line() {
        let wrong = serde_json::from_str::<Vec<u8>>("\n\n[").unwrap_err();
        let error = Fault::from(wrong).in_file("run.json".into());
        assert!(error.to_string().starts_with("run.json:3: EOF"), "{error}");
        let cause = error.source();
        assert!(cause.is_some_and(|e| e.is::<serde_json::Error>()));
    }
}
