//! The marks of a chart: grid, lines, markers, bars and names, placed by its two axes.

use super::super::look::{Look, Marker};
use super::super::svg::{Area as Paper, Groups};
use super::{
    Axis, Drawn, FAILED, FAINT, GRID, INK, LEGEND_LINE, Point, RING, SHADE, Series, Stack,
    bar_words, figure_in_full, font, in_full,
};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

/// Where on the paper the two axes lie; it draws what stands between them.
pub(super) struct Frame<'a> {
    pub(super) area: &'a Paper,
    pub(super) groups: &'a Groups,
    pub(super) x: &'a Axis,
    pub(super) y: &'a Axis,
    /// Of the whole drawing; the four edges are counted from its own.
    pub(super) size: (i32, i32),
    pub(super) left: i32,
    pub(super) right: i32,
    pub(super) top: i32,
    pub(super) bottom: i32,
    /// How far inside its edges the horizontal axis begins and ends: marks and ranges need room there.
    pub(super) inset: i32,
}

impl Frame<'_> {
    pub(super) fn width(&self) -> i32 {
        self.size.0 - self.left - self.right
    }

    pub(super) fn height(&self) -> i32 {
        self.size.1 - self.top - self.bottom
    }

    pub(super) fn px(&self, x: f64) -> Option<i32> {
        let fraction = self.x.fraction(x)?;
        let width = self.width() - 2 * self.inset;
        Some(self.left + self.inset + (fraction * f64::from(width)).round() as i32)
    }

    pub(super) fn py(&self, y: f64) -> Option<i32> {
        let fraction = self.y.fraction(y)?;
        Some(self.top + ((1.0 - fraction) * f64::from(self.height())).round() as i32)
    }

    pub(super) fn at(&self, point: &Point) -> Option<(i32, i32)> {
        Some((self.px(point.x)?, self.py(point.y)?))
    }

    pub(super) fn text(&self, words: &str, at: (i32, i32), style: TextStyle<'static>) -> Drawn {
        self.area
            .draw(&Text::new(words.to_string(), at, style))
            .map_err(|e| e.to_string())
    }

    pub(super) fn path(&self, points: &[(i32, i32)], style: ShapeStyle) -> Drawn {
        self.area
            .draw(&PathElement::new(points.to_vec(), style))
            .map_err(|e| e.to_string())
    }

    pub(super) fn shade(&self) -> Drawn {
        let (right, bottom) = (self.left + self.width(), self.top + self.height());
        let words = |v| font(11.5, FAINT, HPos::Left, v);
        let filled = |corners| {
            let part = Rectangle::new(corners, SHADE.filled());
            self.area.draw(&part).map_err(|e| e.to_string())
        };
        let shade = self.y.shade.as_ref();
        if let Some((shade, y)) = shade.and_then(|shade| Some((shade, self.py(shade.from)?))) {
            let (from, to, at, side) = match shade.above {
                // Curves rise into it, and leave its upper corner free.
                true if y - self.top > 30 => (self.top, y, self.top + 4, VPos::Top),
                true => (self.top, y, y - 3, VPos::Bottom),
                false => (y, bottom, y + 3, VPos::Top),
            };
            filled([(self.left, from), (right, to)])?;
            self.text(&shade.label, (self.left + 8, at), words(side))?;
        }
        let shade = self.x.shade.as_ref();
        if let Some((shade, x)) = shade.and_then(|shade| Some((shade, self.px(shade.from)?))) {
            let (from, to) = if shade.above {
                (x, right)
            } else {
                (self.left, x)
            };
            filled([(from, self.top), (to, bottom)])?;
            self.text(&shade.label, (x + 4, self.top - 2), words(VPos::Bottom))?;
        }
        Ok(())
    }

    pub(super) fn grid(&self) -> Drawn {
        let (right, bottom) = (self.left + self.width(), self.top + self.height());
        let mut free = i32::MIN;
        for (value, words) in &self.x.ticks {
            let Some(x) = self.px(*value) else { continue };
            self.path(&[(x, self.top), (x, bottom)], GRID.stroke_width(1))?;
            // Words that would touch their neighbour's are left out; the line stays.
            let half = words.chars().count() as i32 * 7 / 2;
            if x - half < free {
                continue;
            }
            free = x + half + 4;
            self.text(
                words,
                (x, bottom + 7),
                font(12.0, INK, HPos::Center, VPos::Top),
            )?;
        }
        for (value, words) in &self.y.ticks {
            let Some(y) = self.py(*value) else { continue };
            self.path(&[(self.left, y), (right, y)], GRID.stroke_width(1))?;
            self.text(
                words,
                (self.left - 9, y),
                font(12.0, INK, HPos::Right, VPos::Center),
            )?;
        }
        self.path(
            &[(self.left, self.top), (self.left, bottom), (right, bottom)],
            FAINT.stroke_width(1),
        )?;
        let middle = (self.left + self.width() / 2, bottom + 27);
        self.text(
            &self.x.label,
            middle,
            font(12.5, INK, HPos::Center, VPos::Top),
        )?;
        let upright = font(12.5, INK, HPos::Center, VPos::Top).transform(FontTransform::Rotate270);
        self.text(&self.y.label, (14, self.top + self.height() / 2), upright)
    }

    /// What cannot be placed breaks the line instead of being drawn at the edge.
    pub(super) fn line(&self, series: &Series) -> Drawn {
        let style = series.look.colour.stroke_width(2);
        let places: Vec<Option<(i32, i32)>> = series.points.iter().map(|p| self.at(p)).collect();
        for run in places.split(Option::is_none) {
            let run: Vec<(i32, i32)> = run.iter().copied().flatten().collect();
            if run.len() < 2 {
                continue;
            }
            if series.look.dashed {
                let dashes = DashedPathElement::new(run, 6, 4, style);
                self.area.draw(&dashes).map_err(|e| e.to_string())?;
            } else {
                self.path(&run, style)?;
            }
        }
        Ok(())
    }

    pub(super) fn marks(
        &self,
        series: &Series,
        every: usize,
        aside: i32,
        notes: &mut Vec<Area>,
    ) -> Drawn {
        let marked = series.points.iter().step_by(every);
        for point in marked.filter(|point| !point.is_corner) {
            let Some(at) = self.at(point) else { continue };
            let words = figure_in_full(&series.label, point, self.x, self.y);
            self.groups
                .figure(&words, || self.mark(series, point, at, aside, notes))?;
        }
        Ok(())
    }

    fn mark(
        &self,
        series: &Series,
        point: &Point,
        at: (i32, i32),
        aside: i32,
        notes: &mut Vec<Area>,
    ) -> Drawn {
        let edges = (self.left, self.top + self.height());
        if let Some((low, high)) = point.range
            && let (Some(low), Some(high)) = (self.py(low), self.py(high))
        {
            self.path(
                &[(at.0 + aside, low), (at.0 + aside, high)],
                series.look.colour.stroke_width(1),
            )?;
        }
        self.marker(at, &series.look, point.suspect)?;
        if point.failed {
            self.cross(at)?;
        }
        if point.is_knee || point.is_change {
            let ring = Circle::new(at, RING, series.look.colour.stroke_width(2));
            self.area.draw(&ring).map_err(|e| e.to_string())?;
        }
        if point.is_bound {
            self.arrow(at, series.look.colour)?;
        }
        if let Some(note) = &point.note
            && let Some(end) = free_place(note, at, edges, notes)
        {
            let style = font(11.0, series.look.colour, HPos::Right, VPos::Center);
            self.text(note, end, style)?;
        }
        Ok(())
    }

    pub(super) fn marker(&self, at: (i32, i32), look: &Look, hollow: bool) -> Drawn {
        let inside = if hollow { WHITE } else { look.colour };
        for (style, r) in [(inside.filled(), 5), (look.colour.stroke_width(2), 5)] {
            let shape = outline(look.marker, at, r);
            let drawn = match look.marker {
                Marker::Circle => self.area.draw(&Circle::new(at, r, style)),
                _ if style.filled => self.area.draw(&Polygon::new(shape, style)),
                _ => self.area.draw(&PathElement::new(shape, style)),
            };
            drawn.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Upwards from a mark.
    fn arrow(&self, (x, y): (i32, i32), colour: RGBColor) -> Drawn {
        let tip = (x, y - 22);
        self.path(&[(x, y - 6), tip], colour.stroke_width(2))?;
        let head = [(x - 4, y - 16), tip, (x + 4, y - 16)];
        self.path(&head, colour.stroke_width(2))
    }

    fn cross(&self, (x, y): (i32, i32)) -> Drawn {
        for slope in [-1, 1] {
            let ends = [(x - 8, y - 8 * slope), (x + 8, y + 8 * slope)];
            self.path(&ends, FAILED.stroke_width(2))?;
        }
        Ok(())
    }

    /// The height at which each arm's name stands: beside the end of its line, or as near to it as the others let it.
    pub(super) fn places_of_names(&self, series: &[Series]) -> Vec<Option<Name>> {
        let end = |s: &Series| s.points.iter().rev().find_map(|point| self.at(point));
        let mut ends: Vec<(usize, (i32, i32))> = series
            .iter()
            .enumerate()
            .filter_map(|(i, s)| Some((i, end(s)?)))
            .collect();
        ends.sort_by_key(|(i, (_, y))| (*y, *i));
        let wanted: Vec<i32> = ends.iter().map(|(_, (_, y))| *y).collect();
        let heights = spread(
            &wanted,
            LEGEND_LINE,
            (self.top + 8, self.top + self.height() - 4),
        );
        let mut names = vec![None; series.len()];
        for ((i, end), y) in ends.into_iter().zip(heights) {
            names[i] = Some(Name { end, y });
        }
        names
    }

    /// An arm's name and look, and a thin line to where its own line ends.
    pub(super) fn name(&self, series: &Series, place: Option<Name>) -> Drawn {
        let Some(Name { end, y }) = place else {
            return Ok(());
        };
        let left = self.left + self.width() + 16;
        let lead = [(end.0 + 8, end.1), (left - 6, y), (left, y)];
        self.path(&lead, series.look.colour.mix(0.5).stroke_width(1))?;
        self.marker((left + 8, y), &series.look, false)?;
        let style = font(12.5, INK, HPos::Left, VPos::Center);
        self.text(&series.legend(), (left + 20, y), style)
    }

    pub(super) fn stack(&self, row: f64, stack: &Stack) -> Drawn {
        let Some(y) = self.py(row) else { return Ok(()) };
        let half = self.half_bar();
        let label = font(12.5, INK, HPos::Right, VPos::Center);
        self.text(&stack.label, (self.left - 9, y), label)?;
        let mut sum = 0.0;
        for (i, share) in stack.shares.iter().enumerate() {
            let ends = (self.px(sum), self.px(sum + share));
            sum += share;
            let (Some(from), Some(to)) = ends else {
                continue;
            };
            // Neighbours differ in strength, so that even equal parts can be counted.
            let colour = stack.look.colour.mix(if i % 2 == 0 { 0.95 } else { 0.6 });
            let part = Rectangle::new([(from, y - half), (to, y + half)], colour.filled());
            let words = format!("{}: worker {i} accepted {share:.1} %", stack.label);
            self.groups
                .figure(&words, || self.area.draw(&part).map_err(|e| e.to_string()))?;
        }
        let note = font(11.5, FAINT, HPos::Left, VPos::Center);
        self.text(&stack.note, (self.left + self.width() + 8, y), note)
    }

    /// Half the thickness of a bar.
    pub fn half_bar(&self) -> i32 {
        (f64::from(self.height()) / self.y.range.1 * 0.32).min(16.0) as i32
    }

    pub(super) fn bar(&self, row: f64, series: &Series, point: &Point) -> Drawn {
        let Some(y) = self.py(row) else { return Ok(()) };
        self.text(
            &series.label,
            (self.left - 9, y),
            font(12.5, INK, HPos::Right, VPos::Center),
        )?;
        let Some(x) = self.px(point.y) else {
            return Ok(());
        };
        let words = format!("{}: {}", series.label, in_full(point, self.x.unit));
        self.groups
            .figure(&words, || self.filled_bar(series, point, x, y))
    }

    fn filled_bar(&self, series: &Series, point: &Point, x: i32, y: i32) -> Drawn {
        let half = self.half_bar();
        let colour = series.look.colour;
        let inside = if point.suspect { WHITE } else { colour };
        let rectangle = |from, to, style: ShapeStyle| {
            let bar = Rectangle::new([(from, y - half), (to, y + half)], style);
            self.area.draw(&bar).map_err(|e| e.to_string())
        };
        rectangle(self.left, x, inside.filled())?;
        rectangle(self.left, x, colour.stroke_width(2))?;
        let mut end = x;
        if let Some((low, high)) = point.range
            && let (Some(low), Some(high)) = (self.px(low), self.px(high))
        {
            self.path(&[(low, y), (high, y)], INK.stroke_width(1))?;
            end = end.max(high);
        }
        let words = bar_words(self.x, point);
        let style = font(11.5, FAINT, HPos::Left, VPos::Center);
        self.text(&words, (end + 8, y), style)
    }
}

/// Where an arm's line ends, and at which height its name stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    end: (i32, i32),
    y: i32,
}

/// Heights in rising order moved as little as keeps them `apart` and between the `edges`, where they have room there.
fn spread(wanted: &[i32], apart: i32, edges: (i32, i32)) -> Vec<i32> {
    // Neighbours that would touch are one block, centred on what its members want (isotonic regression by pooling).
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (i, y) in wanted.iter().enumerate() {
        blocks.push((f64::from(y - apart * i as i32), 1));
        while let [.., (a, n), (b, m)] = blocks[..]
            && a >= b
        {
            blocks.truncate(blocks.len() - 2);
            blocks.push(((a * n as f64 + b * m as f64) / (n + m) as f64, n + m));
        }
    }
    let room = edges.1 - apart * (wanted.len() as i32 - 1);
    let starts = blocks.iter().flat_map(|(y, n)| std::iter::repeat_n(*y, *n));
    starts
        .enumerate()
        .map(|(i, y)| (y.round() as i32).min(room).max(edges.0) + apart * i as i32)
        .collect()
}

/// A rectangle of words: left, top, right, bottom.
pub(super) type Area = (i32, i32, i32, i32);

/// Where words end that stand beside a mark: below it, above it or level with it, to its left or, at the `edge`, to
/// its right, wherever no others are yet; a mark among too many has no words, and its table has them.
fn free_place(
    words: &str,
    (x, y): (i32, i32),
    (edge, bottom): (i32, i32),
    taken: &mut Vec<Area>,
) -> Option<(i32, i32)> {
    let width = words.chars().count() as i32 * 6 + 4;
    let beside = if x - 11 - width >= edge {
        x - 7
    } else {
        x + 7 + width
    };
    let places = [
        (beside, y + 12),
        (beside, y - 11),
        (beside + (beside - x).signum() * 4, y),
    ];
    let area = |(right, middle): (i32, i32)| (right - width, middle - 7, right, middle + 7);
    let apart = |a: Area, b: &Area| a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1;
    let free = places
        .into_iter()
        .filter(|(_, middle)| middle + 7 <= bottom)
        .find(|place| taken.iter().all(|other| apart(area(*place), other)))?;
    taken.push(area(free));
    Some(free)
}

/// A closed outline of the marker around `at`.
fn outline(marker: Marker, (x, y): (i32, i32), r: i32) -> Vec<(i32, i32)> {
    match marker {
        Marker::Circle | Marker::Square => {
            vec![
                (x - r, y - r),
                (x + r, y - r),
                (x + r, y + r),
                (x - r, y + r),
                (x - r, y - r),
            ]
        }
        Marker::Triangle => vec![(x - r, y + r), (x, y - r), (x + r, y + r), (x - r, y + r)],
        Marker::Diamond => vec![(x - r, y), (x, y - r), (x + r, y), (x, y + r), (x - r, y)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_apart_and_near_their_lines() {
        assert_eq!(spread(&[100, 200], 20, (0, 400)), [100, 200]);
        assert_eq!(spread(&[100, 100, 100], 20, (0, 400)), [80, 100, 120]);
        assert_eq!(spread(&[0, 0, 399, 400], 20, (0, 400)), [0, 20, 380, 400]);
        assert!(spread(&[], 20, (0, 400)).is_empty());
        let many = spread(&[7; 40], 20, (0, 100));
        assert!(many.windows(2).all(|pair| pair[1] - pair[0] == 20));
    }

    #[test]
    fn words_never_stand_on_words() {
        let mut taken = Vec::new();
        let places: Vec<Option<(i32, i32)>> = (0..5)
            .map(|_| free_place("starved", (100, 100), (0, 400), &mut taken))
            .collect();
        assert_eq!(places.iter().flatten().count(), 2, "{places:?}");
        assert!(free_place("starved", (10, 300), (0, 400), &mut taken).is_some_and(|at| at.0 > 50));
        assert!(free_place("starved", (300, 100), (0, 400), &mut taken).is_some());
    }
}
