//! Latency against load on a terminal: a line per arm, a column per level.

use crate::analysis::load_curve::{ArmCurve, Level, LoadCurve, Percentile};
use crate::base::unit::count;
use crate::model::workload::percent;
use loadgen::base::units::format_ns;

/// Widths that fit into 80 columns: the arm's, and a level's.
const ARM: usize = 17;
const LEVEL: usize = 9;
/// Levels beside each other; more are further tables.
const MOST: usize = 7;

/// The tables of a curve, and what their marks say.
pub fn of(curve: &LoadCurve) -> String {
    let levels = levels(curve);
    let mut all = curve.arms.iter().flat_map(|arm| &arm.levels);
    let by_p99 = all.any(|level| has(level.response_p99_ns));
    let (title, of): (&str, fn(&Level) -> Percentile) = match by_p99 {
        true => ("p99", |level| level.response_p99_ns),
        false => ("p50", |level| level.response_p50_ns),
    };
    let along = match curve.in_shares {
        true => "of each arm's capacity",
        false => "offered",
    };
    let mut text = String::new();
    // No table is much shorter than the others.
    let tables = levels.len().div_ceil(MOST).max(1);
    for levels in levels.chunks(levels.len().div_ceil(tables).max(1)) {
        let head = levels
            .iter()
            .map(|key| format!("{:>width$} ", key.words(), width = LEVEL - 1));
        let head: String = head.collect();
        text.push_str(&format!(
            "  {title}, {along}\n{}{}\n",
            " ".repeat(ARM),
            head.trim_end()
        ));
        for arm in &curve.arms {
            let cells = levels.iter().map(|key| cell(curve, arm, *key, of));
            let cells: String = cells.collect();
            text.push_str(&line(&arm.label(), &cells));
        }
    }
    text + &marks(curve)
}

/// What tells the levels of a curve apart.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Key {
    Share(f64),
    PerS(f64),
}

impl Key {
    fn of(level: &Level) -> Key {
        match level.capacity_fraction {
            Some(share) => Key::Share(share),
            None => Key::PerS(level.rate_per_s),
        }
    }

    fn words(self) -> String {
        match self {
            Key::Share(share) => format!("{} %", percent(share)),
            Key::PerS(rate) => format!("{}/s", count(rate)),
        }
    }

    fn value(self) -> f64 {
        match self {
            Key::Share(value) | Key::PerS(value) => value,
        }
    }
}

fn levels(curve: &LoadCurve) -> Vec<Key> {
    let all = curve.arms.iter().flat_map(|arm| &arm.levels);
    let mut keys: Vec<Key> = all.map(Key::of).collect();
    keys.sort_by(|a, b| a.value().total_cmp(&b.value()));
    keys.dedup();
    keys
}

fn has(percentile: Percentile) -> bool {
    matches!(percentile, Percentile::Known(_) | Percentile::Censored)
}

/// A percentile with its mark, in the width of a column.
fn cell(curve: &LoadCurve, arm: &ArmCurve, key: Key, of: fn(&Level) -> Percentile) -> String {
    let Some(level) = arm.levels.iter().find(|level| Key::of(level) == key) else {
        return format!("{:>LEVEL$}", "");
    };
    let words = match of(level) {
        Percentile::Known(figure) => format_ns(figure.median.round() as u64),
        Percentile::Censored => "∞".into(),
        Percentile::TooFew { .. } => "few".into(),
        Percentile::Unknown => "n/a".into(),
    };
    let is_knee = arm
        .knee
        .is_some_and(|knee| knee.rate_per_s == level.rate_per_s);
    let is_held = !curve.slo.is_empty() && arm.slo_held_per_s == Some(level.rate_per_s);
    let mark = match (level.held, is_held, is_knee) {
        (Some(false), ..) => "x",
        (_, true, true) => "#",
        (_, true, false) => "=",
        (_, _, true) => "^",
        _ => "",
    };
    // The mark hangs over, so that figures stand below each other.
    format!("{:>width$}{mark:<1}", words, width = LEVEL - 1)
}

fn line(arm: &str, cells: &str) -> String {
    let gap = match arm.chars().count() < ARM - 1 {
        true => " ".repeat(ARM - 2 - arm.chars().count()),
        false => format!("\n{}", " ".repeat(ARM)),
    };
    format!("  {arm}{gap}{cells}").trim_end().to_string() + "\n"
}

fn marks(curve: &LoadCurve) -> String {
    let levels = || curve.arms.iter().flat_map(|arm| &arm.levels);
    let mut words = vec!["^ knee"];
    if !curve.slo.is_empty() {
        words.extend(["= highest under the promise", "# both"]);
    }
    if levels().any(|level| level.held == Some(false)) {
        words.push("x rate not held");
    }
    let any = |test: fn(Percentile) -> bool| levels().any(|level| test(level.response_p99_ns));
    if any(|p| p == Percentile::Censored) {
        words.push("∞ never answered");
    }
    if any(|p| matches!(p, Percentile::TooFew { .. })) {
        words.push("few: too few requests");
    }
    crate::base::text::wrapped(&words.join("  "), 80)
}
