//! The window second by second, with a cross where requests failed.

use super::canvas::{Axis, Point, Scale, Series, Texts};
use super::panel::{Along, conditions};
use super::{Chart, Plot, look};
use crate::analysis::summary::{Cell, cells, median};
use crate::base::text::file_name;
use crate::base::text::visible;
use crate::base::unit::{Unit, count};
use crate::model::row::{Row, Verdict};
use crate::model::timeline::TimelineRow;
use crate::model::workload::workload_name;
use std::collections::BTreeMap;

/// One chart per workload whose window has at least two seconds.
pub fn draw(rows: &[Row], timeline: &[TimelineRow]) -> Vec<Chart> {
    let mut by_trial: BTreeMap<u32, Vec<&TimelineRow>> = BTreeMap::new();
    for line in timeline {
        by_trial.entry(line.trial).or_default().push(line);
    }
    let cells = cells(rows);
    let workloads = cells.chunk_by(|a, b| a.workload == b.workload);
    workloads
        .filter_map(|cells| draw_workload(cells, &by_trial))
        .collect()
}

fn draw_workload(cells: &[Cell], by_trial: &BTreeMap<u32, Vec<&TimelineRow>>) -> Option<Chart> {
    let series: Vec<Series> = cells
        .iter()
        .filter_map(|cell| line_of(cell, by_trial))
        .collect();
    let points = || series.iter().flat_map(|s| &s.points);
    let last = points().map(|p| p.x).fold(0.0, f64::max);
    if last < 1.5 {
        return None;
    }
    let row = cells[0].rows[0];
    let mut caption = vec![
        "Median over the trials at every second of the window, vertical: their range. Cross: requests failed in that second."
            .to_string(),
    ];
    caption.extend(super::panel::left_out(cells, Along::Nothing));
    let y = points().flat_map(|p| [p.y, p.range.map_or(p.y, |(_, high)| high)]);
    Some(Chart {
        name: format!("timeline-{}", file_name(&workload_name(row))),
        texts: Texts {
            title: "Requests completed, second by second".into(),
            subtitle: conditions(row, Along::Nothing),
            caption,
        },
        plot: Plot::Lines {
            x: Axis::over(
                "time in the window",
                Scale::Linear,
                points().map(|p| p.x),
                Unit::Seconds,
            ),
            y: Axis::over("requests/s", Scale::Linear, y, Unit::Count),
            series,
            marked: 1,
        },
        table: None,
    })
}

fn line_of(cell: &Cell, by_trial: &BTreeMap<u32, Vec<&TimelineRow>>) -> Option<Series> {
    let mut seconds: BTreeMap<u64, (Vec<f64>, u64)> = BTreeMap::new();
    let duration = cell.rows[0].duration_s;
    for row in cell.rows.iter().filter(|row| row.is_usable()) {
        for line in by_trial.get(&row.trial).into_iter().flatten() {
            let (rates, errors) = seconds.entry(line.second).or_default();
            // The last second may be a part of one; a sliver of it says nothing.
            let length = (duration - line.second as f64).min(1.0);
            if length > 0.05 {
                rates.push(line.requests_completed as f64 / length);
            }
            *errors += line.errors;
        }
    }
    let points: Vec<Point> = seconds
        .into_iter()
        .filter_map(|(second, (mut rates, errors))| {
            rates.sort_by(f64::total_cmp);
            Some(Point {
                // Its middle: what is drawn there was counted from half a second before to half a second after.
                x: second as f64 + (duration - second as f64).min(1.0) / 2.0,
                y: median(&rates)?,
                range: (rates.len() > 1).then(|| (rates[0], rates[rates.len() - 1])),
                suspect: cell.verdict() != Verdict::Valid,
                failed: errors > 0,
                note: (errors > 0).then(|| format!("{} failed", count(errors as f64))),
                ..Point::default()
            })
        })
        .collect();
    (!points.is_empty()).then(|| Series {
        label: visible(cell.arm),
        remark: None,
        look: look::of_arm(cell.arm, cell.model),
        points,
    })
}
