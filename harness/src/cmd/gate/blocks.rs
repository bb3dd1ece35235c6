//! The gate's trials: block after block, each saved as it ends, until enough is known or the time is used up.

use super::pairs;
use super::programs::Programs;
use super::side::Side;
use crate::analysis::decide;
use crate::base::error::{Exit, Failure};
use crate::base::progress::Progress;
use crate::base::terminal::{Signals, eprintln};
use crate::base::text::visible;
use crate::cli::gate::GateFlags;
use crate::cmd::record::Record;
use crate::cmd::run::{Ended, one_trial};
use crate::cmd::told::Told;
use crate::model::metrics::Gated;
use crate::model::row::{Row, Status, in_words};
use crate::plan::TrialPlan;
use crate::plan::budget::Budget;
use crate::trial::Context;
use crate::trial::ran::Ran;
use loadgen::tally::code::Code;

/// What ends the blocks before the budget does.
#[derive(Clone, Copy)]
pub enum Until<'a> {
    /// These figures are known well enough.
    Decided(&'a [Gated]),
    /// Nothing.
    AllAreMade,
}

impl Until<'_> {
    fn is_reached(self, rounds: usize, rows: &[Row]) -> bool {
        match self {
            Until::Decided(gated) => {
                decide::is_time_to_look(rounds)
                    && decide::is_precise(&pairs::questions(rows, gated))
            }
            Until::AllAreMade => false,
        }
    }
}

/// The trials of a gate, and what was seen of them besides their rows.
pub struct Blocks<'a> {
    /// What all trials share.
    pub context: &'a Context<'a>,
    /// What was asked for.
    pub flags: &'a GateFlags,
    /// Both sides; what each ran is kept with it.
    pub sides: &'a mut [Side; 2],
    /// Where the trials go.
    pub record: &'a mut Record,
    /// What ends the program early.
    pub signals: &'a mut Signals,
    /// Who follows them.
    pub told: &'a Told,
    /// Why both sides are one and the same program, if they are found to be.
    pub same: Option<String>,
}

impl Blocks<'_> {
    /// Runs them; returns how many there were.
    pub async fn run(&mut self, until: Until<'_>) -> Result<usize, Ended> {
        let plan = self.context.plan;
        let trials = plan.trials();
        let progress = Progress::new(trials.len(), self.flags.output.quiet);
        let budget = Budget {
            time: self.flags.budget,
            at_least: 1,
        };
        let mut spending = budget.start();
        self.told.expect(trials.len());
        let mut programs = [None, None];
        for round in trials.chunk_by(|a, b| plan.repeat_of(a) == plan.repeat_of(b)) {
            if !spending.has_room() {
                break;
            }
            progress.left(spending.left());
            self.told.left(spending.left());
            for trial in round {
                let ran = self.trial(trial, &progress).await?;
                self.note_programs(&mut programs, trial, &ran);
                progress.trial_done();
            }
            spending.made_one();
            if until.is_reached(spending.made() as usize, self.record.rows()) {
                break;
            }
        }
        progress.finish();
        Ok(spending.made() as usize)
    }

    /// Runs one trial and keeps its row; returns what its server's command ran.
    async fn trial(&mut self, trial: &TrialPlan, progress: &Progress) -> Result<Vec<Ran>, Ended> {
        let say = |phase: &str| progress.phase(&trial.arm.label, trial.load.conns, phase);
        let (told, record) = (self.told, &mut *self.record);
        let made = one_trial(self.context, trial, &say, told, record, self.signals).await;
        let (row, evidence) = made?;
        check(row, self.sides).map_err(Ended::Failed)?;
        Ok(evidence.ran)
    }

    /// Looks at what a side ran the first time, and holds the two against each other.
    fn note_programs(&mut self, seen: &mut [Option<Programs>; 2], trial: &TrialPlan, ran: &[Ran]) {
        let at = self
            .sides
            .iter()
            .position(|side| side.name == trial.arm.label);
        let Some(at) = at.filter(|_| !ran.is_empty()) else {
            return;
        };
        if seen[at].is_some() {
            return;
        }
        let programs = Programs::of(&self.sides[at], ran);
        self.record
            .add_programs(self.sides[at].name, &programs.sha256);
        self.sides[at].programs.clone_from(&programs.sha256);
        seen[at] = Some(programs);
        if let [Some(base), Some(head)] = seen
            && base.are_the_same(head)
            && !super::are_one_source(self.sides)
        {
            let files: Vec<String> = base.sha256.keys().map(|file| visible(file)).collect();
            self.say_same(format!(
                "base and head ran one and the same program ({}): nothing was compared; look at --build, --base-cmd and \
                 --head-cmd (of a program that reads its code from its folder, name the file: python3 {{dir}}/app.py)",
                files.join(", ")
            ));
        }
    }

    /// Keeps, and says at once, why there is nothing to compare.
    pub fn say_same(&mut self, why: String) {
        if !self.flags.output.quiet {
            eprintln(&format!("note: {why}"));
        }
        self.same = Some(why);
    }
}

/// Refuses a trial whose server failed, or was not the one that answered, or that a condition of `--abort-on` ended: then
/// there is nothing to compare.
pub fn check(row: &Row, sides: &[Side; 2]) -> Result<(), Failure> {
    let is_others = row.reasons.0.iter().any(|reason| reason.is(Code::W10));
    let is_sound = row.aborted.is_none() && !is_others;
    if !row.status.is_failure() && row.status != Status::Skipped && is_sound {
        return Ok(());
    }
    let of = sides
        .iter()
        .find(|side| pairs::side_of(row) == Some(side.name));
    let what = of.map_or("", |side| &side.what);
    let reasons: Vec<String> = row.reasons.0.iter().map(in_words).collect();
    let message = format!(
        "{} ({}): {} {}: {}",
        pairs::side_of(row).unwrap_or_default(),
        visible(what),
        visible(&row.arm),
        row.status,
        visible(&reasons.join("; "))
    );
    let exit = match row.status {
        Status::Skipped => Exit::Unavailable,
        status if row.aborted.is_some() && !status.is_failure() => Exit::Missed,
        _ => Exit::Failed,
    };
    Err(Failure::new(exit, message))
}
