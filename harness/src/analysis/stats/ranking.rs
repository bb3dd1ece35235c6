//! Which arm is best under a workload, which are as good, which are worse and by how much, and which the run could
//! not tell apart from the best.
//!
//! Arms are compared as [`super::pooled`] does it, on the log scale and with everybody's noise; what is ranked depends
//! on the load. With a single block there is an order and nothing more.

use super::Interval;
use super::layout::Layout;
use super::pooled::Pooled;
use crate::analysis::summary::{Cell, Figure, cells, median};
use crate::base::parallel::in_parallel;
use crate::model::metrics::{
    BYTES, CONNECTIONS, CPU_PER_CONNECTION, CPU_PER_REQUEST, MEMORY, Metric, RESPONSE_P50,
    RESPONSE_P99, THROUGHPUT, memory_too_small_to_read,
};
use crate::model::row::{Row, Status, Verdict};
use crate::model::workload::{Workload, workload_name};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// A fixed rate is held where at least this share of it was answered in the window.
pub const HELD: f64 = 0.99;

/// The arms of one workload, ranked by one criterion.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Ranking {
    /// The workload in words, as in `bmf` and `gha` exports.
    pub name: String,
    /// The column ranked by.
    pub column: &'static str,
    /// The same for people.
    pub title: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Relative differences up to this count as none.
    pub margin: f64,
    /// Blocks with figures of several ranked arms.
    pub blocks: usize,
    /// Noise of one trial beside its block and its arm, as a share; none of a single block, which shows none.
    pub noise: Option<f64>,
    /// The smallest relative difference from the best that would have been told; none of a single block.
    pub tells_from: Option<f64>,
    /// The ranked arms, the best first.
    pub places: Vec<Place>,
    /// The arms that need less than a reading shows, if there are such: they lead without a figure.
    pub unread: Option<Unread>,
    /// The arms that may not be ranked.
    pub apart: Vec<Apart>,
}

impl Ranking {
    /// Whether there is an order without intervals, as one block gives it.
    pub fn is_provisional(&self) -> bool {
        self.noise.is_none()
    }

    /// The best, and those that were not shown to be worse.
    pub fn leaders(&self) -> impl Iterator<Item = &Place> {
        let leads = |place: &&Place| match place.standing {
            Standing::Best | Standing::Tied | Standing::NotToldApart => true,
            Standing::Worse | Standing::Provisional => false,
        };
        self.places.iter().filter(leads)
    }
}

/// One arm's place.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Place {
    /// The arm.
    pub arm: String,
    /// The criterion's figure over the blocks compared.
    pub figure: Figure,
    /// What may be said of the arm.
    pub standing: Standing,
    /// How it differs from the best; none for the best itself.
    pub difference: Option<Difference>,
}

/// What may be said of an arm against the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The best of the run.
    Best,
    /// Shown to differ from the best by no more than the margin.
    Tied,
    /// Shown neither to be worse than the best nor to be as good.
    NotToldApart,
    /// Shown to be worse than the best.
    Worse,
    /// Behind in the only block there is, which shows nothing.
    Provisional,
}

/// An arm against the best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// Arm ÷ best − 1: −0.33 is a third less.
    pub change: f64,
    /// Where it lies: all intervals of a ranking hold together in 95 % of the runs; none with a single block.
    pub interval: Option<Interval>,
}

/// Arms that need less than a reading shows.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Unread {
    /// The arms, in the order of their names.
    pub arms: Vec<String>,
    /// What a reading would have shown.
    pub less_than: f64,
}

/// A ranked arm is shown to need more than those that could not be read if it needs so many times what a reading
/// shows: a reading that is a quarter too high, beside one that is a quarter too low, is no difference.
const SHOWN_TO_NEED_MORE: f64 = 2.0;

/// An arm that may not be ranked, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Apart {
    /// The arm.
    pub arm: String,
    /// Why, in words.
    pub why: String,
}

/// Ranks the arms of every workload that several arms ran, by all that counts under its load.
pub fn rankings(rows: &[Row]) -> Vec<Ranking> {
    let cells = cells(rows);
    let workloads = cells.chunk_by(|a, b| a.workload == b.workload);
    let workloads: Vec<&[Cell]> = workloads.filter(|arms| arms.len() > 1).collect();
    let rankings = in_parallel(&workloads, |arms| rank_workload(arms));
    rankings.into_iter().flatten().collect()
}

/// Ranks the arms of one workload, a cell each, by all that counts under its load.
pub fn rank_workload(arms: &[Cell]) -> Vec<Ranking> {
    let Some(first) = arms.first() else {
        return Vec::new();
    };
    let has_figures = |criterion: &Metric| {
        let mut rows = arms.iter().flat_map(|arm| &arm.rows);
        rows.any(|row| (criterion.of)(row).is_some())
    };
    let criteria = criteria(&first.workload).into_iter().filter(has_figures);
    criteria
        .filter_map(|criterion| rank(arms, &criterion))
        .collect()
}

/// What counts: under a closed loop how much is done, at a fixed rate what it takes and how long it takes, of
/// connections that end how many there are.
pub fn criteria(workload: &Workload) -> Vec<Metric> {
    if workload.capacity_permille.is_some() {
        // Each arm has a rate of its own: the slower one would have the shorter times for it.
        return match workload.requests_per_conn {
            None => vec![CPU_PER_REQUEST, MEMORY],
            Some(_) => vec![CPU_PER_CONNECTION],
        };
    }
    let fixed_rate = workload.requests_per_1000_s.is_some() || workload.stages.is_some();
    match (
        workload.service.as_str(),
        fixed_rate,
        workload.requests_per_conn,
    ) {
        ("discard", false, _) => vec![BYTES, CPU_PER_REQUEST, MEMORY],
        (_, true, None) => vec![CPU_PER_REQUEST, RESPONSE_P50, RESPONSE_P99, MEMORY],
        (_, true, Some(_)) => vec![CPU_PER_CONNECTION, RESPONSE_P50, RESPONSE_P99],
        (_, false, Some(_)) => vec![CONNECTIONS, CPU_PER_CONNECTION],
        (_, false, None) => vec![THROUGHPUT, CPU_PER_REQUEST, MEMORY],
    }
}

/// Ranks the arms of one workload, a cell each, by one criterion; `None` of none. There are no places if no arm may be
/// ranked.
pub fn rank(arms: &[Cell], criterion: &Metric) -> Option<Ranking> {
    let first = arms.first()?.rows.first()?;
    let (mut ranked, mut apart) = (Vec::new(), Vec::new());
    let unread = unread(arms, criterion);
    let is_unread = |arm: &Cell| {
        let mut known = unread.iter().flat_map(|unread| &unread.arms);
        known.any(|known| known == arm.arm)
    };
    for arm in arms {
        match why_apart(arm, criterion) {
            None => ranked.push(arm),
            Some(_) if is_unread(arm) => {}
            Some(why) => apart.push(set_apart(arm, why)),
        }
    }
    // Random numbers go to the arms in turn: the same rows in another order must not have other intervals.
    ranked.sort_by_key(|cell| cell.arm);
    let logs = logs(&ranked, criterion);
    let comparable = Layout::of(&logs).comparable();
    for (i, arm) in ranked.iter().enumerate() {
        if !comparable.contains(&i) {
            apart.push(set_apart(arm, "ran in no block with the others".into()));
        }
    }
    let ranked: Vec<&Cell> = comparable.iter().map(|&i| ranked[i]).collect();
    let logs: Vec<Vec<Option<f64>>> = comparable.iter().map(|&i| logs[i].clone()).collect();
    let order = Order::new(&logs);
    let sign = if criterion.more_is_better { -1.0 } else { 1.0 };
    let place = |&i: &usize| place(ranked[i], &logs[i], order.of(i), criterion.margin, sign);
    let places = order.best_first.iter().filter_map(place);
    Some(Ranking {
        name: workload_name(first),
        column: criterion.column,
        title: criterion.title,
        more_is_better: criterion.more_is_better,
        margin: criterion.margin,
        blocks: blocks(&logs),
        noise: order.pooled.as_ref().map(|pooled| pooled.noise().exp_m1()),
        tells_from: order.tells_from(sign),
        places: beside_unread(places.collect(), unread.as_ref()),
        unread,
        apart,
    })
}

/// The arms that did what was asked and of which no trial needed enough to be read.
fn unread(arms: &[Cell], criterion: &Metric) -> Option<Unread> {
    if criterion.column != MEMORY.column {
        return None;
    }
    let limit = |arm: &Cell| -> Option<f64> {
        if arm.status().0 != Status::Ok || !arm.rows.iter().all(|row| holds_rate(row)) {
            return None;
        }
        let limits = arm.rows.iter().map(|row| memory_too_small_to_read(row));
        let limits: Vec<f64> = limits.collect::<Option<_>>()?;
        limits.into_iter().max_by(f64::total_cmp)
    };
    let known: Vec<(&str, f64)> = arms
        .iter()
        .filter_map(|arm| Some((arm.arm, limit(arm)?)))
        .collect();
    let less_than = known
        .iter()
        .map(|(_, limit)| *limit)
        .max_by(f64::total_cmp)?;
    let mut arms: Vec<String> = known.iter().map(|(arm, _)| arm.to_string()).collect();
    arms.sort();
    Some(Unread { arms, less_than })
}

/// The best of those that could be read is none where others need so much less that it cannot be read.
fn beside_unread(mut places: Vec<Place>, unread: Option<&Unread>) -> Vec<Place> {
    let Some(unread) = unread else {
        return places;
    };
    for place in &mut places {
        if place.figure.median >= SHOWN_TO_NEED_MORE * unread.less_than {
            place.standing = Standing::Worse;
        } else if matches!(place.standing, Standing::Best | Standing::Tied) {
            place.standing = Standing::NotToldApart;
        }
    }
    places
}

/// Blocks with figures of several arms, or of the only one.
fn blocks(logs: &[Vec<Option<f64>>]) -> usize {
    let compared = |arms: &&Vec<usize>| arms.len() >= logs.len().clamp(1, 2);
    Layout::of(logs).arms_of.iter().filter(compared).count()
}

fn set_apart(arm: &Cell, why: String) -> Apart {
    let arm = arm.arm.to_string();
    Apart { arm, why }
}

/// Ranked are arms that did what was asked of them in every block, and have figures to be believed in some.
fn why_apart(cell: &Cell, criterion: &Metric) -> Option<String> {
    let total = cell.rows.len();
    let in_blocks = |what: &str, test: &dyn Fn(&Row) -> bool| {
        let bad = cell.rows.iter().filter(|row| test(row)).count();
        match bad {
            0 => None,
            n if n == total => Some(what.to_string()),
            n => Some(format!("{what} in {n} of {total} blocks")),
        }
    };
    let status = cell.status().0.to_string();
    let failed = in_blocks(&status, &|row| row.status != Status::Ok);
    let invalid = in_blocks("invalid", &|row| row.verdict == Verdict::Invalid);
    let figureless = || {
        let nothing = cell.rows.iter().all(|row| usable(row, criterion).is_none());
        nothing.then(|| format!("no {}", criterion.title))
    };
    failed
        .or(invalid.filter(|_| cell.rows.iter().all(|row| row.verdict == Verdict::Invalid)))
        .or_else(|| {
            in_blocks("did not hold the rate", &|row| {
                row.is_usable() && !holds_rate(row)
            })
        })
        .or_else(figureless)
}

/// Whether what a fixed rate asked for was answered; true without one.
pub fn holds_rate(row: &Row) -> bool {
    row.rate_per_s.is_none() || answered_share(row).is_none_or(|share| share >= HELD)
}

/// The share of what was due that was answered while the load went on. A queue that grew until the window's end is
/// worked off after it, and everything answered in the end, at a rate that was never held: what came in the window counts,
/// with the requests that are on their way at any instant, one on each connection.
pub fn answered_share(row: &Row) -> Option<f64> {
    let offered = row.requests_offered.filter(|n| *n > 0)? as f64;
    let completed = row.requests_completed? as f64;
    let in_window = row.requests_per_s.filter(|_| row.duration_s > 0.0);
    let on_their_way = (row.conns * row.pipeline.max(1)) as f64;
    let in_time = in_window.map_or(completed, |per_s| per_s * row.duration_s + on_their_way);
    Some(completed.min(in_time) / offered)
}

fn usable(row: &Row, criterion: &Metric) -> Option<f64> {
    criterion
        .cost(row)
        .filter(|_| row.verdict != Verdict::Invalid)
}

/// Each arm's costs in the blocks of the run; none where it has no figure to be believed.
fn logs(arms: &[&Cell], criterion: &Metric) -> Vec<Vec<Option<f64>>> {
    let key = |row: &Row| (row.run_id.clone(), row.block);
    let rows = arms.iter().flat_map(|arm| &arm.rows);
    let blocks: BTreeSet<(String, u32)> = rows.map(|row| key(row)).collect();
    let in_block = |arm: &Cell, block: &(String, u32)| {
        let row = arm.rows.iter().find(|row| key(row) == *block);
        row.and_then(|row| usable(row, criterion))
    };
    arms.iter()
        .map(|arm| blocks.iter().map(|block| in_block(arm, block)).collect())
        .collect()
}

/// The arms from the best on, and what is known of their differences.
struct Order {
    best_first: Vec<usize>,
    /// Beside the others of the same blocks.
    effects: Vec<f64>,
    pooled: Option<Pooled>,
}

/// How an arm differs from the best.
enum Beside {
    IsBest,
    By(f64, Option<Interval>),
}

impl Order {
    fn new(logs: &[Vec<Option<f64>>]) -> Order {
        let pooled = Pooled::new(logs);
        let effects: Vec<f64> = match &pooled {
            Some(pooled) => (0..logs.len()).map(|i| pooled.difference(i, 0)).collect(),
            // At most one block has several arms.
            None => logs.iter().map(|arm| in_shared_block(arm, logs)).collect(),
        };
        let mut best_first: Vec<usize> = (0..logs.len()).collect();
        best_first.sort_by(|&a, &b| effects[a].total_cmp(&effects[b]));
        Order {
            best_first,
            effects,
            pooled,
        }
    }

    fn of(&self, arm: usize) -> Beside {
        match self.best_first.first() {
            Some(&best) if best != arm => {
                let interval = self.pooled.as_ref().map(|p| p.interval(arm, best));
                Beside::By(self.effects[arm] - self.effects[best], interval)
            }
            _ => Beside::IsBest,
        }
    }

    /// The median over the others of what would have been told from the best, as a share of the best's figure: of more
    /// requests per second it is below one.
    fn tells_from(&self, sign: f64) -> Option<f64> {
        let (pooled, (&best, others)) = (self.pooled.as_ref()?, self.best_first.split_first()?);
        let mut halves: Vec<f64> = others
            .iter()
            .map(|&arm| pooled.half_width(arm, best))
            .collect();
        halves.sort_by(f64::total_cmp);
        median(&halves).map(|half| (sign * half).exp_m1().abs())
    }
}

/// The arm's figure in the block that it shares with others, or in its first.
fn in_shared_block(arm: &[Option<f64>], all: &[Vec<Option<f64>>]) -> f64 {
    let arms_in = |block: usize| all.iter().filter(|arm| arm[block].is_some()).count();
    let shared = (0..arm.len()).filter(|&block| arm[block].is_some());
    let shared = shared.max_by_key(|&block| (arms_in(block), std::cmp::Reverse(block)));
    shared.and_then(|block| arm[block]).unwrap_or(f64::INFINITY)
}

fn place(
    cell: &Cell,
    logs: &[Option<f64>],
    beside: Beside,
    margin: f64,
    sign: f64,
) -> Option<Place> {
    let figure = Figure::of(logs.iter().flatten().map(|cost| (sign * cost).exp()))?;
    let change = |cost: f64| (sign * cost).exp_m1();
    let (standing, difference) = match beside {
        Beside::IsBest => (Standing::Best, None),
        Beside::By(cost, interval) => {
            let difference = Difference {
                change: change(cost),
                interval: interval.map(|i| i.map(change)),
            };
            (standing(interval, margin.ln_1p()), Some(difference))
        }
    };
    Some(Place {
        arm: cell.arm.to_string(),
        figure,
        standing,
        difference,
    })
}

/// `tied` needs its own proof: that no difference was found is none.
fn standing(interval: Option<Interval>, margin: f64) -> Standing {
    match interval {
        None => Standing::Provisional,
        Some(i) if -margin <= i.low && i.high <= margin => Standing::Tied,
        Some(i) if i.low > 0.0 => Standing::Worse,
        Some(_) => Standing::NotToldApart,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows of arms with a factor each, over blocks of different speed.
    fn rows(arms: &[(&str, f64)], blocks: u32, noise: f64) -> Vec<Row> {
        let mut random = fastrand::Rng::with_seed(3);
        let mut rows = Vec::new();
        for block in 1..=blocks {
            let mood = 1.0 + 0.3 * random.f64();
            for (arm, factor) in arms {
                rows.push(Row {
                    block,
                    arm: arm.to_string(),
                    model: arm.to_string(),
                    service: "echo".into(),
                    conns: 50,
                    payload_bytes: 64,
                    requests_completed: Some(1),
                    requests_per_s: Some(
                        1e5 * factor * mood * (1.0 + noise * (random.f64() - 0.5)),
                    ),
                    ..Row::blank()
                });
            }
        }
        rows
    }

    fn ranked(rows: &[Row]) -> Ranking {
        rank(&cells(rows), &THROUGHPUT).unwrap()
    }

    fn standings(ranking: &Ranking) -> Vec<(&str, Standing)> {
        ranking
            .places
            .iter()
            .map(|p| (p.arm.as_str(), p.standing))
            .collect()
    }

    #[test]
    fn best_tied_and_worse() {
        let rows = rows(
            &[("poll", 0.5), ("epoll", 1.0), ("epoll-et", 0.995)],
            12,
            0.01,
        );
        let ranking = ranked(&rows);
        let expected = [
            ("epoll", Standing::Best),
            ("epoll-et", Standing::Tied),
            ("poll", Standing::Worse),
        ];
        assert_eq!(standings(&ranking), expected);
        let worse = ranking.places[2].difference.unwrap();
        let interval = worse.interval.unwrap();
        assert!((worse.change + 0.5).abs() < 0.01, "{worse:?}");
        assert!(
            interval.low <= worse.change && worse.change <= interval.high && interval.high < 0.0
        );
        assert_eq!(ranking.name, "c50/echo64");
        assert!(ranking.apart.is_empty());
    }

    #[test]
    fn a_cost_is_better_when_lower() {
        let mut rows = rows(&[("epoll", 1.0), ("poll", 2.0)], 8, 0.01);
        for row in &mut rows {
            row.server_cpu_us_per_request = row.requests_per_s;
        }
        let ranking = rank(&cells(&rows), &CPU_PER_REQUEST).unwrap();
        assert_eq!(standings(&ranking)[1], ("poll", Standing::Worse));
        assert!((ranking.places[1].difference.unwrap().change - 1.0).abs() < 0.03);
        assert_eq!(rankings(&rows).len(), 2);
    }

    #[test]
    fn one_block_gives_an_order_and_no_more() {
        let ranking = ranked(&rows(&[("poll", 0.2), ("epoll", 1.0)], 1, 0.01));
        let expected = [("epoll", Standing::Best), ("poll", Standing::Provisional)];
        assert_eq!(standings(&ranking), expected);
        assert_eq!(ranking.places[1].difference.unwrap().interval, None);
        assert!(ranking.is_provisional() && ranking.tells_from.is_none());
    }

    #[test]
    fn two_blocks_tell_what_is_far_apart() {
        let ranking = ranked(&rows(&[("epoll", 1.0), ("poll", 0.2)], 2, 0.01));
        assert_eq!(standings(&ranking)[1], ("poll", Standing::Worse));
        assert!(ranking.tells_from.unwrap() < 0.5, "{ranking:?}");
    }

    #[test]
    fn noise_beyond_the_margin_is_no_tie() {
        let ranking = ranked(&rows(&[("epoll", 1.0), ("poll", 0.99)], 8, 0.6));
        assert_eq!(ranking.places[1].standing, Standing::NotToldApart);
        assert!(ranking.tells_from.unwrap() > ranking.margin);
    }

    #[test]
    fn arms_that_were_not_ok_are_listed_apart() {
        let mut rows = rows(
            &[
                ("epoll", 1.0),
                ("poll", 1.0),
                ("select", 9.0),
                ("thread", 9.0),
            ],
            7,
            0.01,
        );
        for row in rows.iter_mut().filter(|row| row.arm == "select") {
            row.status = Status::Limited;
        }
        rows.iter_mut()
            .find(|row| row.arm == "thread")
            .unwrap()
            .verdict = Verdict::Invalid;
        let ranking = ranked(&rows);
        assert_eq!(ranking.places.len(), 3);
        let apart = |arm: &str, why: &str| Apart {
            arm: arm.into(),
            why: why.into(),
        };
        assert_eq!(ranking.apart, [apart("select", "limited")]);
        // An invalid trial is a missing one; an arm that has no other is set apart.
        assert_eq!(ranking.places[0].arm, "thread");
        assert_eq!(ranking.places[0].figure.trials, 6);
        for row in rows.iter_mut().filter(|row| row.arm == "thread") {
            row.verdict = Verdict::Invalid;
        }
        assert!(ranked(&rows).apart.contains(&apart("thread", "invalid")));
    }

    #[test]
    fn an_unfinished_block_counts_for_those_who_ran_in_it() {
        let mut rows = rows(&[("epoll", 1.0), ("poll", 0.5)], 8, 0.01);
        rows.pop();
        let ranking = ranked(&rows);
        assert_eq!((ranking.blocks, ranking.places[0].figure.trials), (7, 8));
        assert_eq!(
            rank(&cells(&rows[..1]), &THROUGHPUT).map(|r| r.places.len()),
            Some(1)
        );
        assert_eq!(rank(&[], &THROUGHPUT), None);
        // Of an interrupted first block there is nothing to compare.
        let mut apart_in_time = rows[..2].to_vec();
        apart_in_time[1].block = 2;
        let ranking = ranked(&apart_in_time);
        assert_eq!(ranking.places.len(), 1);
        assert_eq!(ranking.apart[0].why, "ran in no block with the others");
    }

    #[test]
    fn when_nobody_may_be_ranked_it_says_why() {
        let mut rows = rows(&[("epoll", 1.0), ("poll", 0.5)], 6, 0.01);
        for row in &mut rows {
            row.verdict = Verdict::Invalid;
        }
        let ranking = ranked(&rows);
        assert_eq!(
            (ranking.places.len(), ranking.apart.len(), ranking.blocks),
            (0, 2, 0)
        );
    }

    #[test]
    fn a_server_that_never_answers_is_ranked_by_bytes() {
        let mut rows = rows(&[("epoll", 1.0), ("poll", 0.5)], 8, 0.01);
        for row in &mut rows {
            row.service = "discard".into();
            row.bytes_per_s = row.requests_per_s.take();
        }
        let rankings = super::rankings(&rows);
        assert_eq!(rankings[0].column, "bytes_per_s");
        assert_eq!(standings(&rankings[0])[1], ("poll", Standing::Worse));
    }

    #[test]
    fn figures_without_a_logarithm_are_no_figures() {
        for value in [
            None,
            Some(0.0),
            Some(-1.0),
            Some(f64::NAN),
            Some(f64::INFINITY),
        ] {
            let mut rows = rows(&[("epoll", 1.0), ("poll", 0.5)], 6, 0.01);
            rows[1].requests_per_s = value;
            assert_eq!(ranked(&rows).places[1].figure.trials, 5);
            for row in rows.iter_mut().filter(|row| row.arm == "poll") {
                row.requests_per_s = value;
            }
            assert_eq!(ranked(&rows).apart[0].why, "no requests/s");
        }
    }

    #[test]
    fn at_a_fixed_rate_latency_is_ranked_and_throughput_is_not() {
        let mut rows = rows(&[("epoll", 1.0), ("poll", 54.0)], 3, 0.01);
        for row in &mut rows {
            row.response_p99_ns = row.requests_per_s.take().map(|v| v as u64);
            row.rate_per_s = Some(200.0);
            (row.requests_offered, row.requests_completed) = (Some(1000), Some(1000));
        }
        let rankings = rankings(&rows);
        let columns: Vec<&str> = rankings.iter().map(|r| r.column).collect();
        assert_eq!(columns, ["response_p99_ns"]);
        assert_eq!(standings(&rankings[0])[1], ("poll", Standing::Worse));
        for row in rows.iter_mut().filter(|row| row.arm == "poll") {
            row.requests_completed = Some(900);
        }
        let apart = &super::rankings(&rows)[0].apart;
        assert_eq!(apart[0].why, "did not hold the rate");
    }

    #[test]
    fn connections_that_end_are_counted_and_cost_as_a_whole() {
        let mut rows = rows(&[("epoll", 1.0), ("poll", 0.5)], 3, 0.01);
        for row in &mut rows {
            row.requests_per_conn = Some(4);
            row.conns_per_s = row.requests_per_s;
            row.server_cpu_us_per_request = Some(10.0);
        }
        let rankings = rankings(&rows);
        assert_eq!(rankings[0].title, "conns/s");
        assert_eq!(rankings[1].places[0].figure.median.round(), 40.0);
    }

    #[test]
    fn memory_below_the_resolution_of_its_reading_is_no_figure() {
        let mut rows = rows(&[("epoll", 1.0), ("poll", 0.5)], 3, 0.01);
        for row in &mut rows {
            (row.server_memory_kib, row.server_memory_per_conn_bytes) = (Some(256), Some(5242.88));
        }
        assert!(
            super::rankings(&rows)
                .iter()
                .all(|r| r.title != "memory/connection")
        );
        for row in &mut rows {
            row.server_memory_kib = Some(4096);
        }
        assert!(
            super::rankings(&rows)
                .iter()
                .any(|r| r.title == "memory/connection")
        );
    }

    /// Three arms of 50 connections, with so many KiB each.
    fn memory(kib: [u64; 3]) -> Ranking {
        let mut rows = rows(&[("epoll", 1.0), ("poll", 1.0), ("thread", 1.0)], 3, 0.01);
        for (i, row) in rows.iter_mut().enumerate() {
            let kib = kib[i % 3];
            row.conns_served = Some(50);
            row.server_memory_kib = Some(kib);
            row.server_memory_per_conn_bytes =
                Some(kib as f64 * 1024.0 / 50.0 * (1.0 + 0.001 * i as f64));
        }
        let mut rankings = super::rankings(&rows);
        rankings.retain(|r| r.title == "memory/connection");
        rankings.pop().unwrap()
    }

    #[test]
    fn the_best_that_could_be_read_leads_nobody_who_needs_less_than_that() {
        let unread = |ranking: &Ranking| ranking.unread.clone().map(|unread| unread.arms);
        let ranking = memory([0, 512, 2060]);
        assert_eq!(unread(&ranking), Some(vec!["epoll".into(), "poll".into()]));
        assert_eq!(standings(&ranking), [("thread", Standing::Worse)]);
        // What is a little more than can be read may be as little as what cannot.
        let ranking = memory([1000, 1100, 5000]);
        assert_eq!(unread(&ranking), Some(vec!["epoll".into()]));
        let expected = [
            ("poll", Standing::NotToldApart),
            ("thread", Standing::Worse),
        ];
        assert_eq!(standings(&ranking), expected);
        assert_eq!(memory([2000, 2100, 5000]).unread, None);
    }

    #[test]
    fn workloads_are_named_apart() {
        let row = Row {
            conns: 100,
            idle: 5,
            service: "http".into(),
            requests_per_conn: Some(1),
            rate_per_s: Some(1500.0),
            arrival: "poisson".into(),
            work_ns: Some(50_000),
            ..Row::blank()
        };
        assert_eq!(
            workload_name(&row),
            "c100/http0/idle5/rpc1/poisson1500/work50000ns"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn order_and_units_of_the_rows_do_not_matter(
            factors in prop::collection::vec(0.3..3.0f64, 2..5),
            seed in any::<u64>(),
            blocks in 1u32..10,
        ) {
            let names = ["a", "b", "c", "d"];
            let arms: Vec<_> = names.into_iter().zip(factors).collect();
            let rows = rows(&arms, blocks, 0.1);
            let mut other = rows.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut other);
            for row in &mut other {
                row.requests_per_s = row.requests_per_s.map(|v| v * 1024.0);
            }
            let (a, b) = (ranked(&rows), ranked(&other));
            prop_assert_eq!(a.places.len(), arms.len());
            let mut one: Vec<_> = standings(&a);
            let mut two: Vec<_> = standings(&b);
            one.sort_by_key(|s| s.0.to_string());
            two.sort_by_key(|s| s.0.to_string());
            prop_assert_eq!(one, two);
        }
    }
}
