//! How a run ends, whether it was just made or is read back: the text on stdout, the exports, the thresholds.

use crate::analysis::threshold;
use crate::base::error::Failure;
use crate::base::terminal::eprintln;
use crate::cli::Format;
use crate::cli::export::Export;
use crate::cli::threshold::Threshold;
use crate::model::row::to_csv;
use crate::render::export::{self, Source};
use crate::render::table;
use std::path::Path;

/// What stdout carries.
pub fn text(
    source: &Source,
    folder: &Path,
    complete: bool,
    format: Format,
) -> Result<String, Failure> {
    Ok(match format {
        Format::Table => table::for_people(source.rows, folder, complete),
        Format::Md => table::markdown(source.rows),
        Format::Json => source.run_json.to_string(),
        Format::Csv => {
            let csv = to_csv(source.rows).map_err(|e| Failure::failed(e.to_string()))?;
            String::from_utf8_lossy(&csv).into_owned()
        }
    })
}

/// Writes the exports and says which thresholds were missed; returns whether any was.
pub fn hand_over(
    source: &Source,
    exports: &[Export],
    thresholds: &[Threshold],
) -> Result<bool, Failure> {
    export::write_all(exports, source)?;
    let misses = threshold::misses(thresholds, source.rows);
    if !misses.is_empty() {
        eprintln(threshold::table(&misses).trim_end());
    }
    Ok(!misses.is_empty())
}
