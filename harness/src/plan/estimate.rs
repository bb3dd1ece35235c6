//! How long a run takes: before it is made, from what its trials consist of; while it is made, from those that
//! are over.
//!
//! A trial is as long as its warm-up and window, and what is around them: the server's start and end, a ramp and a
//! clean-up in proportion to the connections, and, where a model cannot serve all of them at once, the time-outs of
//! those that wait. The constants were read off trials on two CPUs; they are small beside a window of seconds, so
//! that a machine twice as fast is still estimated well.

use crate::model::arm::Arm;
use crate::plan::pace::Lessons;
use crate::plan::{Plan, TrialPlan, instrumented};
use loadgen::load::Close;
use loadgen::load::Load;
use servers::models::{Cost, Model};
use std::collections::BTreeMap;
use std::time::Duration;

/// Namespace, server, first exchange, the generator's own start and end, last exchange, clean-up, saving; s.
const AROUND_S: f64 = 0.12;
/// How long a ramp goes on without one more connection settled (loadgen `--ramp-timeout`), s.
const RAMP_STALL_S: f64 = 10.0;
/// The same where as many are served as the model is known to serve at a time, s.
const STALL_AT_KNOWN_LIMIT_S: f64 = 0.5;
/// Looking for the listener among the thousands of TIME_WAITs that short-lived connections leave, s.
const TIME_WAITS_S: f64 = 0.35;
/// A connection that is turned away there, µs.
const US_PER_SHED: f64 = 40.0;
/// Starting perf, and making text of its samples.
const SAMPLES: Duration = Duration::from_secs(3);
/// Charts and reports, whatever the run, s.
const REPORTS_S: f64 = 0.5;
/// The same for each of its trials, s.
const REPORTS_S_PER_TRIAL: f64 = 0.003;

/// What a connection costs outside the window, from its connect to the end of what served it; µs.
fn us_per_connection(arm: &Arm) -> f64 {
    match arm.subject.model().map(Model::cost) {
        // Forked, read one by one at both edges of the window, killed and waited for.
        Some(Cost::Process) => 500.0,
        Some(Cost::Thread) => 400.0,
        _ => 100.0,
    }
}

/// What so many connections cost outside the window, those that a wall turns away included; s.
fn served_s(arm: &Arm, connections: u64) -> f64 {
    let wall = arm.subject.model().and_then(Model::held_at_most);
    let shed = connections.saturating_sub(wall.unwrap_or(u64::MAX));
    let served = (connections - shed) as f64;
    (served * us_per_connection(arm) + shed as f64 * US_PER_SHED) / 1e6
}

/// How long one trial takes, about.
pub fn trial(plan: &Plan, arm: &Arm, load: &Load) -> Duration {
    let around_s = around_s(plan, arm, load) * plan.pace.around(arm, load);
    seconds(around_s + waited_s(plan, arm, load) + steady_s(load))
}

/// Learns from a trial that took so long, s.
pub fn learn(lessons: &mut Lessons, plan: &Plan, arm: &Arm, load: &Load, whole_s: f64) {
    let took_s = whole_s - steady_s(load) - waited_s(plan, arm, load);
    lessons.add(arm, load, around_s(plan, arm, load), took_s);
}

/// What is measured, and the load before it, s.
fn steady_s(load: &Load) -> f64 {
    load.warmup_ns.saturating_add(load.duration_ns) as f64 / 1e9
}

/// What is around them and depends on how fast the machine is, s: as it was where the constants were read off.
fn around_s(plan: &Plan, arm: &Arm, load: &Load) -> f64 {
    let time_waits_s = match load.churns() && load.close != Close::Reset {
        true => TIME_WAITS_S,
        false => 0.0,
    };
    let served = load.population() - waiting(plan, arm, load);
    AROUND_S + time_waits_s + served_s(arm, served)
}

/// Time that passes by the clock and not by what the machine can do: ramps at a pace, and time-outs, s.
fn waited_s(plan: &Plan, arm: &Arm, load: &Load) -> f64 {
    let waiting = waiting(plan, arm, load);
    if waiting > 0 && plan.known_limit(arm, load).is_some() {
        return connect_s(load).max(STALL_AT_KNOWN_LIMIT_S);
    }
    let drain_s = match waiting {
        0 => 0.0,
        _ => drain_s(load, steady_s(load)),
    };
    ramp_s(load, waiting).max(connect_s(load)) + drain_s
}

/// Connections that wait until another ends.
fn waiting(plan: &Plan, arm: &Arm, load: &Load) -> u64 {
    // Connections that end make room: nobody waits for long.
    let make_room = load.requests_per_conn.is_some() && load.idle == 0;
    match plan.served_at_once(arm) {
        Some(most) if !make_room => load.population().saturating_sub(most),
        _ => 0,
    }
}

/// The least that a paced ramp takes, s.
fn connect_s(load: &Load) -> f64 {
    let paced = load.connect_rate_per_s;
    paced.map_or(0.0, |rate| load.population() as f64 / rate)
}

/// The ramp that waits for those who are not served: as many as may be in flight time out together, then the next
/// ones, until all have had their turn or the ramp's limits end it; s.
fn ramp_s(load: &Load, waiting: u64) -> f64 {
    let turns = waiting.div_ceil(load.connect_inflight.max(1)) as f64;
    let turn_s = load.response_limit_ns() as f64 / 1e9;
    let limit_s = load.ramp_limit_ns() as f64 / 1e9;
    match turn_s > RAMP_STALL_S && waiting > 0 {
        true => RAMP_STALL_S.min(limit_s),
        false => (turns * turn_s).min(limit_s),
    }
}

/// The drain that waits for those who are not served: they try again with every time-out, from the ramp on; s.
fn drain_s(load: &Load, since_ramp_s: f64) -> f64 {
    let turn_s = load.response_limit_ns() as f64 / 1e9;
    turn_s - since_ramp_s % turn_s
}

/// How long one repeat takes, s: every arm once under every workload.
fn round_s(plan: &Plan) -> f64 {
    let cells = plan.cells();
    let round = cells.map(|(arm, scenario)| trial(plan, arm, &scenario.load));
    round.map(|time| time.as_secs_f64()).sum()
}

/// Repeats that so much time has room for.
pub fn rounds_within(plan: &Plan, time: Duration) -> u64 {
    (time.as_secs_f64() / round_s(plan)) as u64
}

/// How long the trials of a run take, about: with those that will be disturbed and run again.
pub fn trials(plan: &Plan) -> Duration {
    let once = seconds(round_s(plan) * plan.repeat as f64);
    let again = once.mul_f64(plan.pace.redone());
    match plan.budget {
        None => once.saturating_add(again),
        // What is disturbed is run again only where it has room.
        Some(budget) => once.max(once.saturating_add(again).min(budget.time)),
    }
}

/// The same with the reports; what is built and calibrated before is not in it.
pub fn run(plan: &Plan) -> Duration {
    let reports_s = REPORTS_S + REPORTS_S_PER_TRIAL * plan.trial_count() as f64;
    let looked = looking(plan);
    trials(plan)
        .saturating_add(looked)
        .saturating_add(seconds(reports_s))
}

/// How long the trials take together in which servers are looked into, about: one for each arm and workload.
fn looking(plan: &Plan) -> Duration {
    if !plan.looks.any() {
        return Duration::ZERO;
    }
    let samples = match plan.looks.profile {
        true => SAMPLES,
        false => Duration::ZERO,
    };
    let cells = plan.cells();
    let each =
        cells.map(|(arm, scenario)| trial(plan, arm, &instrumented::shortened(&scenario.load)));
    each.fold(Duration::ZERO, |sum, time| {
        sum.saturating_add(time).saturating_add(samples)
    })
}

/// A time of any size; what no clock can hold is as long as a clock can hold.
pub fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// What is left of a run, corrected by how long the trials that are over took.
#[derive(Debug, Default)]
pub struct Remaining(BTreeMap<String, Arms>);

/// The trials of one arm, s.
#[derive(Debug, Default, Clone, Copy)]
struct Arms {
    /// Estimated for the trials that are still to come.
    ahead_s: f64,
    /// Estimated for those that are over.
    expected_s: f64,
    /// What those took.
    took_s: f64,
}

impl Remaining {
    /// All these trials are still to come.
    pub fn new(plan: &Plan, trials: &[TrialPlan]) -> Remaining {
        let mut arms: BTreeMap<String, Arms> = BTreeMap::new();
        for t in trials {
            let ahead_s = trial(plan, &t.arm, &t.load).as_secs_f64();
            arms.entry(t.arm.label.clone()).or_default().ahead_s += ahead_s;
        }
        Remaining(arms)
    }

    /// One trial is over, and took so long.
    pub fn trial_done(&mut self, plan: &Plan, over: &TrialPlan, took: Duration) {
        let expected_s = trial(plan, &over.arm, &over.load).as_secs_f64();
        let arm = self.0.entry(over.arm.label.clone()).or_default();
        arm.ahead_s = (arm.ahead_s - expected_s).max(0.0);
        arm.expected_s += expected_s;
        arm.took_s += took.as_secs_f64();
    }

    /// How long the rest takes, about: every arm by its own trials, and where it has none yet, by all.
    pub fn left(&self) -> Duration {
        let ratio = |expected_s: f64, took_s: f64| (expected_s > 0.0).then(|| took_s / expected_s);
        let sum = |of: fn(&Arms) -> f64| self.0.values().map(of).sum::<f64>();
        let overall = ratio(sum(|a| a.expected_s), sum(|a| a.took_s)).unwrap_or(1.0);
        let left = self.0.values().map(|arm| {
            let own = ratio(arm.expected_s, arm.took_s).unwrap_or(overall);
            arm.ahead_s * own
        });
        seconds(left.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::about;
    use crate::cli::Cli;
    use clap::Parser;

    fn plan(words: &str) -> Plan {
        let words = format!("tenk {words}");
        Plan::new(&Cli::try_parse_from(words.split(' ')).unwrap().run).unwrap()
    }

    /// What one trial of the plan's first cell takes, s.
    fn trial_s(words: &str) -> f64 {
        let plan = plan(words);
        let (arm, scenario) = plan.cells().next().unwrap();
        trial(&plan, arm, &scenario.load).as_secs_f64()
    }

    #[test]
    fn a_trial_is_its_window_and_what_its_connections_need() {
        let short = trial_s("--model epoll --conns 1 --warmup 1s --duration 3s");
        assert!((4.0..4.5).contains(&short), "{short}");
        let longer = trial_s("--model epoll --conns 1 --warmup 1s --duration 13s");
        assert!((longer - short - 10.0).abs() < 1e-6, "{longer}");
        let load = "--warmup 1s --duration 3s";
        let at_10k = |model: &str| trial_s(&format!("--model {model} --conns 10k {load}"));
        assert!(at_10k("epoll") > short && at_10k("epoll") < at_10k("thread"));
        assert!(at_10k("thread") < at_10k("process"));
        assert!(at_10k("select") < at_10k("poll"));
        let idle = trial_s(&format!("--model epoll --conns 1 --idle 9999 {load}"));
        assert!((idle - at_10k("epoll")).abs() < 1e-6);
        assert!(trial_s("--model epoll --conns 100 --connect-rate 10") > 12.0);
        let churn = |close| {
            trial_s(&format!(
                "--model epoll --requests-per-conn 1 --close {close}"
            ))
        };
        assert!(churn("client") > churn("reset"));
    }

    #[test]
    fn those_who_wait_are_waited_for_unless_it_is_known_that_they_will() {
        let load = "--warmup 1s --duration 3s";
        for conns in [50, 1000, 10_000] {
            let known = trial_s(&format!("--model iterative --conns {conns} {load}"));
            assert!((4.5..5.0).contains(&known), "{conns}: {known}");
        }
        // Beside connections that make room, silent ones do not: four turns of 256 time out.
        let mixed = format!("--model iterative --requests-per-conn 1 --conns 1 --idle 999 {load}");
        let four = trial_s(&mixed);
        assert!((24.0..27.0).contains(&four), "{four}");
        let stalled = trial_s(&format!("{mixed} --request-timeout 60s"));
        assert!((70.0..72.0).contains(&stalled), "{stalled}");
        let cut = trial_s(&format!("{mixed} --ramp-timeout 2s"));
        assert!(cut < 13.0, "{cut}");
    }

    #[test]
    fn nobody_waits_where_there_is_room() {
        for words in [
            "--model prefork --conns 64",
            "--model prefork --conns 500 --workers 500",
            "--model prefork:workers=500 --conns 500 --workers 3",
            "--model iterative --conns 500 --requests-per-conn 1",
            "--model epoll-oneshot --conns 500",
            "--target 127.0.0.1:1 --conns 500",
        ] {
            assert!(trial_s(words) < 5.0, "{words}");
        }
        for words in [
            "--model prefork --conns 65",
            "--model thread-pool --conns 20 --workers 10",
            "--model iterative --conns 1 --idle 5 --requests-per-conn 1",
        ] {
            let plan = self::plan(words);
            let (arm, scenario) = plan.cells().next().unwrap();
            assert!(waited_s(&plan, arm, &scenario.load) >= 0.5, "{words}");
        }
    }

    /// How long trials took, s, on two CPUs that eight others used as well: arm, connections, the mean of two or three.
    const RECORDED: [(&str, u64, f64); 8] = [
        ("epoll", 50, 2.243),
        ("epoll", 1000, 2.489),
        ("poll", 50, 2.312),
        ("poll", 1000, 2.486),
        ("thread", 50, 2.318),
        ("thread", 1000, 5.360),
        ("iterative", 50, 2.710),
        ("iterative", 1000, 2.72),
    ];

    #[test]
    fn a_recorded_run_is_estimated_from_the_one_before_it() {
        let mut plan = plan("--model epoll,poll,thread,iterative --conns 50,1000 --repeat 2");
        let mut lessons = Lessons::default();
        for (arm, scenario) in plan.cells() {
            let recorded = RECORDED
                .iter()
                .find(|(name, conns, _)| *name == arm.label && *conns == scenario.load.conns);
            let (_, _, whole_s) = recorded.unwrap();
            learn(&mut lessons, &plan, arm, &scenario.load, *whole_s);
        }
        // One of its four blocks was run again, and so it was in the second run.
        plan.set_pace(plan.pace.after(&lessons, 0.25));
        let (estimated_s, took_s) = (trials(&plan).as_secs_f64(), 56.44);
        assert!((estimated_s / took_s - 1.0).abs() < 0.2, "{estimated_s}");
    }

    #[test]
    fn a_run_is_its_trials_and_its_reports() {
        let plan = plan("--model epoll,poll --conns 1,2 --repeat 5");
        let cells = plan.cells().map(|(arm, s)| trial(&plan, arm, &s.load));
        let together = cells.sum::<Duration>() * 5;
        assert!(together.abs_diff(trials(&plan)) < Duration::from_millis(1));
        let reports = run(&plan) - trials(&plan);
        assert!(reports > Duration::ZERO && reports < Duration::from_secs(2));
        let endless = self::plan("--model epoll --conns 1 --duration 168h --repeat 100000");
        assert!(run(&endless) > Duration::from_secs(1 << 30));
    }

    #[test]
    fn what_is_left_follows_what_was_seen() {
        let plan = plan("--model epoll,poll --conns 1 --repeat 2 --seed 1");
        let trials = plan.trials();
        let mut remaining = Remaining::new(&plan, &trials);
        let one = trial(&plan, &trials[0].arm, &trials[0].load);
        let close = |left: Duration, times: f64| {
            (left.as_secs_f64() - one.as_secs_f64() * times).abs() < 1e-6
        };
        assert!(close(remaining.left(), 4.0));
        // The first arm takes twice as long, and as nothing is known of the other, that one will too.
        remaining.trial_done(&plan, &trials[0], one * 2);
        assert!(close(remaining.left(), 6.0));
        remaining.trial_done(&plan, &trials[1], one);
        assert!(close(remaining.left(), 3.0));
        remaining.trial_done(&plan, &trials[2], one);
        remaining.trial_done(&plan, &trials[3], one);
        assert_eq!(remaining.left(), Duration::ZERO);
    }

    #[test]
    fn times_are_as_precise_as_they_can_be() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "1m 59s"),
            (254, "4m 10s"),
            (4829, "1h 20m"),
            (100_000, "1day 3h 50m"),
        ] {
            assert_eq!(about(Duration::from_secs(seconds)), text);
        }
        assert!(about(Duration::MAX).starts_with("584"));
    }

    fn looked(words: &str) -> Plan {
        let words = format!("tenk --model epoll,poll --conns 1,2 --duration 20s {words}");
        Plan::new(&Cli::try_parse_from(words.split_whitespace()).unwrap().run).unwrap()
    }

    #[test]
    fn looking_takes_a_short_trial_of_each_arm_and_workload() {
        assert_eq!(looking(&looked("")), Duration::ZERO);
        let counted_s = looking(&looked("--syscalls")).as_secs_f64();
        assert!((14.0..18.0).contains(&counted_s), "{counted_s}");
        let sampled_s = looking(&looked("--profile")).as_secs_f64();
        assert!((sampled_s - counted_s - 12.0).abs() < 0.1, "{sampled_s}");
        let more = run(&looked("--syscalls")) - run(&looked(""));
        assert!((more.as_secs_f64() - counted_s).abs() < 0.1, "{more:?}");
    }
}
