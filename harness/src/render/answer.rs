//! The answer in three sentences: which arm, how far they go, and what the run could not decide. Each says no more
//! than the rankings and the statuses do.

use crate::analysis::stats::ranking::{Place, Ranking, Standing};
use crate::analysis::summary::{Cell, arms, cells};
use crate::base::text::shown;
use crate::base::unit::{Unit, count};
use crate::model::metrics::{CPU_PER_REQUEST, THROUGHPUT};
use crate::model::row::{Row, Status};
use std::collections::BTreeMap;

/// Names of arms, workloads or walls that a sentence holds at most.
const MOST_NAMES: usize = 4;

/// The three sentences.
pub fn sentences(rows: &[Row], rankings: &[Ranking]) -> [String; 3] {
    [
        which(rows, rankings),
        how_far(rows),
        undecided(rows, rankings),
    ]
}

fn which(rows: &[Row], rankings: &[Ranking]) -> String {
    if arms(rows).len() < 2 {
        return alone(rows);
    }
    let by = |column: &str| -> Vec<&Ranking> {
        rankings.iter().filter(|r| r.column == column).collect()
    };
    let throughput = leaders(&by(THROUGHPUT.column));
    let cpu = leaders(&by(CPU_PER_REQUEST.column));
    match (throughput, cpu) {
        (None, None) => {
            "No two arms can be ranked: none has figures in the same blocks as another.".into()
        }
        (Some(t), None) => format!("By requests/s, {t}."),
        (None, Some(c)) => format!("By CPU per request, {c}."),
        (Some(t), Some(c)) if t == c => format!("By requests/s and by CPU per request, {t}."),
        (Some(t), Some(c)) => format!("By requests/s, {t}; by CPU per request, {c}."),
    }
}

/// A run of one arm compares nothing.
fn alone(rows: &[Row]) -> String {
    let cells = cells(rows);
    let best = cells
        .iter()
        .filter_map(|cell| Some((cell, cell.figure(|row| row.requests_per_s)?)))
        .max_by(|a, b| a.1.median.total_cmp(&b.1.median));
    match best {
        None => "No trial has figures that may be believed.".into(),
        Some((cell, figure)) => format!(
            "Only {} was run, so nothing is compared: it completed {} requests/s at {} connections (median of {}, {} to {}).",
            shown(cell.arm),
            count(figure.median),
            count(cell.workload.conns as f64),
            plural(figure.trials, "trial"),
            count(figure.min),
            count(figure.max)
        ),
    }
}

/// Which arms were shown to be the best or as good, over the workloads where every comparison was decided.
fn leaders(rankings: &[&Ranking]) -> Option<String> {
    let compared: Vec<&&Ranking> = rankings.iter().filter(|r| r.places.len() > 1).collect();
    if compared.is_empty() {
        return None;
    }
    let decided: Vec<&&&Ranking> = compared
        .iter()
        .filter(|r| r.places.iter().all(|p| is_decided(p.standing)))
        .collect();
    if decided.is_empty() {
        return Some(partly(&compared));
    }
    let mut wins: BTreeMap<&str, usize> = BTreeMap::new();
    for place in decided.iter().flat_map(|r| &r.places).filter(|p| leads(p)) {
        *wins.entry(&place.arm).or_default() += 1;
    }
    let mut wins: Vec<(&str, usize)> = wins.into_iter().collect();
    wins.sort_by_key(|(arm, n)| (std::cmp::Reverse(*n), *arm));
    let all = decided.len();
    let words = wins.iter().map(|(arm, n)| match all {
        1 => shown(arm),
        _ => format!("{} ({n} of {all})", shown(arm)),
    });
    let list = enumerated(words.collect());
    let place = match (compared.len(), all) {
        (1, _) => format!("at {}", shown(&compared[0].name)),
        (m, n) if m == n => format!("over {m} workloads"),
        (m, n) => format!("over the {n} of {m} workloads in which every comparison was decided"),
    };
    Some(format!("the best, or shown to be as good, {place}: {list}"))
}

fn is_decided(standing: Standing) -> bool {
    !matches!(standing, Standing::NeedsBlocks(_))
}

fn leads(place: &Place) -> bool {
    matches!(place.standing, Standing::Best | Standing::Tied)
}

/// What is known where no workload was decided as a whole: who was shown to be worse.
fn partly(rankings: &[&&Ranking]) -> String {
    let worse = rankings
        .iter()
        .flat_map(|r| &r.places)
        .filter(|p| p.standing == Standing::Worse);
    let pairs: usize = rankings.iter().map(|r| r.places.len() - 1).sum();
    match worse.clone().count() {
        0 => "the run was too short to rank any arm".into(),
        n => {
            let where_ = match rankings {
                [one] => format!("at {}", shown(&one.name)),
                _ => format!("over {} workloads", rankings.len()),
            };
            let mut left: Vec<&str> = Vec::new();
            for place in rankings.iter().flat_map(|r| &r.places) {
                if !left.contains(&&*place.arm) && worse.clone().all(|w| w.arm != place.arm) {
                    left.push(&place.arm);
                }
            }
            let left = match left.is_empty() {
                true => "none of them was among the first everywhere".into(),
                false => {
                    let names = left.iter().map(|arm| shown(arm)).collect();
                    format!("not shown to be worse anywhere: {}", enumerated(names))
                }
            };
            format!(
                "no single best was shown {where_}; {n} of {pairs} arms compared were shown to be worse than the one \
                 that led; {left}"
            )
        }
    }
}

fn how_far(rows: &[Row]) -> String {
    let cells = cells(rows);
    let long_lived = |cell: &&Cell| cell.workload.requests_per_conn.is_none();
    let asked = cells
        .iter()
        .filter(long_lived)
        .map(|c| c.workload.conns + c.workload.idle)
        .max();
    let all_arms = arms(rows);
    let mut trouble: Vec<String> = Vec::new();
    for arm in &all_arms {
        let own = cells.iter().filter(|cell| cell.arm == *arm);
        trouble.extend(own.filter_map(first_wall).next());
    }
    let well = all_arms.len() - trouble.len();
    let reach = match asked {
        Some(most) => format!("up to {} connections", count(most as f64)),
        None => "short-lived connections".into(),
    };
    match trouble.len() {
        0 => format!("Every arm served everything that was asked of it, {reach}."),
        _ => format!(
            "{well} of {} served everything, {reach}; {}.",
            plural(all_arms.len(), "arm"),
            enumerated(trouble)
        ),
    }
}

/// What an arm met first: `select was limited at 2k connections (FD_SETSIZE at 1020 of 2000)`.
fn first_wall(cell: &Cell) -> Option<String> {
    let (status, _) = cell.status();
    let did = match status {
        Status::Ok => return None,
        Status::Limited => "was limited",
        Status::Starved => "starved connections",
        Status::Crashed => "crashed",
        Status::Hung => "hung",
        Status::Wrong => "sent wrong bytes",
        Status::Skipped => return Some(format!("{} cannot run here", shown(cell.arm))),
    };
    let at = count((cell.workload.conns + cell.workload.idle) as f64);
    let why = cell
        .rows
        .iter()
        .filter(|row| row.status == status)
        .flat_map(|row| &row.reasons.0);
    let why = why
        .filter(|reason| reason.code.is_empty() && status == Status::Limited)
        .map(|r| shown(&r.text))
        .next();
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    Some(format!("{} {did} at {at}{why}", shown(cell.arm)))
}

fn undecided(rows: &[Row], rankings: &[Ranking]) -> String {
    if arms(rows).len() < 2 {
        return "A second --model, or `tenk compare` with another run, would compare something."
            .into();
    }
    let compared: usize = rankings
        .iter()
        .map(|r| r.places.len().saturating_sub(1))
        .sum();
    let open: Vec<(&Ranking, Option<u64>)> = rankings
        .iter()
        .flat_map(|r| r.places.iter().map(move |place| (r, place.standing)))
        .filter_map(|(r, standing)| match standing {
            Standing::NeedsBlocks(blocks) => Some((r, blocks)),
            _ => None,
        })
        .collect();
    if compared == 0 {
        return "There was nothing to decide.".into();
    }
    if open.is_empty() {
        return format!("Every one of the {compared} comparisons with the best was decided.");
    }
    let known: Vec<u64> = open.iter().filter_map(|(_, blocks)| *blocks).collect();
    let never = open.len() - known.len();
    let mut text = format!(
        "Not decided: {} of the {} with the best",
        open.len(),
        plural(compared, "comparison")
    );
    if let (Some(least), Some(most)) = (known.iter().min(), known.iter().max()) {
        text.push_str(&match least == most {
            true => format!("; they need about {most} blocks (--repeat {most})"),
            false => format!(
                "; they need about {least} to {most} blocks (--repeat {most} for all of these)"
            ),
        });
    }
    if never > 0 {
        text.push_str(&format!("; for {never} no number of blocks would do"));
    }
    text + "."
}

/// `a, b, c and 3 more`.
fn enumerated(mut words: Vec<String>) -> String {
    let more = words.len().saturating_sub(MOST_NAMES);
    words.truncate(MOST_NAMES);
    if more > 0 {
        return format!("{} and {more} more", words.join(", "));
    }
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

fn plural(n: usize, what: &str) -> String {
    let n_words = Unit::Count.words(n as f64);
    if n == 1 {
        format!("{n_words} {what}")
    } else {
        format!("{n_words} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::stats::ranking::rankings;
    use crate::model::row::{Reason, Reasons};

    fn rows(blocks: u32, arms: &[(&str, f64)]) -> Vec<Row> {
        let row = |arm: &str, block: u32, per_s: f64| Row {
            arm: arm.into(),
            model: arm.into(),
            service: "echo".into(),
            conns: 50,
            payload_bytes: 64,
            block,
            conns_served: Some(50),
            requests_completed: Some(1),
            requests_per_s: Some(per_s * (1.0 + f64::from(block % 3) / 1000.0)),
            ..Row::blank()
        };
        (1..=blocks)
            .flat_map(|b| arms.iter().map(move |(arm, per_s)| row(arm, b, *per_s)))
            .collect()
    }

    fn told(rows: &[Row]) -> [String; 3] {
        sentences(rows, &rankings(rows))
    }

    #[test]
    fn a_decided_run_names_its_best() {
        let [which, far, open] = told(&rows(12, &[("epoll", 1000.0), ("poll", 500.0)]));
        assert_eq!(
            which,
            "By requests/s, the best, or shown to be as good, at c50/echo64: epoll."
        );
        assert_eq!(
            far,
            "Every arm served everything that was asked of it, up to 50 connections."
        );
        assert_eq!(
            open,
            "Every one of the 1 comparisons with the best was decided."
        );
    }

    #[test]
    fn a_short_run_claims_nothing() {
        let [which, _, open] = told(&rows(2, &[("epoll", 1000.0), ("poll", 500.0)]));
        assert!(which.contains("too short to rank any arm"), "{which}");
        assert!(!which.contains("best, or"), "{which}");
        assert!(
            open.starts_with(
                "Not decided: 1 of the 1 comparison with the best; they need about 6 blocks"
            ),
            "{open}"
        );
    }

    #[test]
    fn where_no_best_was_shown_those_still_in_the_running_are_named() {
        let mut rows = rows(
            12,
            &[("epoll", 1000.0), ("poll", 1000.0), ("thread", 300.0)],
        );
        for row in rows.iter_mut().filter(|row| row.arm == "poll") {
            let swing = if row.block % 2 == 0 { 1.2 } else { 0.8 };
            row.requests_per_s = row.requests_per_s.map(|per_s| per_s * swing);
        }
        let [which, _, _] = told(&rows);
        assert_eq!(
            which,
            "By requests/s, no single best was shown at c50/echo64; 1 of 2 arms compared were shown to be worse than \
             the one that led; not shown to be worse anywhere: epoll and poll."
        );
    }

    #[test]
    fn one_arm_is_not_called_the_best() {
        let [which, _, open] = told(&rows(3, &[("epoll", 1000.0)]));
        assert!(
            which.starts_with("Only epoll was run, so nothing is compared"),
            "{which}"
        );
        assert!(open.starts_with("A second --model"));
    }

    #[test]
    fn a_wall_is_told_with_its_place() {
        let mut rows = rows(12, &[("epoll", 1000.0), ("select", 500.0)]);
        for row in rows.iter_mut().filter(|row| row.arm == "select") {
            row.status = Status::Limited;
            row.reasons = Reasons(vec![Reason {
                code: String::new(),
                text: "FD_SETSIZE at 20 of 50".into(),
            }]);
        }
        let [which, far, _] = told(&rows);
        assert_eq!(
            far,
            "1 of 2 arms served everything, up to 50 connections; select was limited at 50 (FD_SETSIZE at 20 of 50)."
        );
        assert!(which.starts_with("No two arms can be ranked"), "{which}");
    }

    #[test]
    fn nothing_at_all_is_said_so() {
        let [which, _, _] = told(&[]);
        assert!(which.starts_with("No trial has figures"), "{which}");
    }
}
