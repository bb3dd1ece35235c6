//! How latency grows with the number of idle connections: what `poll` and `select` pay for silence and `epoll` does
//! not.

use super::loglog::{self, Fit};
use crate::analysis::summary::{Cell, cells};
use crate::model::row::Row;
use serde::Serialize;

/// The growth of one figure of one arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Growth {
    /// The arm.
    pub arm: String,
    /// Active connections beside the idle ones.
    pub conns: u64,
    /// The law, over all believable trials with idle connections.
    pub fit: Fit,
}

/// Fits every arm's `column` over the workloads that differ in nothing but their idle connections; arms with fewer
/// than three sizes are left out.
pub fn over_idle(rows: &[Row], column: impl Fn(&Row) -> Option<u64>) -> Vec<Growth> {
    let mut series: Vec<Vec<Cell>> = Vec::new();
    for cell in cells(rows) {
        match series.iter_mut().find(|cells| belongs(&cells[0], &cell)) {
            Some(cells) => cells.push(cell),
            None => series.push(vec![cell]),
        }
    }
    let growth = |cells: &Vec<Cell>| {
        let rows = cells.iter().flat_map(|cell| &cell.rows);
        let points: Vec<(f64, f64)> = rows
            .filter(|row| row.is_usable())
            .filter_map(|row| Some((row.idle as f64, column(row)? as f64)))
            .collect();
        Some(Growth {
            arm: cells[0].arm.to_string(),
            conns: cells[0].workload.conns,
            fit: loglog::fit(&points)?,
        })
    };
    series.iter().filter_map(growth).collect()
}

fn belongs(a: &Cell, b: &Cell) -> bool {
    let mut workload = a.workload.clone();
    workload.idle = b.workload.idle;
    a.arm == b.arm && workload == b.workload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Verdict;

    fn row(arm: &str, idle: u64, p99: Option<u64>) -> Row {
        Row {
            arm: arm.into(),
            idle,
            requests_completed: Some(1),
            response_p99_ns: p99,
            ..Row::blank()
        }
    }

    #[test]
    fn poll_grows_and_epoll_does_not() {
        let mut rows = Vec::new();
        for idle in [0, 10, 100, 1000] {
            for trial in 0..3 {
                rows.push(row("poll", idle, Some(1000 * idle.max(1) + trial)));
                rows.push(row("epoll", idle, Some(5000 + trial)));
                rows.push(row("select", idle, (idle < 100).then_some(7)));
            }
        }
        let growth = over_idle(&rows, |row| row.response_p99_ns);
        let of = |arm: &str| growth.iter().find(|g| g.arm == arm).map(|g| g.fit);
        assert!((of("poll").unwrap().exponent - 1.0).abs() < 1e-3);
        let epoll = of("epoll").unwrap();
        assert!(epoll.exponent.abs() < 1e-3 && epoll.interval.is_some());
        assert_eq!(of("select"), None);
    }

    #[test]
    fn other_workloads_and_invalid_trials_are_kept_apart() {
        let mut rows: Vec<Row> = [10, 100, 1000]
            .map(|idle| row("poll", idle, Some(idle)))
            .into();
        rows[2].verdict = Verdict::Invalid;
        assert!(over_idle(&rows, |row| row.response_p99_ns).is_empty());
        rows[2].verdict = Verdict::Valid;
        rows[2].conns = 7;
        assert!(over_idle(&rows, |row| row.response_p99_ns).is_empty());
    }
}
