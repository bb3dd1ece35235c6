//! Response time against offered rate: a chart per percentile, with the knee of every arm, what was not held, and where
//! a promise ends.

use super::canvas::{Axis, Point, Scale, Series, Shade, Texts};
use super::panel::{Along, conditions, scale_of_rates};
use super::table::Table;
use super::{Chart, Plot, generator, look};
use crate::analysis::answer::{in_one_word, knee_in_words};
use crate::analysis::load_curve::{ArmCurve, Level, LoadCurve, Percentile};
use crate::analysis::summary::Figure;
use crate::base::text::file_name;
use crate::base::unit::{Unit, count};
use crate::model::histograms::Histograms;
use crate::model::row::{Row, Verdict};
use crate::model::workload::percent;
use loadgen::base::units::format_rate;
use loadgen::tally::outcome::Floor;
use loadgen::tally::slo::Slo;

/// A percentile of the response time.
struct Shown {
    name: &'static str,
    title: &'static str,
    column: &'static str,
    of: fn(&Level) -> Percentile,
    quantile: f64,
    /// The same of the generator alone, where it is measured.
    floor: Option<fn(&Floor) -> u64>,
}

const SHOWN: [Shown; 3] = [
    Shown {
        name: "p99",
        title: "99th percentile",
        column: "response_p99_ns",
        of: |level| level.response_p99_ns,
        quantile: 0.99,
        floor: Some(|floor| floor.response_p99_ns),
    },
    Shown {
        name: "p50",
        title: "median",
        column: "response_p50_ns",
        of: |level| level.response_p50_ns,
        quantile: 0.5,
        floor: Some(|floor| floor.response_p50_ns),
    },
    Shown {
        name: "p999",
        title: "99.9th percentile",
        column: "response_p999_ns",
        of: |level| level.response_p999_ns,
        quantile: 0.999,
        floor: None,
    },
];

/// What a curve is drawn from besides itself.
#[derive(Clone, Copy)]
struct Beside<'a> {
    rows: &'a [Row],
    histograms: &'a Histograms,
    floor: Option<&'a Floor>,
}

/// Three charts for each curve that has several levels.
pub fn draw(
    curves: &[LoadCurve],
    rows: &[Row],
    histograms: &Histograms,
    floor: Option<&Floor>,
) -> Vec<Chart> {
    let beside = Beside {
        rows,
        histograms,
        floor,
    };
    let several = curves.iter().filter(|curve| curve.has_levels());
    let several: Vec<&LoadCurve> = several.collect();
    let name = |curve: &LoadCurve| match several.len() {
        1 => String::new(),
        _ => format!("-{}", file_name(&curve.workload)),
    };
    let mut charts = Vec::new();
    for curve in &several {
        let suffix = name(curve);
        let of = |shown| percentile(curve, shown, &suffix, beside);
        charts.extend(SHOWN.iter().filter_map(of));
    }
    charts
}

fn percentile(curve: &LoadCurve, shown: &Shown, suffix: &str, beside: Beside) -> Option<Chart> {
    let series = curve
        .arms
        .iter()
        .map(|arm| line(curve, arm, shown, beside.histograms));
    let series: Vec<Series> = series.filter(|s| !s.points.is_empty()).collect();
    let row = beside
        .rows
        .iter()
        .find(|row| curve.holds(&row.workload()))?;
    let points = || series.iter().flat_map(|s| &s.points);
    points().next()?;
    let shade = promise(curve, shown).or_else(|| {
        let of = shown.floor?;
        generator::floor(beside.floor, row, of)
    });
    let times = points()
        .flat_map(|p| [Some(p.y), p.range.map(|r| r.0), p.range.map(|r| r.1)])
        .flatten()
        .chain(shade.as_ref().map(|shade| shade.from));
    let places: Vec<f64> = points().map(|p| p.x).collect();
    let x = Axis::over(
        "requests/s offered",
        scale_of_rates(places.iter().copied()),
        places.iter().copied(),
        Unit::Count,
    );
    let y = Axis::over("response time", Scale::Log, times, Unit::Duration).shaded(shade);
    Some(Chart {
        name: format!("latency-against-load-{}{suffix}", shown.name),
        texts: Texts {
            title: format!("Response time against load: {}", shown.title),
            subtitle: conditions(row, Along::Rate),
            caption: caption(curve, shown),
        },
        plot: Plot::Lines {
            x,
            y,
            series,
            marked: 1,
        },
        table: Some(table(curve)),
    })
}

fn line(curve: &LoadCurve, arm: &ArmCurve, shown: &Shown, histograms: &Histograms) -> Series {
    let remark = match (curve.slo.is_empty(), arm.slo_held_per_s) {
        (true, _) => None,
        (false, Some(rate)) => Some(format!("holds {}/s", count(rate))),
        (false, None) => Some("holds none".into()),
    };
    let points = arm.levels.iter();
    Series {
        label: arm.label(),
        remark,
        look: look::of_arm(&arm.arm, &arm.model),
        points: points
            .filter_map(|level| point(arm, level, shown, histograms))
            .collect(),
    }
}

fn point(arm: &ArmCurve, level: &Level, shown: &Shown, histograms: &Histograms) -> Option<Point> {
    let (y, range, is_bound) = match (shown.of)(level) {
        Percentile::Known(Figure {
            median,
            min,
            max,
            trials,
        }) => (median, (trials > 1).then_some((min, max)), false),
        Percentile::Censored => (bound(level, shown.quantile, histograms)?, None, true),
        Percentile::TooFew { .. } | Percentile::Unknown => return None,
    };
    let mut notes: Vec<String> = Vec::new();
    notes.extend(level.capacity_fraction.map(in_percent));
    notes.extend((level.held == Some(false)).then(|| "not held".into()));
    notes.extend((level.slo_kept == Some(false)).then(|| "promise broken".into()));
    let is_knee = arm
        .knee
        .is_some_and(|knee| knee.rate_per_s == level.rate_per_s);
    Some(Point {
        x: level.rate_per_s,
        y,
        range,
        suspect: level.verdict != Verdict::Valid,
        failed: level.held == Some(false),
        is_bound,
        is_knee,
        hint: Some(notes.join(", ")).filter(|hint| !hint.is_empty()),
        ..Point::default()
    })
}

/// The least that a percentile is which falls among requests without an answer: the median trial's, as the time is that
/// they waited.
fn bound(level: &Level, quantile: f64, histograms: &Histograms) -> Option<f64> {
    let trials = level.trial_numbers.iter();
    let values = trials.filter_map(|trial| {
        let histogram = histograms.get(*trial)?;
        Some(histogram.value_at_quantile(quantile) as f64)
    });
    Some(Figure::of(values)?.median)
}

/// Where a promise about this percentile ends.
fn promise(curve: &LoadCurve, shown: &Shown) -> Option<Shade> {
    let slo = curve.slo.iter().flat_map(|text| text.parse::<Slo>());
    let slo = slo.filter(|slo| slo.metric.name() == shown.column);
    let tightest = slo.min_by_key(|slo| slo.limit)?;
    Some(Shade {
        from: tightest.limit as f64,
        above: true,
        label: format!("breaks {tightest}"),
    })
}

fn caption(curve: &LoadCurve, shown: &Shown) -> Vec<String> {
    let levels = || curve.arms.iter().flat_map(|arm| &arm.levels);
    let any = |test: &dyn Fn(&Level) -> bool| levels().any(test);
    let mut words = match levels().map(|level| level.trials).max() {
        Some(2..) => "Median over trials, line: their range.".to_string(),
        _ => "One trial each.".into(),
    };
    words.push_str(" Measured from when each request was due.");
    if curve.arms.iter().any(|arm| arm.knee.is_some()) {
        words.push_str(" Ring: the knee, where requests/s ÷ p99 is highest.");
    }
    if any(&|level| level.held == Some(false)) {
        words.push_str(" Cross: the rate was not held.");
    }
    if any(&|level| (shown.of)(level) == Percentile::Censored) {
        words.push_str(" Arrow: at least so long, the rest was never answered.");
    }
    if any(&|level| level.verdict != Verdict::Valid) {
        words.push_str(" Hollow: some trial suspect.");
    }
    let mut caption = vec![words];
    let few = levels().filter_map(|level| match (shown.of)(level) {
        Percentile::TooFew { duration_s } => Some(duration_s),
        _ => None,
    });
    let few: Vec<f64> = few.collect();
    if let Some(longest) = few.iter().copied().max_by(f64::total_cmp) {
        caption.push(format!(
            "Not drawn: {} of {} levels, whose windows hold too few requests for it; --duration {} would have them.",
            few.len(),
            levels().count(),
            in_one_word(longest)
        ));
    }
    caption
}

/// Every level of a curve in words.
pub fn table(curve: &LoadCurve) -> Table {
    let mut header = vec![
        "arm", "offered", "share", "held", "p50", "p99", "p99.9", "knee",
    ];
    if curve.slo.is_empty() {
        header.retain(|name| curve.in_shares || *name != "share");
    } else {
        header.push("promise");
        header.retain(|name| curve.in_shares || *name != "share");
    }
    let lines = curve.arms.iter().flat_map(|arm| {
        let lines = arm.levels.iter().map(|level| table_line(curve, arm, level));
        lines.collect::<Vec<_>>()
    });
    Table {
        header: header.into_iter().map(String::from).collect(),
        lines: lines.collect(),
    }
}

fn table_line(curve: &LoadCurve, arm: &ArmCurve, level: &Level) -> Vec<String> {
    let knee = arm.knee.filter(|knee| knee.rate_per_s == level.rate_per_s);
    let yes = |is: Option<bool>| match is {
        Some(true) => "yes".to_string(),
        Some(false) => "no".into(),
        None => "n/a".into(),
    };
    let mut words = vec![arm.label(), format_rate(level.rate_per_s)];
    if curve.in_shares {
        words.push(level.capacity_fraction.map_or("n/a".into(), in_percent));
    }
    words.extend([
        match level.held {
            Some(false) => format!("no: {}", completed(level)),
            held => yes(held),
        },
        in_words(level.response_p50_ns),
        in_words(level.response_p99_ns),
        in_words(level.response_p999_ns),
        knee.map_or(String::new(), |knee| match (knee.is_first, knee.is_last) {
            (false, false) => "knee".into(),
            _ => knee_in_words(arm, knee),
        }),
    ]);
    if !curve.slo.is_empty() {
        let is_held = arm.slo_held_per_s == Some(level.rate_per_s);
        words.push(match level.slo_kept {
            Some(true) if is_held => "kept: the highest".into(),
            Some(true) => "kept".into(),
            Some(false) => "broken".into(),
            None => "too few requests".into(),
        });
    }
    words
}

fn completed(level: &Level) -> String {
    let figure = level.requests_per_s;
    figure.map_or("n/a".into(), |f| format_rate(f.median.round()))
}

/// A percentile as a table shows it.
pub fn in_words(percentile: Percentile) -> String {
    match percentile {
        Percentile::Known(figure) => Unit::Duration.words(figure.median),
        Percentile::Censored => "never answered".into(),
        Percentile::TooFew { duration_s } => format!("needs {}", in_one_word(duration_s)),
        Percentile::Unknown => "n/a".into(),
    }
}

fn in_percent(share: f64) -> String {
    format!("{} %", percent(share))
}
