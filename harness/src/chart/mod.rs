//! The charts of a run, one file each, drawn from rows and histograms alone.
//!
//! Figures are medians over trials, drawn with the range of the trials; a cell with a suspect trial is hollow;
//! an invalid one is left out, and the caption says so.

mod accepts;
pub mod canvas;
mod connections_per_second;
mod cpu;
mod latency;
mod limits;
pub mod look;
mod throughput;

use crate::row::{Row, Status, Verdict, Workload};
use crate::summary::{Cell, Figure, arms, cells};
use crate::workers::WorkerRow;
use canvas::{Axis, Drawn, Point, Scale, Series, Texts};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Response-time histograms by trial number.
pub type Histograms = BTreeMap<u32, Histogram<u64>>;

/// One drawn chart.
#[derive(Debug)]
pub struct Chart {
    /// File name without its folder.
    pub name: String,
    /// The SVG.
    pub svg: String,
}

/// Draws every chart that the rows have figures for.
pub fn all(rows: &[Row], histograms: &Histograms, workers: &[WorkerRow]) -> Drawn<Vec<Chart>> {
    let mut charts = latency::draw(rows, histograms)?;
    for chart in [
        throughput::draw(rows)?,
        limits::draw(rows)?,
        connections_per_second::draw(rows)?,
        cpu::draw(rows)?,
        accepts::draw(rows, workers)?,
    ] {
        charts.extend(chart);
    }
    Ok(charts)
}

/// One figure per cell, by connections: lines when there are several sizes, bars when there is only one.
fn by_connections(
    name: &str,
    rows: &[Row],
    mut texts: Texts,
    label: &str,
    column: impl Fn(&Row) -> Option<f64>,
    format: impl Fn(f64) -> String,
) -> Drawn<Option<Chart>> {
    let cells = cells(rows);
    let series = series_of(rows, &cells, |cell| cell.figure(&column), &format);
    if series.is_empty() {
        return Ok(None);
    }
    texts.caption.extend(left_out(&cells));
    let points = || series.iter().flat_map(|s| &s.points);
    let values = points().flat_map(|p| [p.y, p.range.map_or(p.y, |(_, high)| high)]);
    let axis = Axis::over(label, Scale::Linear, values, format);
    let svg = if sizes(&cells).len() > 1 {
        let x = connections_axis(points().map(|p| p.x));
        canvas::lines(&texts, &x, &axis, &series, 1)?
    } else {
        canvas::bars(&texts, &axis, &series)?
    };
    Ok(Some(Chart {
        name: format!("{name}.svg"),
        svg,
    }))
}

/// The points of every arm that has any, in the registry's order.
fn series_of(
    rows: &[Row],
    cells: &[Cell],
    figure: impl Fn(&Cell) -> Option<Figure>,
    format: impl Fn(f64) -> String,
) -> Vec<Series> {
    let series = arms(rows).into_iter().filter_map(|arm| {
        let own: Vec<&Cell> = cells.iter().filter(|cell| cell.arm == arm).collect();
        let points = own
            .iter()
            .filter_map(|cell| point(cell, figure(cell)?, &format))
            .collect();
        Some(Series {
            label: arm.to_string(),
            look: look::of(own.first()?.model),
            points,
        })
    });
    series.filter(|s| !s.points.is_empty()).collect()
}

fn point(cell: &Cell, figure: Figure, format: impl Fn(f64) -> String) -> Option<Point> {
    let note = match cell.status().0 {
        Status::Limited => Some("limited"),
        Status::Starved => Some("starved"),
        Status::Crashed => Some("crashed"),
        Status::Hung => Some("hung"),
        Status::Wrong => Some("wrong bytes"),
        Status::Skipped => return None,
        Status::Ok => None,
    };
    Some(Point {
        x: cell.workload.conns as f64,
        y: figure.median,
        range: (figure.trials > 1).then_some((figure.min, figure.max)),
        value: format(figure.median),
        suspect: cell.verdict() != Verdict::Valid,
        note,
    })
}

fn connections_axis(values: impl Iterator<Item = f64>) -> Axis {
    Axis::over("connections", Scale::Log, values, count)
}

fn sizes(cells: &[Cell]) -> Vec<u64> {
    let mut sizes: Vec<u64> = cells.iter().map(|c| c.workload.conns).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Which cells are missing from a chart of figures, and why.
fn left_out(cells: &[Cell]) -> Option<String> {
    let invalid: Vec<String> = cells
        .iter()
        .filter(|cell| !cell.rows.iter().any(|row| row.is_usable()))
        .map(|cell| format!("{} at {}", cell.arm, count(cell.workload.conns as f64)))
        .collect();
    (!invalid.is_empty()).then(|| format!("Left out as invalid: {}", invalid.join(", ")))
}

/// What every chart says about the conditions under its title.
fn conditions(row: &Row, workload: Option<&Workload>) -> String {
    let conns = workload.map(|w| format!("{} connections, ", count(w.conns as f64)));
    let lifetime = match row.requests_per_conn {
        None => "long-lived".to_string(),
        Some(1) => "one request per connection".to_string(),
        Some(n) => format!("{n} requests per connection"),
    };
    let pace = match row.rate_per_s {
        None => "closed loop".to_string(),
        Some(rate) => format!("{} requests/s offered", count(rate)),
    };
    format!(
        "{} {} of {} bytes, {lifetime}, {pace}; server on CPU {}, client on CPU {}",
        conns.unwrap_or_default(),
        row.service,
        row.payload_bytes,
        row.server_cpus,
        row.client_cpus
    )
    .trim_start()
    .to_string()
}

/// How figures over trials are drawn.
fn trials_caption(rows: &[Row]) -> String {
    let most = cells(rows).iter().map(|c| c.rows.len()).max();
    match most.unwrap_or(0) {
        0 | 1 => "One trial each. Hollow: suspect.".into(),
        n => format!("Median of {n} trials, line: their range. Hollow: some trial suspect."),
    }
}

/// `50`, `1k`, `2.5M`.
fn count(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let digits = if scaled.fract().abs() < 0.005 { 0 } else { 1 };
    format!("{scaled:.digits$}{unit}")
}

/// `120 ns`, `4.5 µs`, `3 ms`, `1 s`.
fn duration(ns: f64) -> String {
    let (scaled, unit) = match ns {
        v if v >= 1e9 => (v / 1e9, "s"),
        v if v >= 1e6 => (v / 1e6, "ms"),
        v if v >= 1e3 => (v / 1e3, "µs"),
        v => (v, "ns"),
    };
    let digits = if scaled.fract().abs() < 0.005 { 0 } else { 1 };
    format!("{scaled:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        crate::workers::of(&rows()[0], &[tally(30), tally(10)])
    }

    #[test]
    fn every_chart_is_drawn_and_names_its_arms() {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        for i in 1..=200_000u64 {
            histogram.record(i).unwrap();
        }
        let histograms = (0..4).map(|t| (t, histogram.clone())).collect();
        let workers = two_workers();
        let charts = all(&rows(), &histograms, &workers).unwrap();
        let names: Vec<&str> = charts.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "latency-by-percentile-c50.svg",
                "latency-by-percentile-c1000.svg",
                "requests-per-second.svg",
                "connections-served.svg",
                "connections-per-second.svg",
                "cpu-per-request.svg",
                "accepts-per-worker.svg"
            ]
        );
        for chart in &charts[..6] {
            assert!(
                chart.svg.contains("epoll") && chart.svg.contains("select"),
                "{}",
                chart.name
            );
        }
    }

    #[test]
    fn an_invalid_cell_is_left_out_and_named() {
        let mut rows = rows();
        rows[3].verdict = Verdict::Invalid;
        let chart = throughput::draw(&rows).unwrap().unwrap();
        assert!(chart.svg.contains("Left out as invalid: select at 1k"));
        rows.iter_mut().for_each(|r| r.verdict = Verdict::Invalid);
        assert!(throughput::draw(&rows).unwrap().is_none());
    }

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(
            [count(50.0), count(2500.0), count(1e6)],
            ["50", "2.5k", "1M"]
        );
        assert_eq!(
            [duration(900.0), duration(4500.0), duration(3e9)],
            ["900 ns", "4.5 µs", "3 s"]
        );
    }
}
