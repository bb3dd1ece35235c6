//! Trials in which servers are looked into, after all that are ranked: one for each arm and workload, as short as shows
//! what a request costs. While a trial that counts runs, nothing of this is open.

use super::record::Record;
use super::told::Ways;
use crate::base::error::{Exit, Failure};
use crate::base::progress::Progress;
use crate::base::terminal::{Signals, eprintln};
use crate::base::text::about;
use crate::model::instrumented::Instruments;
use crate::model::row::Row;
use crate::plan::{Plan, TrialPlan, estimate, instrumented};
use crate::trial::{self, Context};
use std::time::Duration;

/// Makes them; returns the exit code for a signal that came meanwhile.
pub async fn run(
    instruments: Instruments,
    context: &Context<'_>,
    trials: &[TrialPlan],
    record: &mut Record,
    signals: &mut Signals,
    ways: Ways<'_>,
) -> Result<Option<Exit>, Failure> {
    let trials = shortened(served(first_of_each(trials), record.rows()), record.rows());
    if !instruments.any() || trials.is_empty() {
        return Ok(None);
    }
    if !ways.quiet {
        eprintln(&announced(instruments, context.plan, &trials));
    }
    let progress = Progress::new(trials.len(), ways.quiet);
    ways.told.expect(trials.len());
    for trial in &trials {
        let say = |phase: &str| progress.phase(&trial.arm.label, trial.load.conns, phase);
        let following = ways.told.follow(trial, &say);
        let running = trial::run_with(instruments, context, trial, &following);
        match ways.told.while_running(running, signals).await {
            Ok(evidence) => {
                let evidence = evidence?;
                let hosts = evidence.check_hosts();
                record.add_instrumented(context.plan, trial, evidence);
                hosts?;
            }
            Err(code) => {
                progress.finish();
                return Ok(Some(code));
            }
        }
        progress.trial_done();
        ways.told.over(None);
    }
    progress.finish();
    Ok(None)
}

/// What is done now, and how long it takes.
fn announced(instruments: Instruments, plan: &Plan, trials: &[TrialPlan]) -> String {
    let time: Duration = trials
        .iter()
        .map(|trial| estimate::trial(plan, &trial.arm, &trial.load))
        .sum();
    let what = match instruments.profile {
        true => "system calls are counted and stacks sampled",
        false => "system calls are counted",
    };
    format!(
        "{what} in {} not ranked (about {})",
        match trials.len() {
            1 => "one more trial, which is".into(),
            n => format!("{n} more trials, which are"),
        },
        about(time)
    )
}

/// The trials of one arm under one workload, and the blocks that they are in.
type Group<'a> = (&'a TrialPlan, Vec<u32>);

/// The first trial of each arm under each workload, with the blocks of all of them.
fn first_of_each(trials: &[TrialPlan]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for trial in trials {
        let is_alike = |(first, _): &&mut Group| {
            let mut load = trial.load.clone();
            load.seed = first.load.seed;
            first.arm.label == trial.arm.label && first.load == load && first.cost == trial.cost
        };
        match groups.iter_mut().find(is_alike) {
            Some((_, blocks)) => blocks.push(trial.block),
            None => groups.push((trial, vec![trial.block])),
        }
    }
    groups
}

/// Those of which some trial was served: of what was not there is nothing to be seen.
fn served<'a>(groups: Vec<Group<'a>>, rows: &[Row]) -> Vec<&'a TrialPlan> {
    let is_served = |(first, blocks): &Group| {
        let own = rows
            .iter()
            .filter(|row| row.arm == first.arm.label && blocks.contains(&row.block));
        own.filter(|row| row.is_usable())
            .any(|row| row.requests_completed > Some(0))
    };
    groups
        .into_iter()
        .filter(is_served)
        .map(|(first, _)| first)
        .collect()
}

/// The same trials, shorter, and numbered after all others.
fn shortened(trials: Vec<&TrialPlan>, rows: &[Row]) -> Vec<TrialPlan> {
    let last = rows.iter().map(|row| row.trial).max().unwrap_or(0);
    let shorter = |(trial, number): (&TrialPlan, u32)| TrialPlan {
        block: 0,
        trial: number,
        load: instrumented::shortened(&trial.load),
        ..trial.clone()
    };
    trials.into_iter().zip(last + 1..).map(shorter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn every_arm_that_served_is_looked_into_once_per_workload_and_for_a_short_time() {
        let words =
            "tenk --model epoll,select --conns 10,2000 --repeat 4 --duration 20s --warmup 2s";
        let plan = Plan::new(&Cli::try_parse_from(words.split(' ')).unwrap().run).unwrap();
        let trials = plan.trials();
        let row = |trial: &TrialPlan| {
            let fails = trial.arm.label == "select" && trial.load.conns == 2000;
            Row {
                arm: trial.arm.label.clone(),
                block: trial.block,
                trial: trial.trial,
                requests_completed: (!fails).then_some(7),
                ..Row::blank()
            }
        };
        let rows: Vec<Row> = trials.iter().map(row).collect();
        let looked = shortened(served(first_of_each(&trials), &rows), &rows);
        let mut cells: Vec<(&str, u64)> = looked
            .iter()
            .map(|t| (t.arm.label.as_str(), t.load.conns))
            .collect();
        cells.sort();
        assert_eq!(cells, [("epoll", 10), ("epoll", 2000), ("select", 10)]);
        let numbers: Vec<u32> = looked.iter().map(|trial| trial.trial).collect();
        assert_eq!(numbers, [17, 18, 19]);
        assert!(
            looked
                .iter()
                .all(|t| t.block == 0 && t.load.duration_ns == instrumented::WINDOW_NS)
        );
        assert!(served(first_of_each(&trials), &[]).is_empty());
        let instruments = Instruments {
            syscalls: true,
            profile: false,
        };
        let words = announced(instruments, &plan, &looked);
        assert!(
            words.starts_with("system calls are counted in 3 more trials, which are not ranked"),
            "{words}"
        );
    }
}
