//! A load whose rate, or number of connections, takes a course: what each stage offered and what was completed of it,
//! and its response times, a line per arm.

use super::canvas::{Axis, Point, Scale, Series, Texts};
use super::look::{Look, Marker};
use super::panel::{Along, conditions, left_out};
use super::table::Table;
use super::{Chart, Plot, look};
use crate::analysis::stats::order_statistic::median_interval;
use crate::analysis::summary::{Cell, Figure, cells};
use crate::base::text::{file_name, visible};
use crate::base::unit::{Unit, count};
use crate::model::row::{Row, Verdict};
use crate::model::stages::{Stage, StageRow};
use crate::model::workload::workload_name;
use plotters::style::RGBColor;
use std::collections::BTreeMap;

/// More begins of stages than can be told apart below an axis.
const MOST_TICKS: usize = 30;

/// What the line of the load itself is called.
const OFFERED: &str = "offered to all";

/// A figure of a stage.
type Of = fn(&Stage) -> Option<f64>;

/// The stages of each trial.
type ByTrial<'a> = BTreeMap<u32, Vec<&'a Stage>>;

/// Two charts for each workload in stages: requests per second, and response times.
pub fn draw(rows: &[Row], stages: &[StageRow]) -> Vec<Chart> {
    let mut by_trial = ByTrial::new();
    for line in stages {
        by_trial.entry(line.trial).or_default().push(&line.stage);
    }
    let cells = cells(rows);
    let workloads = cells.chunk_by(|a, b| a.workload == b.workload);
    workloads
        .flat_map(|cells| {
            let of_cells: Vec<Staged> = cells
                .iter()
                .filter_map(|cell| Staged::of(cell, &by_trial))
                .collect();
            [rates(cells, &of_cells), times(cells, &of_cells)]
        })
        .flatten()
        .collect()
}

/// A cell with its believable trials' stages.
struct Staged<'a> {
    cell: &'a Cell<'a>,
    /// Of each stage, the same of every trial.
    stages: Vec<Vec<&'a Stage>>,
}

impl<'a> Staged<'a> {
    /// None without a trial in which there are two stages.
    fn of(cell: &'a Cell<'a>, by_trial: &ByTrial<'a>) -> Option<Staged<'a>> {
        let usable = cell.rows.iter().filter(|row| row.is_usable());
        let trials: Vec<&Vec<&Stage>> = usable.filter_map(|row| by_trial.get(&row.trial)).collect();
        let most = trials.iter().map(|stages| stages.len()).max()?;
        let at = |n: usize| {
            trials
                .iter()
                .filter_map(move |stages| stages.get(n).copied())
        };
        let stages: Vec<Vec<&Stage>> = (0..most).map(|n| at(n).collect()).collect();
        (stages.len() > 1).then_some(Staged { cell, stages })
    }

    /// One line: flat in a stage of one rate, through the middle of a ramp.
    fn series(&self, of: Of) -> Option<Series> {
        let mut points = Vec::new();
        for stage in &self.stages {
            let values: Vec<f64> = stage.iter().filter_map(|stage| of(stage)).collect();
            let Some(figure) = Figure::of(values.iter().copied()) else {
                continue;
            };
            let range = || (figure.trials > 1).then_some((figure.min, figure.max));
            let missed: u64 = stage.iter().map(|stage| stage.requests_not_answered).sum();
            let point = Point {
                y: figure.median,
                range: median_interval(&values)
                    .map(|i| (i.low, i.high))
                    .or_else(range),
                suspect: self.cell.verdict() != Verdict::Valid,
                failed: missed > 0,
                hint: (missed > 0).then(|| format!("{} not answered", count(missed as f64))),
                ..Point::default()
            };
            points.extend(over(stage[0], point));
        }
        (!points.is_empty()).then(|| Series {
            label: visible(self.cell.arm),
            remark: None,
            look: look::of_arm(self.cell.arm, self.cell.model),
            points,
        })
    }

    /// What its stages ask for, where that is a rate.
    fn offered(&self) -> Option<Series> {
        let mut points = Vec::new();
        for stage in self.stages.iter().filter_map(|stage| stage.first()) {
            let (from, to) = (stage.rate_from_per_s?, stage.rate_to_per_s?);
            let middle = Point {
                y: (from + to) / 2.0,
                ..Point::default()
            };
            points.extend(over_all(stage, middle, [from, to]));
        }
        Some(Series {
            label: OFFERED.into(),
            remark: None,
            look: Look {
                colour: RGBColor(170, 170, 170),
                marker: Marker::Circle,
                dashed: true,
            },
            points,
        })
    }
}

/// A point in the middle of its stage, and the ends of a stage of one rate.
fn over(stage: &Stage, point: Point) -> Vec<Point> {
    let y = point.y;
    let [first, middle, last] = over_all(stage, point, [y, y]);
    match is_flat(stage) {
        true => vec![first, middle, last],
        false => vec![middle],
    }
}

fn over_all(stage: &Stage, middle: Point, [first, last]: [f64; 2]) -> [Point; 3] {
    let end = |x: f64, y: f64| Point {
        x,
        y,
        is_corner: true,
        ..Point::default()
    };
    let middle = Point {
        x: stage.from_s + stage.length_s / 2.0,
        ..middle
    };
    [
        end(stage.from_s, first),
        middle,
        end(stage.from_s + stage.length_s, last),
    ]
}

fn is_flat(stage: &Stage) -> bool {
    stage.rate_from_per_s == stage.rate_to_per_s && stage.conns_from == stage.conns_to
}

fn rates(cells: &[Cell], all: &[Staged]) -> Option<Chart> {
    let completed = all
        .iter()
        .filter_map(|staged| staged.series(|stage| Some(stage.requests_per_s)));
    let completed: Vec<Series> = completed.collect();
    if completed.is_empty() {
        return None;
    }
    let offered = all.first().and_then(Staged::offered);
    let first = match offered {
        Some(_) => "Of the requests due in each stage, completed per second, whenever.",
        None => "Of the requests sent in each stage, completed per second.",
    };
    let series: Vec<Series> = offered.into_iter().chain(completed).collect();
    let values = ends(&series).collect::<Vec<f64>>();
    let y = Axis::over("requests/s", Scale::Linear, values.into_iter(), Unit::Count);
    let texts = texts(cells, all, "Requests completed, stage by stage", first);
    Some(chart("stages-rate", cells, all, texts, y, series))
}

fn times(cells: &[Cell], all: &[Staged]) -> Option<Chart> {
    let of = |of: Of| -> Vec<Series> {
        let series = all.iter().filter_map(|staged| staged.series(of));
        series.collect()
    };
    let p99 = of(|stage| stage.response_p99_ns.map(|ns| ns as f64));
    let (what, first, series) = match p99.is_empty() {
        false => (
            "99th percentile",
            "Response times of the requests due in each stage; where it holds fewer than 10 000, there is none.",
            p99,
        ),
        true => (
            "median",
            "Response times of the requests due in each stage: no stage holds the 10 000 that the 99th percentile takes.",
            of(|stage| stage.response_p50_ns.map(|ns| ns as f64)),
        ),
    };
    if series.is_empty() {
        return None;
    }
    let values = ends(&series).collect::<Vec<f64>>();
    let y = Axis::over(
        "response time",
        Scale::Log,
        values.into_iter(),
        Unit::Duration,
    );
    let title = format!("Response time, stage by stage: {what}");
    let texts = texts(cells, all, &title, first);
    Some(chart("stages-latency", cells, all, texts, y, series))
}

fn ends(series: &[Series]) -> impl Iterator<Item = f64> {
    let points = series.iter().flat_map(|s| &s.points);
    let ends = points.flat_map(|p| [Some(p.y), p.range.map(|r| r.0), p.range.map(|r| r.1)]);
    ends.flatten()
}

fn texts(cells: &[Cell], all: &[Staged], title: &str, first: &str) -> Texts {
    let trials = all.iter().map(|staged| staged.stages[0].len()).max();
    let trials = match trials.unwrap_or(0) {
        0 | 1 => "One trial each.".to_string(),
        n @ 6.. => format!("Median of {n} trials, line: its 95 % interval."),
        n => format!("Median of {n} trials, line: their range."),
    };
    let missed = all.iter().flat_map(|staged| staged.stages.iter().flatten());
    let cross = match missed.map(|stage| stage.requests_not_answered).sum::<u64>() {
        0 => "",
        _ => " Cross: some of that stage's were not answered.",
    };
    let mut caption = vec![format!("{first} {trials}{cross}")];
    caption.extend(left_out(cells, Along::Nothing));
    Texts {
        title: title.into(),
        subtitle: conditions(cells[0].rows[0], Along::Nothing),
        caption,
    }
}

fn chart(
    name: &str,
    cells: &[Cell],
    all: &[Staged],
    texts: Texts,
    y: Axis,
    series: Vec<Series>,
) -> Chart {
    Chart {
        name: format!("{name}-{}", file_name(&workload_name(cells[0].rows[0]))),
        texts,
        plot: Plot::Lines {
            x: along(all),
            y,
            series,
            marked: 1,
        },
        table: Some(table(all)),
    }
}

/// The window, with a line where each stage begins and where the last one ends.
fn along(all: &[Staged]) -> Axis {
    let longest = all.iter().max_by_key(|staged| staged.stages.len());
    let stages = longest.into_iter().flat_map(|staged| &staged.stages);
    let stages: Vec<&Stage> = stages.filter_map(|stage| stage.first().copied()).collect();
    let begins = stages.iter().map(|stage| stage.from_s);
    let end = stages.last().map(|stage| stage.from_s + stage.length_s);
    let edges: Vec<f64> = begins.chain(end).collect();
    let axis = Axis::over(
        "time in the window",
        Scale::Linear,
        edges.iter().copied(),
        Unit::Seconds,
    );
    match edges.len() {
        ..=MOST_TICKS => Axis {
            ticks: edges.iter().map(|s| (*s, seconds(*s))).collect(),
            ..axis
        },
        _ => axis,
    }
}

fn seconds(s: f64) -> String {
    Unit::Seconds.words((s * 1e3).round() / 1e3)
}

/// Every stage of every arm in words.
fn table(all: &[Staged]) -> Table {
    let header = [
        "arm",
        "stage",
        "from",
        "for",
        "asked for",
        "completed/s",
        "not answered",
        "p50",
        "p99",
    ];
    let lines = all.iter().flat_map(|staged| {
        let stages = staged.stages.iter().enumerate();
        stages.map(move |(n, stage)| table_line(staged.cell.arm, n + 1, stage))
    });
    Table {
        header: header.map(String::from).into(),
        lines: lines.collect(),
    }
}

fn table_line(arm: &str, number: usize, trials: &[&Stage]) -> Vec<String> {
    let stage = trials[0];
    let words = |unit: Unit, of: Of| {
        let figure = Figure::of(trials.iter().filter_map(|stage| of(stage)));
        figure.map_or("n/a".into(), |figure| unit.words(figure.median))
    };
    let missed: u64 = trials.iter().map(|stage| stage.requests_not_answered).sum();
    vec![
        visible(arm),
        number.to_string(),
        seconds(stage.from_s),
        seconds(stage.length_s),
        asked(stage),
        words(Unit::Count, |stage| Some(stage.requests_per_s)),
        count(missed as f64),
        words(Unit::Duration, |stage| {
            stage.response_p50_ns.map(|ns| ns as f64)
        }),
        words(Unit::Duration, |stage| {
            stage.response_p99_ns.map(|ns| ns as f64)
        }),
    ]
}

/// `200/s`, `200 to 1k/s`, `1 to 4 connections`.
fn asked(stage: &Stage) -> String {
    let course = |from: f64, to: f64| match from == to {
        true => count(from),
        false => format!("{} to {}", count(from), count(to)),
    };
    let rate = stage.rate_from_per_s.zip(stage.rate_to_per_s);
    let conns = stage.conns_from.zip(stage.conns_to);
    match (rate, conns) {
        (Some((from, to)), _) => format!("{}/s", course(from, to)),
        (None, Some((from, to))) => format!("{} connections", course(from, to)),
        (None, None) => "n/a".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(arm: &str, trial: u32) -> Row {
        Row {
            arm: arm.into(),
            model: arm.into(),
            service: "echo".into(),
            conns: 50,
            trial,
            stages: Some("1s@100,2s@100..500".into()),
            requests_completed: Some(1),
            ..Row::blank()
        }
    }

    fn stage(number: usize, from_s: f64, rate: (f64, f64), per_s: f64) -> Stage {
        Stage {
            stage: number,
            from_s,
            length_s: 1.0,
            rate_from_per_s: Some(rate.0),
            rate_to_per_s: Some(rate.1),
            conns_from: None,
            conns_to: None,
            requests_offered: 300,
            requests_completed: per_s as u64,
            requests_not_answered: 0,
            requests_per_s: per_s,
            response_p50_ns: Some(1000 * per_s as u64),
            response_p99_ns: None,
            response_max_ns: None,
        }
    }

    fn lines(row: &Row, scale: f64) -> Vec<StageRow> {
        let mut ramp = stage(2, 1.0, (100.0, 500.0), 300.0 * scale);
        ramp.requests_not_answered = u64::from(scale < 0.9);
        [stage(1, 0.0, (100.0, 100.0), 100.0 * scale), ramp]
            .map(|stage| stage.of_trial(row))
            .into()
    }

    #[test]
    fn every_stage_stands_where_it_was_and_beside_what_was_offered() {
        let rows = [row("epoll", 1), row("epoll", 2), row("poll", 3)];
        let scales = [1.0, 0.96, 0.5];
        let stages: Vec<StageRow> = rows
            .iter()
            .zip(scales)
            .flat_map(|(row, scale)| lines(row, scale))
            .collect();
        let charts = draw(&rows, &stages);
        let [rates, times] = &charts[..] else {
            panic!("{charts:?}")
        };
        let Plot::Lines { x, series, .. } = &rates.plot else {
            panic!()
        };
        let labels: Vec<&str> = series.iter().map(|s| s.label.as_str()).collect();
        assert_eq!(labels, [OFFERED, "poll", "epoll"]);
        let places =
            |s: &Series| -> Vec<(f64, f64)> { s.points.iter().map(|p| (p.x, p.y)).collect() };
        // A step is flat from its beginning to its end; of a ramp only the middle is known, but of what it offers.
        assert_eq!(
            places(&series[0]),
            [
                (0.0, 100.0),
                (0.5, 100.0),
                (1.0, 100.0),
                (1.0, 100.0),
                (1.5, 300.0),
                (2.0, 500.0)
            ]
        );
        assert_eq!(
            places(&series[2]),
            [(0.0, 98.0), (0.5, 98.0), (1.0, 98.0), (1.5, 294.0)]
        );
        let marks = series[2].points.iter().filter(|point| !point.is_corner);
        assert_eq!(marks.count(), 2);
        assert!(series[1].points[3].failed && !series[2].points[3].failed);
        let ticks: Vec<&str> = x.ticks.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(ticks, ["0 s", "1 s", "2 s"]);
        assert!(times.texts.title.ends_with("median"), "{:?}", times.texts);
        let table = rates.table();
        assert_eq!(table.lines.len(), 4);
        assert!(table.lines.iter().any(|line| line[..2] == ["epoll", "2"]
            && line[4] == "100 to 500/s"
            && line[5] == "294"));
        for chart in &charts {
            let svg = chart.svg().unwrap();
            assert!(svg.contains("epoll") && svg.contains("poll"));
            assert!(
                table
                    .lines
                    .iter()
                    .all(|line| line.len() == table.header.len())
            );
        }
        assert!(
            rates.texts.subtitle.contains("in stages of"),
            "{:?}",
            rates.texts
        );
    }

    #[test]
    fn one_stage_is_no_course_and_connections_have_no_rate_beside_them() {
        let only = [stage(1, 0.0, (1.0, 1.0), 1.0).of_trial(&row("epoll", 1))];
        assert!(draw(&[row("epoll", 1)], &only).is_empty());
        let mut stages = lines(&row("epoll", 1), 1.0);
        for line in &mut stages {
            (line.stage.rate_from_per_s, line.stage.rate_to_per_s) = (None, None);
            (line.stage.conns_from, line.stage.conns_to) = (Some(1.0), Some(4.0));
        }
        let charts = draw(&[row("epoll", 1)], &stages);
        assert_eq!(charts[0].arms(), 1);
        assert_eq!(charts[0].table().lines[0][4], "1 to 4 connections");
    }
}
