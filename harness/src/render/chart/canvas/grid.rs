//! Small multiples: panels of one size in rows, on the same axes. Values stand at the left edge only.

use super::super::svg::{Area as Paper, Groups};
use super::{Axis, Frame, SIZE};

/// Room for the values of the vertical axis, before the first column and before the others.
const LEFT: (i32, i32) = (92, 20);
/// Room to the right of the last column.
const RIGHT: i32 = 24;

/// Where panels lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// How many there are.
    pub panels: usize,
    /// How many stand in a row.
    pub columns: usize,
    /// Where the first row begins.
    pub first: i32,
    /// Height of a panel with what stands above and under it.
    pub high: i32,
    /// Height of what stands above it.
    pub heading: i32,
    /// Height of what stands under it.
    pub under: i32,
    /// Room under the last row.
    pub after: i32,
    /// How far inside its edges the horizontal axis begins and ends.
    pub inset: i32,
}

impl Grid {
    /// Of the whole drawing.
    pub fn size(&self) -> (i32, i32) {
        let rows = self.panels.div_ceil(self.columns) as i32;
        (SIZE.0, self.first + self.high * rows + self.after)
    }

    /// Whether nothing stands under this panel.
    pub fn is_lowest(&self, panel: usize) -> bool {
        panel + self.columns >= self.panels
    }

    /// The vertical axis with the words that this panel shows of it.
    pub fn vertical(&self, axis: &Axis, panel: usize) -> Axis {
        let mut axis = axis.clone();
        if !panel.is_multiple_of(self.columns) {
            axis.label.clear();
            axis.ticks.iter_mut().for_each(|(_, words)| words.clear());
            if let Some(shade) = &mut axis.shade {
                shade.label.clear();
            }
        }
        axis
    }

    /// The frame of a panel.
    pub fn frame<'a>(
        &self,
        panel: usize,
        (area, groups): (&'a Paper, &'a Groups),
        (x, y): (&'a Axis, &'a Axis),
    ) -> Frame<'a> {
        let size = self.size();
        let columns = self.columns as i32;
        let wide = (size.0 - LEFT.0 - RIGHT - LEFT.1 * (columns - 1)) / columns;
        let left = LEFT.0 + (panel % self.columns) as i32 * (wide + LEFT.1);
        let top = self.first + self.high * (panel / self.columns) as i32;
        Frame {
            area,
            groups,
            x,
            y,
            size,
            left,
            right: size.0 - left - wide,
            top: top + self.heading,
            bottom: size.1 - top - self.high + self.under,
            inset: self.inset,
        }
    }
}
