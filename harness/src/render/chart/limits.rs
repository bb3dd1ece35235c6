//! Connections served against connections asked for: where each model meets its wall, and which.

use super::canvas::{Axis, Point, Scale, Series, Texts};
use super::panel::{Along, Panel};
use super::{Chart, Plot, look};
use crate::analysis::summary::Cell;
use crate::base::text::visible;
use crate::base::unit::Unit;
use crate::model::row::Status;

/// More words than this beside a mark would cover its neighbours.
const LONGEST_WALL: usize = 40;

pub fn draw(panel: &Panel) -> Option<Chart> {
    if panel.along == Along::Rate {
        // As many connections at every rate: there is nothing to draw along them.
        return None;
    }
    let all = panel.series(|cell| served(panel, cell));
    if all.is_empty() {
        return None;
    }
    let mut texts = Texts {
        title: "Connections served, of those asked for".into(),
        subtitle: panel.conditions(),
        caption: panel.captions("Idle ones included."),
    };
    // Counts are results even where a trial's other figures are not to be believed.
    texts.caption.truncate(1);
    let asked = || panel.cells.iter().map(|cell| asked_for(cell) as f64);
    let served = all.iter().flat_map(|s| s.points.iter().map(|p| p.y));
    let values: Vec<f64> = asked().chain(served).collect();
    let axis = |scale| {
        Axis::over(
            "connections served",
            scale,
            values.iter().copied(),
            Unit::Count,
        )
    };
    let plot = match panel.along {
        Along::Nothing => Plot::Bars {
            value: axis(Scale::Linear),
            series: all,
        },
        _ => Plot::Lines {
            x: Axis::over("connections asked for", Scale::Log, asked(), Unit::Count),
            y: axis(Scale::Log),
            series: fallen_short(all, &mut texts.caption, &asked().collect::<Vec<_>>()),
            marked: 1,
        },
    };
    Some(Chart {
        name: format!("connections-served{}", panel.suffix),
        texts,
        plot,
        table: None,
    })
}

fn asked_for(cell: &Cell) -> u64 {
    cell.workload.conns + cell.workload.idle
}

fn served(panel: &Panel, cell: &Cell) -> Option<Point> {
    // Short-lived connections follow each other: as many are served as there is time for, and none was asked for.
    if cell.workload.requests_per_conn.is_some() {
        return None;
    }
    let counts: Vec<f64> = cell
        .rows
        .iter()
        .filter_map(|row| row.conns_served)
        .map(|n| n as f64)
        .collect();
    let mut point = panel.point_of(cell, &counts)?;
    point.x = asked_for(cell) as f64;
    point.note = match cell.status().0 {
        Status::Limited => wall(cell).or(point.note),
        _ => point.note,
    };
    Some(point)
}

/// Which wall it was: the reason without a code is the server's own word for it.
fn wall(cell: &Cell) -> Option<String> {
    let limited = cell.rows.iter().filter(|row| row.status == Status::Limited);
    let reason = limited
        .flat_map(|row| &row.reasons.0)
        .find(|reason| reason.code.is_empty())?;
    let words = visible(&reason.text);
    let short: String = words.chars().take(LONGEST_WALL).collect();
    Some(if short.len() < words.len() {
        short + "…"
    } else {
        words
    })
}

/// The arms that did not serve everything, and the diagonal; the others would all lie on it, so they are named.
fn fallen_short(all: Vec<Series>, caption: &mut Vec<String>, values: &[f64]) -> Vec<Series> {
    // A median may hide the trial that fell short; the status does not.
    let everything = |s: &Series| s.points.iter().all(|p| p.y >= p.x && p.note.is_none());
    let (whole, mut short): (Vec<Series>, Vec<Series>) = all.into_iter().partition(everything);
    let names: Vec<&str> = whole.iter().map(|s| s.label.as_str()).collect();
    if !names.is_empty() {
        caption.push(format!(
            "Everything asked for was served by: {}",
            names.join(", ")
        ));
    }
    label_walls_once(&mut short);
    short.push(everything_asked(values));
    short
}

/// A wall is labelled where it is first met: further on it is the same.
fn label_walls_once(short: &mut [Series]) {
    for series in short {
        let mut met = false;
        for point in &mut series.points {
            if point.note.is_some() && std::mem::replace(&mut met, true) {
                point.note = None;
            }
        }
    }
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
        suspect: true,
        ..Point::default()
    };
    Series {
        label: "asked for".into(),
        remark: None,
        look: look::Look {
            colour: plotters::style::RGBColor(170, 170, 170),
            marker: look::Marker::Circle,
            dashed: true,
        },
        points: vec![point(low), point(high)],
    }
}

#[cfg(test)]
mod tests {
    use super::super::panel::panels;
    use super::*;
    use crate::model::row::{Reason, Reasons, Row};

    #[test]
    fn a_wall_is_labelled_with_its_own_words_and_once() {
        let row = |conns: u64| Row {
            arm: "select".into(),
            model: "select".into(),
            conns,
            conns_served: Some(conns.min(1020)),
            requests_completed: Some(1),
            status: if conns > 1020 {
                Status::Limited
            } else {
                Status::Ok
            },
            reasons: Reasons(vec![Reason {
                code: String::new(),
                text: "FD_SETSIZE at 1020".into(),
            }]),
            ..Row::blank()
        };
        let rows: Vec<Row> = [100, 2000, 5000].map(row).into();
        let chart = draw(&panels(&rows)[0]).unwrap();
        let svg = chart.svg().unwrap();
        assert_eq!(svg.matches(">FD_SETSIZE at 1020<").count(), 1);
        let Plot::Lines { series, .. } = chart.plot else {
            panic!()
        };
        let notes: Vec<Option<&str>> = series[0].points.iter().map(|p| p.note.as_deref()).collect();
        assert_eq!(notes, [None, Some("FD_SETSIZE at 1020"), None]);
    }

    #[test]
    fn short_lived_connections_are_not_held_against_those_open_at_a_time() {
        let row = |requests_per_conn| Row {
            arm: "epoll".into(),
            model: "epoll".into(),
            conns: 50,
            conns_served: Some(7800),
            requests_completed: Some(7800),
            requests_per_conn,
            ..Row::blank()
        };
        assert!(draw(&panels(&[row(Some(1))])[0]).is_none());
        assert!(draw(&panels(&[row(None)])[0]).is_some());
    }
}
