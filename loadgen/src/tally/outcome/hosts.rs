//! One of the hosts that a load was sent from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::counts::sum;
use super::{Outcome, Quantiles};
use crate::base::machine::MachineFacts;
use crate::load::Segment;

/// What one host did and saw: a sick one differs from its neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFigures {
    /// Its name, as it was given.
    pub name: String,
    /// Its share of the load.
    pub segment: Segment,
    /// Why it was lost, if it was; figures are then those it had told, or none.
    pub lost: Option<String>,
    /// Its connections that were served when the barrier opened.
    pub served_at_barrier: u64,
    /// Requests of the window that it completed.
    pub requests_completed: u64,
    /// The same per second.
    pub requests_per_s: f64,
    /// Requests of the window without their answer.
    pub errors: u64,
    /// Response times that it measured; absent with too few samples, or where it is only a lower bound.
    pub response_p50_ns: Option<u64>,
    /// 0.99 quantile of the same.
    pub response_p99_ns: Option<u64>,
    /// CPUs its generator could use.
    pub cpus: u64,
    /// Useful CPU time over those CPUs, 0 to 1.
    pub cpu_utilisation: f64,
    /// CPU time of its generator in the window, in seconds, whatever it was used for.
    pub cpu_s: Option<f64>,
    /// How much later than agreed its last worker began with the load.
    pub started_late_ns: Option<u64>,
    /// The exchange by which the instant of the start was agreed with it: that instant is wrong by at most half of it.
    pub round_trip_ns: Option<u64>,
    /// Its CLOCK_REALTIME less the head's, just before the start: its instants in logs are off by so much.
    pub clock_ahead_before_ns: Option<i64>,
    /// The same after the load.
    pub clock_ahead_after_ns: Option<i64>,
    /// The host itself; none where it was not told.
    pub machine: Option<MachineFacts>,
}

impl HostFigures {
    /// The figures of a host's own outcome.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let requests = &outcome.requests;
        let unanswered = requests.dropped
            + requests.timed_out
            + requests.mismatched
            + requests.unanswered_at_end;
        let response = &outcome.latency_ns.response;
        Self {
            name: String::new(),
            segment: outcome.load.segment,
            lost: None,
            served_at_barrier: outcome.connections.served_at_barrier,
            requests_completed: requests.completed,
            requests_per_s: requests.per_s,
            errors: unanswered + sum(&requests.failed),
            response_p50_ns: known(response, response.p50),
            response_p99_ns: known(response, response.p99),
            cpus: outcome.generator.cpus,
            cpu_utilisation: outcome.generator.cpu_utilisation,
            cpu_s: Some(outcome.generator.cpu_user_s + outcome.generator.cpu_system_s),
            started_late_ns: outcome.generator.started_late_ns,
            round_trip_ns: None,
            clock_ahead_before_ns: None,
            clock_ahead_after_ns: None,
            machine: None,
        }
    }

    /// What these hosts are, in words, each with the names of those that are alike, in the order of the list.
    #[must_use]
    pub fn machines(hosts: &[Self]) -> Vec<(String, Vec<&str>)> {
        let told = hosts
            .iter()
            .filter_map(|host| Some((host.name.as_str(), host.machine.as_ref()?)));
        alike(told)
    }

    /// The most by which the starts of these hosts' workers can lie apart: how late the last of each began, and how
    /// wrong, either way, the instant may have been that was agreed with it. A worker that has begun is ready to send;
    /// what its first request then takes, to be sent and to arrive, comes on top. Unknown where one of those that were not
    /// lost does not tell.
    #[must_use]
    pub fn start_skew_ns(hosts: &[Self]) -> Option<u64> {
        let there = hosts.iter().filter(|host| host.lost.is_none());
        skew_ns(there.map(|host| Some((host.started_late_ns?, host.round_trip_ns? / 2))))
    }
}

/// Machines in words, each with the names of the hosts that are alike, in their order.
#[must_use]
pub fn alike<'a>(
    hosts: impl Iterator<Item = (&'a str, &'a MachineFacts)>,
) -> Vec<(String, Vec<&'a str>)> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, machine) in hosts {
        let words = machine.to_string();
        match groups.iter_mut().find(|(known, _)| *known == words) {
            Some((_, names)) => names.push(name),
            None => groups.push((words, vec![name])),
        }
    }
    groups
}

/// The most by which starts can lie apart that were late by so much each, of an instant that was wrong by so much each.
/// Unknown where one is.
#[must_use]
pub fn skew_ns(starts: impl Iterator<Item = Option<(u64, u64)>>) -> Option<u64> {
    let starts: Vec<(u64, u64)> = starts.collect::<Option<_>>()?;
    let latest_ns = starts.iter().map(|(late, wrong)| late + wrong).max()?;
    let most_wrong_ns = starts.iter().map(|(_, wrong)| *wrong).max()?;
    Some(latest_ns + most_wrong_ns)
}

fn known(quantiles: &Quantiles, ns: Option<u64>) -> Option<u64> {
    ns.filter(|ns| !quantiles.is_lower_bound(*ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_alike_stand_together_in_their_order() {
        let of = |cpus| MachineFacts {
            cpus,
            ..MachineFacts::default()
        };
        let (small, large) = (of(2), of(64));
        let told = [("h2", &small), ("h10", &large), ("h1", &small)];
        let groups = alike(told.into_iter());
        let names: Vec<&[&str]> = groups.iter().map(|(_, names)| &names[..]).collect();
        assert_eq!(names, [&["h2", "h1"][..], &["h10"]]);
    }

    #[test]
    fn a_skew_holds_lateness_and_the_error_of_the_clocks() {
        let load = crate::load::Load::new(
            "127.0.0.1:1",
            &Default::default(),
            &Default::default(),
            &Default::default(),
        );
        let nothing = HostFigures::of(&Outcome::of_nothing(load.expect("valid")));
        let host = |late, round_trip| HostFigures {
            started_late_ns: late,
            round_trip_ns: Some(round_trip),
            ..nothing.clone()
        };
        let of = |hosts: &[HostFigures]| HostFigures::start_skew_ns(hosts);
        assert_eq!(of(&[host(Some(5), 100), host(Some(70), 20)]), Some(80 + 50));
        assert_eq!(of(&[host(Some(5), 100), host(None, 20)]), None);
        let lost = HostFigures {
            lost: Some("gone".into()),
            ..host(None, 20)
        };
        assert_eq!(of(&[host(Some(5), 100), lost]), Some(55 + 50));
        assert_eq!(of(&[]), None);
    }
}
