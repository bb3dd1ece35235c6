//! Response time by percentile, one chart per workload, on HdrHistogram's axis: each nine as wide as the last.

use super::canvas::{self, Axis, Drawn, Point, Scale, Series, Texts};
use super::{Chart, Histograms, conditions, duration, left_out, look};
use crate::row::{Row, Workload};
use crate::summary::{Cell, cells};
use hdrhistogram::Histogram;

/// A quantile is shown only with this many samples beyond it (DESIGN §4).
const SAMPLES_BEYOND: f64 = 100.0;
/// Points per curve, and how many of them are between two markers.
const STEPS: usize = 200;
const MARKED: usize = 25;

pub fn draw(rows: &[Row], histograms: &Histograms) -> Drawn<Vec<Chart>> {
    let cells = cells(rows);
    let mut workloads: Vec<&Workload> = cells.iter().map(|cell| &cell.workload).collect();
    workloads.dedup();
    let charts = workloads.into_iter().map(|workload| {
        let own: Vec<Cell> = cells
            .iter()
            .filter(|c| c.workload == *workload)
            .cloned()
            .collect();
        draw_workload(workload, &own, histograms)
    });
    charts.filter_map(Result::transpose).collect()
}

fn draw_workload(
    workload: &Workload,
    cells: &[Cell],
    histograms: &Histograms,
) -> Drawn<Option<Chart>> {
    let series: Vec<Series> = cells
        .iter()
        .filter_map(|cell| curve(cell, histograms))
        .collect();
    let Some(row) = cells
        .first()
        .map(|cell| cell.rows[0])
        .filter(|_| !series.is_empty())
    else {
        return Ok(None);
    };
    let mut caption = vec![match row.rate_per_s {
        None => "Closed loop: every client waits for its reply, so this is not what users at a fixed rate would \
                 see; compare models by throughput."
            .to_string(),
        Some(_) => "Measured from when each request was due.".to_string(),
    }];
    caption.extend(left_out(cells));
    let texts = Texts {
        title: "Response time by percentile".into(),
        subtitle: conditions(row, Some(workload)),
        caption,
    };
    let points = || series.iter().flat_map(|s| &s.points);
    let x = percentile_axis(points().map(|p| p.x).fold(10.0, f64::max));
    let y = Axis::over("response time", Scale::Log, points().map(|p| p.y), duration);
    Ok(Some(Chart {
        name: format!("latency-by-percentile-c{}.svg", workload.conns),
        svg: canvas::lines(&texts, &x, &y, &series, MARKED)?,
    }))
}

/// The curve over all believable trials of a cell that served everybody: starved clients would be missing from it.
fn curve(cell: &Cell, histograms: &Histograms) -> Option<Series> {
    let rows = cell
        .rows
        .iter()
        .filter(|row| row.is_usable() && row.response_p50_ns.is_some());
    let mut merged: Option<Histogram<u64>> = None;
    for histogram in rows.filter_map(|row| histograms.get(&row.trial)) {
        match &mut merged {
            Some(sum) => sum.add(histogram).ok()?,
            None => merged = Some(histogram.clone()),
        }
    }
    let merged = merged.filter(|h| !h.is_empty())?;
    let last = (merged.len() as f64 / SAMPLES_BEYOND).max(1.0).log10();
    let points = (0..=STEPS).map(|i| {
        let nines = last * i as f64 / STEPS as f64;
        Point {
            x: 10f64.powf(nines),
            y: merged.value_at_quantile(1.0 - 10f64.powf(-nines)) as f64,
            range: None,
            value: String::new(),
            suspect: false,
            note: None,
        }
    });
    Some(Series {
        label: cell.arm.to_string(),
        look: look::of(cell.model),
        points: points.collect(),
    })
}

/// From the minimum to the last percentile shown, in units of 1 ÷ (1 − q).
fn percentile_axis(end: f64) -> Axis {
    let names = [
        "0 %",
        "90 %",
        "99 %",
        "99.9 %",
        "99.99 %",
        "99.999 %",
        "99.9999 %",
    ];
    let nines = names.iter().enumerate();
    let ticks = nines.map(|(n, name)| (10f64.powi(n as i32), name.to_string()));
    Axis {
        label: "percentile of requests".into(),
        scale: Scale::Log,
        range: (1.0, end),
        ticks: ticks.filter(|(at, _)| *at <= end * 1.000_001).collect(),
    }
}
