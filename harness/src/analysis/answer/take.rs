//! The one arm to take over all workloads, and why.

use super::sentences::with_more_blocks;
use super::words::{behind, by, enumerated, figure, least, name, plural};
use crate::analysis::stats::ranking::{Place, Ranking, Standing};
use crate::analysis::summary::Cell;
use crate::model::workload::title;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The choice.
pub struct Taken {
    /// The arm; none where nothing could be ranked.
    pub arm: Option<String>,
    /// Why, who else, and what would change it.
    pub sentences: Vec<String>,
}

/// How an arm did over all rankings.
#[derive(Debug, Clone, Default)]
struct Record<'a> {
    /// Workloads in which it has a place: whoever failed in one is no answer to all.
    workloads: Vec<&'a str>,
    /// Rankings in which it has a place, or needs less than could be read.
    ranked: usize,
    /// What it was ranked by.
    criteria: Vec<String>,
    /// Sum of the relative costs beside the best's, as logarithms.
    behind: f64,
    /// Where somebody was shown to be better.
    worse: Vec<(&'a Ranking, &'a Place)>,
}

impl<'a> Record<'a> {
    fn note(&mut self, ranking: &'a Ranking) {
        self.ranked += 1;
        if !self.workloads.contains(&ranking.name.as_str()) {
            self.workloads.push(&ranking.name);
        }
        let by = by(ranking).to_string();
        if !self.criteria.contains(&by) {
            self.criteria.push(by);
        }
    }
}

/// Chooses.
pub fn take(workloads: &[(&[Cell], Vec<Ranking>)]) -> Taken {
    let rankings: Vec<&Ranking> = workloads
        .iter()
        .flat_map(|(_, rankings)| rankings)
        .filter(|ranking| ranking.places.len() > 1)
        .collect();
    if rankings.is_empty() {
        return Taken {
            arm: None,
            sentences: vec![nothing_ranked(workloads)],
        };
    }
    let records = records(&rankings);
    let better = |a: &Record, b: &Record| {
        let key = |r: &Record| (r.workloads.len(), Reverse(r.worse.len()));
        let behind = |r: &Record| r.behind / r.ranked.max(1) as f64;
        key(a).cmp(&key(b)).then(behind(b).total_cmp(&behind(a)))
    };
    let Some((arm, record)) = records.iter().max_by(|a, b| better(a.1, b.1)) else {
        return Taken {
            arm: None,
            sentences: Vec::new(),
        };
    };
    let provisional = rankings.iter().all(|ranking| ranking.is_provisional());
    let mut sentences = vec![match provisional {
        true => format!(
            "Provisionally {}: the nearest to the best by {} in a single block, which shows no noise; --repeat 3 gives \
             intervals.",
            name(arm),
            enumerated(record.criteria.clone())
        ),
        false => why(arm, record, workloads.len()),
    }];
    sentences.extend(figures(arm, workloads));
    let as_good: Vec<String> = records
        .iter()
        .filter(|(other, r)| {
            *other != arm && r.workloads.len() == record.workloads.len() && r.worse.is_empty()
        })
        .map(|(other, _)| name(other))
        .collect();
    if !as_good.is_empty() && !provisional && record.worse.is_empty() {
        sentences.push(format!(
            "Not told apart from it in anything: {}.",
            enumerated(as_good)
        ));
        sentences.extend(what_would_change_it(&rankings));
    }
    Taken {
        arm: Some(arm.to_string()),
        sentences,
    }
}

/// What the arm did and what it cost, under the last workload that ranked it.
fn figures(arm: &str, workloads: &[(&[Cell], Vec<Ranking>)]) -> Option<String> {
    workloads.iter().rev().find_map(|(arms, rankings)| {
        let told = rankings.iter().filter_map(|ranking| {
            let place = ranking.places.iter().find(|place| place.arm == arm)?;
            let value = figure(ranking.column, place.figure.median);
            Some(format!("{value} {}", by(ranking)))
        });
        let told: Vec<String> = told.collect();
        let row = arms.first()?.rows.first()?;
        (!told.is_empty()).then(|| format!("Its figures at {}: {}.", title(row), told.join(", ")))
    })
}

/// What this run could not have seen, by what counts first: where it would have seen least.
fn what_would_change_it(rankings: &[&Ranking]) -> Option<String> {
    let first = rankings.first()?.column;
    let same = rankings.iter().filter(|ranking| ranking.column == first);
    let least_seen = same.max_by(|a, b| {
        let from = |ranking: &Ranking| ranking.tells_from.unwrap_or(0.0);
        from(a).total_cmp(&from(b))
    })?;
    let from = least(least_seen.tells_from?, least_seen.more_is_better);
    let (blocks, half) = with_more_blocks(least_seen)?;
    Some(format!(
        "What could change this: differences in {} below {from} are not seen in {}; --repeat {blocks} would see them \
         from about {half} up.",
        by(least_seen),
        plural(least_seen.blocks, "block")
    ))
}

fn nothing_ranked(workloads: &[(&[Cell], Vec<Ranking>)]) -> String {
    let mut cells = workloads.iter().flat_map(|(arms, _)| arms.iter());
    match cells.any(|cell| cell.rows.iter().any(|row| row.is_usable())) {
        true => "No two arms can be ranked: none did what was asked in the same block as another."
            .into(),
        false => "No trial has figures that may be believed.".into(),
    }
}

fn records<'a>(rankings: &[&'a Ranking]) -> BTreeMap<&'a str, Record<'a>> {
    let mut records: BTreeMap<&str, Record> = BTreeMap::new();
    for ranking in rankings {
        for arm in ranking.unread.iter().flat_map(|unread| &unread.arms) {
            records.entry(arm).or_default().note(ranking);
        }
        for place in &ranking.places {
            let record = records.entry(&place.arm).or_default();
            record.note(ranking);
            let change = place.difference.map_or(0.0, |d| d.change);
            record.behind += change.ln_1p().abs();
            if place.standing == Standing::Worse {
                record.worse.push((ranking, place));
            }
        }
    }
    records
}

/// `Take `epoll`: nobody was shown to be better by requests/s and CPU per request.`
fn why(arm: &str, record: &Record, workloads: usize) -> String {
    let taken = name(arm);
    if record.worse.is_empty() {
        let over = match workloads {
            1 => String::new(),
            n => format!(" in any of {n} workloads"),
        };
        let criteria = enumerated(record.criteria.clone());
        return format!("Take {taken}: none was shown to be better{over}, by {criteria}.");
    }
    let mut text = match record.ranked - record.worse.len() {
        0 => format!("Take {taken}, the nearest to the best of those that served every workload"),
        led => format!(
            "Take {taken}: none was shown to be better in {led} of {} rankings",
            record.ranked
        ),
    };
    let worst = record.worse.iter().max_by(|a, b| {
        let size = |(_, place): &&(&Ranking, &Place)| {
            place.difference.map_or(0.0, |d| d.change.ln_1p().abs())
        };
        size(a).total_cmp(&size(b))
    });
    if let Some((ranking, place)) = worst
        && let (Some(difference), Some(best)) = (place.difference, ranking.places.first())
    {
        let at = match workloads {
            1 => String::new(),
            _ => format!(" at {}", crate::base::text::visible(&ranking.name)),
        };
        let behind = behind(&difference, ranking);
        text.push_str(&format!(
            "; at its worst it {behind} than {}{at}",
            name(&best.arm)
        ));
    }
    text + "."
}
