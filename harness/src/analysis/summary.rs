//! Rows grouped into cells (one arm under one workload), and their medians over trials.

use crate::model::row::{Asked, Row, Status, Verdict};
use crate::model::workload::{Workload, workload_name};
use schemars::JsonSchema;
use serde::Serialize;

/// A figure over the trials of a cell: the median, and the range it was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Figure {
    /// Median over trials.
    pub median: f64,
    /// Smallest trial.
    pub min: f64,
    /// Largest trial.
    pub max: f64,
    /// Number of trials that have the figure.
    pub trials: usize,
}

impl Figure {
    /// The figure of these values; `None` of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Figure> {
        let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Some(Figure {
            median: median(&values)?,
            min: *values.first()?,
            max: *values.last()?,
            trials: values.len(),
        })
    }
}

/// The median of sorted values; the mean of the two in the middle when their number is even.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    let upper = *sorted.get(n / 2)?;
    match n % 2 {
        1 => Some(upper),
        _ => Some((sorted[n / 2 - 1] + upper) / 2.0),
    }
}

/// All trials of one arm under one workload.
#[derive(Debug, Clone)]
pub struct Cell<'a> {
    /// The workload.
    pub workload: Workload,
    /// The arm's label.
    pub arm: &'a str,
    /// The arm's model.
    pub model: &'a str,
    /// Its trials, at least one.
    pub rows: Vec<&'a Row>,
}

impl<'a> Cell<'a> {
    /// A column over the trials that may be believed.
    pub fn figure<N: Into<f64>>(&self, column: impl Fn(&Row) -> Option<N>) -> Option<Figure> {
        let usable = self.rows.iter().filter(|row| row.is_usable());
        Figure::of(usable.filter_map(|row| column(row).map(Into::into)))
    }

    /// A count over all trials, believed or not.
    pub fn count(&self, column: impl Fn(&Row) -> Option<u64>) -> Option<Figure> {
        Figure::of(
            self.rows
                .iter()
                .filter_map(|row| column(row))
                .map(|n| n as f64),
        )
    }

    /// The worst verdict among the trials.
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.rows.iter().map(|row| row.verdict);
        verdicts.max().unwrap_or(Verdict::Invalid)
    }

    /// The status of the trials, and whether they all agree; where they differ, the first that is not `ok`.
    pub fn status(&self) -> (Status, bool) {
        let first = self.rows[0].status;
        let agreed = self.rows.iter().all(|row| row.status == first);
        let odd = self
            .rows
            .iter()
            .map(|row| row.status)
            .find(|s| *s != Status::Ok);
        (odd.unwrap_or(first), agreed)
    }
}

/// The cells of these rows, workloads in rising order, arms in the order of their first row.
pub fn cells(rows: &[Row]) -> Vec<Cell<'_>> {
    let mut cells: Vec<Cell> = Vec::new();
    for row in rows {
        let workload = row.workload();
        match cells
            .iter_mut()
            .find(|c| c.arm == row.arm && c.workload == workload)
        {
            Some(cell) => cell.rows.push(row),
            None => cells.push(Cell {
                workload,
                arm: &row.arm,
                model: &row.model,
                rows: vec![row],
            }),
        }
    }
    let order = arms(rows);
    let place = |arm: &str| order.iter().position(|a| *a == arm);
    cells.sort_by_key(|c| (c.workload.clone(), place(c.arm)));
    cells
}

/// The arms in the registry's order, then the others as they first appear.
pub fn arms(rows: &[Row]) -> Vec<&str> {
    let mut arms: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        if !arms.iter().any(|(arm, _)| *arm == row.arm) {
            arms.push((&row.arm, &row.model));
        }
    }
    let registered = |model: &str| {
        let models = servers::models::MODELS;
        models
            .iter()
            .position(|m| m.name == model)
            .unwrap_or(models.len())
    };
    arms.sort_by_key(|(arm, model)| (registered(model), arm.len()));
    arms.into_iter().map(|(arm, _)| arm).collect()
}

/// One entry of `summary` in `run.json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SummaryEntry {
    /// Label of the arm.
    arm: String,
    /// The workload in one word, as in reports: no two entries of an arm have the same.
    workload: String,
    /// What was asked.
    #[serde(flatten)]
    asked: Asked,
    /// Trials of this cell.
    trials: usize,
    /// What the server did; where the trials differ, the first that is not `ok`.
    status: Status,
    /// The worst verdict among the trials.
    verdict: Verdict,
    /// As the columns of the same name, over the trials: those that may be believed, and for counts all.
    conns_served: Option<Figure>,
    conns_per_s: Option<Figure>,
    requests_per_s: Option<Figure>,
    errors: Option<Figure>,
    response_p50_ns: Option<Figure>,
    response_p99_ns: Option<Figure>,
    server_cpu_us_per_request: Option<Figure>,
    server_memory_per_conn_bytes: Option<Figure>,
}

/// The summary of a run: a median and a range per cell.
pub fn summarise(rows: &[Row]) -> Vec<SummaryEntry> {
    cells(rows).iter().map(SummaryEntry::of).collect()
}

impl SummaryEntry {
    fn of(cell: &Cell) -> SummaryEntry {
        let as_float = |column: Option<u64>| column.map(|n| n as f64);
        let row = cell.rows[0];
        SummaryEntry {
            arm: cell.arm.to_string(),
            workload: workload_name(row),
            asked: row.asked(),
            trials: cell.rows.len(),
            status: cell.status().0,
            verdict: cell.verdict(),
            conns_served: cell.count(|r| r.conns_served),
            conns_per_s: cell.figure(|r| r.conns_per_s),
            requests_per_s: cell.figure(|r| r.requests_per_s),
            errors: cell.count(|r| r.errors),
            response_p50_ns: cell.figure(|r| as_float(r.response_p50_ns)),
            response_p99_ns: cell.figure(|r| as_float(r.response_p99_ns)),
            server_cpu_us_per_request: cell.figure(|r| r.server_cpu_us_per_request),
            server_memory_per_conn_bytes: cell.figure(|r| r.server_memory_per_conn_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(arm: &str, conns: u64, per_s: f64) -> Row {
        Row {
            arm: arm.into(),
            model: arm.into(),
            conns,
            requests_per_s: Some(per_s),
            requests_completed: Some(1),
            ..Row::blank()
        }
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!(Figure::of([3.0, 1.0, 2.0, f64::NAN]).unwrap().median, 2.0);
    }

    #[test]
    fn cells_gather_the_trials_of_an_arm_and_a_workload() {
        let rows = [
            row("epoll", 50, 3.0),
            row("select", 50, 9.0),
            row("epoll", 10, 7.0),
            row("epoll", 50, 1.0),
        ];
        let cells = cells(&rows);
        let names: Vec<_> = cells.iter().map(|c| (c.workload.conns, c.arm)).collect();
        assert_eq!(names, [(10, "epoll"), (50, "select"), (50, "epoll")]);
        let figure = cells[2].figure(|r| r.requests_per_s).unwrap();
        assert_eq!(
            (figure.median, figure.min, figure.max, figure.trials),
            (2.0, 1.0, 3.0, 2)
        );
    }

    #[test]
    fn invalid_trials_have_no_figures_but_keep_their_counts() {
        let mut bad = row("epoll", 50, 100.0);
        bad.verdict = Verdict::Invalid;
        bad.conns_served = Some(7);
        let rows = [bad, row("epoll", 50, 1.0)];
        let cell = &cells(&rows)[0];
        assert_eq!(cell.figure(|r| r.requests_per_s).unwrap().max, 1.0);
        assert_eq!(cell.count(|r| r.conns_served).unwrap().median, 7.0);
    }

    #[test]
    fn no_two_entries_of_an_arm_look_the_same() {
        let with_idle = |idle| Row {
            idle,
            ..row("epoll", 50, 1.0)
        };
        let entries = summarise(&[0, 100, 1000].map(with_idle));
        let json = serde_json::to_value(entries).unwrap();
        let told: Vec<_> = json
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["idle"].as_u64(), entry["workload"].as_str()))
            .collect();
        assert_eq!(told[1], (Some(100), Some("c50/0/idle100")));
        assert_eq!(told.len(), 3);
    }
}
