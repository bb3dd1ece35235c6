//! Every file that is made from a run's data: charts, `report.md` and `report.html`. At the end of a run and from a
//! saved one the same code writes them.

use super::report::{Made, Report};
use super::{page, pull_request};
use crate::analysis::stats::ranking::rankings;
use crate::base::error::Failure;
use crate::render::chart;
use crate::store::folder::RunFolder;
use crate::store::folder::cannot_save;

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
