//! Which arm is best under a workload, which are as good, which are worse and by how much, and for which the run
//! was too short to say.
//!
//! Arms are compared within blocks, where the machine was in the same mood, as log-ratios: Hodges–Lehmann estimate,
//! exact signed-rank interval. The best is picked by the same data, so the correction (Holm) covers *all* pairs of
//! arms, not only those with the best: with fifteen equal arms, correcting for the fourteen pairs called one worse
//! in 13 % of the simulated runs, correcting for all in 2 % (`simulation.rs`).

use super::{ALPHA, Interval, equivalence, holm, power, signed_rank, walsh};
use crate::analysis::summary::{Cell, Figure, cells, median};
use crate::model::metrics::{BYTES, CPU_PER_REQUEST, Criterion, THROUGHPUT};
use crate::model::row::{Row, Status, Verdict};
use crate::model::workload::workload_name;
use serde::Serialize;
use std::collections::BTreeMap;

/// The arms of one workload, ranked by one criterion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranking {
    /// The workload in words, as in `bmf` and `gha` exports.
    pub name: String,
    /// The column ranked by.
    pub column: &'static str,
    /// The same for people.
    #[serde(skip)]
    pub title: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Relative differences up to this count as none.
    pub margin: f64,
    /// Blocks in which every ranked arm ran.
    pub blocks: usize,
    /// The ranked arms, the best first.
    pub places: Vec<Place>,
    /// The arms that may not be ranked.
    pub apart: Vec<Apart>,
}

/// One arm's place.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The best of the run.
    Best,
    /// Shown to differ from the best by no more than the margin.
    Tied,
    /// Shown to be worse than the best.
    Worse,
    /// Neither is shown: about this many blocks would settle it; none where no number would.
    NeedsBlocks(Option<u64>),
}

/// An arm against the best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Arm ÷ best − 1, the Hodges–Lehmann estimate: −0.33 is a third less.
    pub change: f64,
    /// Its 95 % interval; none with fewer than 6 blocks.
    pub interval: Option<Interval>,
    /// The two-sided p-value after Holm's correction over all pairs of arms.
    pub p_adjusted: f64,
}

/// An arm that may not be ranked, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Apart {
    /// The arm.
    pub arm: String,
    /// Why, in words.
    pub why: String,
}

/// Ranks the arms of every workload that several arms ran, by throughput and by CPU per request where measured.
pub fn rankings(rows: &[Row]) -> Vec<Ranking> {
    let cells = cells(rows);
    cells
        .chunk_by(|a, b| a.workload == b.workload)
        .filter(|arms| arms.len() > 1)
        .flat_map(|arms| {
            criteria(arms)
                .into_iter()
                .filter_map(|criterion| rank(arms, &criterion))
        })
        .collect()
}

fn criteria(arms: &[Cell]) -> Vec<Criterion> {
    let throughput = match arms[0].workload.service.as_str() {
        "discard" => BYTES,
        _ => THROUGHPUT,
    };
    let rows = || arms.iter().flat_map(|arm| &arm.rows);
    let mut criteria = vec![throughput, CPU_PER_REQUEST];
    criteria.retain(|criterion| rows().any(|row| (criterion.of)(row).is_some()));
    criteria
}

/// Ranks the arms of one workload, a cell each; `None` of none. There are no places if no arm may be ranked, or if
/// no block holds all those that may.
pub fn rank(arms: &[Cell], criterion: &Criterion) -> Option<Ranking> {
    let first = arms.first()?.rows.first()?;
    let (ranked, apart): (Vec<_>, Vec<_>) = arms
        .iter()
        .map(|arm| (arm, why_apart(arm, criterion)))
        .partition(|(_, why)| why.is_none());
    let ranked: Vec<&Cell> = ranked.into_iter().map(|(arm, _)| arm).collect();
    let costs = costs(&ranked, criterion);
    let apart = apart.into_iter().filter_map(|(arm, why)| {
        let arm = arm.arm.to_string();
        Some(Apart { arm, why: why? })
    });
    Some(Ranking {
        name: workload_name(first),
        column: criterion.column,
        title: criterion.title,
        more_is_better: criterion.more_is_better,
        margin: criterion.margin,
        blocks: costs.first().map_or(0, Vec::len),
        places: places(&ranked, &costs, criterion),
        apart: apart.collect(),
    })
}

/// The places in their order; none without a block to compare in.
fn places(arms: &[&Cell], costs: &[Vec<f64>], criterion: &Criterion) -> Vec<Place> {
    let Some(best) = best_of(costs) else {
        return Vec::new();
    };
    let adjusted = adjusted_pairs(costs);
    let mut places: Vec<Place> = (0..arms.len())
        .filter_map(|i| place(i, best, arms[i].arm, costs, &adjusted, criterion))
        .collect();
    places.sort_by(|a, b| worseness(a, criterion).total_cmp(&worseness(b, criterion)));
    places
}

/// DESIGN §4: ranked are arms that were `ok` and not invalid in every block.
fn why_apart(cell: &Cell, criterion: &Criterion) -> Option<String> {
    let total = cell.rows.len();
    let blocks = |bad: usize, what: &str| match total {
        n if n == bad => what.to_string(),
        n => format!("{what} in {bad} of {n} blocks"),
    };
    let count = |test: &dyn Fn(&Row) -> bool| cell.rows.iter().filter(|row| test(row)).count();
    let not_ok = count(&|row| row.status != Status::Ok);
    let invalid = count(&|row| row.verdict == Verdict::Invalid);
    let figureless = count(&|row| criterion.cost(row).is_none());
    match (not_ok, invalid, figureless) {
        (0, 0, 0) => None,
        (0, 0, n) => Some(blocks(n, &format!("no {}", criterion.title))),
        (0, n, _) => Some(blocks(n, "invalid")),
        (n, _, _) => Some(blocks(n, &cell.status().0.to_string())),
    }
}

/// Per arm the costs in those blocks that every arm has, in the same order.
fn costs<'a>(arms: &[&Cell<'a>], criterion: &Criterion) -> Vec<Vec<f64>> {
    let by_block: Vec<BTreeMap<(&str, u32), f64>> = arms
        .iter()
        .map(|cell| {
            cell.rows
                .iter()
                .filter_map(|&row| Some(((row.run_id.as_str(), row.block), criterion.cost(row)?)))
                .collect()
        })
        .collect();
    let everywhere = |block: &(&str, u32)| by_block.iter().all(|arm| arm.contains_key(block));
    by_block
        .iter()
        .map(|arm| {
            arm.iter()
                .filter(|(block, _)| everywhere(block))
                .map(|(_, cost)| *cost)
                .collect()
        })
        .collect()
}

/// The arm whose cost lies lowest beside the others of the same block, by the median over blocks.
fn best_of(costs: &[Vec<f64>]) -> Option<usize> {
    let blocks = costs.first()?.len();
    if blocks == 0 {
        return None;
    }
    let mean_of_block: Vec<f64> = (0..blocks)
        .map(|b| costs.iter().map(|arm| arm[b]).sum::<f64>() / costs.len() as f64)
        .collect();
    let centre = |arm: &[f64]| {
        let beside_others = super::sorted(&differences(arm, &mean_of_block));
        beside_others
            .and_then(|values| median(&values))
            .unwrap_or(f64::INFINITY)
    };
    let centres: Vec<f64> = costs.iter().map(|arm| centre(arm)).collect();
    (0..costs.len()).min_by(|&a, &b| centres[a].total_cmp(&centres[b]))
}

fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// The p-value of every pair (smaller index first) after Holm's correction over all of them.
fn adjusted_pairs(costs: &[Vec<f64>]) -> BTreeMap<(usize, usize), f64> {
    let pairs: Vec<(usize, usize)> = (0..costs.len())
        .flat_map(|j| (0..j).map(move |i| (i, j)))
        .collect();
    let p: Vec<f64> = pairs
        .iter()
        .map(|&(i, j)| signed_rank::test(&differences(&costs[i], &costs[j])).two_sided())
        .collect();
    pairs.into_iter().zip(holm::adjusted(&p)).collect()
}

fn place(
    arm: usize,
    best: usize,
    name: &str,
    costs: &[Vec<f64>],
    adjusted: &BTreeMap<(usize, usize), f64>,
    criterion: &Criterion,
) -> Option<Place> {
    let sign = if criterion.more_is_better { -1.0 } else { 1.0 };
    let figure = Figure::of(costs[arm].iter().map(|cost| (sign * cost).exp()))?;
    let arm_name = name.to_string();
    if arm == best {
        return Some(Place {
            arm: arm_name,
            figure,
            standing: Standing::Best,
            difference: None,
        });
    }
    let x = differences(&costs[arm], &costs[best]);
    let p_adjusted = *adjusted.get(&(arm.min(best), arm.max(best)))?;
    let change = |cost: f64| (sign * cost).exp_m1();
    Some(Place {
        arm: arm_name,
        figure,
        standing: standing(&x, p_adjusted, criterion.margin.ln_1p(), adjusted.len()),
        difference: Some(Difference {
            change: change(walsh::hodges_lehmann(&x)?),
            interval: signed_rank::interval(&x, ALPHA / 2.0).map(|i| i.map(change)),
            p_adjusted,
        }),
    })
}

/// `tied` needs its own proof: that no difference was found is none.
fn standing(x: &[f64], p_adjusted: f64, margin: f64, pairs: usize) -> Standing {
    let worse = walsh::hodges_lehmann(x).is_some_and(|estimate| estimate > 0.0);
    if equivalence::is_shown(x, margin) {
        Standing::Tied
    } else if p_adjusted <= ALPHA && worse {
        Standing::Worse
    } else {
        Standing::NeedsBlocks(blocks_to_settle(x, margin, pairs))
    }
}

/// Blocks after which the arm will probably be known either to be worse (if the difference is as large as it looks)
/// or to be tied (if what is left of the margin beyond the difference is enough for that); more than there are.
fn blocks_to_settle(x: &[f64], margin: f64, pairs: usize) -> Option<u64> {
    let alpha = ALPHA / 2.0 / pairs as f64;
    let difference = walsh::hodges_lehmann(x)?.abs();
    let Some(sd) = power::standard_deviation(x) else {
        return Some(power::fewest_blocks(alpha));
    };
    let worse = power::blocks_needed(sd, difference, alpha);
    let left = margin - difference;
    let tied = (left > 0.0)
        .then(|| power::blocks_needed(sd, left, ALPHA))
        .flatten();
    let fewest = [worse, tied].into_iter().flatten().min()?;
    Some(
        fewest
            .max(x.len() as u64 + 1)
            .max(power::fewest_blocks(alpha)),
    )
}

/// Orders places: the best, then by the difference from it.
fn worseness(place: &Place, criterion: &Criterion) -> f64 {
    let sign = if criterion.more_is_better { -1.0 } else { 1.0 };
    place
        .difference
        .map_or(f64::NEG_INFINITY, |d| sign * d.change)
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
    fn too_few_blocks_ask_for_more_whatever_the_difference() {
        for blocks in 1..=3 {
            let ranking = ranked(&rows(&[("epoll", 1.0), ("poll", 0.2)], blocks, 0.01));
            let Standing::NeedsBlocks(Some(n)) = ranking.places[1].standing else {
                panic!("{ranking:?}");
            };
            assert!(n >= 6 && n > u64::from(blocks));
            assert_eq!(ranking.places[1].difference.unwrap().interval, None);
        }
    }

    #[test]
    fn noise_beyond_the_margin_is_no_tie() {
        let ranking = ranked(&rows(&[("epoll", 1.0), ("poll", 0.99)], 8, 0.6));
        let Standing::NeedsBlocks(Some(n)) = ranking.places[1].standing else {
            panic!("{ranking:?}");
        };
        assert!(n > 8);
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
        assert_eq!(ranking.places.len(), 2);
        let apart = |arm: &str, why: &str| Apart {
            arm: arm.into(),
            why: why.into(),
        };
        let expected = [
            apart("thread", "invalid in 1 of 7 blocks"),
            apart("select", "limited"),
        ];
        assert!(
            expected.iter().all(|e| ranking.apart.contains(e)),
            "{:?}",
            ranking.apart
        );
    }

    #[test]
    fn an_unfinished_block_is_left_out() {
        let mut rows = rows(&[("epoll", 1.0), ("poll", 0.5)], 8, 0.01);
        rows.pop();
        assert_eq!(ranked(&rows).blocks, 7);
        assert_eq!(
            rank(&cells(&rows[..1]), &THROUGHPUT).map(|r| r.places.len()),
            Some(1)
        );
        assert_eq!(rank(&[], &THROUGHPUT), None);
        // Of an interrupted first block there is nothing to compare.
        let mut apart_in_time = rows[..2].to_vec();
        apart_in_time[1].block = 2;
        assert!(ranked(&apart_in_time).places.is_empty());
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
        let rankings = rankings(&rows);
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
            let ranking = ranked(&rows);
            assert_eq!(ranking.apart[0].why, "no requests/s in 1 of 6 blocks");
        }
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
        #![proptest_config(ProptestConfig::with_cases(64))]
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
