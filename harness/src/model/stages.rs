//! The stages of a trial whose load changes by plan: what `stages.csv` holds.

use crate::model::row::Row;
use loadgen::tally::outcome::{Outcome, Quantiles};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One stage of a trial's window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Stage, from 1.
    pub stage: usize,
    /// When it began, from the start of the window, s.
    pub from_s: f64,
    /// How long it lasted, s.
    pub length_s: f64,
    /// Requests per second asked for at its beginning; none in a closed loop.
    pub rate_from_per_s: Option<f64>,
    /// The same at its end.
    pub rate_to_per_s: Option<f64>,
    /// Active connections asked for at its beginning; none in an open loop.
    pub conns_from: Option<f64>,
    /// The same at its end.
    pub conns_to: Option<f64>,
    /// Requests due in it.
    pub requests_offered: u64,
    /// Of those, answered and verified, whenever.
    pub requests_completed: u64,
    /// Of those, answered wrongly, not in time, or not at all.
    pub requests_not_answered: u64,
    /// `requests_completed` per second of it.
    pub requests_per_s: f64,
    /// Response time, median, ns; none with too few, or where it is only a lower bound.
    pub response_p50_ns: Option<u64>,
    /// Response time, 99th percentile, ns.
    pub response_p99_ns: Option<u64>,
    /// Response time, the longest, ns.
    pub response_max_ns: Option<u64>,
}

/// One stage of one trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageRow {
    /// Run.
    pub run_id: String,
    /// Trial.
    pub trial: u32,
    /// Arm.
    pub arm: String,
    /// The stage.
    pub stage: Stage,
}

/// The columns of `stages.csv`.
pub const COLUMNS: [&str; 17] = [
    "run_id",
    "trial",
    "arm",
    "stage",
    "from_s",
    "length_s",
    "rate_from_per_s",
    "rate_to_per_s",
    "conns_from",
    "conns_to",
    "requests_offered",
    "requests_completed",
    "requests_not_answered",
    "requests_per_s",
    "response_p50_ns",
    "response_p99_ns",
    "response_max_ns",
];

/// The stages of a trial; none where its load does not change.
pub fn of(outcome: &Outcome) -> Vec<Stage> {
    let stages = outcome.stages.iter().enumerate();
    let known =
        |quantiles: &Quantiles, ns: Option<u64>| ns.filter(|ns| !quantiles.is_lower_bound(*ns));
    let line = |(index, stage): (usize, &loadgen::tally::stage::Stage)| {
        let (requests, response) = (&stage.requests, &stage.response_ns);
        Stage {
            stage: index + 1,
            from_s: stage.from_s,
            length_s: stage.length_s,
            rate_from_per_s: stage.rate_per_s.map(|[from, _]| from),
            rate_to_per_s: stage.rate_per_s.map(|[_, to]| to),
            conns_from: stage.conns.map(|[from, _]| from),
            conns_to: stage.conns.map(|[_, to]| to),
            requests_offered: requests.offered,
            requests_completed: requests.completed,
            requests_not_answered: requests.offered.saturating_sub(requests.completed),
            requests_per_s: requests.per_s,
            response_p50_ns: known(response, response.p50),
            response_p99_ns: known(response, response.p99),
            response_max_ns: known(response, response.max),
        }
    };
    stages.map(line).collect()
}

impl Stage {
    /// The same, in the trial of this row.
    pub fn of_trial(&self, row: &Row) -> StageRow {
        StageRow {
            run_id: row.run_id.clone(),
            trial: row.trial,
            arm: row.arm.clone(),
            stage: self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::csv_of;

    #[test]
    fn a_line_has_the_columns_of_its_header() {
        let stage = Stage {
            stage: 1,
            from_s: 0.0,
            length_s: 2.5,
            rate_from_per_s: Some(10.0),
            rate_to_per_s: Some(20.0),
            conns_from: None,
            conns_to: None,
            requests_offered: 38,
            requests_completed: 37,
            requests_not_answered: 1,
            requests_per_s: 14.8,
            response_p50_ns: None,
            response_p99_ns: None,
            response_max_ns: Some(7),
        };
        let text = csv_of(&COLUMNS, &[stage.of_trial(&Row::blank())]).unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().nth(1).unwrap();
        assert_eq!(line, ",0,,1,0.0,2.5,10.0,20.0,,,38,37,1,14.8,,,7");
        assert_eq!(line.split(',').count(), COLUMNS.len());
    }
}
