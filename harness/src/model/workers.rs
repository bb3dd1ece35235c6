//! What each worker of a server did: what `workers.csv` holds.

use crate::model::row::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servers::ledger::Tally;

/// One worker of a server, by the server's own ledger; probes are in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Worker {
    /// Worker, from 0.
    pub worker: usize,
    /// Connections it accepted.
    pub accepted: u64,
    /// Connections it turned away at a limit.
    pub shed: u64,
    /// Connections it closed.
    pub closed: u64,
    /// Bytes it received.
    pub bytes_in: u64,
    /// Bytes it sent.
    pub bytes_out: u64,
    /// Turns of its loop.
    pub wakeups: u64,
}

/// One worker in one trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Run.
    pub run_id: String,
    /// Trial.
    pub trial: u32,
    /// Arm.
    pub arm: String,
    /// Connections asked for.
    pub conns: u64,
    /// Worker, from 0.
    pub worker: usize,
    /// Connections it accepted.
    pub accepted: u64,
    shed: u64,
    closed: u64,
    bytes_in: u64,
    bytes_out: u64,
    wakeups: u64,
}

/// The columns of `workers.csv`.
pub const COLUMNS: [&str; 11] = [
    "run_id",
    "trial",
    "arm",
    "conns",
    "worker",
    "accepted",
    "shed",
    "closed",
    "bytes_in",
    "bytes_out",
    "wakeups",
];

/// The workers of a server; none where it has only one line of counters.
pub fn of(tallies: &[Tally]) -> Vec<Worker> {
    if tallies.len() < 2 {
        return Vec::new();
    }
    let line = |(worker, tally): (usize, &Tally)| Worker {
        worker,
        accepted: tally.accepted,
        shed: tally.shed,
        closed: tally.closed,
        bytes_in: tally.bytes_in,
        bytes_out: tally.bytes_out,
        wakeups: tally.wakeups,
    };
    tallies.iter().enumerate().map(line).collect()
}

impl Worker {
    /// The worker with the columns of its trial.
    pub fn of_trial(&self, row: &Row) -> WorkerRow {
        WorkerRow {
            run_id: row.run_id.clone(),
            trial: row.trial,
            arm: row.arm.clone(),
            conns: row.conns,
            worker: self.worker,
            accepted: self.accepted,
            shed: self.shed,
            closed: self.closed,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            wakeups: self.wakeups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::csv_of;

    #[test]
    fn every_worker_has_a_line_that_fits_the_header() {
        let tally = Tally {
            accepted: 7,
            wakeups: 9,
            ..Tally::default()
        };
        let workers = of(&[tally, Tally::default()]);
        let lines: Vec<WorkerRow> = workers.iter().map(|w| w.of_trial(&Row::blank())).collect();
        let text = String::from_utf8(csv_of(&COLUMNS, &lines).unwrap()).unwrap();
        assert_eq!(text.lines().nth(1), Some(",0,,0,0,7,0,0,0,0,9"));
        assert_eq!(text.lines().count(), 3);
        assert!(of(&[tally]).is_empty());
    }
}
