//! The drawing common to all charts: a frame with title and caption, two scaled axes, marks, lines, bars, and the
//! arms' names beside the ends of their lines. plotters supplies the primitives; the layout is ours, because its log
//! axes thin their ticks to one and draw what is out of range at the edge.

mod heat;
mod multiples;
mod over_time;

pub use heat::heat;
pub use multiples::multiples;
pub use over_time::over_time;

use super::look::{Look, Marker};
use super::svg::{Area as Paper, Groups, Svg};
use crate::base::unit::Unit;
use plotters::element::DashedPathElement;
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

/// How values become positions along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// From zero.
    Linear,
    /// In decades; only positive values can be shown.
    Log,
}

/// One axis: its scale, its range and its words.
#[derive(Debug, Clone, Serialize)]
pub struct Axis {
    /// What is shown.
    pub label: String,
    /// What its values are.
    pub unit: Unit,
    /// Linear or logarithmic.
    pub scale: Scale,
    /// The first and the last value shown.
    pub range: (f64, f64),
    /// Where the ticks are, and what they say.
    pub ticks: Vec<(f64, String)>,
    /// Where no server can be seen.
    pub shade: Option<Shade>,
}

/// The part of an axis that lies beyond what the generator itself can do: no server is seen there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shade {
    /// Where it begins.
    pub from: f64,
    /// Whether it lies above that, or below.
    pub above: bool,
    /// What it is.
    pub label: String,
}

impl Axis {
    /// An axis that holds all values, with ticks at 1, 2 and 5 times powers of ten.
    pub fn over(label: &str, scale: Scale, values: impl Iterator<Item = f64>, unit: Unit) -> Axis {
        let usable = values.filter(|v| v.is_finite() && (*v > 0.0 || scale == Scale::Linear));
        let (low, high) = usable.fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
        let (range, ticks) = match scale {
            Scale::Linear => linear_ticks(if high > 0.0 { high } else { 1.0 }, unit.steps()),
            Scale::Log if low.is_finite() && unit == Unit::Bytes => binary_ticks(low, high),
            Scale::Log if low.is_finite() => log_ticks(low, high),
            Scale::Log => log_ticks(1.0, 10.0),
        };
        let words = |t: f64| if t == 0.0 { "0".into() } else { unit.words(t) };
        let ticks = ticks.into_iter().map(|t| (t, words(t))).collect();
        Axis {
            label: label.to_string(),
            unit,
            scale,
            range,
            ticks,
            shade: None,
        }
    }

    /// The same axis linear where it is logarithmic, and the other way round; none where nothing could be shown.
    pub fn on_other_scale(&self, series: &[Series]) -> Option<Axis> {
        let scale = match self.scale {
            Scale::Linear => Scale::Log,
            Scale::Log => Scale::Linear,
        };
        let points = series.iter().flat_map(|s| &s.points);
        let ends = points.flat_map(|p| [Some(p.y), p.range.map(|r| r.0), p.range.map(|r| r.1)]);
        let limit = self.shade.as_ref().map(|shade| shade.from);
        let values: Vec<f64> = ends.flatten().chain(limit).collect();
        let usable = values.iter().any(|v| v.is_finite() && *v > 0.0);
        let axis = || Axis::over(&self.label, scale, values.iter().copied(), self.unit);
        usable.then(|| axis().shaded(self.shade.clone()))
    }

    /// The same with a part of it shaded.
    pub fn shaded(self, shade: Option<Shade>) -> Axis {
        Axis { shade, ..self }
    }

    /// Where a value lies between the ends of the axis, 0 to 1; `None` when it cannot be shown.
    fn fraction(&self, value: f64) -> Option<f64> {
        let place = |v: f64| match self.scale {
            Scale::Linear => v,
            Scale::Log => v.log10(),
        };
        let (low, high) = (place(self.range.0), place(self.range.1));
        let fraction = (place(value) - low) / (high - low);
        (fraction.is_finite() && (-1e-9..=1.0 + 1e-9).contains(&fraction)).then_some(fraction)
    }
}

/// Zero to a little above `high`, in three to five round steps: multiples of a power of the base. The axis does not
/// go on to the next step: that could leave half of the chart empty.
fn linear_ticks(high: f64, (base, multiples): (f64, &[f64])) -> ((f64, f64), Vec<f64>) {
    let rough = high / 5.0;
    let power = base.powf(rough.log(base).floor());
    let step = multiples
        .iter()
        .map(|m| m * power)
        .find(|s| *s >= rough)
        .unwrap_or(base * power);
    let count = (high / step * 1.000_001) as usize;
    let ticks: Vec<f64> = (0..=count).map(|i| i as f64 * step).collect();
    ((0.0, high * 1.05), ticks)
}

/// From the step at or below `low` to the one at or above `high`; the finest steps that are not too many.
fn log_ticks(low: f64, high: f64) -> ((f64, f64), Vec<f64>) {
    const MOST: usize = 8;
    let steps = |multiples: &[f64]| -> Vec<f64> {
        let first = low.log10().floor() as i32;
        let last = high.log10().ceil() as i32;
        let all = (first..=last).flat_map(|e| multiples.iter().map(move |m| m * 10f64.powi(e)));
        let all: Vec<f64> = all.collect();
        let from = all.iter().rposition(|t| *t <= low * 1.000_001).unwrap_or(0);
        let to = all
            .iter()
            .position(|t| *t >= high * 0.999_999)
            .unwrap_or(all.len() - 1);
        all[from..=to.max(from + 1).min(all.len() - 1)].to_vec()
    };
    let candidates: [&[f64]; 3] = [&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], &[1.0, 2.0, 5.0], &[1.0]];
    let ticks = candidates
        .iter()
        .map(|multiples| steps(multiples))
        .find(|ticks| ticks.len() <= MOST)
        .unwrap_or_else(|| steps(&[1.0]));
    let range = (ticks[0], ticks[ticks.len() - 1]);
    (range, ticks)
}

/// Powers of 2, 4, 16 or 256 around both ends, the finest that are not too many.
fn binary_ticks(low: f64, high: f64) -> ((f64, f64), Vec<f64>) {
    let steps = |bits: f64| {
        let first = (low.log2() / bits).floor() as i32;
        let last = ((high.log2() / bits).ceil() as i32).max(first + 1);
        let ticks = (first..=last).map(|n| (bits * f64::from(n)).exp2());
        ticks.collect::<Vec<f64>>()
    };
    let finest = [1.0, 2.0, 4.0]
        .map(steps)
        .into_iter()
        .find(|ticks| ticks.len() <= 8);
    let ticks = finest.unwrap_or_else(|| steps(8.0));
    ((ticks[0], ticks[ticks.len() - 1]), ticks)
}

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
    /// The part of a bar that is drawn stronger than the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<f64>,
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

struct Frame<'a> {
    area: &'a Paper,
    groups: &'a Groups,
    x: &'a Axis,
    y: &'a Axis,
    /// Of the whole drawing; the four edges are counted from its own.
    size: (i32, i32),
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    /// How far inside its edges the horizontal axis begins and ends: marks and ranges need room there.
    inset: i32,
}

impl Frame<'_> {
    fn width(&self) -> i32 {
        self.size.0 - self.left - self.right
    }

    fn height(&self) -> i32 {
        self.size.1 - self.top - self.bottom
    }

    fn px(&self, x: f64) -> Option<i32> {
        let fraction = self.x.fraction(x)?;
        let width = self.width() - 2 * self.inset;
        Some(self.left + self.inset + (fraction * f64::from(width)).round() as i32)
    }

    fn py(&self, y: f64) -> Option<i32> {
        let fraction = self.y.fraction(y)?;
        Some(self.top + ((1.0 - fraction) * f64::from(self.height())).round() as i32)
    }

    fn at(&self, point: &Point) -> Option<(i32, i32)> {
        Some((self.px(point.x)?, self.py(point.y)?))
    }

    fn text(&self, words: &str, at: (i32, i32), style: TextStyle<'static>) -> Drawn {
        self.area
            .draw(&Text::new(words.to_string(), at, style))
            .map_err(|e| e.to_string())
    }

    fn path(&self, points: &[(i32, i32)], style: ShapeStyle) -> Drawn {
        self.area
            .draw(&PathElement::new(points.to_vec(), style))
            .map_err(|e| e.to_string())
    }

    fn shade(&self) -> Drawn {
        let (right, bottom) = (self.left + self.width(), self.top + self.height());
        let words = |v| font(11.5, FAINT, HPos::Left, v);
        let filled = |corners| {
            let part = Rectangle::new(corners, SHADE.filled());
            self.area.draw(&part).map_err(|e| e.to_string())
        };
        let shade = self.y.shade.as_ref();
        if let Some((shade, y)) = shade.and_then(|shade| Some((shade, self.py(shade.from)?))) {
            let (from, to, at, side) = match shade.above {
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

    fn grid(&self) -> Drawn {
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
    fn line(&self, series: &Series) -> Drawn {
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

    fn marks(&self, series: &Series, every: usize, aside: i32, notes: &mut Vec<Area>) -> Drawn {
        for point in series.points.iter().step_by(every) {
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
        if point.is_knee {
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

    fn marker(&self, at: (i32, i32), look: &Look, hollow: bool) -> Drawn {
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
    fn places_of_names(&self, series: &[Series]) -> Vec<Option<Name>> {
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
    fn name(&self, series: &Series, place: Option<Name>) -> Drawn {
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

    fn stack(&self, row: f64, stack: &Stack) -> Drawn {
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
    fn half_bar(&self) -> i32 {
        (f64::from(self.height()) / self.y.range.1 * 0.32).min(16.0) as i32
    }

    fn bar(&self, row: f64, series: &Series, point: &Point) -> Drawn {
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
        let part = point.part.and_then(|part| self.px(part));
        let inside = match (point.suspect, part) {
            (true, _) => WHITE.to_rgba(),
            (false, Some(_)) => colour.mix(0.35),
            (false, None) => colour.to_rgba(),
        };
        let rectangle = |from, to, style: ShapeStyle| {
            let bar = Rectangle::new([(from, y - half), (to, y + half)], style);
            self.area.draw(&bar).map_err(|e| e.to_string())
        };
        rectangle(self.left, x, inside.filled())?;
        if let Some(part) = part {
            let strength = if point.suspect { 0.35 } else { 1.0 };
            rectangle(self.left, part, colour.mix(strength).filled())?;
        }
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

/// Where an arm's line ends, and at which height its name stands.
#[derive(Debug, Clone, Copy)]
struct Name {
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
type Area = (i32, i32, i32, i32);

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
    fn log_axes_hold_their_values_and_have_several_ticks() {
        for (low, high) in [(50.0, 1000.0), (3.0, 4.0), (1.0, 1e6), (10.0, 10.0)] {
            let (range, ticks) = log_ticks(low, high);
            assert!(
                range.0 <= low && range.1 >= high,
                "{low}..{high}: {range:?}"
            );
            assert!((2..=8).contains(&ticks.len()), "{low}..{high}: {ticks:?}");
        }
    }

    #[test]
    fn linear_axes_start_at_zero() {
        let ((low, high), ticks) = linear_ticks(134_000.0, Unit::Count.steps());
        assert_eq!((low, ticks[0]), (0.0, 0.0));
        assert!(high >= 134_000.0 && (3..=7).contains(&ticks.len()));
        for most in [1.0, 3.0, 206_000.0, 1e9] {
            let ((_, high), ticks) = linear_ticks(most, Unit::Count.steps());
            assert!((most..most * 1.1).contains(&high) && (3..=6).contains(&ticks.len()));
            assert!(ticks.iter().all(|tick| *tick <= high), "{ticks:?}");
        }
    }

    #[test]
    fn what_cannot_be_placed_has_no_place() {
        let axis = Axis::over("x", Scale::Log, [1.0, 100.0].into_iter(), Unit::Count);
        assert_eq!(axis.fraction(0.0), None);
        assert_eq!(axis.fraction(f64::NAN), None);
        assert_eq!(axis.fraction(1000.0), None);
        assert_eq!(axis.fraction(10.0), Some(0.5));
    }

    #[test]
    fn bytes_have_binary_ticks() {
        let axis = Axis::over("v", Scale::Log, [700.0, 150_000.0].into_iter(), Unit::Bytes);
        let words: Vec<&str> = axis.ticks.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(
            words,
            ["256 B", "1 KiB", "4 KiB", "16 KiB", "64 KiB", "256 KiB"]
        );
        let axis = Axis::over("v", Scale::Linear, [4500.0].into_iter(), Unit::Bytes);
        let words: Vec<&str> = axis.ticks.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(words, ["0", "1 KiB", "2 KiB", "3 KiB", "4 KiB"]);
    }

    #[test]
    fn long_captions_are_broken_between_words() {
        assert_eq!(wrapped("a caption of words", 10), ["a caption", "of words"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    }

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
