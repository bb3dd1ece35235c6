//! Every file that is made from a run's data: charts, `report.md` and `report.html`. At the end of a run and from a
//! saved one the same code writes them.

use super::{page, pull_request};
use crate::analysis::stats::ranking::{Ranking, rankings};
use crate::base::error::Failure;
use crate::model::row::Row;
use crate::render::chart::{self, Chart, Evidence};
use crate::store::folder::RunFolder;
use crate::store::folder::cannot_save;
use serde_json::Value;

/// What a report is made from.
pub struct Report<'a> {
    /// Rows and what stands beside them.
    pub evidence: Evidence<'a>,
    /// The `environment` of `run.json`.
    pub environment: &'a Value,
    /// Whether the run came to its end.
    pub complete: bool,
    /// What else the reader must know.
    pub notes: Vec<String>,
}

/// What both reports are made from, computed once.
pub struct Made<'a> {
    /// The run.
    pub report: &'a Report<'a>,
    /// Its rankings.
    pub rankings: Vec<Ranking>,
    /// Its charts with their SVG.
    pub charts: Vec<(Chart, String)>,
}

impl Made<'_> {
    /// The run's rows.
    pub fn rows(&self) -> &[Row] {
        self.report.evidence.rows
    }
}

/// Writes all of it into the run's folder.
pub fn write(folder: &RunFolder, report: &Report) -> Result<(), Failure> {
    let mut charts = Vec::new();
    for chart in chart::all(&report.evidence) {
        let svg = chart
            .svg()
            .map_err(|e| Failure::failed(format!("cannot draw {}: {e}", chart.name)))?;
        folder
            .write(&format!("charts/{}.svg", chart.name), svg.as_bytes())
            .map_err(cannot_save)?;
        charts.push((chart, svg));
    }
    let made = Made {
        report,
        rankings: rankings(report.evidence.rows),
        charts,
    };
    let page = page::render(&made)
        .map_err(|e| Failure::failed(format!("cannot make report.html: {e}")))?;
    folder
        .write("report.html", page.as_bytes())
        .map_err(cannot_save)?;
    folder
        .write("report.md", pull_request::render(&made).as_bytes())
        .map_err(cannot_save)
}
