//! A run: its trials one after the other, each saved as soon as it is over, and what is made of them at the end.

use crate::analysis::noise;
use crate::base::error::{Exit, Failure};
use crate::base::progress::Progress;
use crate::base::terminal::{Signals, eprintln, say};
use crate::cli::RunFlags;
use crate::cmd::dry_run;
use crate::cmd::preflight::preflight;
use crate::cmd::rate;
use crate::cmd::record::Record;
use crate::model::row::{Reason, Row, Status, Verdict, is_disturbed};
use crate::plan::estimate::{self, Remaining};
use crate::plan::{Plan, TrialPlan};
use crate::store::folder::{RunFolder, cannot_save};
use crate::trial::binaries::Binaries;
use crate::trial::environment::Environment;
use crate::trial::launch::pin;
use crate::trial::{self, Context, namespace};
use loadgen::tally::code::Code;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Instant, SystemTime};

/// Makes the run and says how the program ends.
pub async fn run(flags: &RunFlags) -> Result<Exit, Failure> {
    let mut plan = Plan::new(flags)?;
    plan.disturbed = noise::kept(flags.output.quiet)
        .map(|n| n.limits)
        .unwrap_or_default();
    if flags.output.dry_run {
        if !flags.output.quiet {
            preflight(&plan).iter().for_each(|note| eprintln(note));
        }
        return say(&dry_run::describe(&plan, flags)?).map(|()| Exit::Done);
    }
    let started = Instant::now();
    let mut signals = Signals::listen()?;
    let preparing = prepare(&mut plan, flags.output.quiet);
    let (folder, prepared) = match begin(&flags.output.results, &mut signals, preparing).await {
        Ok(begun) => begun,
        Err(ended) => return ended.into(),
    };
    let (binaries, work_ns_per_iteration) = prepared;
    // The harness wakes up for the progress bar only; even that must not be on the server's CPUs.
    pin(&plan.client_cpus).map_err(|e| Failure::from_error(Exit::Failed, e))?;
    if !flags.output.quiet {
        for note in preflight(&plan) {
            eprintln(&note);
        }
    }
    let mut environment = Environment::read(&plan, &binaries);
    environment.prepare_s = Some(started.elapsed().as_secs_f64());
    let mut record = Record::new(folder, environment)?;
    let context = Context {
        plan: &plan,
        binaries: &binaries,
        work_ns_per_iteration,
    };
    let interrupted = run_trials(&context, &mut record, &mut signals, flags.output.quiet).await?;
    record.finish(interrupted.is_none());
    let missed = record.hand_over(flags)?;
    let exit = interrupted.unwrap_or_else(|| match exit_code(&plan, record.rows()) {
        Exit::Done if missed => Exit::Missed,
        exit => exit,
    });
    Ok(record.exit_code(exit))
}

/// Makes the run's folder and prepares what the run needs. Nothing is left of a run that ended before it began: the
/// folder would only be in the way.
pub async fn begin<T>(
    results: &Path,
    signals: &mut Signals,
    preparing: impl Future<Output = Result<T, Failure>>,
) -> Result<(RunFolder, T), Ended> {
    let folder = RunFolder::create(results, &run_id()).map_err(|e| {
        let what = format!("{}: {e}", results.display());
        Ended::Failed(cannot_save(what).caused_by(e))
    })?;
    let prepared = tokio::select! {
        prepared = preparing => prepared.map_err(Ended::Failed),
        exit = signals.next() => Err(Ended::Interrupted(exit)),
    };
    match prepared {
        Ok(prepared) => Ok((folder, prepared)),
        Err(ended) => {
            folder.discard();
            Err(ended)
        }
    }
}

/// How a run ended before its end.
pub enum Ended {
    /// With an error.
    Failed(Failure),
    /// By a signal.
    Interrupted(Exit),
}

impl From<Ended> for Result<Exit, Failure> {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Failed(failure) => Err(failure),
            Ended::Interrupted(exit) => Ok(exit),
        }
    }
}

/// Everything that must be had before the first trial: the network, the programs, and what their work loop takes.
async fn prepare(plan: &mut Plan, quiet: bool) -> Result<(Binaries, Option<f64>), Failure> {
    trial::sweep_leftovers();
    let note = namespace::settle(plan).await?;
    note.filter(|_| !quiet)
        .iter()
        .for_each(|note| eprintln(note));
    let mut names: Vec<&str> = plan.models().map(|model| model.name).collect();
    names.push("loadgen");
    let binaries = Binaries::prepare(&names, quiet).await?;
    let work_ns_per_iteration = trial::calibrate_work(plan, &binaries).await?;
    if plan.rate_is_auto {
        let (share, work) = (rate::BELOW_THE_KNEE, work_ns_per_iteration);
        rate::set_common(plan, &binaries, work, share, &|_| Ok(()), quiet).await?;
    }
    if plan.needs_capacities() {
        rate::set_shares(plan, &binaries, work_ns_per_iteration, quiet).await?;
    }
    Ok((binaries, work_ns_per_iteration))
}

/// Runs every trial, and once more the blocks that something else disturbed, or as many as there is time for before a
/// signal; says how the program ends that the signal asks for.
async fn run_trials(
    context: &Context<'_>,
    record: &mut Record,
    signals: &mut Signals,
    quiet: bool,
) -> Result<Option<Exit>, Failure> {
    let trials = context.plan.trials();
    let interrupted = run_these(context, &trials, record, signals, quiet).await?;
    let again = disturbed_blocks(&trials, record.rows());
    if interrupted.is_some() || again.is_empty() {
        return Ok(interrupted);
    }
    if !quiet {
        let (disturbed, blocks) = (disturbed(record.rows()).len(), block_count(&trials));
        let usual = match disturbed * 2 > blocks {
            true => {
                "; if this machine is always like that, `tenk calibrate` finds out what is ordinary on it"
            }
            false => "",
        };
        eprintln(&format!(
            "{disturbed} of {blocks} blocks were disturbed by something else (W07); {} run again{usual}",
            match again.len() {
                1 => "one is".into(),
                n => format!("{n} are"),
            }
        ));
    }
    let mut repeated = Vec::new();
    for &block in &again {
        let trials = trials.iter().filter(|trial| trial.block == block);
        let again = trials
            .clone()
            .map(|t| estimate::trial(context.plan, &t.arm, &t.load));
        record.set_aside(block, again.sum());
        repeated.extend(trials.cloned());
    }
    for (trial, number) in repeated.iter_mut().zip(trials.len() as u32 + 1..) {
        trial.trial = number;
    }
    run_these(context, &repeated, record, signals, quiet).await
}

/// The blocks with a disturbed trial; one in which a server failed is no better the second time.
fn disturbed(rows: &[Row]) -> BTreeSet<u32> {
    let blocks = |of: &dyn Fn(&Row) -> bool| -> BTreeSet<u32> {
        let rows = rows.iter().filter(|row| of(row));
        rows.map(|row| row.block).collect()
    };
    let failed = blocks(&|row| row.status.is_failure());
    &blocks(&is_disturbed) - &failed
}

fn block_count(trials: &[TrialPlan]) -> usize {
    trials.last().map_or(0, |trial| trial.block as usize)
}

/// Those to run again: at most a quarter of all, and one at least. A machine that disturbs more will go on doing so.
fn disturbed_blocks(trials: &[TrialPlan], rows: &[Row]) -> Vec<u32> {
    let most = (block_count(trials) / 4).max(1);
    disturbed(rows).into_iter().take(most).collect()
}

async fn run_these(
    context: &Context<'_>,
    trials: &[TrialPlan],
    record: &mut Record,
    signals: &mut Signals,
    quiet: bool,
) -> Result<Option<Exit>, Failure> {
    let mut remaining = Remaining::new(context.plan, trials);
    let progress = Progress::new(trials.len(), quiet);
    for trial in trials {
        let started = Instant::now();
        let left = remaining.left();
        let say = |phase: &str| {
            progress.left(left.saturating_sub(started.elapsed()));
            progress.phase(&trial.arm.label, trial.load.conns, phase);
        };
        // When the signal wins, the trial is dropped, and with it every process it started.
        tokio::select! {
            evidence = trial::run(context, trial, &say) => {
                record.add(context.plan, trial, &evidence?)?;
            }
            exit = signals.next() => {
                progress.finish();
                return Ok(Some(exit));
            }
        }
        remaining.trial_done(context.plan, trial, started.elapsed());
        progress.trial_done();
    }
    progress.finish();
    Ok(None)
}

/// What the statuses of all trials make of the run.
fn exit_code(plan: &Plan, rows: &[Row]) -> Exit {
    if plan.arms.len() == 1 && rows.iter().all(|row| row.status == Status::Skipped) {
        return Exit::Unavailable;
    }
    let ran: Vec<&Row> = rows
        .iter()
        .filter(|row| row.status != Status::Skipped)
        .collect();
    let failed = ran
        .iter()
        .any(|row| row.status.is_failure() || has_broken_law(row));
    let nothing_believable =
        !ran.is_empty() && ran.iter().all(|row| row.verdict == Verdict::Invalid);
    if failed || nothing_believable {
        Exit::Failed
    } else {
        Exit::Done
    }
}

/// Where another program was asked for, that a third one answered is said, and nothing of ours is broken.
fn has_broken_law(row: &Row) -> bool {
    let is_broken = |reason: &Reason| {
        reason.is(Code::W09) || (reason.is(Code::W10) && row.verdict == Verdict::Invalid)
    };
    row.reasons.0.iter().any(is_broken)
}

/// The time to the second and a random part: runs started together get folders of their own.
fn run_id() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let stamp: String = now
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == 'T')
        .collect();
    format!("{stamp}-{:04x}", fastrand::u16(..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::model::row::Reasons;
    use clap::Parser;

    #[test]
    fn a_quarter_of_the_blocks_is_run_again_at_most() {
        let words = "tenk --model epoll,poll --conns 1 --repeat 8";
        let plan = Plan::new(&Cli::try_parse_from(words.split(' ')).unwrap().run).unwrap();
        let trials = plan.trials();
        let row = |trial: &TrialPlan| {
            let mut row = Row::blank();
            (row.block, row.trial) = (trial.block, trial.trial);
            row
        };
        let mut rows: Vec<Row> = trials.iter().map(row).collect();
        assert_eq!(disturbed_blocks(&trials, &rows), [0u32; 0]);
        let w07 = Reasons::from("W07 a neighbour".to_string());
        for trial in [4, 9, 10, 15] {
            rows[trial].reasons = w07.clone();
        }
        // Trials 5, 10, 11 and 16 of two arms are in blocks 3, 5, 6 and 8.
        assert_eq!(disturbed_blocks(&trials, &rows), [3, 5]);
        assert_eq!(disturbed_blocks(&trials[..4], &rows[..6]), [3]);
    }
}
