//! One rate that is fair to all: below what the slowest arm of a workload can do, found out before the first block.
//!
//! In a closed loop latency is only connections ÷ throughput. Compared can it be at one rate, which nobody's knee is
//! below.

use crate::base::error::Failure;
use crate::base::terminal::eprintln;
use crate::base::text::visible;
use crate::judge::judge;
use crate::model::rate::{Capacity, Found};
use crate::model::row::{Row, Status};
use crate::model::workload::workload_name;
use crate::plan::{Plan, TrialPlan};
use crate::trial::binaries::Binaries;
use crate::trial::{self, Context};
use loadgen::base::units::format_count;

/// How much of what the slowest arm can do `--rate auto` asks of all.
pub const BELOW_THE_KNEE: f64 = 0.7;

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
    let mut all = Vec::new();
    for index in 0..plan.scenarios.len() {
        let context = Context {
            plan,
            binaries,
            work_ns_per_iteration,
        };
        let found = search(&context, index, share, refuse).await?;
        if !quiet {
            eprintln(&in_words(&found, share));
        }
        all.push(found);
    }
    for (scenario, found) in plan.scenarios.iter_mut().zip(&all) {
        scenario.load.rate_per_s = Some(found.rate_per_s);
    }
    plan.rates = all;
    Ok(())
}

/// One short closed-loop trial of every arm.
async fn search(
    context: &Context<'_>,
    scenario: usize,
    share: f64,
    refuse: &dyn Fn(&Row) -> Result<(), Failure>,
) -> Result<Found, Failure> {
    let plan = context.plan;
    let scenario = &plan.scenarios[scenario];
    let (mut workload, mut capacities) = (String::new(), Vec::new());
    for arm in &plan.arms {
        let mut load = scenario.load.clone();
        (load.warmup_ns, load.duration_ns) = (WARMUP_NS, WINDOW_NS);
        let trial = TrialPlan {
            block: 0,
            trial: 0,
            arm: arm.clone(),
            load,
            cost: scenario.cost,
        };
        let evidence = trial::run(context, &trial, &|_| ()).await?;
        let row = judge("", plan, &trial, &evidence);
        refuse(&row)?;
        workload = workload_name(&row);
        let served = row.status == Status::Ok;
        capacities.push(Capacity {
            arm: arm.label.clone(),
            requests_per_s: row.requests_per_s.filter(|_| served),
        });
    }
    let rate_per_s = common(&capacities, share).ok_or_else(|| {
        Failure::failed(format!(
            "no arm answered more than two requests a second of {workload}: there is no rate to compare at (give \
             another --rate or other --conns)"
        ))
    })?;
    Ok(Found {
        workload,
        capacities,
        rate_per_s,
    })
}

/// A share of what the slowest of those that served can do; none where that is no rate at all.
fn common(capacities: &[Capacity], share: f64) -> Option<f64> {
    let served = capacities.iter().filter_map(|c| c.requests_per_s);
    let slowest = served.min_by(f64::total_cmp)?;
    (slowest > 2.0).then(|| two_digits(slowest * share))
}

/// Rounded down to two significant digits, and at least 1.
fn two_digits(rate: f64) -> f64 {
    let unit = 10f64.powf(rate.log10().floor() - 1.0);
    ((rate / unit).floor() * unit).max(1.0)
}

fn in_words(found: &Found, share: f64) -> String {
    let mut text = format!(
        "rate: {} requests/s for {}, {:.0} % of what the slowest can do",
        format_count(found.rate_per_s as u64),
        found.workload,
        share * 100.0
    );
    let unserved = found
        .capacities
        .iter()
        .filter(|c| c.requests_per_s.is_none());
    let unserved: Vec<String> = unserved.map(|c| visible(&c.arm)).collect();
    if !unserved.is_empty() {
        text.push_str(&format!(
            "; not counting {}, which did not serve all",
            unserved.join(", ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(arm: &str, requests_per_s: Option<f64>) -> Capacity {
        Capacity {
            arm: arm.into(),
            requests_per_s,
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
                (two_digits(rate) - rounded).abs() < 1e-9 * rounded,
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
            rate_per_s: 42_000.0,
        };
        let text = in_words(&found, 0.7);
        assert!(
            text.contains("42 000") && text.contains("not counting iterative"),
            "{text}"
        );
    }
}
