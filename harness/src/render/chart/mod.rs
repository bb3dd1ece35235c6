//! The charts of a run, one file each, drawn from rows and histograms alone.
//!
//! Figures are medians over trials, drawn with the range of the trials; a cell with a suspect trial is hollow;
//! an invalid one is left out, and the caption says so.

mod accepts;
pub mod canvas;
mod connections_per_second;
mod cpu;
mod generator;
pub mod heat;
pub mod history;
mod idle;
mod latency;
mod limits;
pub mod load;
pub mod look;
mod memory;
pub mod over_time;
pub mod panel;
pub mod plot;
pub mod request_cost;
mod stages;
mod svg;
pub mod table;
mod throughput;
mod timeline;

use crate::analysis::load_curve::LoadCurve;
use crate::model::histograms::Histograms;
use crate::model::instrumented::Instrumented;
use crate::model::latency_seconds::LatencySeconds;
use crate::model::row::Row;
use crate::model::stages::StageRow;
use crate::model::timeline::TimelineRow;
use crate::model::workers::WorkerRow;
use crate::model::workload::Workload;
use loadgen::tally::outcome::Floor;
use panel::{Along, panels};
pub use plot::{Chart, Measure, Plot};
use std::borrow::Cow;

/// Everything that charts are drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The trials.
    pub rows: &'a [Row],
    /// Their response times.
    pub histograms: &'a Histograms,
    /// Their seconds.
    pub timeline: &'a [TimelineRow],
    /// Their stages, where the load takes a course.
    pub stages: &'a [StageRow],
    /// The response times of each second, counted in classes.
    pub latency_seconds: &'a LatencySeconds,
    /// Their servers' workers.
    pub workers: &'a [WorkerRow],
    /// Latency against load, as the answer has it.
    pub curves: &'a [LoadCurve],
    /// Trials in which servers were looked into.
    pub instrumented: &'a [Instrumented],
    /// What the generator can do, where it is known.
    pub floor: Option<&'a Floor>,
}

/// Every chart that there are figures for.
pub fn all(evidence: &Evidence) -> Vec<Chart> {
    let rows = evidence.rows;
    let mut charts = load::draw(evidence.curves, rows, evidence.histograms, evidence.floor);
    charts.extend(stages::draw(rows, evidence.stages));
    charts.extend(heat::draw(rows));
    let few = without_most_levels(rows, evidence.curves);
    // A cell may be in two panels; what shows it alone is drawn once.
    let mut split: Vec<Workload> = Vec::new();
    for panel in panels(rows) {
        charts.extend(throughput::draw(&panel, evidence.floor));
        charts.extend(limits::draw(&panel));
        charts.extend(idle::draw(&panel, evidence.floor));
        charts.extend(connections_per_second::draw(&panel));
        charts.extend(cpu::draw(&panel));
        charts.extend(memory::draw(&panel));
        for cells in panel.cells.chunk_by(|a, b| a.workload == b.workload) {
            let is_shown = panel.along != Along::Rate || is_in(&few, &cells[0].workload);
            if is_shown && !split.contains(&cells[0].workload) {
                split.push(cells[0].workload.clone());
                let single = panel.single(cells);
                charts.extend(request_cost::draw(&single, evidence.instrumented));
            }
        }
    }
    charts.extend(accepts::draw(rows, evidence.workers));
    charts.extend(latency::draw(&few, evidence.histograms, evidence.floor));
    charts.extend(over_time::draw(&few, evidence.latency_seconds));
    charts.extend(timeline::draw(&few, evidence.timeline));
    charts
}

fn is_in(rows: &[Row], workload: &Workload) -> bool {
    rows.iter().any(|row| row.workload() == *workload)
}

/// The rows without those of levels of load beside the lowest, the middle and the highest: charts that show one
/// workload each would be many, and alike.
fn without_most_levels<'a>(rows: &'a [Row], curves: &[LoadCurve]) -> Cow<'a, [Row]> {
    let mut dropped: Vec<Workload> = Vec::new();
    for curve in curves.iter().filter(|curve| curve.has_levels()) {
        let levels = rows.iter().map(Row::workload);
        let mut levels: Vec<Workload> = levels.filter(|w| curve.holds(w)).collect();
        levels.sort();
        levels.dedup();
        let last = levels.len().saturating_sub(1);
        let kept = [0, last / 2, last];
        let rest = levels.into_iter().enumerate();
        dropped.extend(rest.filter(|(i, _)| !kept.contains(i)).map(|(_, w)| w));
    }
    match dropped.is_empty() {
        true => Cow::Borrowed(rows),
        false => {
            let is_kept = |row: &&Row| !dropped.contains(&row.workload());
            Cow::Owned(rows.iter().filter(is_kept).cloned().collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histograms::{Recorded, Window, packed};
    use crate::model::row::Verdict;

    fn rows() -> Vec<Row> {
        let mut rows = Vec::new();
        for (trial, (arm, conns)) in [
            ("epoll", 50),
            ("epoll", 1000),
            ("select", 50),
            ("select", 1000),
        ]
        .into_iter()
        .enumerate()
        {
            rows.push(Row {
                arm: arm.into(),
                model: arm.into(),
                trial: trial as u32,
                conns,
                conns_served: Some(conns),
                conns_established: Some(conns),
                conns_per_s: Some(1e4),
                requests_completed: Some(100),
                response_p50_ns: Some(1000),
                requests_per_s: Some(2e5 - conns as f64),
                server_cpu_us_per_request: Some(3.5),
                server_user_s: Some(1.0),
                server_system_s: Some(3.0),
                server_memory_kib: Some(4096),
                server_memory_per_conn_bytes: Some(4096.0),
                ..Row::blank()
            });
        }
        rows
    }

    fn two_workers() -> Vec<WorkerRow> {
        let tally = |accepted| servers::ledger::Tally {
            accepted,
            ..Default::default()
        };
        let workers = crate::model::workers::of(&[tally(30), tally(10)]);
        workers.iter().map(|w| w.of_trial(&rows()[0])).collect()
    }

    #[test]
    fn every_chart_is_drawn_and_names_its_arms() {
        let mut histogram = loadgen::tally::latency::new_histogram();
        for i in 1..=200_000u64 {
            histogram.record(i).unwrap();
        }
        let packed = packed(&histogram).unwrap();
        let mut histograms = Histograms::default();
        for trial in 0..4 {
            let recorded = Recorded::of(&packed, Window::default(), None).unwrap();
            histograms.insert(trial, recorded).unwrap();
        }
        let workers = two_workers();
        let rows = rows();
        let charts = all(&Evidence {
            rows: &rows,
            histograms: &histograms,
            timeline: &[],
            stages: &[],
            latency_seconds: &Default::default(),
            workers: &workers,
            curves: &[],
            instrumented: &[],
            floor: None,
        });
        let names: Vec<&str> = charts.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "heat-requests",
                "heat-cpu",
                "requests-per-second",
                "connections-served",
                "connections-per-second",
                "cpu-per-request",
                "memory-per-connection",
                "request-cost-c50",
                "request-cost-c1000",
                "accepts-per-worker",
                "latency-by-percentile-c50",
                "latency-by-percentile-c1000",
            ]
        );
        for chart in &charts {
            let (svg, table) = (chart.svg().unwrap(), chart.table());
            assert!(svg.contains("epoll"), "{}", chart.name);
            assert!(!table.lines.is_empty(), "{}", chart.name);
            assert!(
                table
                    .lines
                    .iter()
                    .all(|line| line.len() == table.header.len()),
                "{table:?}"
            );
        }
    }

    #[test]
    fn an_invalid_cell_is_left_out_and_named() {
        let mut rows = rows();
        rows[3].verdict = Verdict::Invalid;
        let chart = throughput::draw(&panels(&rows)[0], None).unwrap();
        assert!(
            chart
                .svg()
                .unwrap()
                .contains("Left out: select at 1k (invalid)")
        );
        rows.iter_mut().for_each(|r| r.verdict = Verdict::Invalid);
        assert!(throughput::draw(&panels(&rows)[0], None).is_none());
    }
}
