//! Small multiples: a panel per family of models on the same axes, the other lines faint behind its own.

use super::super::look::Look;
use super::grid::Grid;
use super::{Axis, BOTTOM, Drawn, Frame, GRID, INK, Series, TOP, Texts, View, font, lines, to_svg};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// So many lines can still be told apart on one panel.
const MOST_LINES: usize = 6;
const COLUMNS: usize = 4;
/// Height of a panel with its heading and the words under its axis.
const PANEL: i32 = 262;
const HEADING: i32 = 60;
const HEADING_LINE: i32 = 18;
const UNDER: i32 = 46;

/// One panel where the lines can be told apart, else one per hue.
pub fn multiples(
    view: View,
    texts: &Texts,
    x: &Axis,
    y: &Axis,
    series: &[Series],
    marked: usize,
) -> Drawn<String> {
    let families = families(series);
    if series.len() <= MOST_LINES || families.len() < 2 {
        return lines(view, texts, x, y, series, marked);
    }
    let grid = Grid {
        panels: families.len(),
        columns: COLUMNS,
        first: TOP - 12,
        high: PANEL,
        heading: HEADING,
        under: UNDER,
        after: BOTTOM - UNDER,
        inset: 14,
    };
    to_svg(view, texts, grid.size(), |area, groups| {
        for (n, family) in families.iter().enumerate() {
            let (x, y) = (horizontal(x, &grid, n), grid.vertical(y, n));
            let frame = grid.frame(n, (area, groups), (&x, &y));
            frame.family(series, family, marked)?;
        }
        Ok(())
    })
}

/// The horizontal axis with the words that a panel shows: its label at the lowest ones, what a shade is at the left.
fn horizontal(axis: &Axis, grid: &Grid, panel: usize) -> Axis {
    let mut axis = axis.clone();
    if !grid.is_lowest(panel) {
        axis.label.clear();
    }
    if let Some(shade) = axis
        .shade
        .as_mut()
        .filter(|_| !panel.is_multiple_of(COLUMNS))
    {
        shade.label.clear();
    }
    axis
}

/// The arms of one hue, by their places among all.
fn families(series: &[Series]) -> Vec<Vec<usize>> {
    let mut families: Vec<(RGBColor, Vec<usize>)> = Vec::new();
    for (i, s) in series.iter().enumerate() {
        let hue = s.look.colour;
        match families.iter_mut().find(|(other, _)| *other == hue) {
            Some((_, members)) => members.push(i),
            None => families.push((hue, vec![i])),
        }
    }
    families.into_iter().map(|(_, members)| members).collect()
}

impl Frame<'_> {
    fn family(&self, series: &[Series], family: &[usize], marked: usize) -> Drawn {
        self.shade()?;
        self.grid()?;
        for (i, s) in series.iter().enumerate() {
            if !family.contains(&i) {
                self.groups.arm(&s.label, || self.line(&faint(s)))?;
            }
        }
        let mut notes = Vec::new();
        let places = self.headings(family.iter().map(|i| series[*i].legend()));
        for (n, (s, place)) in family.iter().map(|i| &series[*i]).zip(places).enumerate() {
            let aside = n as i32 * 2 - family.len() as i32 + 1;
            self.groups.arm(&s.label, || {
                self.line(s)?;
                self.marks(s, marked, aside, &mut notes)?;
                self.heading(s, place)
            })?;
        }
        Ok(())
    }

    /// Where each name begins, in lines that end above the panel.
    fn headings(&self, names: impl Iterator<Item = String>) -> Vec<(i32, i32)> {
        let mut at = (self.left, 0);
        let mut places = Vec::new();
        for name in names {
            let wide = 22 + 7 * name.chars().count() as i32;
            if at.0 > self.left && at.0 + wide > self.left + self.width() {
                at = (self.left, at.1 + HEADING_LINE);
            }
            places.push(at);
            at.0 += wide;
        }
        let first = self.top - 14 - at.1;
        places.iter().map(|(x, y)| (*x, first + y)).collect()
    }

    fn heading(&self, series: &Series, (x, y): (i32, i32)) -> Drawn {
        self.marker((x + 5, y), &series.look, false)?;
        let style = font(12.5, INK, HPos::Left, VPos::Center);
        self.text(&series.legend(), (x + 15, y), style)
    }
}

/// A line that only shows where the others run.
fn faint(series: &Series) -> Series {
    let RGBColor(r, g, b) = GRID;
    let look = Look {
        colour: RGBColor(r - 18, g - 18, b - 18),
        dashed: false,
        ..series.look
    };
    Series {
        look,
        ..series.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::look;
    use super::super::{Point, Scale};
    use super::*;
    use crate::base::unit::Unit;

    fn series(models: &[&str]) -> Vec<Series> {
        let one = |model: &&str| Series {
            label: model.to_string(),
            remark: None,
            look: look::of(model),
            points: [1.0, 2.0]
                .map(|x| Point {
                    x,
                    y: x,
                    ..Point::default()
                })
                .into(),
        };
        models.iter().map(one).collect()
    }

    #[test]
    fn many_lines_are_divided_by_family_and_each_is_named_once() {
        let all: Vec<&str> = servers::models::MODELS.iter().map(|m| m.name).collect();
        let axis = || Axis::over("v", Scale::Linear, [1.0, 2.0].into_iter(), Unit::Count);
        let draw = |models: &[&str]| {
            let series = series(models);
            multiples(View::File, &Texts::default(), &axis(), &axis(), &series, 1).unwrap()
        };
        let svg = draw(&all);
        for name in &all {
            assert_eq!(svg.matches(&format!(">{name}</text>")).count(), 1, "{name}");
        }
        let families = families(&series(&all));
        assert!(families.len() > 3 && families.iter().all(|f| f.len() <= MOST_LINES));
        let groups = |svg: &str| svg.matches(&format!("data-arm=\"{}\"", all[0])).count();
        assert_eq!(groups(&svg), families.len(), "faint in every other panel");
        assert_eq!(
            groups(&draw(&all[..MOST_LINES])),
            1,
            "one panel is enough for these"
        );
    }
}
