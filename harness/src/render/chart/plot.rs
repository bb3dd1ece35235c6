//! A chart as a plain value: drawn as SVG, for a file or for the page, and written as a table.

use super::canvas::{
    self, Axis, Breakdown, BreakdownRow, Drawn, Point, Scale, Series, Shade, Stack, Texts, View,
    in_full,
};
use super::heat::{Heat, HeatCell};
use super::over_time::OverTime;
pub use super::table::Table;
use crate::analysis::summary::Cell;
use crate::base::unit::Unit;
use crate::model::metrics::Metric;
use serde::Serialize;

/// One chart.
#[derive(Debug, Clone, Serialize)]
pub struct Chart {
    /// File name without its folder and ending; also its name in the page.
    pub name: String,
    /// The texts around it.
    pub texts: Texts,
    /// What is drawn.
    pub plot: Plot,
    /// The table, where the points themselves would not make a readable one.
    #[serde(skip)]
    pub table: Option<Table>,
}

/// What is drawn.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Plot {
    /// A line per arm.
    Lines {
        /// Horizontal axis.
        x: Axis,
        /// Vertical axis.
        y: Axis,
        /// The lines.
        series: Vec<Series>,
        /// A marker is at every so many points.
        marked: usize,
    },
    /// A bar per arm.
    Bars {
        /// The axis along the bars.
        value: Axis,
        /// One point each.
        series: Vec<Series>,
    },
    /// A divided bar per arm.
    Stacks {
        /// The axis along the bars.
        value: Axis,
        /// The bars.
        stacks: Vec<Stack>,
    },
    /// Bars of several measures, divided into named parts.
    Breakdown(Breakdown),
    /// Coloured cells.
    Heat(Heat),
    /// Response times over time.
    #[serde(rename = "over_time")]
    OverTime(OverTime),
}

impl Chart {
    /// The chart as the SVG of a file.
    pub fn svg(&self) -> Drawn<String> {
        self.drawn(View::File)
    }

    /// The chart as the page shows it; where its vertical axis can be linear or logarithmic, both, as it is first.
    pub fn for_page(&self) -> Drawn<Vec<(Scale, String)>> {
        let Plot::Lines {
            x,
            y,
            series,
            marked,
        } = &self.plot
        else {
            return Ok(vec![(Scale::Linear, self.drawn(View::Page)?)]);
        };
        let axes = std::iter::once(y.clone()).chain(y.on_other_scale(series));
        axes.map(|y| {
            let svg = canvas::multiples(View::Page, &self.texts, x, &y, series, *marked)?;
            Ok((y.scale, svg))
        })
        .collect()
    }

    /// How many arms are drawn.
    pub fn arms(&self) -> usize {
        match &self.plot {
            Plot::Lines { series, .. } | Plot::Bars { series, .. } => series.len(),
            Plot::Stacks { stacks, .. } => stacks.len(),
            Plot::Breakdown(breakdown) => breakdown.rows.len(),
            Plot::Heat(heat) => heat.rows.len(),
            Plot::OverTime(plot) => plot.arms.len(),
        }
    }

    fn drawn(&self, view: View) -> Drawn<String> {
        let texts = &self.texts;
        match &self.plot {
            Plot::Lines {
                x,
                y,
                series,
                marked,
            } => canvas::multiples(view, texts, x, y, series, *marked),
            Plot::Bars { value, series } => canvas::bars(view, texts, value, series),
            Plot::Stacks { value, stacks } => canvas::stacks(view, texts, value, stacks),
            Plot::Breakdown(breakdown) => canvas::breakdown(view, texts, breakdown),
            Plot::Heat(heat) => canvas::heat(view, texts, heat),
            Plot::OverTime(plot) => canvas::over_time(view, texts, plot),
        }
    }

    /// The same figures as a table.
    pub fn table(&self) -> Table {
        if let Some(table) = &self.table {
            return table.clone();
        }
        match &self.plot {
            Plot::Lines { x, y, series, .. } => lines_table(x, y.unit, series),
            Plot::Bars { value, series } => bars_table(value, series),
            Plot::Stacks { stacks, .. } => Table {
                header: ["arm", "shares", ""].map(String::from).into(),
                lines: stacks.iter().map(stack_line).collect(),
            },
            Plot::OverTime(_) => Table {
                header: Vec::new(),
                lines: Vec::new(),
            },
            Plot::Breakdown(breakdown) => breakdown_table(breakdown),
            Plot::Heat(heat) => Table {
                header: std::iter::once("arm".to_string())
                    .chain(heat.columns.iter().cloned())
                    .collect(),
                lines: heat
                    .rows
                    .iter()
                    .map(|row| {
                        std::iter::once(row.label.clone())
                            .chain(row.cells.iter().map(HeatCell::in_full))
                            .collect()
                    })
                    .collect(),
            },
        }
    }
}

fn lines_table(x: &Axis, unit: Unit, series: &[Series]) -> Table {
    let mut places: Vec<f64> = series
        .iter()
        .flat_map(|s| s.points.iter().map(|p| p.x))
        .collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let remarks = series.iter().any(|s| s.remark.is_some());
    let mut header = vec!["arm".to_string()];
    header.extend(places.iter().map(|at| match x.unit {
        Unit::Seconds => x.unit.words(*at),
        _ => format!("{} {}", x.unit.words(*at), x.label),
    }));
    header.extend(remarks.then(|| "growth".to_string()));
    let line = |s: &Series| {
        let at = |place: &f64| s.points.iter().find(|p| p.x == *place);
        let mut cells = vec![s.label.clone()];
        cells.extend(
            places
                .iter()
                .map(|place| at(place).map_or("n/a".into(), |p| in_full(p, unit))),
        );
        cells.extend(remarks.then(|| s.remark.clone().unwrap_or_else(|| "n/a".into())));
        cells
    };
    Table {
        header,
        lines: series.iter().map(line).collect(),
    }
}

fn bars_table(value: &Axis, series: &[Series]) -> Table {
    let line = |s: &Series| {
        let figure = s
            .points
            .first()
            .map_or("n/a".into(), |p| in_full(p, value.unit));
        vec![s.label.clone(), figure]
    };
    Table {
        header: vec!["arm".into(), value.label.clone()],
        lines: series.iter().map(line).collect(),
    }
}

fn breakdown_table(breakdown: &Breakdown) -> Table {
    let titles = breakdown.columns.iter().map(|c| c.axis.label.clone());
    let line = |row: &BreakdownRow| {
        let columns = row.bars.iter().zip(&breakdown.columns);
        let figures = columns.map(|(parts, column)| match parts.is_empty() {
            true => "n/a".into(),
            false => column
                .axis
                .unit
                .words(parts.iter().map(|part| part.value).sum()),
        });
        std::iter::once(row.arm.clone()).chain(figures).collect()
    };
    Table {
        header: std::iter::once("arm".to_string()).chain(titles).collect(),
        lines: breakdown.rows.iter().map(line).collect(),
    }
}

fn stack_line(stack: &Stack) -> Vec<String> {
    let shares: Vec<String> = stack
        .shares
        .iter()
        .map(|share| Unit::Percent.words(*share))
        .collect();
    const MOST: usize = 16;
    let tail = if shares.len() > MOST { ", …" } else { "" };
    let shown = shares[..shares.len().min(MOST)].join(", ");
    vec![stack.label.clone(), shown + tail, stack.note.clone()]
}

impl HeatCell {
    /// What stands in the cell: `≈ 0.97`.
    pub fn words(&self) -> String {
        let Some(ratio) = self.ratio else {
            return self.note.clone();
        };
        let differs = self.interval.is_some_and(|i| i.low > 1.0 || i.high < 1.0);
        let same = ratio == 1.0 && self.interval.is_none_or(|i| i.low == 1.0 && i.high == 1.0);
        let sign = if differs || same { "" } else { "≈ " };
        format!("{sign}{}", Unit::Ratio.words(ratio))
    }

    /// The cell with its interval and its note.
    pub fn in_full(&self) -> String {
        let mut words = self.words();
        if let Some(i) = self.interval.filter(|_| self.ratio.is_some()) {
            words.push_str(&format!(
                " ({} to {})",
                Unit::Ratio.words(i.low),
                Unit::Ratio.words(i.high)
            ));
        }
        if self.suspect {
            words.push_str(", suspect");
        }
        if self.ratio.is_some() && !self.note.is_empty() {
            words.push_str(&format!(", {}", self.note));
        }
        words
    }
}

/// A figure of every cell of a panel: what most charts are.
pub struct Measure {
    /// Name of the file.
    pub name: &'static str,
    /// The figure.
    pub metric: Metric,
    /// How they are drawn where there are several sizes.
    pub scale: Scale,
    /// What the generator itself cannot exceed.
    pub shade: Option<Shade>,
}

impl Measure {
    /// Lines when there are several sizes, bars when there is only one; none without any figure.
    pub fn draw(&self, panel: &super::panel::Panel, texts: Texts) -> Option<Chart> {
        use super::panel::Along;
        let (label, of) = (self.metric.label, self.metric.of);
        let (unit, scale) = self.metric.unit().axis();
        let point = |cell: &Cell| panel.point(cell, |row| of(row).map(|value| value * scale));
        let mut series = panel.series(point);
        if panel.along == Along::Idle {
            // Nothing is no place on a logarithmic axis; the table keeps it.
            series
                .iter_mut()
                .for_each(|s| s.points.retain(|p| p.x > 0.0));
            series.retain(|s| !s.points.is_empty());
        }
        if series.is_empty() {
            return None;
        }
        let points = || series.iter().flat_map(|s| &s.points);
        let ends = |p: &Point| [Some(p.y), p.range.map(|r| r.0), p.range.map(|r| r.1)];
        let shade = self.shade.clone();
        let limit = shade.as_ref().map(|shade| shade.from);
        let values = || points().flat_map(ends).flatten().chain(limit);
        let plot = match panel.along {
            Along::Nothing => Plot::Bars {
                value: Axis::over(label, Scale::Linear, values(), unit).shaded(shade),
                series,
            },
            Along::Connections | Along::Idle | Along::Rate => Plot::Lines {
                x: panel.axis(points().map(|p| p.x)),
                y: Axis::over(label, self.scale, values(), unit).shaded(shade),
                series,
                marked: 1,
            },
        };
        let name = format!("{}{}", self.name, panel.suffix);
        let by_level = panel.along == Along::Rate;
        Some(Chart {
            name,
            texts,
            plot,
            table: by_level.then(|| panel.level_table(unit, point)),
        })
    }
}
