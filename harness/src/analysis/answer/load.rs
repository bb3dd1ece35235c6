//! The sentences about a load at several rates: what each arm held, where its knee is, what could not be said.

use super::words::name;
use crate::analysis::load_curve::{ArmCurve, Knee, LoadCurve, Percentile};
use crate::base::text::about;
use loadgen::base::units::format_rate;
use std::time::Duration;

/// Arms that a sentence names; the table has all.
const MOST_NAMED: usize = 6;

/// What is said of a curve beside the rates that were held, the most important first.
pub fn of_curve(curve: &LoadCurve) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    if !curve.has_levels() {
        // Its workload is told like any other.
        return sentences;
    }
    if curve.slo.is_empty() {
        sentences.push(held(curve));
    }
    sentences.extend(broken_below(curve));
    sentences.extend(knees(curve));
    sentences.extend(no_p99(curve));
    sentences
}

/// The rate that each arm holds under the promises; none without promises.
pub fn held_under(curve: &LoadCurve) -> Option<String> {
    if curve.slo.is_empty() {
        return None;
    }
    let arms = by_rate(curve, |arm| arm.slo_held_per_s);
    let held = arms.iter().filter_map(|arm| {
        let rate = arm.slo_held_per_s?;
        Some(format!("{} {}", name(&arm.arm), rate_of(arm, rate)))
    });
    let held: Vec<String> = held.collect();
    let without = || arms.iter().filter(|arm| arm.slo_held_per_s.is_none());
    let names = |is_broken: bool| {
        let arms = without().filter(|arm| breaks(arm) == is_broken);
        listed(arms.map(|arm| name(&arm.arm)).collect())
    };
    let mut told: Vec<String> = Vec::new();
    if !held.is_empty() {
        told.push(format!("the highest rate held: {}", listed(held)));
    }
    if without().any(|arm| breaks(arm)) {
        told.push(format!("no rate of those offered: {}", names(true)));
    }
    if without().any(|arm| !breaks(arm)) {
        told.push(format!(
            "too few requests in the window to say: {}",
            names(false)
        ));
    }
    Some(format!(
        "Under {}, {}.",
        curve.slo.join(" and "),
        told.join("; ")
    ))
}

/// Whether some level was too much for the arm, or for its promises.
fn breaks(arm: &ArmCurve) -> bool {
    let mut levels = arm.levels.iter();
    levels.any(|level| level.held == Some(false) || level.slo_kept == Some(false))
}

/// The arms, the highest of these rates first.
fn by_rate(curve: &LoadCurve, of: fn(&ArmCurve) -> Option<f64>) -> Vec<&ArmCurve> {
    let mut arms: Vec<&ArmCurve> = curve.arms.iter().collect();
    let rate = |arm: &ArmCurve| of(arm).unwrap_or(0.0);
    arms.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
    arms
}

/// The same without promises.
fn held(curve: &LoadCurve) -> String {
    let arms = by_rate(curve, |arm| arm.held_per_s);
    let told = arms.iter().map(|arm| match arm.held_per_s {
        Some(rate) => format!("{} {}", name(&arm.arm), rate_of(arm, rate)),
        None => format!("{} none of its levels", name(&arm.arm)),
    });
    format!(
        "The highest rate held (99 % of what was due, answered): {}.",
        listed(told.collect())
    )
}

/// `45 000/s`, and whether that is the highest that was offered: `at least 45 000/s, the highest offered`.
fn rate_of(arm: &ArmCurve, rate: f64) -> String {
    let is_highest = arm
        .levels
        .last()
        .is_some_and(|level| level.rate_per_s <= rate);
    match is_highest {
        true => format!("at least {} (the highest offered)", format_rate(rate)),
        false => format_rate(rate),
    }
}

/// Levels below the one that was held at which a promise was broken all the same: the held one may be luck.
fn broken_below(curve: &LoadCurve) -> Option<String> {
    let told = curve.arms.iter().filter_map(|arm| {
        let held = arm.slo_held_per_s?;
        let broken = arm.levels.iter().filter(|level| {
            level.rate_per_s < held && (level.slo_kept == Some(false) || level.held == Some(false))
        });
        let rates: Vec<String> = broken.map(|level| format_rate(level.rate_per_s)).collect();
        (!rates.is_empty()).then(|| format!("{} at {}", name(&arm.arm), rates.join(", ")))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| {
        format!(
            "Broken at lower rates than the one held: {}; more --repeat would tell whether that is noise.",
            listed(told)
        )
    })
}

fn knees(curve: &LoadCurve) -> Option<String> {
    let by = |arm: &ArmCurve| arm.knee.map(|knee| knee.column);
    let arms = by_rate(curve, |arm| Some(arm.knee?.rate_per_s));
    let found = arms.iter().filter_map(|arm| Some((arm, arm.knee?)));
    let told: Vec<String> = found
        .map(|(arm, knee)| format!("{} {}", name(&arm.arm), knee_in_words(arm, knee)))
        .collect();
    let percentile = match curve
        .arms
        .iter()
        .all(|arm| by(arm) != Some("response_p50_ns"))
    {
        true => "p99",
        false => "p99 (p50 where a level has no p99)",
    };
    (!told.is_empty()).then(|| {
        format!(
            "The knee, the level with the most requests/s for its {percentile}: {}.",
            listed(told)
        )
    })
}

/// `87 000/s`, or on which side of the levels it lies.
pub fn knee_in_words(arm: &ArmCurve, knee: Knee) -> String {
    let rate = format_rate(knee.rate_per_s);
    let share = arm
        .levels
        .iter()
        .find(|level| level.rate_per_s == knee.rate_per_s)
        .and_then(|level| level.capacity_fraction)
        .map(|share| format!(" ({} %)", crate::model::workload::percent(share)))
        .unwrap_or_default();
    match (knee.is_first, knee.is_last) {
        (true, _) => format!("{rate} or less{share}"),
        (_, true) => format!("{rate} or more{share}"),
        _ => format!("{rate}{share}"),
    }
}

/// Where there is no 99th percentile, and the window that would have it everywhere.
fn no_p99(curve: &LoadCurve) -> Option<String> {
    let levels = || curve.arms.iter().flat_map(|arm| &arm.levels);
    let lacking = levels().filter_map(|level| match level.response_p99_ns {
        Percentile::TooFew { duration_s } => Some((level.rate_per_s, duration_s)),
        _ => None,
    });
    let lacking: Vec<(f64, f64)> = lacking.collect();
    let highest = lacking.iter().map(|(rate, _)| *rate).fold(0.0, f64::max);
    let longest = lacking.iter().map(|(_, s)| *s).fold(0.0, f64::max);
    (!lacking.is_empty()).then(|| {
        format!(
            "No p99 at {} of {} levels (up to {}): it takes 10 000 requests in the window; --duration {} would have \
             them all.",
            lacking.len(),
            levels().count(),
            format_rate(highest),
            in_one_word(longest)
        )
    })
}

/// A window as `--duration` takes it: `51s`, `2m10s`.
pub fn in_one_word(seconds: f64) -> String {
    about(Duration::from_secs_f64(seconds.clamp(1.0, 1e9))).replace(' ', "")
}

/// `a, b and c`; of more than a few, those and how many more.
fn listed(mut words: Vec<String>) -> String {
    let more = words.len().saturating_sub(MOST_NAMED);
    if more > 1 {
        words.truncate(MOST_NAMED);
        return format!("{}; and {more} more in the table", words.join(", "));
    }
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}
