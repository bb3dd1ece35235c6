//! The hosts that a trial's load came from: what `hosts.csv` holds.

use crate::model::row::Row;
use loadgen::tally::outcome::{HostFigures, Outcome, skew_ns};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one host sent and saw in a trial: a sick one differs from its neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadHost {
    /// Its name, as it was given.
    pub host: String,
    /// Its share of the load, I/N.
    pub segment: String,
    /// Why it was lost, if it was; its figures are then those that it had told, or none.
    pub lost: Option<String>,
    /// Its connections that were served when the barrier opened.
    pub conns_served: u64,
    /// Requests of the window that it completed.
    pub requests_completed: u64,
    /// The same per second.
    pub requests_per_s: f64,
    /// Requests of the window without their answer.
    pub errors: u64,
    /// Response time, median, ns; none with too few, or where it is only a lower bound.
    pub response_p50_ns: Option<u64>,
    /// Response time, 99th percentile, ns.
    pub response_p99_ns: Option<u64>,
    /// CPUs that its generator could use.
    pub generator_cpus: u64,
    /// Useful CPU time over those CPUs, 0 to 1.
    pub generator_utilisation: f64,
    /// How much later than agreed its last worker began, ns.
    pub started_late_ns: Option<u64>,
    /// How wrong the instant may have been that was agreed with it, either way, ns.
    pub start_error_ns: Option<u64>,
    /// Its CLOCK_REALTIME less the head's, just before the start, ns.
    pub clock_ahead_before_ns: Option<i64>,
    /// The same after the load, ns.
    pub clock_ahead_after_ns: Option<i64>,
}

/// One host of one trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadHostRow {
    /// Run.
    pub run_id: String,
    /// Trial.
    pub trial: u32,
    /// Arm.
    pub arm: String,
    /// The host.
    pub host: LoadHost,
}

/// The columns of `hosts.csv`.
pub const COLUMNS: [&str; 18] = [
    "run_id",
    "trial",
    "arm",
    "host",
    "segment",
    "lost",
    "conns_served",
    "requests_completed",
    "requests_per_s",
    "errors",
    "response_p50_ns",
    "response_p99_ns",
    "generator_cpus",
    "generator_utilisation",
    "started_late_ns",
    "start_error_ns",
    "clock_ahead_before_ns",
    "clock_ahead_after_ns",
];

/// The hosts of a trial; none where its load came from this one.
pub fn of(outcome: &Outcome) -> Vec<LoadHost> {
    let of_host = |figures: &HostFigures| LoadHost {
        host: figures.name.clone(),
        segment: figures.segment.to_string(),
        lost: figures.lost.clone(),
        conns_served: figures.served_at_barrier,
        requests_completed: figures.requests_completed,
        requests_per_s: figures.requests_per_s,
        errors: figures.errors,
        response_p50_ns: figures.response_p50_ns,
        response_p99_ns: figures.response_p99_ns,
        generator_cpus: figures.cpus,
        generator_utilisation: figures.cpu_utilisation,
        started_late_ns: figures.started_late_ns,
        start_error_ns: figures.round_trip_ns.map(|ns| ns / 2),
        clock_ahead_before_ns: figures.clock_ahead_before_ns,
        clock_ahead_after_ns: figures.clock_ahead_after_ns,
    };
    outcome.hosts.iter().map(of_host).collect()
}

impl LoadHost {
    /// The same, in the trial of this row.
    pub fn of_trial(&self, row: &Row) -> LoadHostRow {
        LoadHostRow {
            run_id: row.run_id.clone(),
            trial: row.trial,
            arm: row.arm.clone(),
            host: self.clone(),
        }
    }
}

/// The most by which the starts of a trial's hosts can lie apart. Unknown where one that was not lost does not tell.
pub fn start_skew_ns<'a>(hosts: impl Iterator<Item = &'a LoadHost>) -> Option<u64> {
    let there = hosts.filter(|host| host.lost.is_none());
    skew_ns(there.map(|host| Some((host.started_late_ns?, host.start_error_ns?))))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::row::csv_of;

    /// A host with nothing peculiar.
    pub fn sound(name: &str) -> LoadHost {
        LoadHost {
            host: name.into(),
            segment: "0/2".into(),
            lost: None,
            conns_served: 25,
            requests_completed: 50_000,
            requests_per_s: 25_000.0,
            errors: 0,
            response_p50_ns: Some(900_000),
            response_p99_ns: Some(1_800_000),
            generator_cpus: 4,
            generator_utilisation: 0.4,
            started_late_ns: Some(20_000),
            start_error_ns: Some(150_000),
            clock_ahead_before_ns: Some(-1_200_000),
            clock_ahead_after_ns: None,
        }
    }

    #[test]
    fn a_line_has_the_columns_of_its_header() {
        let lost = LoadHost {
            lost: Some("its connection ended, so it seems".into()),
            ..sound("h1")
        };
        let text = csv_of(&COLUMNS, &[lost.of_trial(&Row::blank())]).unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().nth(1).unwrap();
        assert_eq!(
            line,
            ",0,,h1,0/2,\"its connection ended, so it seems\",25,50000,25000.0,0,900000,1800000,4,0.4,20000,150000,-1200000,"
        );
        // One of the commas is in the quotes.
        assert_eq!(line.split(',').count(), COLUMNS.len() + 1);
    }

    #[test]
    fn the_skew_is_the_generators_own() {
        let nothing = HostFigures::of(&Outcome::of_nothing(load()));
        let host = |late_ns, round_trip_ns| HostFigures {
            started_late_ns: late_ns,
            round_trip_ns: Some(round_trip_ns),
            ..nothing.clone()
        };
        for hosts in [
            vec![host(Some(5), 100), host(Some(70), 20)],
            vec![host(Some(5), 100), host(None, 20)],
            vec![],
        ] {
            let expected = HostFigures::start_skew_ns(&hosts);
            let outcome = Outcome {
                hosts,
                ..Outcome::of_nothing(load())
            };
            assert_eq!(start_skew_ns(of(&outcome).iter()), expected);
        }
    }

    fn load() -> loadgen::load::Load {
        let flags = (Default::default(), Default::default(), Default::default());
        loadgen::load::Load::new("127.0.0.1:1", &flags.0, &flags.1, &flags.2).unwrap()
    }
}
