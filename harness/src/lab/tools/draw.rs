//! The pictures of labs: the same charts as a run's, from plain figures.

use crate::base::unit::Unit;
use crate::render::chart::canvas::{Axis, Point, Scale, Series, Texts};
use crate::render::chart::look::{self, Look, Marker};
use crate::render::chart::{Chart, Plot};
use plotters::style::RGBColor;
use servers::models;

/// An axis: its label, its scale, what its values are.
pub type AxisSpec<'a> = (&'a str, Scale, Unit);

/// What is drawn where a label is no model's name: the models' own colours, which the page knows in the dark too.
const PALETTE: [(RGBColor, Marker); 6] = [
    (RGBColor(0, 104, 168), Marker::Circle),
    (RGBColor(213, 94, 0), Marker::Square),
    (RGBColor(0, 140, 102), Marker::Triangle),
    (RGBColor(176, 86, 140), Marker::Diamond),
    (RGBColor(60, 60, 60), Marker::Circle),
    (RGBColor(214, 143, 0), Marker::Square),
];

/// A title, the conditions, and what must be known to read the picture rightly.
pub fn texts(title: &str, subtitle: &str, caption: &str) -> Texts {
    Texts {
        title: title.into(),
        subtitle: subtitle.into(),
        caption: match caption {
            "" => Vec::new(),
            caption => vec![caption.into()],
        },
    }
}

/// A line per label through its points; `None` where there is not one point.
pub fn lines(
    name: &str,
    texts: Texts,
    x: AxisSpec,
    y: AxisSpec,
    data: Vec<(String, Vec<(f64, f64)>)>,
) -> Option<Chart> {
    let point = |(x, y): (f64, f64)| Point {
        x,
        y,
        ..Point::default()
    };
    let series: Vec<Series> = data
        .into_iter()
        .filter(|(_, points)| !points.is_empty())
        .enumerate()
        .map(|(place, (label, points))| Series {
            look: look_of(&label, place),
            label,
            remark: None,
            points: points.into_iter().map(point).collect(),
        })
        .collect();
    if series.is_empty() {
        return None;
    }
    let points = || series.iter().flat_map(|s| &s.points);
    let plot = Plot::Lines {
        x: Axis::over(x.0, x.1, points().map(|p| p.x), x.2),
        y: Axis::over(y.0, y.1, points().map(|p| p.y), y.2),
        series,
        marked: 1,
    };
    Some(chart(name, texts, plot))
}

/// A bar per label; `None` where there is none.
pub fn bars(
    name: &str,
    texts: Texts,
    label: &str,
    unit: Unit,
    data: Vec<(String, f64)>,
) -> Option<Chart> {
    let series: Vec<Series> = data
        .into_iter()
        .enumerate()
        .map(|(place, (label, value))| Series {
            look: look_of(&label, place),
            label,
            remark: None,
            points: vec![Point {
                y: value,
                ..Point::default()
            }],
        })
        .collect();
    if series.is_empty() {
        return None;
    }
    let values = series.iter().flat_map(|s| &s.points).map(|p| p.y);
    let value = Axis::over(label, Scale::Linear, values, unit);
    Some(chart(name, texts, Plot::Bars { value, series }))
}

fn chart(name: &str, texts: Texts, plot: Plot) -> Chart {
    Chart {
        name: name.into(),
        texts,
        plot,
        table: None,
    }
}

/// A model's own look, also where more words follow its name; else by position.
pub fn look_of(label: &str, place: usize) -> Look {
    let first = label.split([' ', ':', ',']).next().unwrap_or(label);
    if models::find(first).is_ok() {
        return look::of(first);
    }
    let (colour, marker) = PALETTE[place % PALETTE.len()];
    Look {
        colour,
        marker,
        dashed: place >= PALETTE.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_pictures_and_nothing_becomes_none() {
        let data = vec![
            ("epoll".to_string(), vec![(10.0, 3.0), (100.0, 4.0)]),
            ("with a pause".into(), vec![(10.0, 5.0)]),
            ("empty".into(), vec![]),
        ];
        let x = ("idle connections", Scale::Log, Unit::Count);
        let y = ("CPU per request", Scale::Linear, Unit::Duration);
        let chart = lines("a", texts("A title", "where", "how"), x, y, data).unwrap();
        let svg = chart.svg().unwrap();
        assert!(
            svg.contains("A title") && svg.contains("with a pause"),
            "{svg}"
        );
        assert_eq!(chart.arms(), 2);
        assert!(lines("a", Texts::default(), x, y, vec![]).is_none());
        assert!(bars("b", Texts::default(), "s", Unit::Seconds, vec![]).is_none());
        assert_eq!(look_of("epoll with ET", 3), look::of("epoll"));
    }
}
