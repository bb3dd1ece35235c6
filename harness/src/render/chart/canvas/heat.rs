//! A table of coloured cells.

use super::super::heat::{Heat, HeatCell, HeatRow};
use super::{Axis, Drawn, FAINT, Frame, INK, SIZE, Scale, Texts, View, font, room_for, to_svg};
use crate::base::unit::Unit;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

const CELL: (i32, i32) = (64, 24);
const BETTER: RGBColor = RGBColor(0, 104, 168);
const WORSE: RGBColor = RGBColor(213, 94, 0);
/// The ratio at which the colours are strongest.
const STRONGEST: f64 = 4.0;

/// Draws the map: arms below each other, workloads beside each other.
pub fn heat(view: View, texts: &Texts, heat: &Heat) -> Drawn<String> {
    let left = room_for(heat.rows.iter().map(|row| row.label.as_str()), 40, 92);
    let columns = heat.columns.len().max(1) as i32;
    let wide = CELL.0.max(((SIZE.0 - left - 40) / columns).min(150));
    let longest = heat
        .columns
        .iter()
        .map(|c| c.chars().count())
        .max()
        .unwrap_or(0) as i32;
    let upright = longest * 7 > wide;
    let head = if upright { longest * 7 + 12 } else { 22 };
    let top = super::TOP + head;
    let size = (
        SIZE.0.max(left + wide * columns + 40),
        top + CELL.1 * heat.rows.len() as i32 + 60,
    );
    let nowhere = Axis::over("", Scale::Linear, [1.0].into_iter(), Unit::Count);
    to_svg(view, texts, size, |area, groups| {
        let frame = Frame {
            area,
            groups,
            x: &nowhere,
            y: &nowhere,
            size,
            left,
            right: 0,
            top,
            bottom: 0,
            inset: 0,
        };
        for (i, column) in heat.columns.iter().enumerate() {
            let middle = left + wide * i as i32 + wide / 2;
            let style = font(11.5, INK, HPos::Left, VPos::Center);
            if upright {
                frame.text(
                    column,
                    (middle, top - 8),
                    style.transform(FontTransform::Rotate270),
                )?;
            } else {
                frame.text(
                    column,
                    (middle, top - 8),
                    font(11.5, INK, HPos::Center, VPos::Bottom),
                )?;
            }
        }
        for (j, row) in heat.rows.iter().enumerate() {
            let y = top + CELL.1 * j as i32;
            groups.arm(&row.label, || frame.heat_row(heat, row, (left, y), wide))?;
        }
        Ok(())
    })
}

impl Frame<'_> {
    fn heat_row(&self, heat: &Heat, row: &HeatRow, (left, y): (i32, i32), wide: i32) -> Drawn {
        let label = font(12.5, INK, HPos::Right, VPos::Center);
        self.text(&row.label, (left - 9, y + CELL.1 / 2), label)?;
        for (i, (cell, column)) in row.cells.iter().zip(&heat.columns).enumerate() {
            let at = (left + wide * i as i32, y);
            let words = format!("{}, {column}: {}", row.label, cell.in_full());
            self.groups.figure(&words, || {
                self.heat_cell(cell, at, wide, heat.more_is_better)
            })?;
        }
        Ok(())
    }

    fn heat_cell(
        &self,
        cell: &HeatCell,
        (x, y): (i32, i32),
        wide: i32,
        more_is_better: bool,
    ) -> Drawn {
        let corners = [(x + 1, y + 1), (x + wide - 1, y + CELL.1 - 1)];
        let (hue, strength) = match cell.ratio.unwrap_or(1.0) {
            // Neither more nor less: it is what the others are measured by.
            1.0 => (FAINT, 0.0),
            ratio => colour(ratio, more_is_better),
        };
        let inside = if cell.suspect {
            WHITE.to_rgba()
        } else {
            hue.mix(strength)
        };
        for style in [inside.filled(), hue.mix(strength.max(0.1)).stroke_width(2)] {
            let drawn = self.area.draw(&Rectangle::new(corners, style));
            drawn.map_err(|e| e.to_string())?;
        }
        let ink = match cell.ratio {
            None => FAINT,
            Some(_) if strength > 0.6 && !cell.suspect => WHITE,
            Some(_) => INK,
        };
        let middle = (x + wide / 2, y + CELL.1 / 2);
        self.text(
            &cell.words(),
            middle,
            font(11.5, ink, HPos::Center, VPos::Center),
        )
    }
}

/// The hue of a ratio, and how strong it is: nothing at 1, everything at [`STRONGEST`] times or a part of as much.
fn colour(ratio: f64, more_is_better: bool) -> (RGBColor, f64) {
    let better = (ratio > 1.0) == more_is_better;
    let strength = (ratio.ln().abs() / STRONGEST.ln()).min(1.0) * 0.9;
    (if better { BETTER } else { WORSE }, strength)
}
