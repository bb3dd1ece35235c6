//! The sentences about one workload.

use super::words::{behind, by, enumerated, figure, least, name, plural};
use crate::analysis::stats::ranking::{Place, Ranking, Standing, Unread, holds_rate};
use crate::analysis::summary::{Cell, Figure};
use crate::base::text::{about, visible};
use crate::model::row::{Row, Status};
use crate::model::workload::percent as percent_of;
use loadgen::base::units::{format_count, format_rate};
use loadgen::tally::code::Code;
use std::time::Duration;

/// Requests that a 99th percentile needs: a hundred beyond it.
pub const REQUESTS_FOR_P99: f64 = 10_000.0;

/// What is said of one workload, the most important first.
pub fn of_workload(arms: &[Cell], rankings: &[Ranking]) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    sentences.extend(rate_held(arms));
    let compares = |r: &&Ranking| r.places.len() + r.unread.iter().len() > 1;
    sentences.extend(rankings.iter().filter(compares).map(leaders));
    sentences.extend(failures(arms));
    sentences.extend(no_p99(arms));
    sentences.extend(how_sure(rankings));
    sentences
}

/// A run of one arm compares nothing.
pub fn alone(cells: &[Cell]) -> String {
    let best = cells
        .iter()
        .filter_map(|cell| Some((cell, cell.figure(|row| row.requests_per_s)?)))
        .max_by(|a, b| a.1.median.total_cmp(&b.1.median));
    match best {
        None => "No trial has figures that may be believed.".into(),
        Some((cell, figure)) => {
            let Figure {
                median,
                min,
                max,
                trials,
            } = figure;
            let count = |v: f64| super::words::figure("requests_per_s", v);
            let of = match trials {
                1 => "a single trial".to_owned(),
                _ => format!(
                    "median of {trials} trials, {} to {}",
                    count(min),
                    count(max)
                ),
            };
            format!(
                "Only {} was run, so nothing is compared: it completed {} requests/s at {} connections ({of}). A second \
                 --model, or `tenk compare` with another run, would compare something.",
                name(cell.arm),
                count(median),
                format_count(cell.workload.conns)
            )
        }
    }
}

/// Whether what a fixed rate asked for was answered.
fn rate_held(arms: &[Cell]) -> Option<String> {
    let row = arms.first()?.rows.first()?;
    let rate = match row.capacity_fraction {
        Some(share) => format!("{} % of its own capacity", percent_of(share)),
        None => format_rate(row.rate_per_s?),
    };
    let ran: Vec<&Cell> = arms
        .iter()
        .filter(|cell| cell.status().0 == Status::Ok)
        .collect();
    let missed = |cell: &&&Cell| !cell.rows.iter().all(|row| holds_rate(row));
    let missing: Vec<String> = ran
        .iter()
        .filter(missed)
        .map(|cell| {
            let per_s = Figure::of(cell.rows.iter().filter_map(|row| row.requests_per_s));
            let per_s = per_s.map_or(String::new(), |f| {
                format!(" ({})", format_rate(f.median.round()))
            });
            format!("{}{per_s}", name(cell.arm))
        })
        .collect();
    Some(match (ran.len(), missing.len()) {
        (0, _) => return None,
        (1, 0) => format!("{} held the rate of {rate}.", name(ran[0].arm)),
        (all, 0) => {
            format!("The rate of {rate} was held by all {all} that served every connection.")
        }
        (all, n) if n == all => format!("Nobody held the rate of {rate}: {}.", enumerated(missing)),
        (all, n) => format!(
            "The rate of {rate} was held by {} of {all}; not by {}.",
            all - n,
            enumerated(missing)
        ),
    })
}

/// Who needs less than can be read, who may, and who needs the most.
fn leaders_unread(ranking: &Ranking, unread: &Unread) -> String {
    let limit = figure(ranking.column, unread.less_than);
    let names = enumerated(unread.arms.iter().map(|arm| name(arm)).collect());
    let need = match unread.arms.len() {
        1 => "needs",
        _ => "need",
    };
    let mut text = format!(
        "By {}, {names} {need} less than can be read here ({limit})",
        by(ranking)
    );
    let near: Vec<String> = ranking.leaders().map(|place| name(&place.arm)).collect();
    match near.len() {
        0 => {}
        1 => text.push_str(&format!("; {} is not told apart from that", near[0])),
        _ => text.push_str(&format!(
            "; {} are not told apart from that",
            enumerated(near)
        )),
    }
    let worse = ranking
        .places
        .iter()
        .filter(|p| p.standing == Standing::Worse);
    let worse: Vec<&Place> = worse.collect();
    if let Some(last) = worse.last() {
        let value = figure(ranking.column, last.figure.median);
        text.push_str(&match worse.len() {
            1 => format!("; {} needs {value}", name(&last.arm)),
            n => format!(
                "; of {n} that need more, {} is last ({value})",
                name(&last.arm)
            ),
        });
    }
    text + "."
}

/// Who leads by one criterion, and who is furthest behind.
fn leaders(ranking: &Ranking) -> String {
    if let Some(unread) = &ranking.unread {
        return leaders_unread(ranking, unread);
    }
    let criterion = by(ranking);
    let leaders: Vec<&Place> = ranking.leaders().collect();
    let value = |place: &Place| figure(ranking.column, place.figure.median);
    if ranking.is_provisional() {
        let all = ranking.places.iter();
        let order = all.map(|place| format!("{} {}", name(&place.arm), value(place)));
        return format!(
            "By {criterion}, in the order of a single block: {}.",
            enumerated(order.collect())
        );
    }
    let names = enumerated(leaders.iter().map(|place| name(&place.arm)).collect());
    let mut text = match leaders.as_slice() {
        [best] => format!("By {criterion}, {names} leads ({})", value(best)),
        [best, others @ ..] => {
            let equal = others.iter().all(|place| place.standing == Standing::Tied);
            let how = match equal {
                true => format!("equal within {:.0} %", ranking.margin * 100.0),
                false => "not told apart".into(),
            };
            format!(
                "By {criterion}, {names} lead, {how} (best: {})",
                value(best)
            )
        }
        [] => String::new(),
    };
    let worse: Vec<&Place> = ranking
        .places
        .iter()
        .filter(|p| p.standing == Standing::Worse)
        .collect();
    if let Some(last) = worse.last()
        && let Some(difference) = last.difference
    {
        let which = match worse.len() {
            1 => name(&last.arm),
            n => format!("of {n} that are worse, {} is last: it", name(&last.arm)),
        };
        text.push_str(&format!("; {which} {}", behind(&difference, ranking)));
    }
    text + "."
}

/// Who did not do what was asked, and how.
pub fn failures(arms: &[Cell]) -> Option<String> {
    let failed: Vec<String> = arms.iter().filter_map(failure).collect();
    let all = failed.len();
    (all > 0).then(|| match all {
        1..=6 => format!("{}.", failed.join("; ")),
        _ => format!("{}; and {} more.", failed[..6].join("; "), all - 6),
    })
}

/// `` `select` was limited (FD_SETSIZE at 1020 of 5000) ``.
fn failure(cell: &Cell) -> Option<String> {
    let (status, always) = cell.status();
    let did = match status {
        Status::Ok => return ended_early(cell),
        Status::Limited => "was limited",
        Status::Starved => "starved connections",
        Status::Crashed => "crashed",
        Status::Hung => "hung",
        Status::Wrong => "sent wrong bytes",
        Status::Skipped => "cannot run here",
    };
    let is_so = |row: &&&Row| row.status == status;
    let rows = cell.rows.iter().filter(is_so);
    let times = match always {
        true => String::new(),
        false => format!(" in {} of {} trials", rows.clone().count(), cell.rows.len()),
    };
    let why = rows
        .flat_map(|row| &row.reasons.0)
        .find(|reason| reason.code.is_empty());
    let why = why
        .map(|reason| format!(" ({})", visible(&reason.text)))
        .unwrap_or_default();
    Some(format!("{} {did}{times}{why}", name(cell.arm)))
}

/// `` `epoll`: the run was ended early, as --abort-on asks: … ``.
fn ended_early(cell: &Cell) -> Option<String> {
    let ended = cell.rows.iter().filter(|row| row.aborted.is_some());
    let reasons = ended.flat_map(|row| &row.reasons.0);
    // It is what makes such a trial invalid, and so the first that does.
    let why = reasons.into_iter().find(|reason| reason.is(Code::W02))?;
    Some(format!("{}: {}", name(cell.arm), visible(&why.text)))
}

/// Why there is no 99th percentile, and the window that would have one.
fn no_p99(arms: &[Cell]) -> Option<String> {
    let rows: Vec<&Row> = arms
        .iter()
        .flat_map(|cell| cell.rows.iter().copied())
        .collect();
    let measured: Vec<&&Row> = rows
        .iter()
        .filter(|row| row.response_p50_ns.is_some())
        .collect();
    let lacks = |row: &&&&Row| {
        let few = (row.requests_completed.unwrap_or(0) as f64) < REQUESTS_FOR_P99;
        row.response_p99_ns.is_none() && few
    };
    let lacking: Vec<&&&Row> = measured.iter().filter(lacks).collect();
    let slowest = lacking.iter().filter_map(|row| row.requests_per_s);
    let slowest = slowest
        .filter(|per_s| *per_s > 0.0)
        .min_by(f64::total_cmp)?;
    let needed = duration_for_p99(slowest);
    let of = match lacking.len() == measured.len() {
        true => String::new(),
        false => format!(" in {} of {} trials", lacking.len(), measured.len()),
    };
    Some(format!(
        "No p99{of}: it takes 10 000 requests in the window, a hundred beyond it; --duration {needed} would have them."
    ))
}

/// The `--duration` in which so many requests per second give a 99th percentile: a little more than just enough, in
/// whole seconds.
pub fn duration_for_p99(per_s: f64) -> String {
    let needed_s = (1.02 * REQUESTS_FOR_P99 / per_s).ceil();
    about(Duration::from_secs_f64(needed_s.clamp(1.0, 1e9))).replace(' ', "")
}

/// What the run could tell, and what would tell more.
fn how_sure(rankings: &[Ranking]) -> Option<String> {
    let decided: Vec<&Ranking> = rankings.iter().filter(|r| r.tells_from.is_some()).collect();
    let first = decided.first()?;
    let told = decided.iter().filter_map(|r| {
        let from = least(r.tells_from?, r.more_is_better);
        Some(format!("{} from {from}", by(r)))
    });
    let told: Vec<String> = told.collect();
    let arms = first.places.len();
    let (blocks, half) = with_more_blocks(first)?;
    Some(format!(
        "How sure: {} of {arms} arms tell differences in {} up (95 % of such runs name nobody falsely); --repeat \
         {blocks} would tell {} from about {half}.",
        plural(first.blocks, "block"),
        enumerated(told),
        by(first)
    ))
}

/// Four times the blocks, and the least difference that they would tell: intervals shrink with the root of the blocks,
/// and a little faster where blocks are few.
pub fn with_more_blocks(ranking: &Ranking) -> Option<(usize, String)> {
    let sign = if ranking.more_is_better { -1.0 } else { 1.0 };
    let half = (sign * ranking.tells_from?).ln_1p() / 2.0;
    let half = least(half.exp_m1().abs(), ranking.more_is_better);
    Some((ranking.blocks * 4, half))
}
