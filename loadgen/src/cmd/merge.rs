//! `merge`: the saved outcomes of several segments become one.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::cli::PrintFlags;
use super::output::{save, show};
use super::{Failure, report};
use crate::tally::merge::{check_together, merge};
use crate::tally::outcome::{self, Outcome};

/// A larger file is none of ours: a second of a window makes about 10 KB.
const MOST_BYTES: u64 = 256 << 20;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .file.display())]
struct InFile {
    file: PathBuf,
    source: Box<dyn Error + Send + Sync>,
}

pub(super) fn execute(paths: &[PathBuf], print: &PrintFlags) -> Result<(), Failure> {
    let outcomes: Result<Vec<Outcome>, Failure> =
        paths.iter().map(|path| read_outcome(path)).collect();
    let outcomes = outcomes?;
    let merged = merge(&outcomes, false).map_err(Failure::usage)?;
    check_together(&outcomes).map_err(Failure::usage)?;
    save(&merged, print.save.as_deref())?;
    show(&merged, print.format, report::table)
}

fn read_outcome(path: &Path) -> Result<Outcome, Failure> {
    let said = |source: Box<dyn Error + Send + Sync>| {
        let file = path.to_owned();
        Failure::usage(InFile { file, source })
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| said(error.into()))?;
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| said(error.into()))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(said(
            format!("more than {MOST_BYTES} bytes are no outcome of ours").into(),
        ));
    }
    outcome::read(&text).map_err(|error| said(error.into()))
}
