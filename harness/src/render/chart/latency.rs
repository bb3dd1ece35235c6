//! Response time by percentile, one chart per workload, on HdrHistogram's axis: each nine as wide as the last.

use super::canvas::{Axis, Point, Scale, Series, Texts};
use super::panel::{Along, conditions, left_out};
use super::plot::Table;
use super::{Chart, Plot, generator, look};
use crate::analysis::summary::{Cell, cells};
use crate::base::text::file_name;
use crate::base::text::visible;
use crate::base::unit::Unit;
use crate::model::histograms::Histograms;
use crate::model::row::{Row, Verdict};
use crate::model::workload::workload_name;
use loadgen::tally::buckets::Buckets;
use loadgen::tally::outcome::Floor;

/// A quantile is shown only with this many samples beyond it.
const SAMPLES_BEYOND: f64 = 100.0;
/// Points per curve, and how many of them are between two markers.
const STEPS: usize = 200;
/// Where the curves begin, in units of 1 ÷ (1 − q): at the median. The few fastest requests would take half the height.
const FIRST: f64 = 2.0;
const MARKED: usize = 25;

/// One arm's response times, all its believable trials together.
type Merged<'a> = (&'a Cell<'a>, Buckets);

pub fn draw(rows: &[Row], histograms: &Histograms, floor: Option<&Floor>) -> Vec<Chart> {
    let cells = cells(rows);
    let workloads: Vec<&[Cell]> = cells.chunk_by(|a, b| a.workload == b.workload).collect();
    let same_conns = |conns| {
        workloads
            .iter()
            .filter(|w| w[0].workload.conns == conns)
            .count()
    };
    let charts = workloads.iter().filter_map(|cells| {
        let conns = cells[0].workload.conns;
        let name = match same_conns(conns) {
            1 => format!("c{conns}"),
            _ => file_name(&workload_name(cells[0].rows[0])),
        };
        draw_workload(&name, cells, histograms, floor)
    });
    charts.collect()
}

fn draw_workload(
    name: &str,
    cells: &[Cell],
    histograms: &Histograms,
    floor: Option<&Floor>,
) -> Option<Chart> {
    let merged: Vec<Merged> = cells
        .iter()
        .filter_map(|cell| Some((cell, merged(cell, histograms)?)))
        .collect();
    let series: Vec<Series> = merged.iter().map(curve).collect();
    let row = merged.first()?.0.rows[0];
    let mut caption = vec![match row.rate_per_s {
        None => "Closed loop: every client waits for its reply, so this is not what users at a fixed rate would \
                 see; compare models by throughput."
            .to_string(),
        Some(_) => "Measured from when each request was due.".to_string(),
    }];
    caption.extend(left_out(cells, Along::Nothing));
    let texts = Texts {
        title: "Response time by percentile".into(),
        subtitle: conditions(row, Along::Nothing),
        caption,
    };
    let shade = generator::floor(floor, row, |floor| floor.response_p50_ns);
    let points = || series.iter().flat_map(|s| &s.points);
    let x = percentile_axis(points().map(|p| p.x).fold(10.0, f64::max));
    let y = Axis::over(
        "response time",
        Scale::Log,
        points()
            .map(|p| p.y)
            .chain(shade.as_ref().map(|shade| shade.from)),
        Unit::Duration,
    )
    .shaded(shade);
    Some(Chart {
        name: format!("latency-by-percentile-{name}"),
        texts,
        table: Some(table(&merged)),
        plot: Plot::Lines {
            x,
            y,
            series,
            marked: MARKED,
        },
    })
}

/// All believable trials of a cell that served everybody: starved clients would be missing from the others.
fn merged(cell: &Cell, histograms: &Histograms) -> Option<Buckets> {
    let rows = cell
        .rows
        .iter()
        .filter(|row| row.is_usable() && row.response_p50_ns.is_some());
    let buckets = rows.filter_map(|row| histograms.get(row.trial));
    let merged = buckets.fold(Buckets::default(), |sum, buckets| sum.merged(buckets));
    (!merged.is_empty()).then_some(merged)
}

fn curve((cell, merged): &Merged) -> Series {
    let suspect = cell.verdict() != Verdict::Valid;
    let first = FIRST.log10();
    let last = (merged.len() as f64 / SAMPLES_BEYOND).log10().max(first);
    let points = (0..=STEPS).map(|i| {
        let nines = first + (last - first) * i as f64 / STEPS as f64;
        Point {
            x: 10f64.powf(nines),
            y: merged.value_at_quantile(1.0 - 10f64.powf(-nines)) as f64,
            suspect,
            ..Point::default()
        }
    });
    Series {
        label: visible(cell.arm),
        remark: None,
        look: look::of_arm(cell.arm, cell.model),
        points: points.collect(),
    }
}

fn table(merged: &[Merged]) -> Table {
    const QUANTILES: [(f64, &str); 6] = [
        (0.5, "p50"),
        (0.9, "p90"),
        (0.99, "p99"),
        (0.999, "p99.9"),
        (0.9999, "p99.99"),
        (1.0, "max"),
    ];
    let line = |(cell, histogram): &Merged| {
        let enough =
            |q: f64| q == 1.0 || (1.0 - q) * histogram.len() as f64 >= SAMPLES_BEYOND * 0.999;
        let words = |(q, _): (f64, &str)| match enough(q) {
            true => Unit::Duration.words(histogram.value_at_quantile(q) as f64),
            false => "too few samples".into(),
        };
        let mut cells = vec![visible(cell.arm)];
        cells.extend(QUANTILES.map(words));
        cells.push(cell.verdict().to_string());
        cells
    };
    let mut header = vec!["arm"];
    header.extend(QUANTILES.map(|(_, name)| name));
    header.push("verdict");
    Table {
        header: header.into_iter().map(String::from).collect(),
        lines: merged.iter().map(line).collect(),
    }
}

/// From the median to the last percentile shown, in units of 1 ÷ (1 − q).
fn percentile_axis(end: f64) -> Axis {
    let names = ["90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
    let nines = names.iter().enumerate();
    let nines = nines.map(|(n, name)| (10f64.powi(n as i32 + 1), name.to_string()));
    let ticks = std::iter::once((FIRST, "50 %".to_string())).chain(nines);
    Axis {
        label: "percentile of requests".into(),
        unit: Unit::Percent,
        scale: Scale::Log,
        range: (FIRST, end),
        ticks: ticks.filter(|(at, _)| *at <= end * 1.000_001).collect(),
        shade: None,
    }
}
