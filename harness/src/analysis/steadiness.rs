//! W06: whether an arm drifts within its window. A warm-up that was too short, a leak, a growing queue have the same
//! sign in every trial of the arm; a neighbour has not, and in a busy hour two in five trials have halves that differ by
//! more than a tenth. So it is judged over all trials of an arm, and of a single one over its seconds.

use crate::model::row::{Reason, Row, Verdict};
use crate::model::timeline::TimelineRow;
use crate::model::workload::Workload;
use loadgen::tally::code::Code;
use loadgen::tally::verdict::of_reasons;
use std::collections::BTreeMap;

/// A drift that matters: the second half of the window beside the first.
const MATTERS: f64 = 0.10;

/// Seconds that a single trial needs to show its own scatter.
const FEWEST_SECONDS: usize = 10;

/// Student's t: two-sided 95 % by degrees of freedom from 1 (Pearson & Hartley, table 12); what is beyond the table is
/// taken with its last, which is a little strict.
const T_95: [f64; 10] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23];

/// How an arm drifts: the mean of ln(second half ÷ first), where it has been shown to matter.
pub fn drift(log_ratios: &[f64]) -> Option<f64> {
    let n = log_ratios.len() as f64;
    if log_ratios.len() < 2 {
        return None;
    }
    let mean = log_ratios.iter().sum::<f64>() / n;
    let squares: f64 = log_ratios.iter().map(|d| (d - mean).powi(2)).sum();
    let error = (squares / (n - 1.0) / n).sqrt();
    let t = T_95[(log_ratios.len() - 2).min(T_95.len() - 1)];
    (mean.abs() > MATTERS.ln_1p() && mean.abs() > t * error).then_some(mean)
}

/// The drift of one trial over its seconds, beside their own scatter (Welch's test, the smaller half's freedom).
fn drift_of_seconds(completed: &[f64]) -> Option<f64> {
    if completed.len() < FEWEST_SECONDS {
        return None;
    }
    let (first, second) = completed.split_at(completed.len() / 2);
    let moments = |half: &[f64]| {
        let n = half.len() as f64;
        let mean = half.iter().sum::<f64>() / n;
        let variance = half.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance / n)
    };
    let ((a, a_error), (b, b_error)) = (moments(first), moments(second));
    let t = T_95[(first.len() - 2).min(T_95.len() - 1)];
    let is_shown = (b - a).abs() > t * (a_error + b_error).sqrt();
    let change = (b / a).ln();
    (is_shown && change.is_finite() && change.abs() > MATTERS.ln_1p()).then_some(change)
}

/// Says W06 of the trials of every arm that drifts.
pub fn judge(rows: &mut [Row], timeline: &[TimelineRow]) {
    let mut arms: BTreeMap<(String, Workload), Vec<usize>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        if row.window_drift.is_some() && row.verdict != Verdict::Invalid {
            arms.entry((row.arm.clone(), row.workload()))
                .or_default()
                .push(i);
        }
    }
    for trials in arms.into_values() {
        let ratios = trials
            .iter()
            .filter_map(|&i| Some(rows[i].window_drift?.ln_1p()));
        let (shown, over) = match trials.as_slice() {
            [one] => (
                drift_of_seconds(&seconds(&rows[*one], timeline)),
                "its seconds".to_string(),
            ),
            more => (
                drift(&ratios.collect::<Vec<f64>>()),
                format!("{} trials", more.len()),
            ),
        };
        if let Some(drift) = shown {
            for i in trials {
                doubt(&mut rows[i], drift, &over);
            }
        }
    }
}

fn seconds(row: &Row, timeline: &[TimelineRow]) -> Vec<f64> {
    let own = timeline
        .iter()
        .filter(|line| line.run_id == row.run_id && line.trial == row.trial);
    own.map(|line| line.requests_completed as f64).collect()
}

fn doubt(row: &mut Row, drift: f64, over: &str) {
    if row.reasons.0.iter().any(|reason| reason.is(Code::W06)) {
        return;
    }
    let text = format!(
        "not steady: over {over} the second half of the window had {:.0} % {} requests than the first (a longer --warmup, \
         or does the server leak?)",
        drift.exp_m1().abs() * 100.0,
        if drift < 0.0 { "fewer" } else { "more" }
    );
    row.reasons.0.push(Reason::new(Code::W06, text));
    row.reasons.0.sort_by(|a, b| a.code.cmp(&b.code));
    row.verdict = row.verdict.max(of_reasons(&row.reasons.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    /// Requests in each of ten slices of a window, of a server whose speed at a time is this.
    fn window(speed: impl Fn(f64) -> f64, length_s: f64, noise: f64, random: &mut Rng) -> f64 {
        let mut halves = [0.0; 2];
        for slice in 0..10 {
            let at_s = (f64::from(slice) + 0.5) * length_s / 10.0;
            let chance = 1.0 + noise * (random.f64() + random.f64() - 1.0);
            halves[usize::from(slice >= 5)] += speed(at_s) * chance;
        }
        halves[1] / halves[0] - 1.0
    }

    fn trials(drifts: &[f64]) -> Vec<Row> {
        let row = |(i, drift): (usize, &f64)| Row {
            arm: "epoll".into(),
            block: i as u32 + 1,
            trial: i as u32 + 1,
            window_drift: Some(*drift),
            requests_completed: Some(1),
            ..Row::blank()
        };
        drifts.iter().enumerate().map(row).collect()
    }

    fn found(speed: impl Fn(f64) -> f64 + Copy, length_s: f64) -> usize {
        let is_found = |seed: &u64| {
            let mut random = Rng::with_seed(*seed);
            let drifts: Vec<f64> = (0..3)
                .map(|_| window(speed, length_s, 0.1, &mut random))
                .collect();
            let mut rows = trials(&drifts);
            judge(&mut rows, &[]);
            rows.iter().all(|row| row.verdict == Verdict::Suspect)
        };
        (0..20).filter(is_found).count()
    }

    #[test]
    fn a_leak_and_a_slow_start_are_found_and_a_steady_server_is_not_accused() {
        // Two per cent of its speed a second, over windows of twelve.
        assert!(found(|at_s| 1.0 - 0.02 * at_s, 12.0) >= 19);
        // Half as fast in the first second of three.
        assert!(found(|at_s| if at_s < 1.0 { 0.5 } else { 1.0 }, 3.0) >= 19);
        assert_eq!(found(|_| 1.0, 3.0), 0);
    }

    #[test]
    fn a_single_trial_is_judged_by_its_seconds() {
        let judged = |completed: &dyn Fn(u64) -> u64| {
            let mut rows = trials(&[0.2]);
            let line = |second| TimelineRow {
                trial: 1,
                arm: "epoll".into(),
                second,
                requests_completed: completed(second),
                ..TimelineRow::default()
            };
            let timeline: Vec<TimelineRow> = (0..12).map(line).collect();
            judge(&mut rows, &timeline);
            rows[0].reasons.0.first().map(|reason| reason.text.clone())
        };
        let grows = judged(&|second| 1000 + 40 * second).unwrap();
        assert!(
            grows.starts_with("not steady: over its seconds the second half"),
            "{grows}"
        );
        assert_eq!(judged(&|second| 1000 + 400 * (second % 2)), None);
        let mut short = trials(&[0.3]);
        judge(&mut short, &[]);
        assert_eq!(short[0].verdict, Verdict::Valid);
    }

    /// In that hour 40 % of the trials had halves more than a tenth apart. What is not told of the others is drawn.
    #[test]
    fn a_busy_hour_accuses_few() {
        let file = "../results/gate/busy-hour/closed-loop/trials.csv";
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let mut reader = csv::Reader::from_path(file).unwrap();
        let reasons = reader
            .headers()
            .unwrap()
            .iter()
            .position(|name| name == "reasons")
            .unwrap();
        let mut random = Rng::with_seed(1);
        let numbers = |text: &str| -> Option<f64> {
            let (_, halves) = text.split_once("W06 the halves of the window differ by ")?;
            let (_, counts) = halves.split_once(": ")?;
            let (first, second) = counts.split_once(" requests")?.0.split_once(" and ")?;
            let number = |n: &str| {
                n.replace(['\u{a0}', ' ', '\u{202f}'], "")
                    .parse::<f64>()
                    .ok()
            };
            Some(number(second)? / number(first)? - 1.0)
        };
        let records = reader.records().map(Result::unwrap);
        let drifts: Vec<f64> = records
            .map(|record| numbers(&record[reasons]).unwrap_or_else(|| random.f64() * 0.2 - 0.1))
            .collect();
        let apart = drifts.iter().filter(|d| d.abs() > 0.1).count();
        assert!(apart > drifts.len() / 4, "{apart} of {}", drifts.len());
        let (mut accused, mut all) = (0, 0);
        for _ in 0..300 {
            let mut rows = trials(
                &(0..3)
                    .map(|_| drifts[random.usize(..drifts.len())])
                    .collect::<Vec<f64>>(),
            );
            judge(&mut rows, &[]);
            accused += rows
                .iter()
                .filter(|row| row.verdict != Verdict::Valid)
                .count();
            all += rows.len();
        }
        assert!((accused as f64) < 0.05 * all as f64, "{accused} of {all}");
    }
}
