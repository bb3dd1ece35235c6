//! A history: what a run adds to it, how each figure went from commit to commit on one machine, and where it changed.

use super::comparable;
use super::stats::e_divisive::{self, change_points};
use super::stats::order_statistic::median_interval;
use super::summary::{Figure, cells, median};
use crate::model::history::{
    HistoryChange, HistoryFigure, HistoryFigures, HistoryLine, HistoryMachine, SCHEMA,
};
use crate::model::metrics::{METRICS, Metric};
use crate::model::row::Row;
use crate::model::workload::workload_name;
use crate::store::history::History;
use hmac_sha256::Hash as Sha256;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How often changes are found where there are none, as `cargo bench -p harness --bench history` counts it on the pools
/// of results/gate; a test holds it against them.
pub const FALSE_ALARMS: &str = "In histories of 30 runs of 8 trials, drawn from tenk's own pools of one server measured against \
    itself (results/gate), a change of CPU per request was found where there is none in 0.5 % on a quiet \
    machine, 0.4 % on a loaded one, 0.3 % on one in a busy hour (1000 of each); about 5 % more from the \
    middle on was found in 73.0 % on a quiet machine, 41.0 % on a loaded one, 54.0 % on one in a busy \
    hour, about 10 % more in 100.0 % on a quiet machine, 98.0 % on a loaded one, 100.0 % on one in a \
    busy hour (100 of each).";

/// A commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Its name.
    pub commit: String,
    /// Its subject.
    pub title: String,
    /// When it was committed, s since 1970.
    pub committed_s: i64,
}

/// What a gate found of one figure of one arm under one workload.
pub type Changes = BTreeMap<(String, &'static str), HistoryChange>;

/// The line of a run's rows: all of them, or those of one side of a gate.
pub fn line_of(
    rows: &[Row],
    environment: &Value,
    commit: Commit,
    side: Option<&str>,
    against: Option<(String, Changes)>,
) -> HistoryLine {
    let (against, changes) = against.unzip();
    let changes = changes.unwrap_or_default();
    let of_side = |row: &&Row| side.is_none_or(|side| row.arm.rsplit('@').next() == Some(side));
    let rows: Vec<Row> = rows.iter().filter(of_side).cloned().collect();
    let figures = cells(&rows).into_iter().map(|cell| {
        let arm = match side {
            // Where commands are compared, an arm is called after its side alone.
            Some(_) => cell
                .arm
                .rsplit_once('@')
                .map_or("server", |(subject, _)| subject),
            None => cell.arm,
        };
        let workload = workload_name(cell.rows[0]);
        let figure = |metric: &Metric| {
            let usable = cell.rows.iter().filter(|row| row.is_usable());
            let values: Vec<f64> = usable.filter_map(|row| (metric.of)(row)).collect();
            let change = changes
                .get(&(format!("{arm} {workload}"), metric.column))
                .copied();
            Some((metric.column.to_string(), figure_of(&values, change)?))
        };
        HistoryFigures {
            arm: arm.into(),
            model: cell.model.into(),
            workload: workload.clone(),
            metrics: METRICS.iter().filter_map(figure).collect(),
        }
    });
    HistoryLine {
        schema: SCHEMA.into(),
        run_id: rows.first().map_or(String::new(), |row| row.run_id.clone()),
        commit: commit.commit,
        title: commit.title,
        committed_s: commit.committed_s,
        against,
        machine: machine(environment),
        figures: figures
            .filter(|figures| !figures.metrics.is_empty())
            .collect(),
    }
}

fn figure_of(values: &[f64], change: Option<HistoryChange>) -> Option<HistoryFigure> {
    let figure = Figure::of(values.iter().copied()).filter(|figure| figure.min > 0.0)?;
    let interval = median_interval(values);
    Some(HistoryFigure {
        median: figure.median,
        low: interval.map_or(figure.min, |interval| interval.low),
        high: interval.map_or(figure.max, |interval| interval.high),
        trials: figure.trials,
        change,
    })
}

/// The machine of an environment.
fn machine(environment: &Value) -> HistoryMachine {
    let facts = comparable::identity(environment);
    let named = facts
        .iter()
        .map(|(name, value)| format!("{name}\0{value}\0"));
    let digest = Sha256::hash(named.collect::<String>().as_bytes());
    let id: String = digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let fact = |name: &str| facts.get(name).map(String::as_str);
    let cpus = fact("the number of CPUs").map(|cpus| format!("{cpus} CPUs"));
    let words = [
        fact("the CPU model").map(str::to_string),
        cpus,
        fact("the memory").map(str::to_string),
        fact("the kernel").map(str::to_string),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    HistoryMachine {
        id,
        what: words.join(", "),
        facts,
    }
}

/// One figure of one arm under one workload on one machine, commit by commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// Digest of the machine.
    pub machine: String,
    /// The arm.
    pub arm: String,
    /// Its model.
    pub model: String,
    /// The workload.
    pub workload: String,
    /// The figure's column.
    pub column: &'static str,
    /// By the time of the commit.
    pub points: Vec<TrendPoint>,
    /// Where it changed.
    pub changes: Vec<Change>,
}

/// A figure of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct TrendPoint {
    /// The commit.
    pub commit: String,
    /// The figure.
    pub figure: HistoryFigure,
}

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The first point of the new level.
    pub at: usize,
    /// New level ÷ old one − 1, of the medians.
    pub relative: f64,
    /// The share of random orders that split as well.
    pub p: f64,
}

/// Every trend of a history, those of one machine and workload together.
pub fn trends(history: &History) -> Vec<Trend> {
    let mut lines: Vec<&HistoryLine> = history.lines.iter().collect();
    // What was measured later of one commit comes later.
    lines.sort_by_key(|line| line.committed_s);
    type Key<'a> = (&'a str, &'a str, usize, &'a str, &'a str);
    let mut trends: BTreeMap<Key, Vec<TrendPoint>> = BTreeMap::new();
    for line in lines {
        for figures in &line.figures {
            for (number, metric) in METRICS.iter().enumerate() {
                let Some(figure) = figures.metrics.get(metric.column) else {
                    continue;
                };
                let key = (
                    line.machine.id.as_str(),
                    figures.workload.as_str(),
                    number,
                    figures.arm.as_str(),
                    figures.model.as_str(),
                );
                trends.entry(key).or_default().push(TrendPoint {
                    commit: line.commit.clone(),
                    figure: *figure,
                });
            }
        }
    }
    let trend = |((machine, workload, number, arm, model), points): (Key, Vec<TrendPoint>)| Trend {
        machine: machine.into(),
        arm: arm.into(),
        model: model.into(),
        workload: workload.into(),
        column: METRICS[number].column,
        changes: changes(&points, METRICS[number].margin),
        points,
    };
    trends.into_iter().map(trend).collect()
}

/// Changes that matter: levels that differ by more than the figure's margin.
fn changes(points: &[TrendPoint], margin: f64) -> Vec<Change> {
    let logs: Vec<f64> = points
        .iter()
        .map(|point| point.figure.median.ln())
        .collect();
    changes_of(&logs, margin)
}

/// The same of the figures' logarithms.
pub fn changes_of(logs: &[f64], margin: f64) -> Vec<Change> {
    let found = change_points(logs);
    let ends = found.iter().map(|change| change.at);
    let edges: Vec<usize> = std::iter::once(0).chain(ends).chain([logs.len()]).collect();
    let level = |part: &[f64]| {
        let mut part = part.to_vec();
        part.sort_by(f64::total_cmp);
        median(&part).unwrap_or(f64::NAN)
    };
    let change = |(i, change): (usize, &e_divisive::ChangePoint)| {
        let (before, after) = (&logs[edges[i]..change.at], &logs[change.at..edges[i + 2]]);
        let log = level(after) - level(before);
        (log.abs() >= margin.ln_1p()).then_some(Change {
            at: change.at,
            relative: log.exp_m1(),
            p: change.p,
        })
    };
    found.iter().enumerate().filter_map(change).collect()
}

/// The commits of these trends in the order of their time, with their subjects.
pub fn commits(history: &History) -> Vec<Commit> {
    let mut seen = BTreeSet::new();
    let mut commits: Vec<Commit> = Vec::new();
    for line in &history.lines {
        if seen.insert(line.commit.as_str()) {
            commits.push(Commit {
                commit: line.commit.clone(),
                title: line.title.clone(),
                committed_s: line.committed_s,
            });
        }
    }
    commits.sort_by_key(|commit| commit.committed_s);
    commits
}

/// The machines of a history, by their digests, in the order in which they first appear.
pub fn machines(history: &History) -> Vec<&HistoryMachine> {
    let mut machines: Vec<&HistoryMachine> = Vec::new();
    for line in &history.lines {
        if !machines.iter().any(|machine| machine.id == line.machine.id) {
            machines.push(&line.machine);
        }
    }
    machines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::history::tests::line;
    use serde_json::json;

    fn row(trial: u32, arm: &str, cpu_us: f64) -> Row {
        Row {
            run_id: "r".into(),
            trial,
            arm: arm.into(),
            model: "epoll".into(),
            service: "echo".into(),
            conns: 50,
            requests_completed: Some(1),
            server_cpu_us_per_request: Some(cpu_us),
            ..Row::blank()
        }
    }

    fn commit() -> Commit {
        Commit {
            commit: format!("{:040x}", 7),
            title: "a change".into(),
            committed_s: 1,
        }
    }

    #[test]
    fn a_side_of_a_gate_becomes_a_line_with_what_the_gate_found() {
        let rows: Vec<Row> = (0..8)
            .flat_map(|i| {
                [
                    row(2 * i, "epoll@base", 3.0),
                    row(2 * i + 1, "epoll@head", 4.0),
                ]
            })
            .collect();
        let change = HistoryChange {
            change: 0.33,
            low: None,
            high: None,
        };
        let column = METRICS[0].column;
        let changes: Changes = [(("epoll c50/echo0".to_string(), column), change)].into();
        let environment = json!({"kernel": "Linux 6", "cpus": 2});
        let of = |side| {
            line_of(
                &rows,
                &environment,
                commit(),
                Some(side),
                Some(("0".into(), changes.clone())),
            )
        };
        let head = of("head");
        assert_eq!(head.figures[0].arm, "epoll");
        let figure = head.figures[0].metrics[column];
        assert_eq!(
            (figure.median, figure.trials, figure.change),
            (4.0, 8, Some(change))
        );
        assert_eq!(of("base").figures[0].metrics[column].median, 3.0);
        assert!(head.machine.what.contains("2 CPUs"));
        let other = line_of(&rows, &json!({"kernel": "Linux 7"}), commit(), None, None);
        assert_ne!(other.machine.id, head.machine.id);
        assert_eq!(other.figures.len(), 2);
    }

    #[test]
    fn machines_are_never_one_trend_and_a_change_is_found_where_it_is() {
        let mut history = History::default();
        for i in 0..20 {
            let wave = 1.0 + 0.004 * ((i * 7) % 5) as f64;
            history
                .lines
                .push(line(i, "a", wave * if i < 11 { 3.0 } else { 3.6 }));
            history.lines.push(line(i, "b", 9.0 * wave));
        }
        // Lines come in any order.
        history.lines.reverse();
        let trends = trends(&history);
        let of: Vec<_> = trends
            .iter()
            .map(|t| (t.machine.as_str(), t.points.len(), t.changes.len()))
            .collect();
        assert_eq!(of, [("a", 20, 1), ("b", 20, 0)]);
        let change = trends[0].changes[0];
        assert_eq!(change.at, 11);
        assert!((change.relative - 0.2).abs() < 0.02, "{change:?}");
        assert_eq!(commits(&history).len(), 20);
        assert_eq!(machines(&history).len(), 2);
    }

    #[test]
    fn a_change_within_the_margin_is_none() {
        let logs: Vec<f64> = (0..30).map(|i| if i < 15 { 0.0 } else { 0.02 }).collect();
        assert_eq!(changes_of(&logs, 0.03), []);
        assert_eq!(changes_of(&logs, 0.01).len(), 1);
    }
}
