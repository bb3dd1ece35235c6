//! `merge`: the saved outcomes of several segments become one.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::cli::PrintFlags;
use super::output::{save, show};
use super::{Failure, report};
use crate::tally::merge::{check_together, merge, missing};
use crate::tally::outcome::{self, Outcome};
use crate::tally::pieces::Gathered;
use crate::tally::verdict::{judge, of_reasons};

/// A larger file is none of ours: a second of a window makes about 10 KB.
const MOST_BYTES: u64 = 256 << 20;

/// A log holds the outcomes of many hosts, and what else they said.
const MOST_LOG_BYTES: u64 = 4 << 30;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .file.display())]
struct InFile {
    file: PathBuf,
    source: Box<dyn Error + Send + Sync>,
}

pub(super) fn execute(
    paths: &[PathBuf],
    tolerate_loss: u32,
    print: &PrintFlags,
) -> Result<(), Failure> {
    let (mut outcomes, mut gathered) = (Vec::new(), Gathered::default());
    for path in paths {
        let outcome = read(path, &mut gathered).map_err(|source| in_file(path, source))?;
        outcomes.extend(outcome);
    }
    let found = gathered.finish();
    outcomes.extend(found.outcomes);
    let mut notes = found.faults;
    if found.repeated > 0 {
        notes.push(format!(
            "{} lines are there more than once: each is counted once",
            found.repeated
        ));
    }
    let is_planned = outcomes
        .iter()
        .all(|outcome| outcome.load.plan_digest.is_some());
    if is_planned {
        notes.extend(drop_repeated(&mut outcomes));
    }
    // If stderr is closed there is nobody to tell; what is lost is in the result as well.
    notes
        .iter()
        .for_each(|note| drop(writeln!(io::stderr(), "{note}")));
    if outcomes.is_empty() {
        return Err(Failure::run("there is no whole outcome to merge"));
    }
    let lost = if is_planned {
        missing(&outcomes)
    } else {
        Vec::new()
    };
    let (count, all) = (lost.len(), outcomes.len() + lost.len());
    outcomes.extend(lost);
    let mut merged = merge(&outcomes, false).map_err(Failure::usage)?;
    check_together(&outcomes).map_err(Failure::usage)?;
    let is_tolerated = count as u64 <= u64::from(tolerate_loss);
    if count > 0 && is_tolerated {
        merged.degraded = true;
        merged.reasons = judge(&merged, false);
        merged.verdict = of_reasons(&merged.reasons);
    }
    save(&merged, print.save.as_deref())?;
    show(&merged, print.format, report::table)?;
    match is_tolerated {
        true => Ok(()),
        false => Err(Failure::run(format!(
            "{count} of {all} segments are lost: {} (--tolerate-loss {count} would call it degraded)",
            lost_in_words(&outcomes)
        ))),
    }
}

fn lost_in_words(outcomes: &[Outcome]) -> String {
    let lost = outcomes
        .iter()
        .filter(|outcome| outcome.window_start_unix_ns.is_none());
    let segments: Vec<String> = lost
        .map(|outcome| outcome.load.segment.to_string())
        .collect();
    segments.join(", ")
}

/// Leaves one of those that are the same to the letter, and says of which segments there were more.
fn drop_repeated(outcomes: &mut Vec<Outcome>) -> Vec<String> {
    let mut kept: Vec<Outcome> = Vec::new();
    let mut notes = Vec::new();
    for outcome in outcomes.drain(..) {
        match kept.contains(&outcome) {
            true => notes.push(format!(
                "segment {} is there more than once, and each time the same: it is counted once",
                outcome.load.segment
            )),
            false => kept.push(outcome),
        }
    }
    *outcomes = kept;
    notes
}

fn in_file(path: &Path, source: Box<dyn Error + Send + Sync>) -> Failure {
    let file = path.to_owned();
    Failure::usage(InFile { file, source })
}

/// The outcome that a file is; or, of a log, its lines are gathered.
fn read(
    path: &Path,
    gathered: &mut Gathered,
) -> Result<Option<Outcome>, Box<dyn Error + Send + Sync>> {
    let mut file = BufReader::new(File::open(path)?);
    let is_json = file.fill_buf()?.trim_ascii_start().starts_with(b"{");
    if !is_json {
        let before = gathered.taken();
        gather(file, gathered)?;
        if gathered.taken() > before {
            return Ok(None);
        }
        // It is no log of ours either: what is wrong with it as an outcome is what there is to say.
        file = BufReader::new(File::open(path)?);
    }
    let mut text = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("more than {MOST_BYTES} bytes are no outcome of ours").into());
    }
    Ok(Some(outcome::read(&text)?))
}

fn gather(log: impl BufRead, gathered: &mut Gathered) -> io::Result<()> {
    let mut log = log.take(MOST_LOG_BYTES);
    let mut line = Vec::new();
    while log.by_ref().take(MOST_BYTES).read_until(b'\n', &mut line)? > 0 {
        // A line without an end is no log's, and would take all memory.
        if line.len() as u64 == MOST_BYTES {
            return Ok(());
        }
        gathered.take(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(())
}
