//! Connections served against connections asked for: where each model meets its wall.

use super::canvas::{self, Axis, Drawn, Point, Scale, Series, Texts};
use super::{Chart, conditions, connections_axis, count, look, series_of, sizes, trials_caption};
use crate::row::Row;
use crate::summary::cells;

pub fn draw(rows: &[Row]) -> Drawn<Option<Chart>> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let cells = cells(rows);
    // Counts are results even where a trial's other figures are not to be believed.
    let mut series = series_of(rows, &cells, |cell| cell.count(|row| row.conns_served));
    if series.is_empty() {
        return Ok(None);
    }
    let several = sizes(&cells).len() > 1;
    let asked = sizes(&cells).into_iter().map(|n| n as f64);
    let served = series.iter().flat_map(|s| s.points.iter().map(|p| p.y));
    let values: Vec<f64> = asked.chain(served).collect();
    let texts = Texts {
        title: "Connections served, of those asked for".into(),
        subtitle: conditions(first, None),
        caption: vec![trials_caption(rows)],
    };
    let svg = if several {
        series.push(everything_asked(&values));
        let y = Axis::over(
            "connections served",
            Scale::Log,
            values.iter().copied(),
            count,
        );
        canvas::lines(
            &texts,
            &connections_axis(values.iter().copied()),
            &y,
            &series,
            true,
        )?
    } else {
        let axis = Axis::over(
            "connections served",
            Scale::Linear,
            values.into_iter(),
            count,
        );
        canvas::bars(&texts, &axis, &series)?
    };
    Ok(Some(Chart {
        name: "connections-served.svg".into(),
        svg,
    }))
}

/// The diagonal on which everything asked for was served.
fn everything_asked(values: &[f64]) -> Series {
    let ends = values
        .iter()
        .fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(*v), h.max(*v)));
    let point = |v: f64| Point {
        x: v,
        y: v,
        range: None,
        suspect: true,
        note: None,
    };
    Series {
        label: "asked".into(),
        look: look::Look {
            colour: plotters::style::RGBColor(170, 170, 170),
            marker: look::Marker::Circle,
            dashed: true,
        },
        points: vec![point(ends.0.max(1.0)), point(ends.1)],
    }
}
