//! Why a side is slower: after a regression both builds are looked into, in trials that are no part of the verdict.

use super::{Outcome, pairs};
use crate::analysis::decide::Verdict;
use crate::base::error::Failure;
use crate::base::terminal::Signals;
use crate::cmd::instrumented;
use crate::cmd::record::Record;
use crate::cmd::told::Ways;
use crate::model::instrumented::Instruments;
use crate::model::row::Row;
use crate::plan::TrialPlan;
use crate::plan::instrumented::WINDOW_NS;
use crate::trial::Context;

/// Looks into both sides of every cell that got worse.
pub async fn profile(
    outcome: &Outcome,
    context: &Context<'_>,
    record: &mut Record,
    signals: &mut Signals,
    ways: Ways<'_>,
) -> Result<(), Failure> {
    let trials = of_regressed(outcome, context.plan.trials(), record.rows());
    let instruments = Instruments {
        syscalls: true,
        profile: true,
    };
    // A signal ends the looking; the verdict is there already, and is said.
    let looked = instrumented::run(instruments, context, &trials, record, signals, ways);
    looked.await.map(|_| ())
}

/// The trials of the cells that got worse, each as long as samples need.
fn of_regressed(outcome: &Outcome, trials: Vec<TrialPlan>, rows: &[Row]) -> Vec<TrialPlan> {
    let worse = |cell: &str| {
        let mut answers = outcome.answers.iter();
        answers.any(|answer| answer.cell == cell && answer.verdict == Some(Verdict::Regressed))
    };
    let numbers: Vec<u32> = pairs::cells(rows)
        .iter()
        .filter(|cell| worse(&cell.name))
        .flat_map(pairs::Cell::trials)
        .collect();
    let mut own: Vec<TrialPlan> = trials;
    own.retain(|trial| numbers.contains(&trial.trial));
    for trial in &mut own {
        // A gate's windows are short and its load far below saturation: in these there are hundreds of samples.
        trial.load.duration_ns = WINDOW_NS;
    }
    own
}
