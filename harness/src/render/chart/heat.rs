//! Models × workloads: how many times `epoll` each one is, by throughput and by CPU per request.

use super::canvas::Texts;
use super::{Chart, Plot};
use crate::analysis::stats::{ALPHA, Interval, signed_rank, walsh};
use crate::analysis::summary::{Cell, arms, cells};
use crate::base::text::visible;
use crate::model::metrics::{CPU_PER_REQUEST, Metric, THROUGHPUT};
use crate::model::row::{Row, Status, Verdict};
use crate::model::workload::workload_name;
use serde::Serialize;

/// The arm that the others are set against.
const REFERENCE: &str = servers::models::REFERENCE;

/// A table of ratios.
#[derive(Debug, Clone, Serialize)]
pub struct Heat {
    /// The workloads.
    pub columns: Vec<String>,
    /// The arms.
    pub rows: Vec<HeatRow>,
    /// Whether a ratio above 1 is good.
    pub more_is_better: bool,
}

/// One arm's ratios.
#[derive(Debug, Clone, Serialize)]
pub struct HeatRow {
    /// The arm.
    pub label: String,
    /// One per workload.
    pub cells: Vec<HeatCell>,
}

/// One arm under one workload.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HeatCell {
    /// Arm ÷ reference; none where there is nothing to compare.
    pub ratio: Option<f64>,
    /// Its 95 % interval, of at least 6 blocks.
    pub interval: Option<Interval>,
    /// Some trial was suspect.
    pub suspect: bool,
    /// Why there is no ratio, or what must be known of it.
    pub note: String,
}

/// Both maps; none without the reference, or with nothing beside it.
pub fn draw(rows: &[Row]) -> Vec<Chart> {
    [(THROUGHPUT, "requests"), (CPU_PER_REQUEST, "cpu")]
        .iter()
        .filter_map(|(criterion, name)| draw_criterion(rows, criterion, name))
        .collect()
}

/// Whether arms may differ by this: in an open loop all do as many requests as are due.
fn tells(criterion: &Metric, row: &Row) -> bool {
    !row.workload().is_open_loop() || criterion.column != THROUGHPUT.column
}

fn draw_criterion(rows: &[Row], criterion: &Metric, name: &str) -> Option<Chart> {
    let cells = cells(rows);
    let workloads: Vec<&[Cell]> = cells
        .chunk_by(|a, b| a.workload == b.workload)
        .filter(|cells| tells(criterion, cells[0].rows[0]))
        .collect();
    let arms = arms(rows);
    if arms.len() < 2 || !arms.contains(&REFERENCE) {
        return None;
    }
    let heat_row = |arm: &&str| HeatRow {
        label: visible(arm),
        cells: workloads
            .iter()
            .map(|cells| heat_cell(cells, arm, criterion))
            .collect(),
    };
    let heat = Heat {
        columns: workloads
            .iter()
            .map(|cells| visible(&workload_name(cells[0].rows[0])))
            .collect(),
        rows: arms.iter().map(heat_row).collect(),
        more_is_better: criterion.more_is_better,
    };
    let drawn = |cell: &HeatCell| cell.ratio.is_some();
    if !heat
        .rows
        .iter()
        .filter(|row| row.label != REFERENCE)
        .any(|row| row.cells.iter().any(drawn))
    {
        return None;
    }
    Some(Chart {
        name: format!("heat-{name}"),
        texts: Texts {
            title: format!("{} relative to {REFERENCE}", capitalised(criterion.title)),
            subtitle: format!(
                "Hodges–Lehmann ratio over the blocks that both ran; blue is {}, orange is {} than {REFERENCE}",
                if criterion.more_is_better { "more" } else { "less" },
                if criterion.more_is_better { "less" } else { "more" },
            ),
            caption: vec![
                "≈: its 95 % interval holds 1, or there are fewer than 6 blocks for one. Hollow: some trial suspect.".into(),
            ],
        },
        plot: Plot::Heat(heat),
        table: None,
    })
}

fn capitalised(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn heat_cell(cells: &[Cell], arm: &str, criterion: &Metric) -> HeatCell {
    let find = |arm: &str| cells.iter().find(|cell| cell.arm == arm);
    let note = |words: &str| HeatCell {
        note: words.into(),
        ..HeatCell::default()
    };
    let Some(cell) = find(arm) else {
        return note("not run");
    };
    let Some(reference) = find(REFERENCE) else {
        return note("no reference");
    };
    let x = paired(cell, reference, criterion);
    let Some(estimate) = walsh::hodges_lehmann(&x) else {
        let usable = cell.rows.iter().any(|row| row.is_usable());
        return match (cell.status().0, usable) {
            (Status::Ok, false) => note("invalid"),
            (Status::Ok, true) => note("n/a"),
            (status, _) => note(&status.to_string()),
        };
    };
    let status = cell.status().0;
    HeatCell {
        ratio: Some(estimate.exp()),
        interval: signed_rank::interval(&x, ALPHA / 2.0).map(|i| i.map(f64::exp)),
        suspect: cell.verdict() != Verdict::Valid || reference.verdict() != Verdict::Valid,
        note: if status == Status::Ok {
            String::new()
        } else {
            status.to_string()
        },
    }
}

/// The log-ratios of the blocks that both arms ran.
fn paired(cell: &Cell, reference: &Cell, criterion: &Metric) -> Vec<f64> {
    let value =
        |row: &Row| (criterion.of)(row).filter(|v| row.is_usable() && *v > 0.0 && v.is_finite());
    let other = |row: &Row| {
        reference
            .rows
            .iter()
            .find(|r| r.block == row.block && r.run_id == row.run_id)
    };
    let ratio = |row: &&Row| Some((value(row)? / value(other(row)?)?).ln());
    cell.rows.iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |arm: &str, block: u32, per_s: f64| Row {
            arm: arm.into(),
            model: arm.into(),
            conns: 50,
            block,
            requests_completed: Some(1),
            requests_per_s: Some(per_s),
            ..Row::blank()
        };
        let block = |b: u32| {
            [
                row("epoll", b, f64::from(b)),
                row("poll", b, f64::from(b) / 2.0),
            ]
        };
        (1..=6).flat_map(block).collect()
    }

    fn heat(rows: &[Row]) -> Heat {
        match draw(rows).remove(0).plot {
            Plot::Heat(heat) => heat,
            _ => unreachable!(),
        }
    }

    #[test]
    fn at_a_fixed_rate_requests_per_second_are_not_set_against_each_other() {
        let row = |arm: &str, rate_per_s| Row {
            arm: arm.into(),
            model: arm.into(),
            block: 1,
            conns: 50,
            rate_per_s,
            requests_completed: Some(1000),
            requests_per_s: Some(1000.0),
            server_cpu_us_per_request: Some(5.0),
            ..Row::blank()
        };
        let names = |rate: Option<f64>| -> Vec<String> {
            let charts = draw(&[row("epoll", rate), row("poll", rate)]);
            charts.into_iter().map(|chart| chart.name).collect()
        };
        assert_eq!(names(None), ["heat-requests", "heat-cpu"]);
        assert_eq!(names(Some(1000.0)), ["heat-cpu"]);
    }

    #[test]
    fn ratios_are_paired_by_block() {
        let heat = heat(&rows());
        let poll = &heat.rows.iter().find(|r| r.label == "poll").unwrap().cells[0];
        assert!((poll.ratio.unwrap() - 0.5).abs() < 1e-9);
        assert!((poll.interval.unwrap().high - 0.5).abs() < 1e-9);
        let epoll = &heat.rows.iter().find(|r| r.label == "epoll").unwrap().cells[0];
        assert_eq!(epoll.ratio, Some(1.0));
    }

    #[test]
    fn without_a_reference_there_is_no_map() {
        let mut rows = rows();
        rows.retain(|row| row.arm != "epoll");
        assert!(draw(&rows).is_empty());
    }

    #[test]
    fn what_was_invalid_has_no_ratio_and_says_so() {
        let mut rows = rows();
        let mut third = rows[0].clone();
        third.arm = "select".into();
        third.verdict = Verdict::Invalid;
        rows.push(third);
        let select = heat(&rows)
            .rows
            .into_iter()
            .find(|r| r.label == "select")
            .unwrap();
        assert_eq!(
            (select.cells[0].ratio, select.cells[0].note.as_str()),
            (None, "invalid")
        );
    }
}
