//! How a run ends, whether it was just made or is read back: the text on stdout, the exports, the thresholds.

use crate::analysis::request_cost;
use crate::analysis::threshold;
use crate::base::error::{Exit, Failure};
use crate::base::terminal::{eprintln, say};
use crate::cli::Format;
use crate::cli::export::Export;
use crate::cli::threshold::Threshold;
use crate::model::row::to_csv;
use crate::render::costs;
use crate::render::export::md;
use crate::render::export::{self, Source};
use crate::render::flame::{self, Flame};
use crate::render::gate_words::GateWords;
use crate::render::load_hosts;
use crate::render::screen::{self, Look};
use crate::store::run::Run;
use std::io::IsTerminal;
use std::path::Path;

/// What stdout carries.
pub fn text(
    source: &Source,
    folder: &Path,
    format: Format,
    verbose: bool,
) -> Result<String, Failure> {
    let look = Look {
        colour: shows_colours(),
        verbose,
    };
    Ok(match (format, source.answer) {
        (Format::Table, _) if source.gate.is_some() => {
            source.gate.map(GateWords::for_people).unwrap_or_default()
        }
        (Format::Table, Some(answer)) => screen::for_people(source.rows, answer, folder, look),
        (Format::Table, None) | (Format::Md, _) => md::of(source),
        (Format::Json, _) => source.run_json.to_string(),
        (Format::Csv, _) => {
            let csv = to_csv(source.rows).map_err(|e| Failure::from_error(Exit::Failed, e))?;
            String::from_utf8_lossy(&csv).into_owned()
        }
    })
}

/// What instrumented trials showed, after what the run says: for people only, other formats have it in their own form.
pub fn say_costs(run: &Run, folder: &Path, format: Format) -> Result<(), Failure> {
    if format != Format::Table || run.instrumented.is_empty() {
        return Ok(());
    }
    let costs = request_cost::of_instrumented(&run.rows, &run.instrumented);
    let flames: Vec<Flame> = flame::all(&run.instrumented)
        .into_iter()
        .flatten()
        .collect();
    say(&costs::for_people(&costs, &flames, folder))
}

/// The load hosts side by side, after what the run says: for people only, other formats have them in their own form.
pub fn say_hosts(run: &Run, format: Format) -> Result<(), Failure> {
    match format == Format::Table && !run.hosts.is_empty() {
        true => say(&load_hosts::for_people(
            &run.rows,
            &run.hosts,
            &run.environment,
        )),
        false => Ok(()),
    }
}

/// Whether stdout is a terminal whose user has not asked for no colours (https://no-color.org).
fn shows_colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !refused && !dumb
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
