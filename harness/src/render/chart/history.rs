//! A figure by commit, on one machine: its interval at every commit, and a ring where its level changed.

use super::canvas::{Axis, Point, Scale, Series, Texts};
use super::look;
use super::table::Table;
use super::{Chart, Plot};
use crate::analysis::history::{Commit, Trend};
use crate::base::text::{file_name, percent, visible};
use crate::base::unit::Unit;
use crate::model::metrics::{METRICS, Metric};
use std::collections::BTreeMap;

/// Ticks along the commits, at most.
const MOST_TICKS: usize = 10;

/// One chart: the trends of one machine, workload and figure. None of a single commit, which has no history.
pub fn draw(trends: &[&Trend], commits: &[Commit], machine: &str) -> Option<Chart> {
    let first = trends.first()?;
    let metric = METRICS
        .iter()
        .find(|metric| metric.column == first.column)?;
    let (unit, scale) = metric.unit().axis();
    let places = places(trends, commits);
    if places.len() < 2 {
        return None;
    }
    let series: Vec<Series> = trends
        .iter()
        .map(|trend| series(trend, &places, scale))
        .collect();
    let caption = "Medians with their 95 % intervals (with fewer than 6 trials the range of the trials); a ring is the \
                   first run of a new level.";
    let name = format!(
        "history {} {} {}",
        first.machine, first.workload, metric.column
    );
    Some(Chart {
        name: file_name(&name).replace(' ', "-"),
        texts: Texts {
            title: format!("{} by commit", capitalised(metric.label)),
            subtitle: format!("{}; {}", visible(&first.workload), visible(machine)),
            caption: vec![caption.into()],
        },
        plot: Plot::Lines {
            x: commits_axis(&places, commits),
            y: near(metric.label, &series, unit),
            series,
            marked: 1,
        },
        table: Some(table(trends, commits, metric)),
    })
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// The commits that were measured here, by their place along the axis.
fn places<'a>(trends: &[&Trend], commits: &'a [Commit]) -> BTreeMap<&'a str, usize> {
    let is_here = |commit: &&Commit| {
        let mut points = trends.iter().flat_map(|trend| &trend.points);
        points.any(|point| point.commit == commit.commit)
    };
    let here = commits.iter().filter(is_here).enumerate();
    here.map(|(at, commit)| (commit.commit.as_str(), at))
        .collect()
}

fn series(trend: &Trend, places: &BTreeMap<&str, usize>, scale: f64) -> Series {
    let point = |(at, point): (usize, &crate::analysis::history::TrendPoint)| {
        let change = trend.changes.iter().find(|change| change.at == at);
        let figure = point.figure;
        let gated = figure
            .change
            .map(|gate| format!("{} in its gate", percent(gate.change)));
        Some(Point {
            x: *places.get(point.commit.as_str())? as f64,
            y: figure.median * scale,
            range: Some((figure.low * scale, figure.high * scale)),
            is_change: change.is_some(),
            note: change.map(|change| percent(change.relative)),
            hint: Some(match gated {
                Some(gated) => format!("{}, {gated}", short(&point.commit)),
                None => short(&point.commit).into(),
            }),
            ..Point::default()
        })
    };
    Series {
        label: visible(&trend.arm),
        remark: None,
        look: look::of_arm(&trend.arm, &trend.model),
        points: trend.points.iter().enumerate().filter_map(point).collect(),
    }
}

/// A commit as people write it.
pub fn short(commit: &str) -> &str {
    commit.get(..9).unwrap_or(commit)
}

fn commits_axis(places: &BTreeMap<&str, usize>, commits: &[Commit]) -> Axis {
    let every = places.len().div_ceil(MOST_TICKS);
    let tick = |commit: &Commit| {
        let at = *places.get(commit.commit.as_str())?;
        (at % every == 0).then(|| {
            (
                at as f64,
                commit.commit.get(..7).unwrap_or_default().to_string(),
            )
        })
    };
    Axis {
        label: "commit".into(),
        unit: Unit::Count,
        scale: Scale::Linear,
        range: (0.0, (places.len() - 1) as f64),
        ticks: commits.iter().filter_map(tick).collect(),
        shade: None,
    }
}

/// An axis around the figures, not from zero: what matters of a history is what changes.
fn near(label: &str, series: &[Series], unit: Unit) -> Axis {
    let points = series.iter().flat_map(|s| &s.points);
    let ends = points.flat_map(|point| point.range.map_or([point.y; 2], |(low, high)| [low, high]));
    let (low, high) = ends.fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
    // A figure that hardly moves is not to look as if it did.
    let middle = (low + high) / 2.0;
    let half = ((high - low) / 2.0 * 1.15).max(middle * 0.05);
    let (low, high) = ((middle - half).max(0.0), middle + half);
    let rough = (high - low) / 5.0;
    let (base, multiples) = unit.steps();
    let power = base.powf(rough.log(base).floor());
    let steps = multiples.iter().map(|m| m * power);
    let step = steps
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(base * power);
    let first = (low / step).ceil() as i64;
    let ticks = (first..)
        .map(|n| n as f64 * step)
        .take_while(|tick| *tick <= high);
    Axis {
        label: label.into(),
        unit,
        scale: Scale::Linear,
        range: (low, high),
        ticks: ticks
            .map(|tick| (tick, in_steps(unit, tick, step)))
            .collect(),
        shade: None,
    }
}

/// A tick in words that differ from the next one's.
fn in_steps(unit: Unit, tick: f64, step: f64) -> String {
    let words = unit.words(tick);
    match words == unit.words(tick + step) {
        true if unit == Unit::Duration && tick >= 1e3 => format!("{:.2} µs", tick / 1e3),
        true => format!("{tick:.3}"),
        false => words,
    }
}

fn table(trends: &[&Trend], commits: &[Commit], metric: &Metric) -> Table {
    let mut lines = Vec::new();
    for trend in trends {
        for (at, point) in trend.points.iter().enumerate() {
            let of = |value: f64| metric.unit().in_words(value);
            let figure = point.figure;
            let commit = commits.iter().find(|commit| commit.commit == point.commit);
            let change = trend.changes.iter().find(|change| change.at == at);
            let gate = figure
                .change
                .map_or(String::new(), |gate| match (gate.low, gate.high) {
                    (Some(low), Some(high)) => {
                        format!(
                            "{} ({} to {})",
                            percent(gate.change),
                            percent(low),
                            percent(high)
                        )
                    }
                    _ => percent(gate.change),
                });
            lines.push(vec![
                visible(&trend.arm),
                short(&point.commit).to_string(),
                commit.map_or(String::new(), |commit| visible(&commit.title)),
                of(figure.median),
                format!("{} to {}", of(figure.low), of(figure.high)),
                figure.trials.to_string(),
                gate,
                change.map_or(String::new(), |c| {
                    format!("{}, p = {:.3}", percent(c.relative), c.p)
                }),
            ]);
        }
    }
    let header = [
        "arm",
        "commit",
        "subject",
        metric.title,
        "interval",
        "trials",
        "in its gate",
        "new level",
    ];
    Table {
        header: header.map(String::from).into(),
        lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::history::{commits, trends};
    use crate::store::history::{History, tests::line};

    #[test]
    fn a_change_is_a_ring_with_its_size_and_a_steady_figure_looks_steady() {
        let mut history = History::default();
        for i in 0..24 {
            let wave = 1.0 + 0.001 * (i % 3) as f64;
            history
                .lines
                .push(line(i, "a", wave * if i < 12 { 3.0 } else { 3.3 }));
        }
        let (commits, all) = (commits(&history), trends(&history));
        let chart = draw(&all.iter().collect::<Vec<_>>(), &commits, "a machine").unwrap();
        let Plot::Lines { series, y, x, .. } = &chart.plot else {
            panic!()
        };
        let rings: Vec<usize> = (0..24).filter(|i| series[0].points[*i].is_change).collect();
        assert_eq!(rings, [12]);
        assert!(x.ticks.len() <= MOST_TICKS && y.ticks.len() >= 3, "{y:?}");
        let words: Vec<&String> = y.ticks.iter().map(|(_, words)| words).collect();
        assert!(words.windows(2).all(|two| two[0] != two[1]), "{words:?}");
        let svg = chart.svg().unwrap();
        assert!(
            svg.contains("+10.0 %") && svg.contains("CPU per request by commit"),
            "{svg}"
        );
        assert_eq!(chart.table().lines.len(), 24);
        let steady = History {
            lines: (0..6).map(|i| line(i, "a", 3.0)).collect(),
            ..History::default()
        };
        let all = trends(&steady);
        let chart = draw(&all.iter().collect::<Vec<_>>(), &commits_of(&steady), "m").unwrap();
        let Plot::Lines { y, .. } = &chart.plot else {
            panic!()
        };
        assert!(y.range.0 < 2860.0 && y.range.1 > 3140.0, "{y:?}");
        let single = History {
            lines: vec![line(1, "a", 3.0)],
            ..History::default()
        };
        let all = trends(&single);
        assert!(draw(&all.iter().collect::<Vec<_>>(), &commits_of(&single), "m").is_none());
    }

    fn commits_of(history: &History) -> Vec<Commit> {
        commits(history)
    }
}
