//! Rates that are found out before the first block: one that is fair to all, below what the slowest arm of a workload
//! can do, or shares of what each arm can do.
//!
//! In a closed loop latency is only connections ÷ throughput. Compared can it be at one rate, which nobody's knee is
//! below; how it grows with the load is seen at shares of each arm's own capacity.

use crate::base::error::Failure;
use crate::base::terminal::eprintln;
use crate::base::text::visible;
use crate::judge::judge;
use crate::model::rate::{Capacity, Found};
use crate::model::row::{Row, Status};
use crate::model::workload::workload_name;
use crate::plan::{Plan, Scenario, TrialPlan, estimate};
use crate::trial::binaries::Binaries;
use crate::trial::{self, Context};
use loadgen::base::units::{format_count, format_rate};
use loadgen::tally::code::Code;
use std::collections::BTreeMap;
use std::time::Duration;

/// How much of what the slowest arm can do `--rate auto` asks of all.
pub const BELOW_THE_KNEE: f64 = 0.7;

/// Who answers no more than this a second has no rate to be compared at.
const LEAST_PER_S: f64 = 2.0;

/// Load before the search's window, and that window, ns.
const WARMUP_NS: u64 = 300_000_000;
const WINDOW_NS: u64 = 1_000_000_000;

/// Finds the common rate of every workload of a plan and sets it. `refuse` may end the search for what a trial showed.
pub async fn set_common(
    plan: &mut Plan,
    binaries: &Binaries,
    work_ns_per_iteration: Option<f64>,
    share: f64,
    refuse: &dyn Fn(&Row) -> Result<(), Failure>,
    quiet: bool,
) -> Result<(), Failure> {
    let (mut all, mut rates) = (Vec::new(), Vec::new());
    for scenario in &plan.scenarios {
        let context = Context {
            plan,
            binaries,
            work_ns_per_iteration,
        };
        let mut found = capacities(&context, scenario, refuse).await?;
        let rate_per_s =
            common(&found.capacities, share).ok_or_else(|| no_rate(&found.workload))?;
        found.rate_per_s = Some(rate_per_s);
        if !quiet {
            eprintln(&in_words(&found, rate_per_s, share));
        }
        rates.push(rate_per_s);
        all.push(found);
    }
    for (scenario, rate_per_s) in plan.scenarios.iter_mut().zip(rates) {
        scenario.load.rate_per_s = Some(rate_per_s);
    }
    plan.rates = all;
    Ok(())
}

/// Finds what each arm can do under every load that is offered in shares of it, once for all its levels, and sets the
/// rates.
pub async fn set_shares(
    plan: &mut Plan,
    binaries: &Binaries,
    work_ns_per_iteration: Option<f64>,
    quiet: bool,
) -> Result<(), Failure> {
    let mut all: Vec<(Scenario, Found)> = Vec::new();
    if !quiet {
        eprintln("capacity: a short closed loop of every arm first, to know what shares are of");
    }
    for scenario in plan.scenarios.iter().filter(|s| s.share.is_some()) {
        if all.iter().any(|(other, _)| other.is_level_of(scenario)) {
            continue;
        }
        let context = Context {
            plan,
            binaries,
            work_ns_per_iteration,
        };
        let found = capacities(&context, scenario, &|_| Ok(())).await?;
        if !found.capacities.iter().any(can_be_shared) {
            return Err(no_rate(&found.workload));
        }
        if !quiet {
            eprintln(&capacities_in_words(&found));
        }
        all.push((scenario.clone(), found));
    }
    for scenario in &mut plan.scenarios {
        let found = all.iter().find(|(other, _)| other.is_level_of(scenario));
        if let (Some(share), Some((_, found))) = (scenario.share, found) {
            scenario.rates_per_s = shares(&found.capacities, share);
        }
    }
    plan.rates = all.into_iter().map(|(_, found)| found).collect();
    Ok(())
}

/// How long it takes to find what rates are made of, about: every arm once under each load that has none yet.
pub fn search_time(plan: &Plan) -> Duration {
    let mut loads: Vec<&Scenario> = Vec::new();
    for scenario in &plan.scenarios {
        let is_searched = plan.rate_is_auto || scenario.share.is_some();
        if is_searched && !loads.iter().any(|other| other.is_level_of(scenario)) {
            loads.push(scenario);
        }
    }
    let trials = loads.iter().flat_map(|scenario| {
        let mut load = scenario.load.clone();
        (load.warmup_ns, load.duration_ns) = (WARMUP_NS, WINDOW_NS);
        let arms = plan.arms.iter();
        arms.map(move |arm| estimate::trial(plan, arm, &load))
    });
    trials.sum()
}

/// One short closed-loop trial of every arm.
async fn capacities(
    context: &Context<'_>,
    scenario: &Scenario,
    refuse: &dyn Fn(&Row) -> Result<(), Failure>,
) -> Result<Found, Failure> {
    let plan = context.plan;
    let (mut workload, mut capacities) = (String::new(), Vec::new());
    for arm in &plan.arms {
        let mut load = scenario.load.clone();
        (load.warmup_ns, load.duration_ns) = (WARMUP_NS, WINDOW_NS);
        // What a server can do is found out however it does it.
        load.abort_on.clear();
        let trial = TrialPlan {
            block: 0,
            trial: 0,
            arm: arm.clone(),
            load,
            cost: scenario.cost,
            capacity_fraction: None,
        };
        let evidence = trial::run(context, &trial, &|_: &str| ()).await?;
        evidence.check_hosts()?;
        let row = judge("", plan, &trial, &evidence);
        refuse(&row)?;
        workload = workload_name(&row);
        let served = row.status == Status::Ok;
        capacities.push(Capacity {
            arm: arm.label.clone(),
            requests_per_s: row.requests_per_s.filter(|_| served),
            is_lower_bound: row.reasons.0.iter().any(|reason| reason.is(Code::W01)),
        });
    }
    Ok(Found {
        workload,
        capacities,
        rate_per_s: None,
    })
}

fn no_rate(workload: &str) -> Failure {
    Failure::failed(format!(
        "no arm answered more than two requests a second of {workload}: there is no rate to compare at (give \
         another --rate or other --conns)"
    ))
}

/// Less than this has no shares that could be told apart.
fn can_be_shared(capacity: &Capacity) -> bool {
    capacity
        .requests_per_s
        .is_some_and(|per_s| per_s > LEAST_PER_S)
}

/// The rate of each arm that served, rounded to what can be read.
fn shares(capacities: &[Capacity], share: f64) -> BTreeMap<String, f64> {
    let rate = |capacity: &Capacity| {
        let per_s = capacity.requests_per_s?;
        can_be_shared(capacity).then(|| (capacity.arm.clone(), rounded_down(per_s * share, 3)))
    };
    capacities.iter().filter_map(rate).collect()
}

fn capacities_in_words(found: &Found) -> String {
    let told = found.capacities.iter().filter_map(|capacity| {
        let per_s = capacity
            .requests_per_s
            .filter(|_| can_be_shared(capacity))?;
        let least = if capacity.is_lower_bound {
            "at least "
        } else {
            ""
        };
        Some(format!(
            "{} {least}{}",
            visible(&capacity.arm),
            format_rate(rounded_down(per_s, 3))
        ))
    });
    let told: Vec<String> = told.collect();
    format!(
        "capacity: {}, closed loop, by which the shares of {} go{}",
        told.join(", "),
        found.workload,
        left_out(found.capacities.iter().filter(|c| !can_be_shared(c)))
    )
}

/// `; not counting select, which did not serve all`.
fn left_out<'a>(unserved: impl Iterator<Item = &'a Capacity>) -> String {
    let names: Vec<String> = unserved.map(|c| visible(&c.arm)).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(
            "; not counting {}, which did not serve all",
            names.join(", ")
        ),
    }
}

/// A share of what the slowest of those that served can do; none where that is no rate at all.
fn common(capacities: &[Capacity], share: f64) -> Option<f64> {
    let served = capacities.iter().filter_map(|c| c.requests_per_s);
    let slowest = served.min_by(f64::total_cmp)?;
    (slowest > LEAST_PER_S).then(|| rounded_down(slowest * share, 2))
}

/// Rounded down to so many significant digits, and at least 1.
fn rounded_down(rate: f64, digits: i32) -> f64 {
    let unit = 10f64.powf(rate.log10().floor() - f64::from(digits - 1));
    // A number of units that is whole stays so, whatever the division left of it.
    ((rate / unit * (1.0 + 1e-12)).floor() * unit).max(1.0)
}

fn in_words(found: &Found, rate_per_s: f64, share: f64) -> String {
    let unserved = found
        .capacities
        .iter()
        .filter(|c| c.requests_per_s.is_none());
    format!(
        "rate: {} requests/s for {}, {:.0} % of what the slowest can do{}",
        format_count(rate_per_s as u64),
        found.workload,
        share * 100.0,
        left_out(unserved)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(arm: &str, requests_per_s: Option<f64>) -> Capacity {
        Capacity {
            arm: arm.into(),
            requests_per_s,
            is_lower_bound: false,
        }
    }

    #[test]
    fn rates_are_rounded_down_to_two_digits() {
        for (rate, rounded) in [
            (73_912.0, 73_000.0),
            (1_050.0, 1_000.0),
            (9.99, 9.9),
            (0.2, 1.0),
        ] {
            assert!(
                (rounded_down(rate, 2) - rounded).abs() < 1e-9 * rounded,
                "{rate}"
            );
        }
    }

    #[test]
    fn the_slowest_that_served_decides() {
        let arms = [
            capacity("epoll", Some(100_000.0)),
            capacity("thread", Some(60_000.0)),
            capacity("iterative", None),
        ];
        assert_eq!(common(&arms, 0.7), Some(42_000.0));
        assert_eq!(common(&arms[2..], 0.7), None);
        assert_eq!(common(&[capacity("x", Some(1.0))], 0.7), None);
        let found = Found {
            workload: "c50/echo64".into(),
            capacities: arms.into(),
            rate_per_s: Some(42_000.0),
        };
        let text = in_words(&found, 42_000.0, 0.7);
        assert!(
            text.contains("42 000") && text.contains("not counting iterative"),
            "{text}"
        );
    }

    #[test]
    fn every_arm_has_shares_of_its_own() {
        let mut arms = [
            capacity("epoll", Some(123_456.0)),
            capacity("thread", Some(60_000.0)),
            capacity("iterative", None),
        ];
        arms[0].is_lower_bound = true;
        let rates = shares(&arms, 0.5);
        let rates: Vec<(&str, f64)> = rates
            .iter()
            .map(|(arm, rate)| (&**arm, rate.round()))
            .collect();
        assert_eq!(rates, [("epoll", 61_700.0), ("thread", 30_000.0)]);
        let found = Found {
            workload: "c50/echo64".into(),
            capacities: arms.into(),
            rate_per_s: None,
        };
        let text = capacities_in_words(&found);
        assert!(
            text.contains("epoll at least 123 000/s, thread 60 000/s")
                && text.contains("not counting iterative"),
            "{text}"
        );
    }
}
