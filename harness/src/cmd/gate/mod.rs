//! The gate: did this change make the server slower?
//!
//! Both builds are measured in one job, by one load generator, in blocks of a pair in random order. What decides,
//! by default, is the server's CPU time per request at a fixed rate below saturation: the figure that a shared
//! machine disturbs least. Stored baselines and unpaired tests cry wolf on such machines in 24 to 54 % of runs.

mod blocks;
pub mod calibrate;
mod checkout;
mod comment;
pub mod git;
pub mod pairs;
mod profile;
mod programs;
pub mod side;
pub mod words;

use crate::analysis::decide::{self, Answer, Verdict};
use crate::analysis::noise::{self, NoiseFloor};
use crate::base::error::{Exit, Failure, OrFail};
use crate::base::terminal::{Signals, eprintln, say};
use crate::base::text::visible;
use crate::cli::gate::{FailOn, GateFlags};
use crate::cli::rate::Rate;
use crate::cli::{Cli, Format, RunFlags};
use crate::cmd::rate;
use crate::cmd::record::Record;
use crate::cmd::run::{Ended, begin};
use crate::cmd::told::{Told, Ways};
use crate::model::arm::{Arm, Subject};
use crate::model::metrics::Gated;
use crate::model::row::Row;
use crate::plan::Plan;
use crate::plan::{estimate, placeholders};
use crate::render::gate_words::GateWords;
use crate::trial::binaries::Binaries;
use crate::trial::environment::Environment;
use crate::trial::launch::pin;
use crate::trial::{self, Context, namespace};
use blocks::{Blocks, Until};
use checkout::Held;
use clap::Parser;
use loadgen::base::cache::cache_directory;
use loadgen::base::file::write_atomically;
use loadgen::base::units::format_count;
use loadgen::cmd::place::Place;
use serde::Serialize;
use side::{BASE, HEAD, Side};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How much of what the slower side can do is asked of both: so far below saturation that requests are answered one
/// by one. At half of it a slower server finds more requests waiting each time, answers them together, and hides a
/// third of what it lost (measured: +6.2 % of CPU per request where +9.3 % was injected).
const QUARTER: f64 = 0.25;

/// The schema of `gate.json`.
const SCHEMA: &str = "tenk.gate/1";

/// What a gate found.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The old side.
    pub base: Side,
    /// The new side.
    pub head: Side,
    /// Blocks that were run of each cell.
    pub blocks: usize,
    /// Time there was for them, s.
    pub budget_s: f64,
    /// Time they took, s.
    pub took_s: f64,
    /// The rate of every workload, requests per second.
    pub rates_per_s: Vec<f64>,
    /// Where the trials are.
    pub run_dir: String,
    /// Why there was nothing to compare, if both sides ran one and the same program.
    pub same: Option<String>,
    /// What else must be known of it.
    pub notes: Vec<String>,
    /// Every figure of every cell.
    pub answers: Vec<Answer>,
}

/// Makes a gate and says how the program ends.
pub async fn gate(flags: &GateFlags) -> Result<Exit, Failure> {
    let judged = judge(flags).await.inspect_err(|failure| {
        // Why there is no verdict is the error to end with, wherever else it could not be written.
        let _ = comment::write_failure(flags, failure);
    });
    let (mut record, outcome) = match judged? {
        ControlFlow::Continue(judged) => judged,
        ControlFlow::Break(exit) => return Ok(exit),
    };
    hand_over(&mut record, &outcome, flags)?;
    Ok(record.exit_code(exit_code(&outcome, flags.fail_on)))
}

/// Measures both sides and judges them; or how the program ends, where that was not asked for or was interrupted.
async fn judge(flags: &GateFlags) -> Result<ControlFlow<Exit, (Record, Outcome)>, Failure> {
    let job = Job::new(flags).await?;
    if flags.output.dry_run {
        let text = words::dry_run(&job.plan, flags, &job.sides, &job.gated);
        return say(&text).map(|()| ControlFlow::Break(Exit::Done));
    }
    let mut signals = Signals::listen()?;
    match job.make(flags, &mut signals).await {
        Ok(judged) => Ok(ControlFlow::Continue(judged)),
        Err(ended) => Result::from(ended).map(ControlFlow::Break),
    }
}

/// The rate of every workload.
fn rates(plan: &Plan) -> Vec<f64> {
    let scenarios = plan.scenarios.iter();
    scenarios.filter_map(|s| s.load.rate_per_s).collect()
}

/// A gate that is to be made.
pub struct Job {
    sides: [Side; 2],
    plan: Plan,
    gated: Vec<Gated>,
    doubts: Vec<String>,
}

impl Job {
    /// Finds both sides, and plans.
    pub async fn new(flags: &GateFlags) -> Result<Job, Failure> {
        let sides = sides(flags).await?;
        let mut plan = plan(flags, &sides)?;
        let noise = noise::kept(flags.output.quiet);
        plan.disturbed = noise.as_ref().map(|n| n.limits).unwrap_or_default();
        let (gated, doubts) = gated(flags, noise.as_ref());
        Ok(Job {
            sides,
            plan,
            gated,
            doubts,
        })
    }

    /// Builds, measures and judges; the trials are saved, and no words yet.
    pub async fn make(
        self,
        flags: &GateFlags,
        signals: &mut Signals,
    ) -> Result<(Record, Outcome), Ended> {
        let Job {
            mut sides,
            mut plan,
            gated,
            doubts,
        } = self;
        let told = Told::new(&flags.output).map_err(Ended::Failed)?;
        if !flags.output.quiet {
            notes(&sides).iter().for_each(|note| eprintln(note));
        }
        let preparing = prepare(flags, &mut plan, &mut sides);
        let (folder, prepared) = begin(&flags.output.results, signals, preparing).await?;
        // Only now: where nothing can be measured, what is missing is the first thing to be known.
        for doubt in doubts.iter().filter(|_| !flags.output.quiet) {
            eprintln(&format!("note: {doubt}"));
        }
        let binaries = prepared.binaries;
        let environment = Environment::read(&plan, &binaries);
        let mut record = Record::new(folder, environment).map_err(Ended::Failed)?;
        let context = Context {
            plan: &plan,
            binaries: &binaries,
            work_ns_per_iteration: prepared.work_ns_per_iteration,
        };
        told.begin(&record.run_id(), &plan);
        let started = Instant::now();
        let mut blocks = Blocks {
            context: &context,
            flags,
            sides: &mut sides,
            record: &mut record,
            signals,
            told: &told,
            same: None,
        };
        if let Some(why) = prepared.same {
            blocks.say_same(why);
        }
        let made = blocks.run(Until::Decided(&gated)).await;
        let same = blocks.same;
        let blocks = made.inspect_err(|_| end_unjudged(&mut record))?;
        let [base, head] = sides;
        let outcome = Outcome {
            base,
            head,
            blocks,
            budget_s: flags.budget.as_secs_f64(),
            took_s: started.elapsed().as_secs_f64(),
            rates_per_s: rates(&plan),
            run_dir: record.run_dir(),
            answers: decide::answers(&pairs::questions(record.rows(), &gated), same.is_some()),
            same,
            notes: doubts,
        };
        if flags.profile {
            let ways = Ways {
                told: &told,
                quiet: flags.output.quiet,
            };
            let looked = profile::profile(&outcome, &context, &mut record, signals, ways);
            looked.await.map_err(Ended::Failed)?;
        }
        record.note_fault(told.finish());
        Ok((record, outcome))
    }
}

/// A place without links and steps back, as git names it, though its last parts may not be there yet.
fn resolved(place: &Path) -> PathBuf {
    match (place.canonicalize(), place.parent(), place.file_name()) {
        (Ok(found), _, _) => found,
        (Err(_), Some(parent), Some(name)) => resolved(parent).join(name),
        _ => place.into(),
    }
}

/// Saves what a gate measured that ended before it could judge.
fn end_unjudged(record: &mut Record) {
    record.finish(false);
    let rows = format_count(record.rows().len() as u64);
    let folder = record.run_dir();
    eprintln(&format!(
        "nothing was judged; {rows} trials are in {folder}"
    ));
}

/// What each side is: found in git, in a folder, or only a command.
async fn sides(flags: &GateFlags) -> Result<[Side; 2], Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    let exports = flags
        .output
        .export
        .iter()
        .map(|export| export.path.as_path());
    let followed = match &flags.output.progress_json {
        Some(Place::File(path)) => Some(path.as_path()),
        _ => None,
    };
    let followed = followed
        .into_iter()
        .chain(flags.output.metrics_file.as_deref());
    let ours = exports
        .chain(followed)
        .chain([flags.output.results.as_path()]);
    let ours = ours.map(|place| here.join(place)).chain(cache_directory());
    let ours: Vec<PathBuf> = ours.map(|place| resolved(&place)).collect();
    let one = async |name,
                     text: &Option<String>,
                     command: &Option<String>,
                     default: Option<&str>| {
        match (text.as_deref().or(default), command) {
            (Some(text), _) => Side::find(name, text, &ours).await,
            (None, Some(command)) => Ok(Side::of_command(name, command)),
            (None, None) => Err(Failure::usage(format!("--{name} is missing"))),
        }
    };
    // A command needs sources only where they are named.
    let worktree = flags.base.is_some().then_some("worktree");
    Ok([
        one(BASE, &flags.base, &flags.base_cmd, None).await?,
        one(HEAD, &flags.head, &flags.head_cmd, worktree).await?,
    ])
}

/// What the user should know before: both sides the same, or one not what its commit says.
fn notes(sides: &[Side; 2]) -> Vec<String> {
    let [base, _] = sides;
    let mut notes: Vec<String> = sides.iter().flat_map(|side| side.notes.clone()).collect();
    if are_one_source(sides) {
        notes.push(format!(
            "note: base and head are the same commit, {}: whatever differs is noise",
            base.what
        ));
    }
    for side in sides.iter().filter(|side| side.dirty) {
        notes.push(format!(
            "note: {} is {}: measured as it is",
            side.name,
            visible(&side.what)
        ));
    }
    notes
}

/// Whether both sides are one commit without changes: then equal programs are what was asked for.
fn are_one_source([base, head]: &[Side; 2]) -> bool {
    base.commit.is_some() && base.commit == head.commit && !base.dirty && !head.dirty
}

/// The run that the gate is: every arm twice, once of each side, at the rates still to be found.
fn plan(flags: &GateFlags, sides: &[Side; 2]) -> Result<Plan, Failure> {
    let defaults =
        Cli::try_parse_from(["tenk"]).map_err(|e| Failure::from_error(Exit::Failed, e))?;
    let run = RunFlags {
        model: match (&flags.base_cmd, flags.model.is_empty()) {
            (None, true) => vec![servers::models::REFERENCE.into()],
            _ => flags.model.clone(),
        },
        server: flags
            .base_cmd
            .iter()
            .chain(&flags.head_cmd)
            .cloned()
            .collect(),
        commands_are_checked: true,
        rate: match flags.rate.is_empty() {
            // What stages ask for is no rate to be found out.
            true if flags.load.stages.is_some() || flags.load.conn_stages.is_some() => Vec::new(),
            true => vec![Rate::Auto],
            false => flags.rate.clone(),
        },
        asked: flags.asked.clone(),
        load: flags.load.clone(),
        repeat: Some(flags.blocks),
        warmup: flags.warmup,
        duration: flags.duration,
        seed: flags.seed,
        place: flags.place.clone(),
        servers: flags.servers.clone(),
        ..defaults.run
    };
    if flags.base_cmd.is_some() && flags.asked.transport.len() > 1 {
        return Err(Failure::usage(
            "--transport: a gate of two commands compares them over one",
        ));
    }
    let mut plan = Plan::new(&run)?;
    plan.arms = match flags.base_cmd {
        None => plan.arms.iter().flat_map(both_builds).collect(),
        Some(_) => plan.arms.into_iter().zip(sides).map(command_of).collect(),
    };
    Ok(plan)
}

/// A model's arm for each side, with a program of its own.
fn both_builds(arm: &Arm) -> Vec<Arm> {
    let build = |side: &str| {
        let mut arm = arm.clone();
        arm.label = format!("{}@{side}", arm.label);
        if let Subject::Model { program, .. } = &mut arm.subject {
            *program = format!("{side}/{program}");
        }
        arm
    };
    vec![build(BASE), build(HEAD)]
}

/// A command's arm: called after its side, and run in its folder.
fn command_of((mut arm, side): (Arm, &Side)) -> Arm {
    arm.label = side.name.into();
    if let Subject::Command { folder, .. } = &mut arm.subject {
        folder.clone_from(&side.folder);
    }
    arm
}

/// What a gate needs before its first trial.
struct Prepared {
    binaries: Binaries,
    /// What one iteration of the models' work takes, where work is asked for.
    work_ns_per_iteration: Option<f64>,
    /// Why both sides are one and the same program, if they are.
    same: Option<String>,
    /// Checkouts that stay as they are while this lives.
    _held: Vec<Held>,
}

/// Builds both sides and the load generator, and finds the rates.
async fn prepare(
    flags: &GateFlags,
    plan: &mut Plan,
    sides: &mut [Side; 2],
) -> Result<Prepared, Failure> {
    trial::sweep_leftovers();
    let note = namespace::settle(plan).await?;
    note.filter(|_| !flags.output.quiet)
        .iter()
        .for_each(|note| eprintln(note));
    let mut names: Vec<&str> = plan.models().map(|model| model.name).collect();
    names.dedup();
    // A calibration compares this program's own servers with themselves, wherever they come from.
    let own = flags.base.is_none() && flags.base_cmd.is_none();
    let needed = match own {
        true => [&["loadgen"], &names[..]].concat(),
        false => vec!["loadgen"],
    };
    let quiet = flags.output.quiet;
    let mut binaries = Binaries::prepare(&needed, quiet).await?;
    let mut held = Vec::new();
    for side in sides.iter_mut() {
        if own {
            for name in &names {
                let path = binaries.path(name);
                binaries.add(&format!("{}/{name}", side.name), &path)?;
            }
            continue;
        }
        held.extend(side.make(flags.build.as_deref()).await?);
        side.notes
            .iter()
            .filter(|_| !quiet)
            .for_each(|note| eprintln(note));
        if names.is_empty() {
            continue;
        }
        for (name, path) in side.models(&names, quiet).await? {
            let label = format!("{}/{name}", side.name);
            binaries.add(&label, &path)?;
            side.programs.insert(name, binaries.sha256[&label].clone());
        }
    }
    let commands = [
        ("--base-cmd", &flags.base_cmd),
        ("--head-cmd", &flags.head_cmd),
    ];
    for (flag, command) in commands {
        if let Some(command) = command {
            placeholders::check(flag, command, &flags.servers.env)?;
        }
    }
    pin(&plan.client_cpus).map_err(|e| Failure::from_error(Exit::Failed, e))?;
    let work = trial::calibrate_work(plan, &binaries).await?;
    if plan.rate_is_auto {
        let refuse = |row: &Row| blocks::check(row, sides);
        rate::set_common(plan, &binaries, work, QUARTER, &refuse, quiet).await?;
    }
    Ok(Prepared {
        work_ns_per_iteration: work,
        binaries,
        same: same_models(sides, &names),
        _held: held,
    })
}

/// Models whose two builds are one program although their sources differ.
fn same_models(sides: &[Side; 2], names: &[&str]) -> Option<String> {
    let [base, head] = sides;
    let is_same = |name: &&&str| {
        let digest = base.programs.get(**name);
        digest.is_some() && digest == head.programs.get(**name)
    };
    let same: Vec<&str> = names.iter().filter(is_same).copied().collect();
    (!same.is_empty() && !are_one_source(sides)).then(|| {
        format!(
            "base and head built one and the same program ({}), although their sources differ: nothing was compared",
            same.join(", ")
        )
    })
}

/// The figures that decide, with what this machine's calibration says of them; and why it is not used, where it is not.
fn gated(flags: &GateFlags, noise: Option<&NoiseFloor>) -> (Vec<Gated>, Vec<String>) {
    let asked = match flags.gate.is_empty() {
        true => vec![Gated::default_one()],
        false => flags.gate.clone(),
    };
    let Some(noise) = noise else {
        return (asked, Vec::new());
    };
    let mut notes = Vec::new();
    let now = SystemTime::now();
    let mut with_floor = |gated: Gated| {
        let column = gated.metric.column;
        let doubt = noise.doubt(column, gated.margin, now);
        let floor = noise.floor_of(column).filter(|_| doubt.is_none());
        notes.extend(doubt.map(|why| {
            format!("the calibration of {} is not used for {column}: {why} (`tenk calibrate` makes a new one)", noise.measured)
        }));
        Gated { floor, ..gated }
    };
    let gated = asked.into_iter().map(&mut with_floor).collect();
    (gated, notes)
}

/// Saves the verdict beside the trials, and every file that is made of them; its words, and `gate.json`.
pub fn keep(record: &mut Record, outcome: &Outcome) -> Result<(GateWords, String), Failure> {
    let words = words::words(outcome);
    let json = json(outcome, &words)?;
    record.write("gate.json", json.as_bytes());
    record.write("gate.md", words.markdown().as_bytes());
    record.set_gate(words.clone());
    record.finish(true);
    Ok((words, json))
}

/// Saves the verdict and says it wherever somebody looks.
fn hand_over(record: &mut Record, outcome: &Outcome, flags: &GateFlags) -> Result<(), Failure> {
    let (words, json) = keep(record, outcome)?;
    let markdown = words.markdown();
    let text = format!("{}\nResults: {}\n", words.for_people(), outcome.run_dir);
    match flags.output.format {
        Format::Table => say(&text)?,
        Format::Md => say(&markdown)?,
        Format::Json => say(&json)?,
        Format::Csv => say(&record.csv()?)?,
    }
    record.say_costs(flags.output.format)?;
    let exit = exit_code(outcome, flags.fail_on);
    let commented = comment::write(flags, outcome, &words, exit);
    tell_github(outcome, &markdown)?;
    commented?;
    record.export(&flags.output.export)
}

fn json(outcome: &Outcome, words: &GateWords) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Document<'a> {
        schema: &'static str,
        words: &'a GateWords,
        #[serde(flatten)]
        outcome: &'a Outcome,
    }
    let document = Document {
        schema: SCHEMA,
        words,
        outcome,
    };
    let text = serde_json::to_string_pretty(&document);
    text.map(|text| text + "\n").or_failed("gate.json")
}

/// The job's summary and its annotations, where GitHub runs us.
fn tell_github(outcome: &Outcome, markdown: &str) -> Result<(), Failure> {
    if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        // Other steps of the job write here as well.
        let before = std::fs::read(&path).unwrap_or_default();
        let all = [before, markdown.as_bytes().to_vec()].concat();
        write_atomically(path.as_ref(), &all)
            .or_failed(format_args!("GITHUB_STEP_SUMMARY {}", path.display()))?;
    }
    if std::env::var_os("GITHUB_ACTIONS").is_some() {
        // On stderr, where the runner looks as well: stdout may be somebody's JSON.
        eprintln(words::annotations(outcome).trim_end());
    }
    Ok(())
}

/// A regression fails; what could not be judged never passes; what was not shown fails as far as it was asked to.
fn exit_code(outcome: &Outcome, fail_on: FailOn) -> Exit {
    let any = |of: &dyn Fn(&Answer) -> bool| outcome.answers.iter().any(of);
    let is = |verdict| any(&|answer| answer.verdict == Some(verdict));
    let is_judged = any(&|answer| answer.verdict.is_some());
    let is_blind = outcome.same.is_some() || any(&Answer::is_blind);
    match () {
        () if is(Verdict::Regressed) && fail_on >= FailOn::Regression => Exit::Missed,
        () if is(Verdict::Invalid) || !is_judged => Exit::Failed,
        () if is_blind && fail_on >= FailOn::Blind => Exit::Inconclusive,
        () if is(Verdict::Inconclusive) && fail_on >= FailOn::Inconclusive => Exit::Inconclusive,
        () => Exit::Done,
    }
}

/// Blocks that fit into the budget.
fn blocks_in_budget(plan: &Plan, budget: Duration) -> u64 {
    estimate::rounds_within(plan, budget).clamp(1, plan.repeat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::stats::Interval;

    #[test]
    fn a_regression_outweighs_what_is_not_known_and_nothing_judged_never_passes() {
        use Verdict::*;
        let narrow = Some(Interval {
            low: -0.01,
            high: 0.05,
        });
        let code = |verdicts: &[Verdict], fail_on, interval| {
            let answer = |verdict: &Verdict| Answer {
                verdict: Some(*verdict),
                interval,
                ..decide::answers(&[decide::tests::question(Vec::new())], false).remove(0)
            };
            let outcome = Outcome {
                base: Side::of_command(BASE, "a"),
                head: Side::of_command(HEAD, "b"),
                blocks: 1,
                budget_s: 1.0,
                took_s: 1.0,
                rates_per_s: Vec::new(),
                run_dir: String::new(),
                same: None,
                notes: Vec::new(),
                answers: verdicts.iter().map(answer).collect(),
            };
            exit_code(&outcome, fail_on).code()
        };
        use FailOn::{Blind, Never, Regression};
        let strict = FailOn::Inconclusive;
        assert_eq!(code(&[Equivalent, Improved], strict, narrow), 0);
        assert_eq!(code(&[Equivalent, Inconclusive], Blind, narrow), 0);
        assert_eq!(code(&[Equivalent, Inconclusive], strict, narrow), 98);
        assert_eq!(code(&[Equivalent, Inconclusive], Blind, None), 98);
        assert_eq!(code(&[Equivalent, Inconclusive], Regression, None), 0);
        assert_eq!(code(&[Inconclusive, Invalid], strict, narrow), 1);
        assert_eq!(
            code(&[Invalid, Regressed, Inconclusive], strict, narrow),
            99
        );
        assert_eq!(code(&[Regressed], Regression, narrow), 99);
        assert_eq!(code(&[Regressed, Inconclusive], Never, narrow), 0);
        assert_eq!(code(&[Invalid], Never, narrow), 1);
        assert_eq!(code(&[], Never, narrow), 1);
    }
}
