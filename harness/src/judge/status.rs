//! What the server did, and why.

use super::total;
use crate::model::row::Status;
use crate::plan::TrialPlan;
use crate::trial::evidence::Evidence;
use crate::trial::server::StartError;
use loadgen::base::units::format_count;
use loadgen::tally::outcome::Outcome;
use std::collections::BTreeMap;

/// What failed, and how often each, over all phases of the trial.
pub fn what_failed(outcome: &Outcome) -> Option<String> {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for failure in &outcome.failures {
        let (_, words) = failure.first.split_once(": ").unwrap_or_default();
        let kind = format!("{} {} ({words})", failure.stage, failure.kind);
        *kinds.entry(kind).or_default() += failure.count;
    }
    let kinds = kinds.iter();
    let kinds: Vec<String> = kinds
        .map(|(kind, count)| format!("{} × {kind}", format_count(*count)))
        .collect();
    (!kinds.is_empty()).then(|| format!("what failed: {}", kinds.join(", ")))
}

/// What the server said that it should not have said.
fn wrong(outcome: &Outcome) -> Option<String> {
    let senseless = outcome.requests.failed.get("PROTOCOL").copied();
    let kinds = [
        (outcome.requests.mismatched, "replies had wrong bytes"),
        (
            senseless.unwrap_or(0),
            "replies made no sense in this protocol",
        ),
        (
            outcome.connections.unasked,
            "times a connection was sent bytes that answer no request",
        ),
    ];
    let (count, what) = kinds.into_iter().find(|(count, _)| *count > 0)?;
    Some(format!("{count} {what}"))
}

/// What the server did, and the sentence that explains it when it is not `ok`.
pub fn status(trial: &TrialPlan, evidence: &Evidence) -> (Status, Option<String>) {
    if let Some(why) = evidence
        .lost
        .as_ref()
        .filter(|_| evidence.outcome.is_none())
    {
        // Of the server nothing is known.
        return (Status::Ok, Some(format!("no outcome: {why}")));
    }
    match &evidence.start_error {
        Some(StartError::Unavailable(why)) => return (Status::Skipped, Some(why.clone())),
        Some(StartError::Ended(why)) => {
            return (
                Status::Crashed,
                Some(format!("ended before it was ready: {why}")),
            );
        }
        Some(StartError::Silent(why) | StartError::NotStarted(why)) => {
            return (Status::Hung, Some(why.clone()));
        }
        None => {}
    }
    if let Some(end) = &evidence.server_ended {
        let why = match &evidence.out_of_memory {
            Some(why) => format!("the kernel ended the server because {why}: {end}"),
            None => format!("the server ended by itself: {end}"),
        };
        return (Status::Crashed, Some(why));
    }
    let Some(outcome) = &evidence.outcome else {
        let why = evidence.generator_error.clone().unwrap_or_default();
        let status = match (evidence.answers_afterwards, evidence.wrong_answer) {
            (true, _) => Status::Ok,
            (false, true) => Status::Wrong,
            (false, false) => Status::Hung,
        };
        return (status, Some(format!("no outcome: {why}")));
    };
    if let Some(why) = wrong(outcome) {
        return (Status::Wrong, Some(why));
    }
    if evidence.wrong_answer {
        return (
            Status::Wrong,
            Some("wrong bytes came back after the load had gone".into()),
        );
    }
    if !evidence.answers_afterwards {
        return (
            Status::Hung,
            Some("no answer even after the load had gone".into()),
        );
    }
    limits(trial, evidence, outcome)
}

/// `limited`, `starved` or `ok`: whose fault the missing connections are.
fn limits(trial: &TrialPlan, evidence: &Evidence, outcome: &Outcome) -> (Status, Option<String>) {
    let c = &outcome.connections;
    let missing = c.requested.saturating_sub(c.served_at_barrier);
    let local = total(&c.local_failures);
    let tally = evidence.ledger.unwrap_or_default();
    // The errno that the server was told, if it was told one; else its model's wall.
    let shortage = tally.main_shortage();
    let cause = shortage.map(|shortage| format!("{} ({shortage})", shortage.limit()));
    if tally.shed > 0 || (cause.is_some() && missing > local) {
        let model = trial.arm.subject.model();
        let wall = model.map_or("a limit", |model| model.wall.name);
        let wall = cause.unwrap_or_else(|| wall.to_owned());
        let text = format!("{wall} at {} of {}", c.served_at_barrier, c.requested);
        return (Status::Limited, Some(text));
    }
    if let Some(why) = &evidence.out_of_memory {
        let text = format!(
            "{why}: the kernel ended {} of the server's processes, {} of {} connections were served",
            why.killed, c.served_at_barrier, c.requested
        );
        return (Status::Limited, Some(text));
    }
    // A connection that was told no was answered in time; what it was told is named beside the status.
    if missing > local + refusals(outcome) {
        return (Status::Starved, Some(not_all_served(trial, outcome)));
    }
    match starved(outcome) {
        0 => (Status::Ok, None),
        n => {
            let text = format!(
                "{n} of {} connections had no request served in the window",
                trial.load.conns
            );
            (Status::Starved, Some(text))
        }
    }
}

/// How many were served, and the wall that the others stood at where it is the one that the model is known for.
fn not_all_served(trial: &TrialPlan, outcome: &Outcome) -> String {
    let c = &outcome.connections;
    let limit = outcome.load.served_at_once;
    let is_known = limit.is_some_and(|most| c.served_at_barrier >= most);
    let wall = trial.arm.subject.model().map(|model| model.wall.name);
    let why = match wall.filter(|_| is_known) {
        Some(wall) => format!(": {wall}"),
        None => String::new(),
    };
    format!(
        "served {} of {} connections in time{why}",
        c.served_at_barrier, c.requested
    )
}

/// Answers that said no, in whatever phase.
fn refusals(outcome: &Outcome) -> u64 {
    let refused = outcome
        .failures
        .iter()
        .filter(|failure| failure.kind == "STATUS");
    refused.map(|failure| failure.count).sum()
}

/// Connections that had no request answered in the window although each could expect several: with fewer than
/// ten on average, the one without may just have been slow (of a Poisson count of mean 10, e⁻¹⁰ are zero).
pub fn starved(outcome: &Outcome) -> u64 {
    const EXPECTED: u64 = 10;
    let fairness = &outcome.fairness;
    match fairness.sum >= EXPECTED * fairness.connections {
        true => fairness.starved_connections,
        false => 0,
    }
}
