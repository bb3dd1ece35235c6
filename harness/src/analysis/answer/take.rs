//! The one arm to take over all workloads, and why.

use super::words::{behind, by, enumerated, name};
use crate::analysis::stats::ranking::{Place, Ranking, Standing};
use crate::analysis::summary::Cell;
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
    /// Rankings in which it has a place.
    ranked: usize,
    /// Rankings in which nobody was shown to be better.
    led: usize,
    /// Sum of the relative costs beside the best's, as logarithms.
    behind: f64,
    /// Where somebody was shown to be better.
    worse: Vec<(&'a Ranking, &'a Place)>,
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
        let key = |r: &Record| (r.ranked, r.led);
        key(a).cmp(&key(b)).then(b.behind.total_cmp(&a.behind))
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
            "Provisionally {}: ahead in a single block, which shows no noise; --repeat 3 gives intervals.",
            name(arm)
        ),
        false => why(arm, record, &rankings, workloads.len()),
    }];
    let as_good: Vec<String> = records
        .iter()
        .filter(|(other, r)| *other != arm && r.ranked == record.ranked && r.worse.is_empty())
        .map(|(other, _)| name(other))
        .collect();
    if !as_good.is_empty() && !provisional && record.worse.is_empty() {
        sentences.push(format!(
            "Not told apart from it in anything: {}.",
            enumerated(as_good)
        ));
    }
    Taken {
        arm: Some(arm.to_string()),
        sentences,
    }
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
        for place in &ranking.places {
            let record = records.entry(&place.arm).or_default();
            record.ranked += 1;
            let change = place.difference.map_or(0.0, |d| d.change);
            record.behind += change.ln_1p().abs();
            match place.standing {
                Standing::Worse => record.worse.push((ranking, place)),
                Standing::Provisional => {}
                _ => record.led += 1,
            }
        }
    }
    records
}

/// `Take `epoll`: nobody was shown to be better by requests/s and CPU per request.`
fn why(arm: &str, record: &Record, rankings: &[&Ranking], workloads: usize) -> String {
    let taken = name(arm);
    let mut criteria: Vec<String> = Vec::new();
    for ranking in rankings {
        let by = by(ranking).to_string();
        if !criteria.contains(&by) {
            criteria.push(by);
        }
    }
    if record.led == rankings.len() {
        let over = match workloads {
            1 => String::new(),
            n => format!(" in any of {n} workloads"),
        };
        return format!(
            "Take {taken}: none was shown to be better{over}, by {}.",
            enumerated(criteria)
        );
    }
    let mut text = match (record.led, rankings.len()) {
        (0, all) => format!("Take {taken}, the nearest to the best over all {all} rankings"),
        (led, all) => {
            format!("Take {taken}: none was shown to be better in {led} of {all} rankings")
        }
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
