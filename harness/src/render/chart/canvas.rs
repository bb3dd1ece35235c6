//! The drawing common to all charts: a frame with title and caption, two scaled axes, marks, lines, bars, and the
//! arms' names beside the ends of their lines. plotters supplies the primitives; the layout is ours, because its log
//! axes thin their ticks to one and draw what is out of range at the edge.

mod axis;
mod breakdown;
mod frame;
mod grid;
mod heat;
mod multiples;
mod over_time;

pub use axis::{Axis, Scale, Shade};
pub use breakdown::{Breakdown, BreakdownRow, Column, MOST_NAMES, Paint, Part, breakdown};
pub use heat::heat;
pub use multiples::multiples;
pub use over_time::over_time;

use super::look::Look;
use super::svg::{Area as Paper, Groups, Svg};
use crate::base::unit::Unit;
use frame::Frame;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;

/// Width and least height of a chart, px; one with many arms is higher.
const SIZE: (i32, i32) = (960, 540);
/// The least room for the legend, or for the words after the bars.
const RIGHT: i32 = 210;
/// Height of a line of the legend, and of a bar with its gap, at least.
const LEGEND_LINE: i32 = 22;
const BAR_LINE: i32 = 18;
/// Radius of the ring around a knee.
const RING: i32 = 9;
const TOP: i32 = 72;
const BOTTOM: i32 = 92;
/// Characters of a caption in one line.
const CAPTION_WIDTH: usize = 145;
const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(228, 228, 228);
const SHADE: RGBColor = RGBColor(240, 238, 230);
const FAILED: RGBColor = RGBColor(200, 0, 0);

/// Where a chart is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// In a file of its own: on white, with its texts.
    File,
    /// In the page, which has the texts and the paper.
    Page,
}

/// A drawing error, in words.
pub type Drawn<T = ()> = Result<T, String>;

/// A figure at one place, with the spread over its trials.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// The median.
    pub y: f64,
    /// The interval of the median, or the smallest and the largest trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<(f64, f64)>,
    /// Drawn hollow: some trial was suspect.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suspect: bool,
    /// Crossed out: something failed here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Drawn with an arrow: it is so much at least.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_bound: bool,
    /// Drawn with a ring: the curve turns here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_knee: bool,
    /// Drawn with a ring: from here on it is at another level.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_change: bool,
    /// Not marked: the line only turns here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_corner: bool,
    /// Words beside the mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Words that are only shown with the figure itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The points of one arm.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// The arm, in words that can be shown.
    pub label: String,
    /// What is said of the arm in the legend, beside its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// Its look.
    pub look: Look,
    /// In the order of `x`.
    pub points: Vec<Point>,
}

impl Series {
    /// What the legend says.
    fn legend(&self) -> String {
        match &self.remark {
            Some(remark) => format!("{}  {remark}", self.label),
            None => self.label.clone(),
        }
    }
}

/// The texts around a chart.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Texts {
    /// What the chart shows.
    pub title: String,
    /// Under which conditions.
    pub subtitle: String,
    /// What must be known to read it rightly; at most two lines.
    pub caption: Vec<String>,
}

/// Draws one line per series, with a marker at every `marked`-th point.
pub fn lines(
    view: View,
    texts: &Texts,
    x: &Axis,
    y: &Axis,
    series: &[Series],
    marked: usize,
) -> Drawn<String> {
    let legend: Vec<String> = series.iter().map(Series::legend).collect();
    let right = room_for(legend.iter().map(String::as_str), 56, RIGHT);
    let height = SIZE.1.max(TOP + BOTTOM + LEGEND_LINE * series.len() as i32);
    to_svg(view, texts, (SIZE.0, height), |area, groups| {
        let frame = Frame {
            area,
            groups,
            x,
            y,
            size: (SIZE.0, height),
            left: 92,
            right,
            top: TOP,
            bottom: BOTTOM,
            inset: 18,
        };
        frame.shade()?;
        frame.grid()?;
        let mut notes = Vec::new();
        let names = frame.places_of_names(series);
        for (i, s) in series.iter().enumerate() {
            // Neighbours' ranges stand beside each other, not on each other.
            let aside = i as i32 * 2 - series.len() as i32 + 1;
            groups.arm(&s.label, || {
                frame.line(s)?;
                frame.marks(s, marked, aside, &mut notes)?;
                frame.name(s, names[i])
            })?;
        }
        Ok(())
    })
}

/// A bar divided among several shares.
#[derive(Debug, Clone, Serialize)]
pub struct Stack {
    /// Whose bar it is.
    pub arm: String,
    /// What stands before it.
    pub label: String,
    /// Its look.
    pub look: Look,
    /// The parts in percent, together at most 100.
    pub shares: Vec<f64>,
    /// Words after the bar.
    pub note: String,
}

/// Draws one divided bar per stack.
pub fn stacks(view: View, texts: &Texts, share: &Axis, stacks: &[Stack]) -> Drawn<String> {
    let rows = rows_axis(stacks.len());
    let size = size_of_bars(stacks.len());
    to_svg(view, texts, size, |area, groups| {
        let frame = Frame {
            area,
            groups,
            x: share,
            y: &rows,
            size,
            left: room_for(stacks.iter().map(|s| s.label.as_str()), 32, 92),
            right: room_for(stacks.iter().map(|s| s.note.as_str()), 20, RIGHT),
            top: TOP,
            bottom: BOTTOM,
            inset: 0,
        };
        frame.shade()?;
        frame.grid()?;
        for (row, stack) in stacks.iter().rev().enumerate() {
            groups.arm(&stack.arm, || frame.stack(row as f64 + 0.5, stack))?;
        }
        Ok(())
    })
}

/// An axis on which bars lie one above the other.
fn rows_axis(bars: usize) -> Axis {
    Axis {
        label: String::new(),
        unit: Unit::Count,
        scale: Scale::Linear,
        range: (0.0, bars.max(1) as f64),
        ticks: Vec::new(),
        shade: None,
    }
}

/// Room for words and what stands beside them, at about 7 px a character.
fn room_for<'a>(words: impl Iterator<Item = &'a str>, beside: i32, least: i32) -> i32 {
    let longest = words.map(|words| words.chars().count()).max();
    (longest.unwrap_or(0) as i32 * 7 + beside).clamp(least, 420)
}

fn size_of_bars(bars: usize) -> (i32, i32) {
    (SIZE.0, SIZE.1.max(TOP + BOTTOM + BAR_LINE * bars as i32))
}

/// Draws one horizontal bar per series, for figures at a single place.
pub fn bars(view: View, texts: &Texts, value: &Axis, series: &[Series]) -> Drawn<String> {
    let rows = rows_axis(series.len());
    let size = size_of_bars(series.len());
    let first = series.iter().filter_map(|s| s.points.first());
    let words: Vec<String> = first.map(|point| bar_words(value, point)).collect();
    to_svg(view, texts, size, |area, groups| {
        let frame = Frame {
            area,
            groups,
            x: value,
            y: &rows,
            size,
            left: room_for(series.iter().map(|s| s.label.as_str()), 32, 92),
            right: room_for(words.iter().map(String::as_str), 20, RIGHT),
            top: TOP,
            bottom: BOTTOM,
            inset: 0,
        };
        frame.shade()?;
        frame.grid()?;
        for (row, s) in series.iter().rev().enumerate() {
            if let Some(point) = s.points.first() {
                groups.arm(&s.label, || frame.bar(row as f64 + 0.5, s, point))?;
            }
        }
        Ok(())
    })
}

fn to_svg(
    view: View,
    texts: &Texts,
    size: (i32, i32),
    draw: impl FnOnce(&Paper, &Groups) -> Drawn,
) -> Drawn<String> {
    // The page shows what lies between the texts.
    let (top, bottom) = match view {
        View::File => (0, size.1),
        View::Page => (TOP - 22, size.1 - BOTTOM + 46),
    };
    let [width, height] = [size.0.to_string(), (bottom - top).to_string()];
    let view_box = format!("0 {top} {width} {height}");
    let mut attributes = vec![
        ("xmlns", "http://www.w3.org/2000/svg"),
        ("viewBox", view_box.as_str()),
        ("role", "img"),
        ("aria-label", texts.title.as_str()),
    ];
    if view == View::File {
        attributes.extend([("width", width.as_str()), ("height", height.as_str())]);
    }
    let (area, groups) = Svg::begin(&attributes, size);
    if view == View::File {
        area.fill(&WHITE).map_err(|e| e.to_string())?;
        write_texts(&area, size, texts)?;
    }
    draw(&area, &groups)?;
    Ok(groups.end())
}

fn write_texts(area: &Paper, size: (i32, i32), texts: &Texts) -> Drawn {
    let left = |px, colour| font(px, colour, HPos::Left, VPos::Top);
    let write = |words: &str, y: i32, style| {
        let text = Text::new(words.to_string(), (24, y), style);
        area.draw(&text).map_err(|e| e.to_string())
    };
    write(&texts.title, 16, left(19.0, INK))?;
    write(&texts.subtitle, 43, left(13.0, FAINT))?;
    let lines = texts
        .caption
        .iter()
        .flat_map(|line| wrapped(line, CAPTION_WIDTH));
    for (i, line) in lines.take(3).enumerate() {
        write(&line, size.1 - 42 + 14 * i as i32, left(11.5, FAINT))?;
    }
    Ok(())
}

/// Text of `px` pixels.
fn font(px: f64, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", px)
        .into_font()
        .color(&colour)
        .pos(Pos::new(h, v))
}

/// A figure of a line, with whose it is and where.
pub fn figure_in_full(label: &str, point: &Point, x: &Axis, y: &Axis) -> String {
    let place = match x.unit {
        // How many times rarer than one request it is: 10 is the 90th percentile.
        Unit::Percent => {
            let digits = if point.x < 10.0 {
                1
            } else {
                point.x.log10().ceil() as usize
            };
            format!("{:.digits$} % of requests", 100.0 - 100.0 / point.x)
        }
        _ => format!("{} {}", x.unit.words(point.x), x.label),
    };
    format!("{label}: {}; {place}", in_full(point, y.unit))
}

/// A figure with everything that is known of it.
pub fn in_full(point: &Point, unit: Unit) -> String {
    let mut words = match point.is_bound {
        true => format!("≥ {}", unit.words(point.y)),
        false => unit.words(point.y),
    };
    if let Some((low, high)) = point
        .range
        .filter(|(low, high)| low.is_finite() && high.is_finite())
    {
        words.push_str(&format!(" ({} to {})", unit.words(low), unit.words(high)));
    }
    if point.suspect {
        words.push_str(", suspect");
    }
    if point.is_knee {
        words.push_str(", knee");
    }
    if point.is_change {
        words.push_str(", new level");
    }
    for note in [&point.note, &point.hint].into_iter().flatten() {
        words.push_str(&format!(", {note}"));
    }
    words
}

/// What stands after a bar.
fn bar_words(axis: &Axis, point: &Point) -> String {
    match &point.note {
        Some(note) => format!("{}, {note}", axis.unit.words(point.y)),
        None => axis.unit.words(point.y),
    }
}

/// A text in lines of so many characters at most, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_captions_are_broken_between_words() {
        assert_eq!(wrapped("a caption of words", 10), ["a caption", "of words"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    }

    #[test]
    fn a_chart_names_its_series_and_survives_odd_values() {
        let point = |x, y| Point {
            x,
            y,
            range: Some((y, f64::NAN)),
            suspect: true,
            ..Point::default()
        };
        let series = vec![Series {
            label: "a<b>&c".into(),
            remark: None,
            look: super::super::look::of("epoll"),
            points: vec![point(1.0, 2.0), point(2.0, f64::NAN), point(0.0, 1.0)],
        }];
        let axis = |values: [f64; 2]| Axis::over("v", Scale::Log, values.into_iter(), Unit::Count);
        let svg = lines(
            View::File,
            &Texts::default(),
            &axis([1.0, 2.0]),
            &axis([1.0, 5.0]),
            &series,
            1,
        )
        .unwrap();
        assert!(svg.contains("a&lt;b&gt;&amp;c") && !svg.contains("NaN"));
        assert!(bars(View::Page, &Texts::default(), &axis([1.0, 5.0]), &series).is_ok());
    }
}
