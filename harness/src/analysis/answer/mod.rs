//! The answer of a run, made once from its rows: which arm to take and why, who is not told apart from it, who fails
//! and how, and how sure all of that is. Terminal, reports, JSON and exports tell these sentences and no others.

mod sentences;
mod take;
pub mod words;

use crate::analysis::stats::ranking::{Ranking, rank_workload, rankings};
use crate::analysis::summary::{Cell, arms, cells};
use crate::model::row::Row;
use crate::model::workload::workload_name;
use loadgen::base::units::{format_count, format_ns, format_rate};
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
    /// The best arm, then those not told apart from it.
    pub arms: Vec<String>,
    /// False where a single block gave an order without intervals.
    pub shown: bool,
}

impl Answer {
    /// The answer of these rows; of a run that was interrupted it says so.
    pub fn of(rows: &[Row], complete: bool) -> Answer {
        let cells = cells(rows);
        if arms(rows) == GATE {
            return Answer {
                complete,
                take: None,
                sentences: Vec::new(),
                workloads: Vec::new(),
                rankings: rankings(rows),
            };
        }
        let workloads: Vec<(&[Cell], Vec<Ranking>)> = cells
            .chunk_by(|a, b| a.workload == b.workload)
            .map(|arms| {
                (
                    arms,
                    if arms.len() > 1 {
                        rank_workload(arms)
                    } else {
                        Vec::new()
                    },
                )
            })
            .collect();
        let mut sentences: Vec<String> = Vec::new();
        if !complete {
            let trials = words::plural(rows.len(), "trial");
            sentences.push(format!(
                "Interrupted after {trials}: this is what they say."
            ));
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
                .map(|(arms, rankings)| of_workload(arms, rankings))
                .collect(),
            rankings: workloads
                .into_iter()
                .flat_map(|(_, rankings)| rankings)
                .collect(),
        }
    }

    /// Every sentence: those over all workloads, then each workload's under its title.
    pub fn text(&self) -> String {
        let mut text = self.sentences.join("\n") + "\n";
        for workload in self.workloads.iter().filter(|w| !w.sentences.is_empty()) {
            text.push_str(&format!("\n{}\n", workload.title));
            for sentence in &workload.sentences {
                text.push_str(&format!("{sentence}\n"));
            }
        }
        text
    }
}

fn of_workload(arms: &[Cell], rankings: &[Ranking]) -> WorkloadAnswer {
    let leaders = |ranking: &Ranking| {
        let shown = !ranking.is_provisional();
        let names = match shown {
            true => ranking.leaders().map(|place| place.arm.clone()).collect(),
            false => ranking
                .places
                .iter()
                .take(1)
                .map(|place| place.arm.clone())
                .collect(),
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
        sentences: sentences::of_workload(arms, rankings),
    }
}

/// A workload in words: `50 connections + 5 000 idle, 200 requests/s`.
pub fn title(row: &Row) -> String {
    let connections = match row.conns {
        1 => "1 connection".to_string(),
        n => format!("{} connections", format_count(n)),
    };
    let mut text = connections;
    if row.idle > 0 {
        text.push_str(&format!(" + {} idle", format_count(row.idle)));
    }
    text.push_str(&match row.rate_per_s {
        Some(rate) => format!(", {} {}", row.arrival, format_rate(rate)),
        None if row.service == "discard" => ", as fast as they send".into(),
        None => ", closed loop".into(),
    });
    match row.requests_per_conn {
        Some(1) => text.push_str(", a connection per request"),
        Some(n) => text.push_str(&format!(", {} requests per connection", format_count(n))),
        None => {}
    }
    text.push_str(&format!(
        ", {} {} B",
        row.service,
        format_count(row.payload_bytes)
    ));
    for (what, ns) in [("work", row.work_ns), ("block", row.block_ns)] {
        if let Some(ns) = ns.filter(|&ns| ns > 0) {
            text.push_str(&format!(", {what} {}", format_ns(ns)));
        }
    }
    text
}

#[cfg(test)]
mod tests;
