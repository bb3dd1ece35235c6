//! The trials in which servers are looked into: how long they are.

use super::{Plan, estimate};
use loadgen::load::Load;
use std::time::Duration;

/// At most so much load before the window, ns.
const WARMUP_NS: u64 = 500_000_000;
/// At most such a window, ns: calls per request need no more, and stacks are sampled a thousand times a second.
pub const WINDOW_NS: u64 = 3_000_000_000;
/// Starting perf, and making text of its samples.
const SAMPLES: Duration = Duration::from_secs(3);

/// The same load for a shorter time.
pub fn shortened(load: &Load) -> Load {
    Load {
        warmup_ns: load.warmup_ns.min(WARMUP_NS),
        duration_ns: load.duration_ns.min(WINDOW_NS),
        ..load.clone()
    }
}

/// How long they take together, about: one for each arm and workload.
pub fn time(plan: &Plan) -> Duration {
    if !plan.looks.any() {
        return Duration::ZERO;
    }
    let samples = match plan.looks.profile {
        true => SAMPLES,
        false => Duration::ZERO,
    };
    let cells = plan.cells();
    let each = cells.map(|(arm, scenario)| estimate::trial(plan, arm, &shortened(&scenario.load)));
    each.fold(Duration::ZERO, |sum, time| {
        sum.saturating_add(time).saturating_add(samples)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn plan(words: &str) -> Plan {
        let words = format!("tenk --model epoll,poll --conns 1,2 --duration 20s {words}");
        Plan::new(&Cli::try_parse_from(words.split_whitespace()).unwrap().run).unwrap()
    }

    #[test]
    fn looking_takes_a_short_trial_of_each_arm_and_workload() {
        assert_eq!(time(&plan("")), Duration::ZERO);
        let counted_s = time(&plan("--syscalls")).as_secs_f64();
        assert!((14.0..18.0).contains(&counted_s), "{counted_s}");
        let sampled_s = time(&plan("--profile")).as_secs_f64();
        assert!((sampled_s - counted_s - 12.0).abs() < 0.1, "{sampled_s}");
        let more = estimate::run(&plan("--syscalls")) - estimate::run(&plan(""));
        assert!((more.as_secs_f64() - counted_s).abs() < 0.1, "{more:?}");
    }
}
