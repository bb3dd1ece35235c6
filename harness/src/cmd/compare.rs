//! `tenk compare DIR_A DIR_B`: two saved runs of one machine, cell by cell.
//!
//! Their trials share no block, so whatever changed on the machine between the runs is in the difference as well;
//! the output says so, and names the gate, which measures both in one job.

use crate::analysis::comparable::{self, Comparison};
use crate::analysis::stats::{ALPHA, Interval, holm, rank_sum};
use crate::analysis::summary::{Cell, Figure, cells};
use crate::base::column_unit::ColumnUnit;
use crate::base::error::{Exit, Failure, OrFail};
use crate::base::terminal::{eprintln, say};
use crate::base::text::percent;
use crate::base::text::visible;
use crate::cli::Format;
use crate::cli::compare::CompareFlags;
use crate::model::metrics::METRICS;
use crate::model::metrics::Metric;
use crate::model::row::{Row, Status, Verdict, csv_of};
use crate::model::workload::workload_name;
use crate::store::read::load;
use crate::store::run::Run;
use comfy_table::presets::{ASCII_MARKDOWN, NOTHING};
use comfy_table::{CellAlignment, Table, TableStyle};
use serde::Serialize;
use std::path::Path;

/// The schema of what `--format json` prints.
const SCHEMA: &str = "tenk.compare/1";

/// One figure of one cell in both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Line {
    arm: String,
    workload: String,
    figure: &'static str,
    a: f64,
    b: f64,
    /// B ÷ A − 1, the Hodges–Lehmann estimate.
    change: f64,
    interval_low: Option<f64>,
    interval_high: Option<f64>,
    trials_a: usize,
    trials_b: usize,
    /// After Holm's correction over all lines.
    p_adjusted: f64,
    finding: &'static str,
}

const COLUMNS: [&str; 12] = [
    "arm",
    "workload",
    "figure",
    "a",
    "b",
    "change",
    "interval_low",
    "interval_high",
    "trials_a",
    "trials_b",
    "p_adjusted",
    "finding",
];

/// Compares two saved runs and says how the program ends.
pub fn compare(flags: &CompareFlags) -> Result<Exit, Failure> {
    let (a, b) = (read(&flags.a)?, read(&flags.b)?);
    let found = comparable::compare(&a.environment, &b.environment);
    if !found.different.is_empty() {
        return Err(Failure::usage(format!(
            "the runs are not of one machine in one state, so that their figures cannot be compared:\n  {}\n`tenk gate` \
             measures two builds in one job, in one state",
            found.different.join("\n  ")
        )));
    }
    for note in &found.notes {
        eprintln(&format!("note: {note}"));
    }
    let (lines, alone) = (lines(&a.rows, &b.rows, &found), alone(&a.rows, &b.rows));
    if lines.is_empty() {
        let named = alone.iter().take(6).cloned().collect::<Vec<_>>();
        return Err(Failure::usage(format!(
            "the runs have no cell in common: {}{}",
            named.join("; "),
            if alone.len() > named.len() {
                "; …"
            } else {
                ""
            }
        )));
    }
    const FAILED: &str = "cannot print the comparison";
    let text = match flags.format {
        Format::Table => for_people(&lines, &alone, NOTHING),
        Format::Md => for_people(&lines, &alone, ASCII_MARKDOWN),
        Format::Csv => {
            let csv = csv_of(&COLUMNS, &lines).or_failed(FAILED)?;
            String::from_utf8_lossy(&csv).into_owned()
        }
        Format::Json => {
            let value =
                serde_json::json!({ "schema": SCHEMA, "lines": lines, "only_in_one": alone });
            let text = serde_json::to_string_pretty(&value);
            text.or_failed(FAILED)? + "\n"
        }
    };
    say(&text).map(|()| Exit::Done)
}

fn read(folder: &Path) -> Result<Run, Failure> {
    let saved = load(folder).map_err(|e| Failure::from_error(Exit::Usage, e))?;
    Ok(saved.run)
}

fn lines(a: &[Row], b: &[Row], found: &Comparison) -> Vec<Line> {
    let (a, b) = (cells(a), cells(b));
    let mut lines = Vec::new();
    for one in &a {
        let Some(other) = b.iter().find(|other| is_same(one, other)) else {
            continue;
        };
        // In a closed loop latency is only connections ÷ throughput.
        let has_rate = one.workload.requests_per_1000_s.is_some() || one.workload.stages.is_some();
        let metrics = METRICS
            .iter()
            .filter(|metric| has_rate || !metric.column.starts_with("response_"))
            .filter(|metric| found.compares(metric.column));
        lines.extend(metrics.filter_map(|metric| line(one, other, metric)));
    }
    let p: Vec<f64> = lines.iter().map(|line: &Line| line.p_adjusted).collect();
    for (line, p) in lines.iter_mut().zip(holm::adjusted(&p)) {
        line.p_adjusted = p;
        line.finding = finding(line);
    }
    lines
}

fn is_same(a: &Cell, b: &Cell) -> bool {
    a.arm == b.arm && a.workload == b.workload
}

fn line(a: &Cell, b: &Cell, metric: &'static Metric) -> Option<Line> {
    let (x, y) = (costs(a, metric), costs(b, metric));
    let relative = |log: f64| if metric.more_is_better { -log } else { log }.exp_m1();
    let interval: Option<Interval> =
        rank_sum::interval(&x, &y, ALPHA / 2.0).map(|interval| interval.map(relative));
    let of = |cell: &Cell| Figure::of(usable(cell).filter_map(|row| (metric.of)(row)));
    Some(Line {
        arm: a.arm.to_string(),
        workload: workload_name(a.rows.first()?),
        figure: metric.column,
        a: of(a)?.median,
        b: of(b)?.median,
        change: relative(rank_sum::shift(&x, &y)?),
        interval_low: interval.map(|i| i.low),
        interval_high: interval.map(|i| i.high),
        trials_a: x.len(),
        trials_b: y.len(),
        p_adjusted: rank_sum::test(&x, &y).two_sided(),
        finding: "",
    })
}

fn usable<'a>(cell: &'a Cell) -> impl Iterator<Item = &'a Row> {
    let rows = cell.rows.iter().copied();
    rows.filter(|row| row.status == Status::Ok && row.verdict != Verdict::Invalid)
}

fn costs(cell: &Cell, metric: &Metric) -> Vec<f64> {
    usable(cell).filter_map(|row| metric.cost(row)).collect()
}

fn finding(line: &Line) -> &'static str {
    let more_is_better = METRICS
        .iter()
        .any(|metric| metric.column == line.figure && metric.more_is_better);
    match () {
        () if line.interval_low.is_none() => "too few trials",
        () if line.p_adjusted > ALPHA => "no difference shown",
        () if (line.change > 0.0) == more_is_better => "better",
        () => "worse",
    }
}

/// The cells of one run that the other does not have.
fn alone(a: &[Row], b: &[Row]) -> Vec<String> {
    let (a, b) = (cells(a), cells(b));
    let missing = |from: &[Cell], other: &[Cell], run: &str| -> Vec<String> {
        let alone = from
            .iter()
            .filter(|cell| !other.iter().any(|o| is_same(cell, o)));
        let named = alone.filter_map(|cell| {
            let name = workload_name(cell.rows.first()?);
            Some(format!("{} {name} only in {run}", visible(cell.arm)))
        });
        named.collect()
    };
    [missing(&a, &b, "A"), missing(&b, &a, "B")].concat()
}

fn for_people(lines: &[Line], alone: &[String], style: TableStyle) -> String {
    let mut table = Table::new();
    table.load_style(style).set_header([
        "arm",
        "workload",
        "figure",
        "A",
        "B",
        "change",
        "95 % interval",
        "trials",
        "finding",
    ]);
    for line in lines {
        let interval = line.interval_low.zip(line.interval_high);
        table.add_row([
            visible(&line.arm),
            line.workload.clone(),
            line.figure.to_string(),
            ColumnUnit::of(line.figure).in_words(line.a),
            ColumnUnit::of(line.figure).in_words(line.b),
            percent(line.change),
            interval.map_or("n/a".into(), |(low, high)| {
                format!("{} to {}", percent(low), percent(high))
            }),
            format!("{} and {}", line.trials_a, line.trials_b),
            line.finding.to_string(),
        ]);
    }
    for index in 3..7 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.trim_fmt() + "\n";
    for cell in alone {
        text.push_str(&format!("\n{cell}"));
    }
    if lines.iter().any(|line| line.interval_low.is_none()) {
        text.push_str("\nAn interval needs four trials in each run: --repeat 4 or more.");
    }
    text.push_str(
        "\nchange: the Hodges–Lehmann estimate over all pairs of trials, which is not the ratio of the two medians.\n\
         The runs were made one after the other: what changed on the machine between them is in every difference.\n\
         `tenk gate` measures two builds in one job, in pairs.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(arm: &str, figures: &[f64]) -> Vec<Row> {
        let row = |(i, figure): (usize, &f64)| Row {
            block: i as u32 + 1,
            arm: arm.into(),
            conns: 50,
            service: "echo".into(),
            requests_completed: Some(1),
            requests_per_s: Some(*figure),
            response_p50_ns: Some(1),
            ..Row::blank()
        };
        figures.iter().enumerate().map(row).collect()
    }

    #[test]
    fn a_change_is_found_in_the_figures_own_direction() {
        let a = rows("epoll", &[100.0, 101.0, 99.0, 100.5, 98.0]);
        let slower = rows("epoll", &[80.0, 81.0, 79.0, 80.5, 78.0]);
        let lines = |a: &[Row], b: &[Row]| super::lines(a, b, &Comparison::default());
        let found = lines(&a, &slower);
        assert_eq!(
            found.len(),
            1,
            "a closed loop's latency is not compared: {found:?}"
        );
        assert_eq!(
            (found[0].figure, found[0].finding),
            ("requests_per_s", "worse")
        );
        assert!((-0.22..-0.18).contains(&found[0].change), "{found:?}");
        assert_eq!(lines(&slower, &a)[0].finding, "better");
        assert_eq!(lines(&a, &a)[0].finding, "no difference shown");
        assert_eq!(lines(&a[..3], &slower[..3])[0].finding, "too few trials");
    }

    #[test]
    fn cells_of_one_run_only_are_named() {
        let (a, b) = (rows("epoll", &[1.0]), rows("poll", &[1.0]));
        assert!(lines(&a, &b, &Comparison::default()).is_empty());
        assert_eq!(
            alone(&a, &b),
            ["epoll c50/echo0 only in A", "poll c50/echo0 only in B"]
        );
    }
}
