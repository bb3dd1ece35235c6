//! `harness report DIR`: what a run said at its end, said again from its saved rows.

use super::table;
use crate::cli::{Format, ReportFlags};
use crate::error::Failure;
use crate::export::{self, Source};
use crate::load_rows::{SavedRun, load};
use crate::row::to_csv;
use crate::run::{eprintln, say};
use crate::threshold;

/// Prints the run again, makes the exports, checks the thresholds; returns the exit code.
pub fn report(flags: &ReportFlags) -> Result<u8, Failure> {
    let run = load(&flags.dir).map_err(|e| Failure::failed(e.to_string()))?;
    if let Some(note) = &run.note {
        eprintln(&format!("note: {note}"));
    }
    say(&text(&run, flags)?)?;
    let source = Source {
        rows: &run.rows,
        run_json: &run.run_json,
    };
    export::write_all(&flags.export, &source)?;
    let misses = threshold::misses(&flags.threshold, &run.rows);
    if misses.is_empty() {
        return Ok(0);
    }
    eprintln(threshold::table(&misses).trim_end());
    Ok(threshold::MISSED)
}

fn text(run: &SavedRun, flags: &ReportFlags) -> Result<String, Failure> {
    Ok(match flags.format {
        Format::Table => table::for_people(&run.rows, &flags.dir, run.complete),
        Format::Md => table::markdown(&run.rows),
        Format::Json => run.run_json.clone(),
        Format::Csv => {
            let csv = to_csv(&run.rows).map_err(|e| Failure::failed(e.to_string()))?;
            String::from_utf8_lossy(&csv).into_owned()
        }
    })
}
