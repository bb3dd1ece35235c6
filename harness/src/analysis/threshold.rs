//! `--threshold 'response_p99_ns<5ms'`: what a run must reach, checked on the median over trials of every cell.
//!
//! Grammar: COLUMN OP VALUE, spaces anywhere; OP is one of `< <= > >= == != === !==` (k6's words); VALUE is a number,
//! with a unit where the column has one: `5ms` for times, `64KiB` for `_bytes` and `_kib`, `2%` for fractions, `10k`.
//!
//! A figure that is missing misses: a run that measured nothing has reached nothing.

use crate::analysis::summary::{Cell, Figure, cells};
use crate::base::column_unit::ColumnUnit;
use crate::base::text::visible;
use crate::cli::threshold::Threshold;
use crate::model::row::{Row, Status};
use crate::model::workload::workload_name;
use comfy_table::Table;
use comfy_table::presets::NOTHING;

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
        table.add_row([&miss.threshold, &visible(&miss.arm), &miss.workload, &found]);
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Verdict;

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
}
