//! `--threshold 'response_p99_ns<5ms'`: what a run must reach, checked on the median over trials of every cell.
//!
//! Grammar: COLUMN OP VALUE, spaces anywhere; OP is one of `< <= > >= == != === !==` (k6's words); VALUE is a number,
//! with a unit where the column has one: `5ms` for times, `64KiB` for `_bytes` and `_kib`, `2%` for fractions, `10k`.
//!
//! A figure that is missing misses: a run that measured nothing has reached nothing.

use crate::column_unit::ColumnUnit;
use crate::error::did_you_mean;
use crate::report::table::printable;
use crate::row::{COLUMNS, Row, Status};
use crate::stats::ranking::workload_name;
use crate::summary::{Cell, Figure, cells};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use loadgen::units::{parse_count, parse_duration};
use std::str::FromStr;

/// Exit code: a threshold was missed (DESIGN §4).
pub const MISSED: u8 = 99;

/// Columns that hold words, in which nothing can be more or less.
const WORDS: [&str; 13] = [
    "run_id",
    "arm",
    "model",
    "variant",
    "service",
    "protocol",
    "arrival",
    "server_cpus",
    "client_cpus",
    "status",
    "verdict",
    "reasons",
    "bottleneck",
];

type Comparison = fn(f64, f64) -> bool;

/// The comparisons, longer signs before those they begin with.
const OPERATORS: [(&str, Comparison); 8] = [
    ("===", |a, b| a == b),
    ("!==", |a, b| a != b),
    ("<=", |a, b| a <= b),
    (">=", |a, b| a >= b),
    ("==", |a, b| a == b),
    ("!=", |a, b| a != b),
    ("<", |a, b| a < b),
    (">", |a, b| a > b),
];

/// One threshold.
#[derive(Debug, Clone)]
pub struct Threshold {
    /// As it was typed.
    text: String,
    column: &'static str,
    holds: Comparison,
    value: f64,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>', '=', '!']);
        let (name, rest) = text.split_at(at.unwrap_or(text.len()));
        let column = column(name.trim())?;
        let (sign, holds) = OPERATORS
            .iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| {
                format!("`{text}` has no comparison (try `{column}<5`; < <= > >= == !=)")
            })?;
        Ok(Threshold {
            text: text.trim().to_string(),
            column,
            holds: *holds,
            value: value(column, rest[sign.len()..].trim())?,
        })
    }
}

/// The column of this name, or the nearest right one.
fn column(name: &str) -> Result<&'static str, String> {
    let numbers = || COLUMNS.iter().copied().filter(|c| !WORDS.contains(c));
    if let Some(column) = numbers().find(|column| *column == name) {
        return Ok(column);
    }
    if WORDS.contains(&name) {
        return Err(format!("`{name}` holds words, not numbers"));
    }
    let near = did_you_mean(name, numbers());
    Err(format!("`{name}` is no column of a row{near}"))
}

/// The value in the column's own unit.
fn value(column: &str, text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    let in_unit = match ColumnUnit::of(column) {
        ColumnUnit::Time(unit_ns) => parse_duration(text)
            .ok()
            .map(|d| d.as_nanos() as f64 / unit_ns),
        ColumnUnit::Bytes(unit) => bytes(text).map(|bytes| bytes / unit),
        ColumnUnit::BytesPerS => bytes(text),
        ColumnUnit::Fraction => text
            .strip_suffix('%')
            .and_then(|p| Some(p.trim().parse::<f64>().ok()? / 100.0)),
        ColumnUnit::None | ColumnUnit::PerS => parse_count(text).ok().map(|n| n as f64),
    };
    number.or(in_unit).filter(|v| v.is_finite()).ok_or_else(|| {
        let example = match ColumnUnit::of(column) {
            ColumnUnit::Time(_) => "5ms",
            ColumnUnit::Bytes(_) | ColumnUnit::BytesPerS => "64KiB",
            ColumnUnit::Fraction => "2%",
            ColumnUnit::None | ColumnUnit::PerS => "10k",
        };
        format!("`{text}` is no value for {column} (try 5 or {example})")
    })
}

fn bytes(text: &str) -> Option<f64> {
    let units = [
        ("KiB", 1024.0),
        ("MiB", 1048576.0),
        ("GiB", 1073741824.0),
        ("B", 1.0),
    ];
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.trim().parse::<f64>().ok()? * factor)
}

/// A threshold that a cell missed.
#[derive(Debug, Clone, PartialEq)]
pub struct Miss {
    arm: String,
    workload: String,
    threshold: String,
    column: &'static str,
    /// The median; none where nothing was measured.
    found: Option<f64>,
}

/// All misses. A cell of a model that this host cannot run is not judged, unless there is no other.
pub fn misses(thresholds: &[Threshold], rows: &[Row]) -> Vec<Miss> {
    let cells = cells(rows);
    let ran: Vec<&Cell> = cells
        .iter()
        .filter(|cell| cell.rows.iter().any(|row| row.status != Status::Skipped))
        .collect();
    let judged = if ran.is_empty() {
        cells.iter().collect()
    } else {
        ran
    };
    let miss = |cell: &Cell, threshold: &Threshold| {
        let found = figure(cell, threshold.column).map(|f| f.median);
        let holds = found.is_some_and(|found| (threshold.holds)(found, threshold.value));
        (!holds).then(|| Miss {
            arm: cell.arm.to_string(),
            workload: workload_name(cell.rows[0]),
            threshold: threshold.text.clone(),
            column: threshold.column,
            found,
        })
    };
    let pairs = judged
        .iter()
        .flat_map(|cell| thresholds.iter().map(move |threshold| (cell, threshold)));
    pairs
        .filter_map(|(cell, threshold)| miss(cell, threshold))
        .collect()
}

/// Measured figures are taken from trials that may be believed; what was asked for and what was counted, from all:
/// errors do not go away because they made a trial invalid.
fn figure(cell: &Cell, column: &str) -> Option<Figure> {
    let read = |row: &Row| serde_json::to_value(row).ok()?.get(column)?.as_f64();
    let is_count = column == "errors"
        || ["conns", "requests_", "local_", "listen_", "tcp_"]
            .iter()
            .any(|start| column.starts_with(start))
            && !column.ends_with("_per_s");
    match is_count {
        true => Figure::of(cell.rows.iter().filter_map(|row| read(row))),
        false => cell.figure(read),
    }
}

/// The table of what missed; empty when nothing did.
pub fn table(misses: &[Miss]) -> String {
    if misses.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["missed", "model", "workload", "median"]);
    for miss in misses {
        let words = |found| ColumnUnit::of(miss.column).in_words(found);
        let found = miss.found.map_or("n/a".to_string(), words);
        table.add_row([
            &miss.threshold,
            &printable(&miss.arm),
            &miss.workload,
            &found,
        ]);
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Verdict;
    use proptest::prelude::*;

    fn threshold(text: &str) -> Threshold {
        text.parse().unwrap()
    }

    fn row(p99: Option<u64>) -> Row {
        Row {
            arm: "epoll".into(),
            service: "echo".into(),
            conns: 50,
            requests_completed: Some(1),
            response_p99_ns: p99,
            errors: Some(0),
            ..Row::blank()
        }
    }

    #[test]
    fn values_have_the_units_of_their_column() {
        for (text, value) in [
            ("response_p99_ns<5ms", 5e6),
            ("response_p99_ns <= 1.5", 1.5),
            (" slip_p99_ns > 50us ", 50e3),
            ("server_memory_per_conn_bytes<64KiB", 65536.0),
            ("server_memory_kib<1MiB", 1024.0),
            ("bytes_per_s>=2MiB", 2097152.0),
            ("steal_fraction<2%", 0.02),
            ("requests_per_s>10k", 10_000.0),
            ("server_cpu_us_per_request<20us", 20.0),
            ("server_user_s<1500ms", 1.5),
            ("errors==0", 0.0),
            ("errors===0", 0.0),
            ("errors!==1", 1.0),
        ] {
            assert_eq!(threshold(text).value, value, "{text}");
        }
    }

    #[test]
    fn mistakes_are_answered_with_the_nearest_right_word() {
        let error = |text: &str| text.parse::<Threshold>().unwrap_err();
        assert!(error("response_p99<5ms").contains("did you mean `response_p99_ns`"));
        assert!(error("erors==0").contains("did you mean `errors`"));
        assert!(error("status==1").contains("words"));
        assert!(error("errors").contains("no comparison"));
        assert!(error("errors=0").contains("no comparison"));
        assert!(error("errors<").contains("no value"));
        assert!(error("response_p99_ns<5 parsecs").contains("try 5 or 5ms"));
        assert!(error("errors<inf").contains("no value"));
        assert!(error("errors<NaN").contains("no value"));
        assert!(error("").contains("no column"));
    }

    #[test]
    fn words_and_numbers_are_told_apart_for_every_column() {
        let mut json = serde_json::to_value(Row::blank()).unwrap();
        json["variant"] = "x".into();
        json["bottleneck"] = "server".into();
        for column in COLUMNS {
            assert_eq!(
                json[*column].is_string(),
                WORDS.contains(column),
                "{column}"
            );
        }
    }

    #[test]
    fn the_median_decides() {
        let rows = [row(Some(1)), row(Some(9_000_000)), row(Some(2))];
        assert!(misses(&[threshold("response_p99_ns<5ms")], &rows).is_empty());
        let missed = misses(
            &[threshold("response_p99_ns<2"), threshold("errors==0")],
            &rows,
        );
        assert_eq!(missed.len(), 1);
        let text = table(&missed);
        assert!(
            text.contains("missed") && text.contains("response_p99_ns<2"),
            "{text}"
        );
        assert!(text.contains("c50/echo0") && text.contains('2'), "{text}");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn a_missing_figure_misses() {
        let missed = misses(&[threshold("response_p99_ns<5ms")], &[row(None)]);
        assert!(table(&missed).contains("n/a"));
        assert_eq!(
            misses(&[threshold("response_p99_ns!=1")], &[row(None)]).len(),
            1
        );
    }

    #[test]
    fn invalid_trials_keep_their_errors_but_not_their_latency() {
        let mut bad = row(Some(1));
        bad.verdict = Verdict::Invalid;
        bad.errors = Some(7);
        let missed = misses(
            &[threshold("errors==0"), threshold("response_p99_ns<5ms")],
            &[bad],
        );
        assert_eq!(
            missed.iter().map(|m| m.found).collect::<Vec<_>>(),
            [Some(7.0), None]
        );
    }

    #[test]
    fn a_model_that_cannot_run_here_is_not_judged_beside_others() {
        let mut skipped = row(None);
        skipped.arm = "io-uring".into();
        skipped.status = Status::Skipped;
        let thresholds = [threshold("response_p99_ns<5ms")];
        assert!(misses(&thresholds, &[row(Some(1)), skipped.clone()]).is_empty());
        assert_eq!(misses(&thresholds, &[skipped]).len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,24}", column in 0..COLUMNS.len(), op in 0..OPERATORS.len()) {
            let _ = text.parse::<Threshold>();
            let _ = format!("{}{}{text}", COLUMNS[column], OPERATORS[op].0).parse::<Threshold>();
        }
    }
}
