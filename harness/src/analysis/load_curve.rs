//! Latency against load: how each arm's response times grow with the rate that is offered, from the levels of a run.
//!
//! A level is what was measured, and nothing is said between two of them: the rate that an arm holds is one that was
//! offered, and so is its knee.
//!
//! The *knee* is where requests per second ÷ response time, the *power* of a queueing system, is highest (Kleinrock,
//! Power and deterministic rules of thumb, ICC 1979; Jain, The Art of Computer Systems Performance Analysis, 1991, 3.3):
//! beyond it a higher rate is paid for with more than it brings. It has no parameter, and levels beyond it do not move
//! it, as they move the point farthest from the chord (Kneedle, Satopää 2011).

use crate::analysis::stats::ranking::{HELD, answered_share};
use crate::analysis::summary::{Cell, Figure, arms, cells};
use crate::base::text::visible;
use crate::model::row::{Row, Status, Verdict};
use crate::model::workload::{Workload, title_without_rate, workload_name};
use loadgen::tally::outcome::enough_beyond;
use loadgen::tally::slo::Slo;
use schemars::JsonSchema;
use serde::Serialize;

/// Levels that a knee needs: one on each side of it.
const LEVELS_OF_A_KNEE: usize = 3;

/// What a run says of one workload at several rates.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LoadCurve {
    /// The workload in one word, without its rate.
    pub workload: String,
    /// The workload in words, without its rate.
    pub title: String,
    /// Whether the levels are shares of each arm's own capacity; else they are rates, the same for all.
    pub in_shares: bool,
    /// The promises that levels are held against, as they were given.
    pub slo: Vec<String>,
    /// The arms in the registry's order.
    pub arms: Vec<ArmCurve>,
    /// What is said of it, the most important first.
    pub sentences: Vec<String>,
    /// Which rows they are.
    #[serde(skip)]
    pub key: Workload,
}

/// One arm at its levels.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ArmCurve {
    /// The arm.
    pub arm: String,
    /// Its levels, rates rising.
    pub levels: Vec<Level>,
    /// The highest level that was held; none: none was.
    pub held_per_s: Option<f64>,
    /// The highest level at which every promise was kept and the rate held; none without promises, or where there is no
    /// such level.
    pub slo_held_per_s: Option<f64>,
    /// The level with the most requests per second for their response time; none of too few levels.
    pub knee: Option<Knee>,
    #[serde(skip)]
    pub(crate) model: String,
}

/// Where an arm's curve turns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Knee {
    /// The level.
    pub rate_per_s: f64,
    /// The percentile of the response time that it was found by: the 99th, or the 50th where levels lack that.
    pub column: &'static str,
    /// Whether it is the highest level with figures: the knee lies there or beyond.
    pub is_last: bool,
    /// Whether it is the lowest level: the knee lies there or below.
    pub is_first: bool,
}

/// One arm at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Level {
    /// The workload in one word.
    pub workload: String,
    /// Offered requests per second.
    pub rate_per_s: f64,
    /// The share of the arm's capacity that was asked for, where one was.
    pub capacity_fraction: Option<f64>,
    /// Trials whose figures may be believed.
    pub trials: usize,
    /// What the server did; where the trials differ, the first that is not `ok`.
    pub status: Status,
    /// The worst verdict among the trials.
    pub verdict: Verdict,
    /// Whether 99 % of what was due was answered in the median trial; none where no trial may be believed.
    pub held: Option<bool>,
    /// Completed requests per second.
    pub requests_per_s: Option<Figure>,
    /// Median response time.
    pub response_p50_ns: Percentile,
    /// 99th percentile.
    pub response_p99_ns: Percentile,
    /// 99.9th percentile.
    pub response_p999_ns: Percentile,
    /// Whether every promise was kept in the median trial; none without promises, or with too few requests to say.
    pub slo_kept: Option<bool>,
    #[serde(skip)]
    pub(crate) trial_numbers: Vec<u32>,
}

/// A percentile of the response time over the trials of a level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Percentile {
    /// The median over trials, ns.
    Known(Figure),
    /// It falls among requests that were never answered: it is longer than they waited.
    Censored,
    /// It takes a hundred requests beyond it, which a window of so many seconds would have.
    TooFew {
        /// The window, s.
        duration_s: f64,
    },
    /// Nothing may be believed.
    Unknown,
}

impl Percentile {
    /// The median over trials, where it is known.
    pub fn median(self) -> Option<f64> {
        match self {
            Percentile::Known(figure) => Some(figure.median),
            _ => None,
        }
    }
}

/// The curves of a run: of each workload with several rates, and, where promises are made, of those with one.
pub fn curves(rows: &[Row], slo: &[Slo]) -> Vec<LoadCurve> {
    let cells = cells(rows);
    let open = cells.iter().filter(|cell| cell.workload.is_open_loop());
    let mut groups: Vec<(Workload, bool, Vec<&Cell>)> = Vec::new();
    for cell in open {
        let in_shares = cell.workload.capacity_permille.is_some();
        let key = cell.workload.without_rate();
        match groups
            .iter_mut()
            .find(|(k, s, _)| *k == key && *s == in_shares)
        {
            Some((_, _, group)) => group.push(cell),
            None => groups.push((key, in_shares, vec![cell])),
        }
    }
    let order = arms(rows);
    let is_curve = |(_, _, group): &(Workload, bool, Vec<&Cell>)| {
        !slo.is_empty() || group.iter().any(|cell| cell.workload != group[0].workload)
    };
    let groups = groups.into_iter().filter(is_curve);
    groups
        .map(|(key, in_shares, group)| curve(key, in_shares, &group, &order, slo))
        .collect()
}

fn curve(
    key: Workload,
    in_shares: bool,
    group: &[&Cell],
    order: &[&str],
    slo: &[Slo],
) -> LoadCurve {
    let bare = Row {
        rate_per_s: None,
        capacity_fraction: None,
        ..group[0].rows[0].clone()
    };
    let of_arm = |arm: &&str| {
        let own: Vec<&&Cell> = group.iter().filter(|cell| cell.arm == *arm).collect();
        (!own.is_empty()).then(|| arm_curve(&own, slo))
    };
    LoadCurve {
        workload: workload_name(&bare),
        title: title_without_rate(&bare),
        in_shares,
        slo: slo.iter().map(Slo::to_string).collect(),
        arms: order.iter().filter_map(of_arm).collect(),
        sentences: Vec::new(),
        key,
    }
}

fn arm_curve(cells: &[&&Cell], slo: &[Slo]) -> ArmCurve {
    let mut levels: Vec<Level> = cells.iter().filter_map(|cell| level(cell, slo)).collect();
    levels.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    let highest = |test: &dyn Fn(&Level) -> bool| {
        let mut falling = levels.iter().rev();
        falling
            .find(|level| test(level))
            .map(|level| level.rate_per_s)
    };
    ArmCurve {
        arm: cells[0].arm.to_string(),
        model: cells[0].model.to_string(),
        held_per_s: highest(&|level| level.held == Some(true)),
        slo_held_per_s: highest(&|level| level.held == Some(true) && level.slo_kept == Some(true)),
        knee: knee(&levels),
        levels,
    }
}

fn level(cell: &Cell, slo: &[Slo]) -> Option<Level> {
    let row = cell.rows[0];
    let usable: Vec<&Row> = cell
        .rows
        .iter()
        .copied()
        .filter(|r| r.is_usable())
        .collect();
    let (status, _) = cell.status();
    let percentile = |of: fn(&Row) -> Option<u64>, q: f64| percentile(&usable, of, q);
    Some(Level {
        workload: workload_name(row),
        rate_per_s: row.rate_per_s?,
        capacity_fraction: row.capacity_fraction,
        trials: usable.len(),
        status,
        verdict: cell.verdict(),
        held: held(&usable).map(|held| held && status == Status::Ok),
        requests_per_s: cell.figure(|r| r.requests_per_s),
        response_p50_ns: percentile(|r| r.response_p50_ns, 0.5),
        response_p99_ns: percentile(|r| r.response_p99_ns, 0.99),
        response_p999_ns: percentile(|r| r.response_p999_ns, 0.999),
        slo_kept: kept(&usable, slo),
        trial_numbers: usable.iter().map(|row| row.trial).collect(),
    })
}

/// Whether the median trial answered what was due.
fn held(rows: &[&Row]) -> Option<bool> {
    let figure = Figure::of(rows.iter().filter_map(|row| answered_share(row)))?;
    Some(figure.median >= HELD)
}

/// A percentile over trials, those in which it falls among the unanswered counting as longer than any.
fn percentile(rows: &[&Row], of: fn(&Row) -> Option<u64>, q: f64) -> Percentile {
    let due = |row: &Row| row.requests_offered.unwrap_or(0);
    let judged = |row: &&&Row| of(row).is_some() || enough_beyond(due(row), q);
    // A server that starved some of its clients has no latency, however many requests there were.
    let ran = rows.iter().filter(|row| row.status != Status::Starved);
    let ran: Vec<&&Row> = ran.collect();
    let values = ran.iter().copied().filter(judged);
    let mut values: Vec<f64> = values
        .map(|row| of(row).map_or(f64::INFINITY, |ns| ns as f64))
        .collect();
    if values.is_empty() {
        let needed = ran.iter().filter(|row| due(row) > 0).map(|row| {
            // A little more than just enough, in whole seconds.
            let per_s = due(row) as f64 / row.duration_s.max(f64::MIN_POSITIVE);
            (1.02 * 100.0 / (1.0 - q) / per_s).ceil()
        });
        return match needed.max_by(f64::total_cmp) {
            Some(duration_s) => Percentile::TooFew { duration_s },
            None => Percentile::Unknown,
        };
    }
    values.sort_by(f64::total_cmp);
    match crate::analysis::summary::median(&values) {
        Some(median) if median.is_finite() => {
            let last = values.iter().rev().find(|v| v.is_finite());
            Percentile::Known(Figure {
                median,
                min: values[0],
                max: last.copied().unwrap_or(median),
                trials: values.len(),
            })
        }
        _ => Percentile::Censored,
    }
}

/// Whether the median trial keeps every promise. What falls among unanswered requests is broken whatever the limit: a
/// request that was given up is no sign of a short time.
fn kept(rows: &[&Row], slo: &[Slo]) -> Option<bool> {
    let mut all = true;
    for slo in slo {
        let (of, q) = column(slo);
        let is_kept = match percentile(rows, of, q) {
            Percentile::Known(figure) => figure.median < slo.limit as f64,
            Percentile::Censored => false,
            Percentile::TooFew { .. } | Percentile::Unknown => return None,
        };
        all &= is_kept;
    }
    (!slo.is_empty()).then_some(all)
}

/// Where a promise's figure is in a row, and the quantile that it is; what is no quantile is always known.
fn column(slo: &Slo) -> (fn(&Row) -> Option<u64>, f64) {
    use loadgen::tally::slo::Metric;
    match slo.metric {
        Metric::ResponseP50Ns => (|row| row.response_p50_ns, 0.5),
        Metric::ResponseP90Ns => (|row| row.response_p90_ns, 0.9),
        Metric::ResponseP99Ns => (|row| row.response_p99_ns, 0.99),
        Metric::ResponseP999Ns => (|row| row.response_p999_ns, 0.999),
        Metric::ResponseMaxNs => (|row| row.response_max_ns, 0.0),
        Metric::ServiceP99Ns => (|row| row.service_p99_ns, 0.99),
        Metric::Errors => (|row| row.errors, 0.0),
    }
}

/// The level of the highest power, by the 99th percentile, or by the median where a level lacks that.
fn knee(levels: &[Level]) -> Option<Knee> {
    // What is never answered takes longer than anything.
    let power = |level: &Level, of: &dyn Fn(&Level) -> Percentile| match of(level) {
        Percentile::Known(figure) if figure.median > 0.0 => {
            Some(level.requests_per_s?.median / figure.median)
        }
        Percentile::Censored => Some(0.0),
        _ => None,
    };
    let figures: Vec<&Level> = levels
        .iter()
        .filter(|level| level.response_p50_ns.median().is_some())
        .collect();
    if figures.len() < LEVELS_OF_A_KNEE {
        return None;
    }
    type Of<'a> = (&'static str, &'a dyn Fn(&Level) -> Percentile);
    let columns: [Of; 2] = [
        ("response_p99_ns", &|level| level.response_p99_ns),
        ("response_p50_ns", &|level| level.response_p50_ns),
    ];
    columns.into_iter().find_map(|(column, of)| {
        let powers: Option<Vec<f64>> = figures.iter().map(|level| power(level, of)).collect();
        let powers = powers?;
        let best = (0..powers.len()).max_by(|a, b| powers[*a].total_cmp(&powers[*b]))?;
        Some(Knee {
            rate_per_s: figures[best].rate_per_s,
            column,
            is_last: best + 1 == figures.len(),
            is_first: best == 0,
        })
    })
}

impl LoadCurve {
    /// Whether these rows are of one of its levels.
    pub fn holds(&self, workload: &Workload) -> bool {
        workload.is_open_loop()
            && workload.capacity_permille.is_some() == self.in_shares
            && workload.without_rate() == self.key
    }

    /// Whether there are several levels to compare.
    pub fn has_levels(&self) -> bool {
        self.arms.iter().any(|arm| arm.levels.len() > 1)
    }
}

impl ArmCurve {
    /// The arm as it may be shown.
    pub fn label(&self) -> String {
        visible(&self.arm)
    }
}

#[cfg(test)]
mod tests;
