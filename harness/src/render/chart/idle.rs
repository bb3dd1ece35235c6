//! Response time by idle connections, on logarithmic axes: what silence costs, with the exponent of its growth.

use super::canvas::{Axis, Scale, Texts};
use super::panel::{Along, Panel};
use super::{Chart, Plot, generator};
use crate::analysis::stats::growth::{Growth, over_idle};
use crate::base::text::visible;
use crate::base::unit::Unit;
use crate::model::row::Row;
use loadgen::tally::outcome::Floor;

/// A percentile of the response time.
struct Percentile {
    name: &'static str,
    title: &'static str,
    of: fn(&Row) -> Option<u64>,
    /// The same of the generator alone, where it is measured.
    floor: Option<fn(&Floor) -> u64>,
}

const PERCENTILES: [Percentile; 3] = [
    Percentile {
        name: "p50",
        title: "p50",
        of: |row| row.response_p50_ns,
        floor: Some(|floor| floor.response_p50_ns),
    },
    Percentile {
        name: "p99",
        title: "p99",
        of: |row| row.response_p99_ns,
        floor: Some(|floor| floor.response_p99_ns),
    },
    Percentile {
        name: "p999",
        title: "p99.9",
        of: |row| row.response_p999_ns,
        floor: None,
    },
];

/// One chart per percentile, for panels along idle connections.
pub fn draw(panel: &Panel, floor: Option<&Floor>) -> Vec<Chart> {
    match panel.along {
        Along::Idle => PERCENTILES
            .iter()
            .filter_map(|p| draw_percentile(panel, p, floor))
            .collect(),
        _ => Vec::new(),
    }
}

fn draw_percentile(panel: &Panel, percentile: &Percentile, floor: Option<&Floor>) -> Option<Chart> {
    let column = |row: &Row| (percentile.of)(row).map(|ns| ns as f64);
    let mut series = panel.series(|cell| panel.point(cell, column));
    let rows: Vec<Row> = panel
        .cells
        .iter()
        .flat_map(|cell| &cell.rows)
        .map(|row| (*row).clone())
        .collect();
    let growths = over_idle(&rows, percentile.of);
    for own in &mut series {
        let growth = growths
            .iter()
            .find(|growth| visible(&growth.arm) == own.label);
        own.remark = growth.map(exponent);
        own.points.retain(|point| point.x > 0.0);
    }
    series.retain(|s| !s.points.is_empty());
    if series.is_empty() {
        return None;
    }
    let points = || series.iter().flat_map(|s| &s.points);
    let times = points()
        .flat_map(|p| [Some(p.y), p.range.map(|r| r.0), p.range.map(|r| r.1)])
        .flatten();
    let shade = percentile
        .floor
        .and_then(|of| generator::floor(floor, panel.row(), of));
    let times = times.chain(shade.as_ref().map(|shade| shade.from));
    let mut caption = panel.captions("∝ idle^b: b by Theil and Sen over all trials, with its 95 % interval; 0 does not grow, 1 grows in proportion.");
    if panel.cells.iter().any(|cell| cell.workload.idle == 0) {
        caption[0].push_str(" No idle connections: not on a log axis.");
    }
    Some(Chart {
        name: format!("response-{}-by-idle{}", percentile.name, panel.suffix),
        texts: Texts {
            title: format!("Response time, {}, by idle connections", percentile.title),
            subtitle: panel.conditions(),
            caption,
        },
        plot: Plot::Lines {
            x: Axis::over(
                panel.label(),
                Scale::Log,
                points().map(|p| p.x),
                Unit::Count,
            ),
            y: Axis::over(
                &format!("response {}", percentile.title),
                Scale::Log,
                times,
                Unit::Duration,
            )
            .shaded(shade),
            series,
            marked: 1,
        },
        table: None,
    })
}

/// `∝ idle^0.98 (0.95 to 1.02)`.
fn exponent(growth: &Growth) -> String {
    // What rounds to nothing has no sign.
    let two = |v: f64| format!("{:.2}", (v * 100.0).round() / 100.0 + 0.0);
    let interval = growth
        .fit
        .interval
        .map(|i| format!(" ({} to {})", two(i.low), two(i.high)));
    format!(
        "∝ idle^{}{}",
        two(growth.fit.exponent),
        interval.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::super::panel::panels;
    use super::*;

    #[test]
    fn the_exponent_stands_beside_the_name() {
        let row = |idle: u64| Row {
            arm: "poll".into(),
            model: "poll".into(),
            idle,
            requests_completed: Some(1),
            response_p99_ns: Some(1000 * idle.max(1)),
            ..Row::blank()
        };
        let rows: Vec<Row> = [0, 10, 100, 1000].map(row).into();
        let charts = draw(&panels(&rows)[0], None);
        assert_eq!(charts.len(), 1, "only p99 has figures");
        let Plot::Lines { series, .. } = &charts[0].plot else {
            panic!()
        };
        assert_eq!(series[0].remark.as_deref(), Some("∝ idle^1.00"));
        assert_eq!(series[0].points.len(), 3, "0 has no place");
        assert!(charts[0].texts.caption[0].contains("No idle connections"));
    }
}
