//! `tenk history add`: what saved runs and gates say, as lines of a history.

use super::branch::Branch;
use crate::analysis::history::{Changes, Commit, line_of};
use crate::base::error::{Exit, Failure, OrFail};
use crate::base::terminal::{eprintln, say};
use crate::base::text::visible;
use crate::cli::history::AddFlags;
use crate::cmd::gate::git::{self, git};
use crate::cmd::gate::side::{BASE, HEAD};
use crate::model::history::{HistoryChange, HistoryLine};
use crate::model::metrics::METRICS;
use crate::store::history::{append, contents, is_commit, parse, to_text};
use crate::store::read::load;
use serde_json::Value;
use std::path::Path;

/// A gate's file.
const GATE: &str = "gate.json";

/// Adds the runs of these folders.
pub async fn add(flags: &AddFlags) -> Result<Exit, Failure> {
    let mut lines = Vec::new();
    for folder in &flags.dirs {
        lines.extend(lines_of(folder, flags.commit.as_deref()).await?);
    }
    let new = |before: &[u8]| {
        let known = parse(before, "").lines;
        let is_new = |line: &&HistoryLine| {
            let same = |k: &HistoryLine| k.run_id == line.run_id && k.commit == line.commit;
            !known.iter().any(same)
        };
        let new: Vec<HistoryLine> = lines.iter().filter(is_new).cloned().collect();
        // Figures have JSON: those without were left out when the line was made.
        (to_text(&new).unwrap_or_default(), new.len())
    };
    let (added, place) = match &flags.place.branch {
        Some(name) => {
            let branch = Branch::find(name).await?;
            let message = format!("tenk history: {} runs", flags.dirs.len());
            (
                branch.append(&message, new).await?,
                format!("branch {name}"),
            )
        }
        None => {
            let file = flags.place.file();
            let place = file.display().to_string();
            let added = append(&file, new).or_failed(format_args!("cannot append to {place}"))?;
            (added, place)
        }
    };
    let there = lines.len() - added;
    if there > 0 {
        eprintln(&format!(
            "note: {there} of {} lines are in {place} already",
            lines.len()
        ));
    }
    say(&format!("{added} lines added to {place}\n")).map(|()| Exit::Done)
}

/// The lines of one folder.
async fn lines_of(folder: &Path, commit: Option<&str>) -> Result<Vec<HistoryLine>, Failure> {
    let saved = load(folder).map_err(|e| Failure::from_error(Exit::Failed, e))?;
    let run = saved.run;
    let what = folder.display();
    for note in &run.notes {
        eprintln(&format!("note: {what}: {note}"));
    }
    if saved.goes_on {
        return Err(Failure::failed(format!(
            "{what}: the run goes on: add it when it is over"
        )));
    }
    if run.rows.is_empty() {
        return Err(Failure::failed(format!("{what}: there is no trial in it")));
    }
    let lines = match (&run.gate, commit) {
        (Some(_), None) => gate_lines(folder, &run.rows, &run.environment).await?,
        (_, commit) => {
            let commit = told(commit.unwrap_or("HEAD"), "--commit").await?;
            vec![line_of(&run.rows, &run.environment, commit, None, None)]
        }
    };
    match lines.iter().all(|line| line.figures.is_empty()) {
        true => Err(Failure::failed(format!(
            "{what}: no trial in it has a figure to be believed"
        ))),
        false => Ok(lines),
    }
}

/// A gate's sides, with what it found of its head. A side with changes that are not committed is no commit's.
async fn gate_lines(
    folder: &Path,
    rows: &[crate::model::row::Row],
    environment: &Value,
) -> Result<Vec<HistoryLine>, Failure> {
    let file = folder.join(GATE);
    let what = file.display();
    let bytes = contents(&file).or_failed(format_args!("cannot read {what}"))?;
    let bytes = bytes.unwrap_or_default();
    let gate: Value =
        serde_json::from_slice(&bytes).or_failed(format_args!("cannot read {what}"))?;
    let commit_of = |side: &str| gate[side]["commit"].as_str().filter(|text| is_commit(text));
    let mut lines = Vec::new();
    for side in [BASE, HEAD] {
        let is_dirty = gate[side]["dirty"].as_bool().unwrap_or(true);
        let Some(name) = commit_of(side).filter(|_| !is_dirty) else {
            eprintln(&format!(
                "note: {what}: {side} is no commit as it is ({}): it is left out (--commit REV names one for all of a folder)",
                visible(gate[side]["what"].as_str().unwrap_or("not known"))
            ));
            continue;
        };
        let commit = told(name, &format!("{what}: {side}")).await?;
        let against = (side == HEAD).then(|| commit_of(BASE)).flatten();
        let against = against.map(|base| (base.to_string(), changes(&gate)));
        lines.push(line_of(rows, environment, commit, Some(side), against));
    }
    match lines.is_empty() {
        true => Err(Failure::failed(format!(
            "{what}: neither side is a commit; nothing is added"
        ))),
        false => Ok(lines),
    }
}

/// What a gate found, by cell and column.
fn changes(gate: &Value) -> Changes {
    let answers = gate["answers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let change = |answer: &Value| {
        let metric = METRICS.iter().find(|m| answer["metric"] == m.column)?;
        let end = |name: &str| answer["interval"][name].as_f64();
        let found = HistoryChange {
            change: answer["change"].as_f64()?,
            low: end("low"),
            high: end("high"),
        };
        let cell = answer["cell"].as_str()?;
        // A command's cell has no name of its own.
        let cell = match cell.contains(' ') {
            true => cell.to_string(),
            false => format!("server {cell}"),
        };
        Some(((cell, metric.column), found))
    };
    answers.iter().filter_map(change).collect()
}

/// A commit's name, subject and time.
pub async fn told(revision: &str, flag: &str) -> Result<Commit, Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    let found = match git::find(&here, revision).await {
        Ok(found) => found.commit,
        Err(words) => {
            let remedy = "run it inside the repository whose servers were measured";
            let words = [words.as_str(), remedy].join("; ");
            return Err(Failure::usage(format!(
                "{flag} {revision}: {}",
                words.trim_start_matches("; ")
            )));
        }
    };
    let format = "--format=%ct%x00%s";
    let text = git(
        &here,
        &["show", "--no-patch", "--no-show-signature", format, &found],
    )
    .await;
    let text = text.map_err(|words| Failure::failed(format!("{flag} {revision}: {words}")))?;
    let (time, title) = text.split_once('\0').unwrap_or_default();
    Ok(Commit {
        commit: found,
        title: title.to_string(),
        committed_s: time.parse().unwrap_or(0),
    })
}
