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
    let all = series_of(
        rows,
        &cells,
        |cell| cell.count(|row| row.conns_served),
        count,
    );
    if all.is_empty() {
        return Ok(None);
    }
    let mut texts = Texts {
        title: "Connections served, of those asked for".into(),
        subtitle: conditions(first, None),
        caption: vec![trials_caption(rows)],
    };
    let asked = sizes(&cells).into_iter().map(|n| n as f64);
    let served = all.iter().flat_map(|s| s.points.iter().map(|p| p.y));
    let values: Vec<f64> = asked.chain(served).collect();
    let svg = if sizes(&cells).len() > 1 {
        // Whoever served everything would lie on the diagonal with all the others: their names say as much.
        let everything = |s: &Series| s.points.iter().all(|p| p.y >= p.x);
        let (whole, mut short): (Vec<Series>, Vec<Series>) = all.into_iter().partition(everything);
        let names: Vec<&str> = whole.iter().map(|s| s.label.as_str()).collect();
        if !names.is_empty() {
            texts.caption.push(format!(
                "Everything asked for was served by: {}",
                names.join(", ")
            ));
        }
        short.push(everything_asked(&values));
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
            &short,
            1,
        )?
    } else {
        let axis = Axis::over(
            "connections served",
            Scale::Linear,
            values.into_iter(),
            count,
        );
        canvas::bars(&texts, &axis, &all)?
    };
    Ok(Some(Chart {
        name: "connections-served.svg".into(),
        svg,
    }))
}

/// The diagonal on which everything asked for was served.
fn everything_asked(values: &[f64]) -> Series {
    let low = values
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min)
        .max(1.0);
    let high = values.iter().copied().fold(low, f64::max);
    let point = |v: f64| Point {
        x: v,
        y: v,
        range: None,
        value: String::new(),
        suspect: true,
        note: None,
    };
    Series {
        label: "asked for".into(),
        look: look::Look {
            colour: plotters::style::RGBColor(170, 170, 170),
            marker: look::Marker::Circle,
            dashed: true,
        },
        points: vec![point(low), point(high)],
    }
}
