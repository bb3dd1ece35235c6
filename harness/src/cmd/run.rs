//! A run: its trials one after the other, each saved as soon as it is over, and what is made of them at the end.

use crate::analysis::answer::words::plural;
use crate::analysis::noise;
use crate::analysis::precision;
use crate::base::error::{Exit, Failure};
use crate::base::progress::Progress;
use crate::base::terminal::{Signals, eprintln, say};
use crate::cli::RunFlags;
use crate::cmd::dry_run::{self, Noise};
use crate::cmd::instrumented;
use crate::cmd::preflight::preflight;
use crate::cmd::rate;
use crate::cmd::record::Record;
use crate::cmd::told::{Told, Ways};
use crate::model::row::{Reason, Row, Status, Verdict, is_disturbed};
use crate::plan::budget::{Budget, Spending};
use crate::plan::estimate::{self, Remaining};
use crate::plan::pace::Pace;
use crate::plan::{Plan, TrialPlan};
use crate::store::folder::{RunFolder, cannot_save};
use crate::trial::binaries::Binaries;
use crate::trial::environment::Environment;
use crate::trial::launch::pin;
use crate::trial::{self, Context, Evidence, namespace};
use loadgen::load::Load;
use loadgen::tally::code::Code;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Makes the run and says how the program ends.
pub async fn run(flags: &RunFlags) -> Result<Exit, Failure> {
    let mut plan = Plan::new(flags)?;
    let noise = noise::kept(flags.output.quiet);
    plan.disturbed = noise.as_ref().map(|n| n.limits).unwrap_or_default();
    plan.set_pace(Pace::kept());
    if flags.output.dry_run {
        if !flags.output.quiet {
            preflight(&plan).iter().for_each(|note| eprintln(note));
        }
        let noise = Noise::of(noise.as_ref());
        return say(&dry_run::describe(&plan, flags, noise)?).map(|()| Exit::Done);
    }
    let told = Told::new(&flags.output)?;
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
        eprintln(&dry_run::in_one_line(&plan));
    }
    let mut environment = Environment::read(&plan, &binaries);
    environment.prepare_s = Some(started.elapsed().as_secs_f64());
    let mut record = Record::new(folder, environment)?;
    let context = Context {
        plan: &plan,
        binaries: &binaries,
        work_ns_per_iteration,
    };
    let quiet = flags.output.quiet;
    let ways = Ways { told: &told, quiet };
    told.begin(&record.run_id(), &plan);
    let made = make(&context, &mut record, &mut signals, ways).await;
    record.note_fault(told.finish());
    let interrupted = match made {
        Err(failure) if !record.rows().is_empty() => return Err(cut_short(failure, record, flags)),
        made => made?,
    };
    record.finish(interrupted.is_none());
    if !quiet {
        record.say_own_cpu();
    }
    let missed = record.hand_over(flags)?;
    let exit = interrupted.unwrap_or_else(|| match exit_code(&plan, record.rows()) {
        Exit::Done if missed => Exit::Missed,
        exit => exit,
    });
    Ok(record.exit_code(exit))
}

/// Makes all trials; says how the program ends if a signal asked for its end.
async fn make(
    context: &Context<'_>,
    record: &mut Record,
    signals: &mut Signals,
    ways: Ways<'_>,
) -> Result<Option<Exit>, Failure> {
    let plan = context.plan;
    let interrupted = run_trials(context, record, signals, ways).await?;
    record.keep_pace(plan, ways.quiet);
    match interrupted {
        Some(exit) => Ok(Some(exit)),
        None => {
            let trials = plan.trials();
            instrumented::run(plan.looks, context, &trials, record, signals, ways).await
        }
    }
}

/// Hands over what a run measured that a failure ended: of the run, that is the failure that it ends with.
fn cut_short(mut failure: Failure, mut record: Record, flags: &RunFlags) -> Failure {
    record.finish(false);
    if let Err(other) = record.hand_over(flags) {
        eprintln(&format!("error: {other}"));
    }
    record.exit_code(Exit::Failed);
    failure.exit = Exit::Failed;
    failure
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

impl Ended {
    /// How the program ends that a signal asked for.
    fn exit(self) -> Result<Option<Exit>, Failure> {
        match self {
            Ended::Failed(failure) => Err(failure),
            Ended::Interrupted(exit) => Ok(Some(exit)),
        }
    }
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
    let mut names: Vec<&str> = plan.models().map(|model| model.name).collect();
    if plan.server_host.is_some() {
        // Servers are the other host's own.
        names.clear();
    }
    names.push("loadgen");
    // What is missing altogether comes before what is only not as one would like it.
    let binaries = Binaries::prepare(&names, quiet).await?;
    note.filter(|_| !quiet)
        .iter()
        .for_each(|note| eprintln(note));
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

/// Runs the trials, and once more the blocks that something else disturbed, or as many as there is time for before a
/// signal; says how the program ends that the signal asks for.
async fn run_trials(
    context: &Context<'_>,
    record: &mut Record,
    signals: &mut Signals,
    ways: Ways<'_>,
) -> Result<Option<Exit>, Failure> {
    let (plan, began, quiet) = (context.plan, Instant::now(), ways.quiet);
    let trials = plan.trials();
    let mut spending = plan.budget.map(Budget::start);
    let mut run = Trials::new(context, &trials, record, signals, ways);
    let made = match &mut spending {
        None => run.all(&trials).await.map(|()| trials.len()),
        Some(spending) => run.within(&trials, spending).await,
    };
    run.progress.finish();
    let trials = match made {
        Ok(made) => &trials[..made],
        Err(ended) => return ended.exit(),
    };
    let mut again = disturbed_blocks(trials, record.rows());
    if let Some(spending) = &spending {
        let each = |block: &u32| block_time(plan, trials, *block);
        again.truncate(fitting(spending.left(), again.iter().map(each)));
    }
    let once = began.elapsed();
    if !again.is_empty() {
        if !quiet {
            say_disturbed(trials, record.rows(), again.len());
        }
        let repeated = set_aside(trials, &again, record);
        let mut run = Trials::new(context, &repeated, record, signals, ways);
        let ended = run.all(&repeated).await;
        run.progress.finish();
        if let Err(ended) = ended {
            return ended.exit();
        }
    }
    let took = began.elapsed();
    let miss = estimate::miss(plan, took, took - once).filter(|_| !quiet);
    miss.iter()
        .for_each(|miss| eprintln(&format!("note: {miss}")));
    Ok(None)
}

/// How many of these times, one after the other, have room in the time that is left.
fn fitting(left: Duration, times: impl Iterator<Item = Duration>) -> usize {
    let ends = times.scan(Duration::ZERO, |end, time| {
        *end += time;
        Some(*end)
    });
    ends.take_while(|end| *end <= left).count()
}

/// How long a block's trials take, about.
fn block_time(plan: &Plan, trials: &[TrialPlan], block: u32) -> Duration {
    let trials = trials.iter().filter(|trial| trial.block == block);
    trials.map(|t| estimate::trial(plan, &t.arm, &t.load)).sum()
}

fn say_disturbed(trials: &[TrialPlan], rows: &[Row], again: usize) {
    let (disturbed, blocks) = (disturbed(rows).len(), block_count(trials));
    let usual = match disturbed * 2 > blocks {
        true => {
            "; if this machine is always like that, `tenk calibrate` finds out what is ordinary on it"
        }
        false => "",
    };
    eprintln(&format!(
        "{disturbed} of {blocks} blocks were disturbed by something else (W07); {} run again{usual}",
        match again {
            1 => "one is".into(),
            n => format!("{n} are"),
        }
    ));
}

/// Takes these blocks' trials out of the result; returns those that take their place.
fn set_aside(trials: &[TrialPlan], blocks: &[u32], record: &mut Record) -> Vec<TrialPlan> {
    let mut repeated = Vec::new();
    for &block in blocks {
        let made: BTreeSet<u32> = record.rows().iter().map(|row| row.trial).collect();
        record.set_aside(block);
        let trials = trials.iter().filter(|trial| trial.block == block);
        repeated.extend(trials.filter(|trial| made.contains(&trial.trial)).cloned());
    }
    for (trial, number) in repeated.iter_mut().zip(trials.len() as u32 + 1..) {
        trial.trial = number;
    }
    repeated
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

/// Those to run again.
fn disturbed_blocks(trials: &[TrialPlan], rows: &[Row]) -> Vec<u32> {
    let most = estimate::most_run_again(block_count(trials));
    disturbed(rows).into_iter().take(most).collect()
}

/// Trials that are run one after the other.
struct Trials<'a> {
    context: &'a Context<'a>,
    record: &'a mut Record,
    signals: &'a mut Signals,
    progress: Progress,
    remaining: Remaining,
    /// Arms under loads where their models have met the wall that they are known for.
    walls: Vec<(String, Load)>,
    ways: Ways<'a>,
}

/// An arm under a load, whichever trial of it.
fn cell(trial: &TrialPlan) -> (String, Load) {
    let load = Load {
        seed: 0,
        ..trial.load.clone()
    };
    (trial.arm.label.clone(), load)
}

/// What a time that was estimated will be, if it is to its estimate as what was spent is to that of what was made.
fn paced(next: Duration, estimated: Duration, spending: &Spending) -> Duration {
    match estimated.is_zero() {
        true => next,
        false => next.mul_f64(spending.spent().as_secs_f64() / estimated.as_secs_f64()),
    }
}

impl<'a> Trials<'a> {
    fn new(
        context: &'a Context<'a>,
        trials: &[TrialPlan],
        record: &'a mut Record,
        signals: &'a mut Signals,
        ways: Ways<'a>,
    ) -> Trials<'a> {
        ways.told.expect(trials.len());
        Trials {
            context,
            record,
            signals,
            progress: Progress::new(trials.len(), ways.quiet),
            remaining: Remaining::new(context.plan, trials),
            walls: Vec::new(),
            ways,
        }
    }

    /// Runs all of them.
    async fn all(&mut self, trials: &[TrialPlan]) -> Result<(), Ended> {
        for trial in trials {
            self.one(trial, None).await?;
        }
        Ok(())
    }

    /// Runs repeat after repeat until every difference is known well enough or the budget has no room for one more;
    /// returns how many trials there were, those of models included that had met their known wall and were left out.
    async fn within(
        &mut self,
        trials: &[TrialPlan],
        spending: &mut Spending,
    ) -> Result<usize, Ended> {
        let plan = self.context.plan;
        let expected = |trials: &[&TrialPlan]| -> Duration {
            let each = trials.iter();
            each.map(|t| estimate::trial(plan, &t.arm, &t.load)).sum()
        };
        let rounds = trials.chunk_by(|a, b| plan.repeat_of(a) == plan.repeat_of(b));
        let (mut made, mut estimated) = (0, Duration::ZERO);
        let mut why = "the budget is used up";
        for round in rounds {
            let (out, round_made): (Vec<_>, Vec<_>) = round
                .iter()
                .partition(|trial| spending.may_end() && self.walls.contains(&cell(trial)));
            if round_made.is_empty() {
                why = "every model has met the wall that it is known for";
                break;
            }
            let next = expected(&round_made);
            if !spending.has_room_for(paced(next, estimated, spending)) {
                break;
            }
            for trial in out {
                self.remaining.trial_left_out(plan, trial);
                self.progress.trial_done();
                self.ways.told.leave_out();
            }
            for trial in round_made {
                self.one(trial, Some(spending)).await?;
            }
            made += round.len();
            estimated += next;
            spending.made_one();
            if spending.may_end()
                && precision::is_time_to_look(spending.made())
                && precision::is_decided(self.record.rows())
            {
                why = "every difference is known well enough";
                break;
            }
        }
        self.progress.finish();
        if !self.ways.quiet {
            let repeats = plural(spending.made() as usize, "repeat");
            eprintln(&format!("{why} after {repeats}"));
        }
        Ok(made)
    }

    async fn one(&mut self, trial: &TrialPlan, spending: Option<&Spending>) -> Result<(), Ended> {
        let started = Instant::now();
        let left = self.remaining.left();
        let left = spending.map_or(left, |spending| left.min(spending.left()));
        let say = |phase: &str| {
            self.progress.left(left.saturating_sub(started.elapsed()));
            self.progress
                .phase(&trial.arm.label, trial.load.conns, phase);
        };
        let told = self.ways.told;
        told.left(left);
        let (record, signals) = (&mut *self.record, &mut *self.signals);
        let (row, _) = one_trial(self.context, trial, &say, told, record, signals).await?;
        let plan = self.context.plan;
        let is_wall = matches!(row.status, Status::Limited | Status::Starved);
        if is_wall && plan.meets_known_wall(&trial.arm, &trial.load) {
            self.walls.push(cell(trial));
        }
        self.remaining.trial_done(plan, trial, started.elapsed());
        self.progress.trial_done();
        Ok(())
    }
}

/// Makes one trial, tells of it meanwhile, and keeps its row; `say` is told its phases.
pub async fn one_trial<'r>(
    context: &Context<'_>,
    trial: &TrialPlan,
    say: &dyn Fn(&str),
    told: &Told,
    record: &'r mut Record,
    signals: &mut Signals,
) -> Result<(&'r Row, Evidence), Ended> {
    let following = told.follow(trial, say);
    let running = trial::run(context, trial, &following);
    let evidence = told.while_running(running, signals).await;
    let evidence = evidence.map_err(Ended::Interrupted)?;
    let evidence = evidence.map_err(Ended::Failed)?;
    let row = record.add(context.plan, trial, &evidence);
    let row = row.map_err(Ended::Failed)?;
    told.over(Some(row));
    evidence.check_hosts().map_err(Ended::Failed)?;
    Ok((row, evidence))
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
    if !failed && ran.iter().any(|row| row.aborted.is_some()) {
        Exit::Missed
    } else if failed || nothing_believable {
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
