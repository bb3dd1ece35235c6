//! The trials second by second: what `timeline.csv` holds.

use crate::model::row::Row;
use loadgen::tally::outcome::{Outcome, Second};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One second of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowSecond {
    /// Second of the window, from 0.
    pub second: u64,
    /// Requests completed in it.
    pub requests_completed: u64,
    /// Requests asked for and not given in it.
    pub errors: u64,
    /// Response time, median, ns.
    pub response_p50_ns: Option<u64>,
    /// Response time, 99th percentile, ns.
    pub response_p99_ns: Option<u64>,
    /// Response time, the longest, ns.
    pub response_max_ns: Option<u64>,
}

/// One second of one trial's window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelineRow {
    /// Run.
    pub run_id: String,
    /// Trial.
    pub trial: u32,
    /// Arm.
    pub arm: String,
    /// Connections asked for.
    pub conns: u64,
    /// Second of the window, from 0.
    pub second: u64,
    /// Requests completed in it.
    pub requests_completed: u64,
    /// Requests asked for and not given in it.
    pub errors: u64,
    pub(crate) response_p50_ns: Option<u64>,
    pub(crate) response_p99_ns: Option<u64>,
    pub(crate) response_max_ns: Option<u64>,
}

/// The columns of `timeline.csv`.
pub const COLUMNS: [&str; 10] = [
    "run_id",
    "trial",
    "arm",
    "conns",
    "second",
    "requests_completed",
    "errors",
    "response_p50_ns",
    "response_p99_ns",
    "response_max_ns",
];

/// The seconds of a window; of those that were joined, since there were too many, the mean of each.
pub fn of(outcome: &Outcome) -> Vec<WindowSecond> {
    let line = |second: &Second| WindowSecond {
        second: second.second,
        requests_completed: second.completed / second.length_s.max(1),
        errors: second.errors.div_ceil(second.length_s.max(1)),
        response_p50_ns: second.response_p50_ns,
        response_p99_ns: second.response_p99_ns,
        response_max_ns: second.response_max_ns,
    };
    outcome.series.iter().map(line).collect()
}

impl WindowSecond {
    /// The second with the columns of its trial.
    pub fn of_trial(&self, row: &Row) -> TimelineRow {
        TimelineRow {
            run_id: row.run_id.clone(),
            trial: row.trial,
            arm: row.arm.clone(),
            conns: row.conns,
            second: self.second,
            requests_completed: self.requests_completed,
            errors: self.errors,
            response_p50_ns: self.response_p50_ns,
            response_p99_ns: self.response_p99_ns,
            response_max_ns: self.response_max_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::csv_of;

    #[test]
    fn the_header_is_there_without_lines_and_fits_them() {
        let text = String::from_utf8(csv_of(&COLUMNS, &[] as &[TimelineRow]).unwrap()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line = TimelineRow {
            run_id: "r".into(),
            trial: 1,
            arm: "prefork:accept=mutex,workers=4".into(),
            conns: 50,
            second: 0,
            requests_completed: 7,
            errors: 0,
            response_p50_ns: None,
            response_p99_ns: Some(5),
            response_max_ns: Some(6),
        };
        let text = String::from_utf8(csv_of(&COLUMNS, &[line]).unwrap()).unwrap();
        let expected = "r,1,\"prefork:accept=mutex,workers=4\",50,0,7,0,,5,6";
        assert_eq!(text.lines().nth(1), Some(expected));
    }
}
