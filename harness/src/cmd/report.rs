//! `tenk report DIR`: what a run said at its end, said again from its trials; and its files, where they are not
//! there or are asked for.

use super::hand_over::{hand_over, text};
use crate::base::error::{FAILED, Failure, MISSED};
use crate::base::terminal::{eprintln, say};
use crate::cli::ReportFlags;
use crate::render::export::Source;
use crate::render::run_json::run_json;
use crate::render::write::{Target, Which, in_one_sentence, write};
use crate::store::folder::RunFolder;
use crate::store::journal::TRIALS;
use crate::store::read::{SavedRun, load};
use std::path::Path;

/// Prints the run again, makes its files and the exports, checks the thresholds; returns the exit code.
pub fn report(flags: &ReportFlags) -> Result<u8, Failure> {
    let saved = load(&flags.dir).map_err(|e| Failure::usage(e.to_string()))?;
    let run = &saved.run;
    for note in &run.notes {
        eprintln(&format!("note: {note}"));
    }
    let source = Source {
        rows: &run.rows,
        run_json: &run_json(run, &flags.dir)?,
    };
    say(&text(&source, &flags.dir, run.complete, flags.format)?)?;
    let made = make_files(&saved, flags)?;
    let missed = hand_over(&source, &flags.export, &flags.threshold)?;
    Ok(match (made, missed) {
        (false, _) => FAILED,
        (true, true) => MISSED,
        (true, false) => 0,
    })
}

/// Makes the files that are wanted. What is only missing need not be made, as in a folder that is read-only; what was
/// asked for must: then the answer is whether it was.
fn make_files(saved: &SavedRun, flags: &ReportFlags) -> Result<bool, Failure> {
    let target = |folder: &Path, kept: &[&'static str], which| {
        let target = Target {
            folder: &RunFolder::open(folder),
            run_dir: &flags.dir,
            kept,
            which,
        };
        in_one_sentence(&write(&target, &saved.run))
    };
    let fault = match &flags.into {
        Some(folder) if folder.join(TRIALS).exists() => {
            return Err(Failure::usage(format!(
                "--into {}: this is a run's own folder; --write makes its files again, and another folder takes them",
                folder.display()
            )));
        }
        Some(folder) => target(folder, &[], Which::All),
        None if flags.write => target(&flags.dir, &saved.sources, Which::All),
        // Its files would be those of a part of it.
        None if saved.goes_on => None,
        None => {
            if let Some(fault) = target(&flags.dir, &saved.sources, Which::Missing) {
                eprintln(&format!(
                    "note: {fault} (--into DIR makes the files elsewhere)"
                ));
            }
            None
        }
    };
    if let Some(fault) = &fault {
        eprintln(&format!("error: {fault}"));
    }
    Ok(fault.is_none())
}
