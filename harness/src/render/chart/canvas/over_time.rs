//! Maps of response times over time: small multiples on the same axes, under one scale of colours.

use super::super::over_time::{ArmOverTime, OverTime};
use super::grid::Grid;
use super::{
    Axis, BOTTOM, Drawn, FAILED, FAINT, Frame, GRID, INK, Scale, TOP, Texts, View, font, to_svg,
};
use crate::base::unit::{Unit, count};
use crate::model::latency_seconds::begin_ns;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// Height of a map with its heading, and the room around it.
const PANEL: i32 = 186;
const HEADING: i32 = 22;
const UNDER: i32 = 14;
/// Room for the scale of colours.
const LEGEND: i32 = 30;
/// The colour of all cells: it is strong where many are. It is seen on white and on black.
const HUE: RGBColor = RGBColor(0, 104, 168);
/// How strong each step of the scale is.
const STRENGTHS: [f64; 7] = [0.13, 0.26, 0.4, 0.54, 0.68, 0.84, 1.0];
/// Height of the mark of a second in which nothing was answered.
const SILENT: i32 = 6;

/// A rectangle: left, top, width, height.
pub type Cell = (i32, i32, i32, i32);

/// Draws all maps.
pub fn over_time(view: View, texts: &Texts, plot: &OverTime) -> Drawn<String> {
    let grid = Grid {
        panels: plot.arms.len(),
        columns: match plot.arms.len() {
            0 | 1 => 1,
            2..=4 => 2,
            _ => 3,
        },
        first: TOP - 12 + LEGEND,
        high: PANEL,
        heading: HEADING,
        under: UNDER,
        after: BOTTOM + 2,
        inset: 0,
    };
    let ends = [begin_ns(plot.classes.0), begin_ns(plot.classes.1 + 1)];
    let y = Axis::over(
        "response time",
        Scale::Log,
        ends.into_iter(),
        Unit::Duration,
    );
    to_svg(view, texts, grid.size(), |area, groups| {
        for (n, arm) in plot.arms.iter().enumerate() {
            let (x, y) = (seconds(arm, grid.is_lowest(n)), grid.vertical(&y, n));
            let frame = grid.frame(n, (area, groups), (&x, &y));
            if n == 0 {
                frame.scale_of_colours(plot.most)?;
            }
            groups.arm(&arm.label, || frame.map(arm, plot.most))?;
        }
        Ok(())
    })
}

/// The seconds of an arm's trials, a line where each begins.
fn seconds(arm: &ArmOverTime, is_lowest: bool) -> Axis {
    let trials = arm.trials.len();
    let label = match (is_lowest, trials) {
        (false, _) => String::new(),
        (true, 1) => format!("{:.1} s of one trial", arm.length_s),
        (true, n) => format!("{:.1} s: {n} trials one after the other", arm.length_s),
    };
    let began = |begin_s: f64| match is_lowest {
        true => Unit::Seconds.words((begin_s * 1e3).round() / 1e3),
        false => String::new(),
    };
    let begins = arm.trials.iter().zip(&arm.begin_s);
    Axis {
        label,
        unit: Unit::Seconds,
        scale: Scale::Linear,
        range: (0.0, arm.columns.len().max(1) as f64),
        ticks: begins
            .map(|(column, begin_s)| (*column as f64, began(*begin_s)))
            .collect(),
        shade: None,
    }
}

/// The step of a number of requests: the first for one, the last for the most.
fn step(n: u64, most: u64) -> usize {
    let last = STRENGTHS.len() - 1;
    let share = (n.max(1) as f64).ln() / (most.max(2) as f64).ln();
    ((share * last as f64).round() as usize).min(last)
}

impl Frame<'_> {
    fn map(&self, arm: &ArmOverTime, most: u64) -> Drawn {
        self.grid()?;
        let heading = font(12.5, INK, HPos::Left, VPos::Center);
        self.text(&arm.label, (self.left, self.top - 10), heading)?;
        self.groups.figure(&arm.in_words(), || {
            for (step, cells) in self.cells(arm, most).iter().enumerate() {
                self.groups.cells(HUE, STRENGTHS[step], cells);
            }
            self.groups.cells(FAILED, 1.0, &self.silent(arm));
            self.groups.cells(WHITE, 1.0, &self.gaps(arm));
            Ok(())
        })
    }

    /// The cells of each step; neighbours of one step in a row are one.
    fn cells(&self, arm: &ArmOverTime, most: u64) -> Vec<Vec<Cell>> {
        let mut steps: Vec<Vec<Cell>> = vec![Vec::new(); STRENGTHS.len()];
        let mut placed: Vec<(u16, usize, usize)> = Vec::new();
        for (at, column) in arm.columns.iter().enumerate() {
            let counts = column.counts.iter();
            placed.extend(counts.map(|(class, n)| (*class, at, step(*n, most))));
        }
        placed.sort_unstable();
        let runs = placed.chunk_by(|a, b| a.0 == b.0 && a.1 + 1 == b.1 && a.2 == b.2);
        for run in runs {
            let (class, from, step) = run[0];
            let ends = (
                self.px(from as f64),
                self.px((from + run.len()) as f64),
                self.py(begin_ns(class + 1)),
                self.py(begin_ns(class)),
            );
            if let (Some(left), Some(right), Some(top), Some(bottom)) = ends {
                let high = (bottom - top).max(1);
                steps[step].push((left, top, (right - left).max(1), high));
            }
        }
        steps
    }

    fn silent(&self, arm: &ArmOverTime) -> Vec<Cell> {
        let silent = arm.columns.iter().enumerate().filter(|(_, c)| c.is_silent);
        let bottom = self.top + self.height();
        silent
            .filter_map(|(at, _)| {
                let (left, right) = (self.px(at as f64)?, self.px(at as f64 + 1.0)?);
                Some((left, bottom - SILENT, (right - left).max(1), SILENT))
            })
            .collect()
    }

    /// The paper between two trials.
    fn gaps(&self, arm: &ArmOverTime) -> Vec<Cell> {
        let between = arm.trials.iter().skip(1);
        let begins = between.filter_map(|at| self.px(*at as f64));
        begins
            .map(|x| (x - 1, self.top, 3, self.height()))
            .collect()
    }

    /// What the colours say, above the maps.
    fn scale_of_colours(&self, most: u64) -> Drawn {
        let (wide, high) = (30, 12);
        let y = self.top - HEADING - LEGEND + 6;
        let words = "requests in a second:";
        let style = |h| font(11.5, FAINT, h, VPos::Center);
        self.text(words, (self.left, y + high / 2), style(HPos::Left))?;
        let mut left = self.left + 7 * words.len() as i32 - 10;
        let one = ("1".to_string(), left);
        self.text(&one.0, (one.1, y + high / 2), style(HPos::Right))?;
        left += 6;
        for (step, strength) in STRENGTHS.iter().enumerate() {
            let at = left + wide * step as i32;
            self.groups.cells(HUE, *strength, &[(at, y, wide, high)]);
        }
        let right = left + wide * STRENGTHS.len() as i32;
        let outline = [
            (left, y),
            (right, y),
            (right, y + high),
            (left, y + high),
            (left, y),
        ];
        self.path(&outline, GRID.stroke_width(1))?;
        self.text(
            &count(most as f64),
            (right + 6, y + high / 2),
            style(HPos::Left),
        )
    }
}
