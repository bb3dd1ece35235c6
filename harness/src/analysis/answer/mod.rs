//! The answer of a run, made once from its rows: which arm to take and why, who is not told apart from it, who fails
//! and how, and how sure all of that is. Terminal, reports, JSON and exports tell these sentences and no others.

mod load;
pub mod sentences;
mod take;
pub mod words;

pub use load::{in_one_word, knee_in_words};

use crate::analysis::load_curve::{self, LoadCurve};
use crate::analysis::stats::ranking::{Ranking, rank_workload, rankings};
use crate::analysis::summary::{Cell, arms, cells};
use crate::base::parallel::in_parallel;
use crate::model::row::Row;
use crate::model::workload::{title, workload_name};
use loadgen::tally::slo::Slo;
use schemars::JsonSchema;
use serde::Serialize;

/// The two sides of a gate, whose question is another one: it has an answer of its own.
const GATE: [&str; 2] = ["base", "head"];

/// What a run says.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Answer {
    /// Whether the run came to its end.
    pub complete: bool,
    /// The arm to take, if the rows favour one.
    pub take: Option<String>,
    /// The answer over all workloads, the most important first.
    pub sentences: Vec<String>,
    /// Latency against load: the workloads that were offered at several rates, or held against promises.
    pub load_curves: Vec<LoadCurve>,
    /// The answer for each workload.
    pub workloads: Vec<WorkloadAnswer>,
    /// What it was made from.
    #[serde(skip)]
    pub rankings: Vec<Ranking>,
}

/// What a run says of one workload.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct WorkloadAnswer {
    /// The workload in one word, as in `bmf` and `gha` exports.
    pub name: String,
    /// The workload in words.
    pub title: String,
    /// By each criterion: the best, and those that were not shown to be worse.
    pub leaders: Vec<Leaders>,
    /// The answer, the most important first.
    pub sentences: Vec<String>,
}

/// Who leads by one criterion.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Leaders {
    /// The column ranked by.
    pub column: &'static str,
    /// The best arm, then those not told apart from it; before them those that need less than a reading shows.
    pub arms: Vec<String>,
    /// False where a single block gave an order without intervals.
    pub shown: bool,
}

impl Answer {
    /// The answer of these rows; of a run that was interrupted it says so.
    pub fn of(rows: &[Row], complete: bool) -> Answer {
        Answer::under(rows, complete, &[])
    }

    /// The same, with the rate that each arm holds under these promises.
    pub fn under(rows: &[Row], complete: bool, slo: &[Slo]) -> Answer {
        let cells = cells(rows);
        if arms(rows) == GATE {
            return Answer {
                complete,
                take: None,
                sentences: Vec::new(),
                load_curves: Vec::new(),
                workloads: Vec::new(),
                rankings: rankings(rows),
            };
        }
        let workloads = of_workloads(&cells);
        let mut sentences: Vec<String> = Vec::new();
        if !complete {
            let trials = words::plural(rows.len(), "trial");
            sentences.push(format!(
                "Interrupted after {trials}: this is what they say."
            ));
        }
        let mut load_curves = load_curve::curves(rows, slo);
        for curve in &mut load_curves {
            curve.sentences = load::of_curve(curve);
            sentences.extend(load::held_under(curve));
        }
        let mut take = None;
        if arms(rows).len() < 2 {
            sentences.push(sentences::alone(&cells));
        } else {
            let taken = take::take(&workloads);
            sentences.extend(taken.sentences);
            take = taken.arm;
        }
        Answer {
            complete,
            take,
            sentences,
            workloads: workloads
                .iter()
                .map(|(arms, rankings)| of_workload(arms, rankings, &load_curves))
                .collect(),
            load_curves,
            rankings: workloads
                .into_iter()
                .flat_map(|(_, rankings)| rankings)
                .collect(),
        }
    }

    /// Every sentence: those over all workloads, then each workload's under its title.
    pub fn text(&self) -> String {
        let mut text = self.sentences.join("\n") + "\n";
        let curves = self.load_curves.iter().map(|c| (&c.title, &c.sentences));
        let workloads = self.workloads.iter().map(|w| (&w.title, &w.sentences));
        for (title, sentences) in curves.chain(workloads).filter(|(_, s)| !s.is_empty()) {
            text.push_str(&format!("\n{title}\n"));
            for sentence in sentences {
                text.push_str(&format!("{sentence}\n"));
            }
        }
        text
    }
}

/// The arms of each workload, ranked where there are several.
fn of_workloads<'a>(cells: &'a [Cell<'a>]) -> Vec<(&'a [Cell<'a>], Vec<Ranking>)> {
    let workloads: Vec<&[Cell]> = cells.chunk_by(|a, b| a.workload == b.workload).collect();
    let rankings = in_parallel(&workloads, |arms| match arms.len() {
        1 => Vec::new(),
        _ => rank_workload(arms),
    });
    workloads.into_iter().zip(rankings).collect()
}

fn of_workload(arms: &[Cell], rankings: &[Ranking], load_curves: &[LoadCurve]) -> WorkloadAnswer {
    // Levels of load are told together, once.
    let is_level = |curve: &LoadCurve| curve.has_levels() && curve.holds(&arms[0].workload);
    let leaders = |ranking: &Ranking| {
        let shown = !ranking.is_provisional();
        let unread = ranking.unread.iter().flat_map(|unread| &unread.arms);
        let read = ranking.leaders().map(|place| &place.arm);
        let names = match shown {
            true => unread.chain(read).cloned().collect(),
            false => {
                let places = ranking.places.iter().map(|place| &place.arm);
                unread.chain(places).take(1).cloned().collect()
            }
        };
        Leaders {
            column: ranking.column,
            arms: names,
            shown,
        }
    };
    WorkloadAnswer {
        name: workload_name(arms[0].rows[0]),
        title: title(arms[0].rows[0]),
        leaders: rankings.iter().map(leaders).collect(),
        sentences: match load_curves.iter().any(is_level) {
            true => sentences::failures(arms).into_iter().collect(),
            false => sentences::of_workload(arms, rankings),
        },
    }
}

#[cfg(test)]
mod tests;
