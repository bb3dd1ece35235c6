//! Bars divided into named parts, in columns of several measures beside the same arms.

use super::super::look::Look;
use super::{
    Axis, Drawn, FAINT, Frame, INK, SIZE, Scale, TOP, Texts, View, font, room_for, rows_axis,
    size_of_bars, to_svg,
};
use crate::base::unit::Unit;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use serde::Serialize;

/// So many parts have a colour of their own (Okabe and Ito's, which the colour-blind can tell apart).
pub const MOST_NAMES: usize = PALETTE.len();
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(240, 228, 66),
];
const REST: RGBColor = RGBColor(150, 150, 150);
/// What the first column is wider than the others by: its bars have many parts.
const FIRST: f64 = 1.9;
/// Room for the figure behind the longest bar, and between columns.
const BEHIND: i32 = 58;
const LEGEND_LINE: i32 = 20;

/// The whole: arms below each other, measures beside each other.
#[derive(Debug, Clone, Serialize)]
pub struct Breakdown {
    /// The measures.
    pub columns: Vec<Column>,
    /// The arms.
    pub rows: Vec<BreakdownRow>,
    /// The parts that have a colour of their own, in its order.
    pub names: Vec<String>,
}

/// One measure.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// Its axis.
    pub axis: Axis,
}

/// One arm.
#[derive(Debug, Clone, Serialize)]
pub struct BreakdownRow {
    /// Its label.
    pub arm: String,
    /// Its look.
    pub look: Look,
    /// Drawn hollow: some trial was suspect.
    pub suspect: bool,
    /// A bar for each column; one without parts was not measured.
    pub bars: Vec<Vec<Part>>,
}

/// A part of a bar.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// What it is.
    pub name: String,
    /// How long it is.
    pub value: f64,
    /// Its colour.
    pub paint: Paint,
}

/// The colour of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Paint {
    /// That of a name.
    Named(usize),
    /// That of all others.
    Rest,
    /// The arm's.
    Strong,
    /// The same, lighter.
    Light,
}

impl Column {
    /// A measure whose axis holds bars of these lengths.
    pub fn new(title: &str, unit: Unit, lengths: impl Iterator<Item = f64>) -> Column {
        let mut axis = Axis::over(title, Scale::Linear, lengths, unit);
        // Few words fit below a narrow column.
        if axis.ticks.len() > 4 {
            axis.ticks = axis.ticks.into_iter().step_by(2).collect();
        }
        Column { axis }
    }
}

impl Paint {
    fn colour(self, look: &Look) -> RGBAColor {
        match self {
            Paint::Named(at) => PALETTE.get(at).unwrap_or(&REST).to_rgba(),
            Paint::Rest => REST.to_rgba(),
            Paint::Strong => look.colour.to_rgba(),
            Paint::Light => look.colour.mix(0.35),
        }
    }
}

/// Draws it.
pub fn breakdown(view: View, texts: &Texts, breakdown: &Breakdown) -> Drawn<String> {
    let left = room_for(breakdown.rows.iter().map(|row| row.arm.as_str()), 32, 92);
    let legend = legend(&breakdown.names, SIZE.0 - left - 20);
    let lines = legend.last().map_or(0, |(_, _, line)| line + 1);
    let top = TOP + LEGEND_LINE * lines;
    let (width, height) = size_of_bars(breakdown.rows.len());
    let size = (width, height + LEGEND_LINE * lines);
    let rows = rows_axis(breakdown.rows.len());
    to_svg(view, texts, size, |area, groups| {
        let mut from = left;
        for (at, column) in breakdown.columns.iter().enumerate() {
            let wide = column_width(at, breakdown.columns.len(), SIZE.0 - left - 10);
            let frame = Frame {
                area,
                groups,
                x: &column.axis,
                y: &rows,
                size,
                left: from,
                right: size.0 - from - (wide - BEHIND),
                top,
                bottom: super::BOTTOM,
                inset: 0,
            };
            from += wide;
            if at == 0 {
                frame.legend(&breakdown.names, &legend, left)?;
            }
            frame.grid()?;
            for (row, own) in breakdown.rows.iter().rev().enumerate() {
                groups.arm(&own.arm, || frame.parts(row as f64 + 0.5, own, at))?;
            }
        }
        Ok(())
    })
}

/// How wide a column is with the room behind it.
fn column_width(at: usize, columns: usize, all: i32) -> i32 {
    let weight = |at: usize| if at == 0 { FIRST } else { 1.0 };
    let sum: f64 = (0..columns).map(weight).sum();
    (f64::from(all) * weight(at) / sum) as i32
}

/// Where each name stands: how far from the left, and in which line.
fn legend(names: &[String], room: i32) -> Vec<(String, i32, i32)> {
    let (mut at, mut line) = (0, 0);
    let mut places = Vec::new();
    for name in names {
        let wide = name.chars().count() as i32 * 7 + 30;
        if at + wide > room && at > 0 {
            (at, line) = (0, line + 1);
        }
        places.push((name.clone(), at, line));
        at += wide;
    }
    places
}

impl Frame<'_> {
    fn legend(&self, names: &[String], places: &[(String, i32, i32)], left: i32) -> Drawn {
        for (at, (name, x, line)) in places.iter().enumerate().take(names.len()) {
            let (x, y) = (left + x, TOP + LEGEND_LINE * line);
            let colour = PALETTE.get(at).unwrap_or(&REST);
            let swatch = Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled());
            self.area.draw(&swatch).map_err(|e| e.to_string())?;
            self.text(name, (x + 15, y), font(12.0, INK, HPos::Left, VPos::Center))?;
        }
        Ok(())
    }

    /// The bar of an arm in one column; before the first the arm's name.
    fn parts(&self, row: f64, own: &BreakdownRow, column: usize) -> Drawn {
        let Some(y) = self.py(row) else { return Ok(()) };
        if column == 0 {
            let label = font(12.5, INK, HPos::Right, VPos::Center);
            self.text(&own.arm, (self.left - 9, y), label)?;
        }
        let parts = &own.bars[column];
        let mut sum = 0.0;
        for part in parts {
            let ends = (self.px(sum), self.px(sum + part.value));
            sum += part.value;
            let (Some(from), Some(to)) = ends else {
                continue;
            };
            let half = self.half_bar();
            let colour = part.paint.colour(&own.look);
            let inside = if own.suspect { colour.mix(0.3) } else { colour };
            let words = format!(
                "{}: {} {}",
                own.arm,
                part.name,
                self.x.unit.words(part.value)
            );
            self.groups.figure(&words, || {
                [inside.filled(), colour.stroke_width(1)]
                    .into_iter()
                    .try_for_each(|style| {
                        let bar = Rectangle::new([(from, y - half), (to, y + half)], style);
                        self.area.draw(&bar).map_err(|e| e.to_string())
                    })
            })?;
        }
        let (end, words) = match parts.is_empty() {
            true => (self.left, "n/a".into()),
            false => (self.px(sum).unwrap_or(self.left), self.x.unit.words(sum)),
        };
        self.text(
            &words,
            (end + 5, y),
            font(11.5, FAINT, HPos::Left, VPos::Center),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_begin_a_line() {
        let names: Vec<String> = ["epoll_wait", "recvfrom", "sendto"]
            .map(String::from)
            .into();
        let places = legend(&names, 200);
        let lines: Vec<i32> = places.iter().map(|(_, _, line)| *line).collect();
        assert_eq!(lines, [0, 0, 1]);
        assert!(legend(&[], 200).is_empty());
    }

    #[test]
    fn columns_share_all_the_room() {
        for columns in 1..5 {
            let all: i32 = (0..columns).map(|at| column_width(at, columns, 800)).sum();
            assert!((790..=800).contains(&all), "{columns}: {all}");
        }
    }
}
