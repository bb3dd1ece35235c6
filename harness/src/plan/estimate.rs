//! How long a run takes: before it is made, from what its trials consist of; while it is made, from those that
//! are over.
//!
//! A trial is as long as its warm-up and window, and what is around them: the server's start and end, a ramp and a
//! clean-up in proportion to the connections, and, where a model cannot serve all of them at once, the time-outs of
//! those that wait. The constants were read off trials on two CPUs; they are small beside a window of seconds, so
//! that a machine twice as fast is still estimated well.

use crate::base::text::about;
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

/// How far an estimate may be off whether blocks are disturbed or not, as a share: what is left to a fifth is for the
/// trials themselves.
const NEARLY: f64 = 0.18;
/// From here on a run says that it took so many times longer, or shorter, than was estimated.
const MISSED: f64 = 1.2;

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

/// How long the first repeat takes, s: every arm once under every workload.
fn round_s(plan: &Plan) -> f64 {
    round_of_s(plan, |_, _| true)
}

/// How long each later one takes, s: under a budget models that are known to meet a wall are run once.
fn later_round_s(plan: &Plan) -> f64 {
    round_of_s(plan, |arm, load| {
        plan.budget.is_none() || !plan.meets_known_wall(arm, load)
    })
}

fn round_of_s(plan: &Plan, is_run: impl Fn(&Arm, &Load) -> bool) -> f64 {
    let cells = plan.cells().map(|(arm, scenario)| (arm, &scenario.load));
    let cells = cells.filter(|(arm, load)| is_run(arm, load));
    cells
        .map(|(arm, load)| trial(plan, arm, load).as_secs_f64())
        .sum()
}

/// Repeats that so much time has room for.
pub fn rounds_within(plan: &Plan, time: Duration) -> u64 {
    let (first_s, later_s) = (round_s(plan), later_round_s(plan));
    match time.as_secs_f64() - first_s {
        ..0.0 => 0,
        _ if later_s == 0.0 => 1,
        left_s => 1 + (left_s / later_s) as u64,
    }
}

/// Of so many blocks the most that are run again where something else disturbed them: a machine that disturbs more will
/// go on doing so.
pub fn most_run_again(blocks: usize) -> usize {
    (blocks / 4).max(1)
}

/// How long the trials of a run take if nothing disturbs them, and if as many blocks as may be are run again, s.
fn bounds_s(plan: &Plan) -> (f64, f64) {
    let blocks = plan.scenarios.len().max(1) * plan.repeat.max(1) as usize;
    let again = most_run_again(blocks) as f64 / blocks as f64;
    let once_s = round_s(plan) + later_round_s(plan) * (plan.repeat.max(1) - 1) as f64;
    match plan.budget {
        None => (once_s, once_s * (1.0 + again)),
        // What is disturbed is run again only where it has room.
        Some(budget) => {
            let most_s = (once_s * (1.0 + again)).min(budget.time.as_secs_f64());
            (once_s, once_s.max(most_s))
        }
    }
}

/// The same for people.
pub fn bounds(plan: &Plan) -> (Duration, Duration) {
    let (once_s, most_s) = bounds_s(plan);
    (seconds(once_s), seconds(most_s))
}

/// How long the trials of a run take, about: with those that will be disturbed and run again, as many as there were in
/// the runs before.
pub fn trials(plan: &Plan) -> Duration {
    let (once_s, most_s) = bounds_s(plan);
    let expected_s = once_s + (most_s - once_s) * plan.pace.redone();
    seconds(right_either_way(once_s, most_s, expected_s))
}

/// What the past says of neighbours may be wrong this time: the estimate keeps to where it is nearly right whether they
/// come or not. There is no such place where few blocks are so long that one more is half of the run.
fn right_either_way(once_s: f64, most_s: f64, expected_s: f64) -> f64 {
    let (low_s, high_s) = (most_s * (1.0 - NEARLY), once_s * (1.0 + NEARLY));
    match low_s <= high_s {
        true => expected_s.clamp(low_s, high_s),
        false => expected_s,
    }
}

/// The trials that count, and those in which servers are looked into.
pub fn all_trials(plan: &Plan) -> Duration {
    trials(plan).saturating_add(looking(plan))
}

/// The same with the reports; what is built and calibrated before is not in it.
pub fn run(plan: &Plan) -> Duration {
    let reports_s = REPORTS_S + REPORTS_S_PER_TRIAL * plan.trial_count() as f64;
    all_trials(plan).saturating_add(seconds(reports_s))
}

/// What is said at the end of trials that took `took`, of which `again` were blocks run again, where that is far from
/// what was estimated.
pub fn miss(plan: &Plan, took: Duration, again: Duration) -> Option<String> {
    let estimated = trials(plan);
    let times = took.as_secs_f64() / estimated.as_secs_f64().max(1e-3);
    let is_shorter_as_may_be = plan.budget.is_some() && times < 1.0;
    if (1.0 / MISSED..=MISSED).contains(&times) || is_shorter_as_may_be {
        return None;
    }
    let beyond = took.saturating_sub(estimated);
    let why = match (again.is_zero(), again * 2 > beyond) {
        (true, _) if times < 1.0 => "no block had to be run again; ".into(),
        (false, true) => format!(
            "{} of it for blocks that something else disturbed and that were run again; ",
            about(again)
        ),
        _ => String::new(),
    };
    Some(format!(
        "the trials took {}, estimated {}: {why}the next estimate goes by what they took",
        about(took),
        about(estimated)
    ))
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

    /// One trial is not made.
    pub fn trial_left_out(&mut self, plan: &Plan, trial_plan: &TrialPlan) {
        let expected_s = trial(plan, &trial_plan.arm, &trial_plan.load).as_secs_f64();
        let arm = self.0.entry(trial_plan.arm.label.clone()).or_default();
        arm.ahead_s = (arm.ahead_s - expected_s).max(0.0);
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
    use crate::cli::Cli;
    use crate::plan::pace::Pace;
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

    /// How long the trials of one run of `--model all --conns 50,1000` took on two CPUs, s: the mean of three in each
    /// cell. One of its six blocks was disturbed and run again, which took 32.0 s.
    const RECORDED: &str = include_str!("estimate/recorded.csv");
    const RECORDED_S: f64 = 237.6;
    const OF_IT_AGAIN_S: f64 = 32.0;

    fn recorded() -> Vec<(&'static str, u64, f64)> {
        let cell = |line: &'static str| {
            let [arm, conns, whole_s] = line.split(',').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            (arm, conns.parse().unwrap(), whole_s.parse().unwrap())
        };
        RECORDED.lines().skip(1).map(cell).collect()
    }

    /// Whether an estimate is within a fifth of what it is of.
    fn is_near(estimated: Duration, took_s: f64) -> bool {
        let times = took_s / estimated.as_secs_f64();
        (0.8..=1.2).contains(&times) && (0.8..=1.2).contains(&(1.0 / times))
    }

    /// Nothing is known of the machine; then as much as one run says.
    #[test]
    fn a_recorded_run_is_estimated_well_whether_it_was_disturbed_or_not() {
        let mut plan = plan("--model all --conns 50,1000");
        let mut lessons = Lessons::default();
        let cells = recorded();
        for (arm, scenario) in plan.cells() {
            let is_it = |(name, conns, _): &&(&str, u64, f64)| {
                *name == arm.label && *conns == scenario.load.conns
            };
            let (_, _, whole_s) = cells.iter().find(is_it).unwrap();
            learn(&mut lessons, &plan, arm, &scenario.load, *whole_s);
        }
        for (redone, runs) in [(1.0, 0), (1.0, 1), (0.0, 1), (1.0, 9), (0.0, 9)] {
            plan.set_pace((0..runs).fold(Pace::default(), |pace, _| pace.after(&lessons, redone)));
            let estimated = trials(&plan);
            for took_s in [RECORDED_S, RECORDED_S - OF_IT_AGAIN_S] {
                assert!(
                    is_near(estimated, took_s),
                    "{redone} {runs}: {estimated:?}, {took_s}"
                );
            }
        }
        // All trials but those run again are known to a few percent.
        let once_s = bounds(&plan).0.as_secs_f64();
        let times = once_s / (RECORDED_S - OF_IT_AGAIN_S);
        assert!((0.97..1.03).contains(&times), "{once_s}");
    }

    #[test]
    fn a_budget_is_not_spent_on_walls_that_were_met() {
        let rounds = |words: &str| {
            let words = format!("{words} --conns 200 --idle 4800 --rate 200 --budget 2m");
            plan(&words).repeat
        };
        assert!(rounds("--model all") >= 3, "{}", rounds("--model all"));
        assert!(rounds("--model epoll,select") > 2 * rounds("--model epoll,poll") - 4);
        assert_eq!(rounds("--model select"), 1, "nothing more is learned");
    }

    #[test]
    fn a_run_that_was_estimated_badly_says_so_and_why() {
        let plan = plan("--model epoll --conns 1 --repeat 2 --warmup 1s --duration 3s");
        let (once, most) = bounds(&plan);
        assert_eq!(most, once.mul_f64(1.5), "one block of two may be run again");
        assert_eq!(miss(&plan, once.mul_f64(1.1), Duration::ZERO), None);
        let text = miss(&plan, once * 2, Duration::from_secs(6)).unwrap();
        assert!(
            text.starts_with("the trials took 16s, estimated 10s: 6s of it for blocks that"),
            "{text}"
        );
        let text = miss(&plan, once * 2, Duration::ZERO).unwrap();
        assert!(text.contains("10s: the next estimate"), "{text}");
        assert!(miss(&plan, once / 2, Duration::ZERO).is_some());
        let budget = self::plan("--model epoll --conns 1 --budget 1m");
        assert_eq!(miss(&budget, Duration::from_secs(20), Duration::ZERO), None);
    }

    #[test]
    fn a_run_is_its_trials_and_its_reports() {
        let plan = plan("--model epoll,poll --conns 1,2 --repeat 5");
        let cells = plan.cells().map(|(arm, s)| trial(&plan, arm, &s.load));
        let together = cells.sum::<Duration>() * 5;
        let (once, most) = bounds(&plan);
        assert!(together.abs_diff(once) < Duration::from_millis(1));
        // Of ten blocks two may be run again.
        assert!(most.abs_diff(together.mul_f64(1.2)) < Duration::from_millis(1));
        assert!((once..most).contains(&trials(&plan)));
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
