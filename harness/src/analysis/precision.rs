//! When the repeats of a run may end before its budget does: every difference from the best is known well enough.
//!
//! Looked at is how wide intervals are, never whether a difference was found, and only after set numbers of repeats:
//! whoever stops at a finding finds differences that are not there. A difference that is known to a part of its own
//! size needs no closer look (nobody asks whether it is 3.1 or 3.2 times), so that a width counts beside the margin or
//! beside the difference, whichever is larger; that this finds no more than was planned is simulated below.

use super::decide::PRECISION;
use super::stats::ranking::{Place, Ranking, rankings};
use crate::model::row::Row;

/// Repeats after which intervals are looked at; from the last one on after every [`BETWEEN_LOOKS`].
const LOOKS: [u64; 4] = [3, 4, 6, 8];

/// Repeats between two later looks.
const BETWEEN_LOOKS: u64 = 4;

/// Whether the intervals are looked at after so many repeats.
pub fn is_time_to_look(repeats: u64) -> bool {
    let last = LOOKS[LOOKS.len() - 1];
    LOOKS.contains(&repeats) || (repeats > last && (repeats - last).is_multiple_of(BETWEEN_LOOKS))
}

/// Whether every ranking of these rows is precise; of one arm, which is compared with nothing, it is.
pub fn is_decided(rows: &[Row]) -> bool {
    rankings(rows).iter().all(is_precise)
}

fn is_precise(ranking: &Ranking) -> bool {
    let mut others = ranking.places.iter().skip(1);
    others.all(|place| is_narrow(place, ranking.margin))
}

fn is_narrow(place: &Place, margin: f64) -> bool {
    let Some(difference) = place.difference else {
        return true;
    };
    let Some(interval) = difference.interval else {
        return false;
    };
    let half = (interval.high.ln_1p() - interval.low.ln_1p()) / 2.0;
    narrow_enough(half, difference.change.ln_1p(), margin)
}

/// `half` of an interval's width and the difference in it are logarithms.
fn narrow_enough(half: f64, difference: f64, margin: f64) -> bool {
    half <= PRECISION * margin.ln_1p().max(difference.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::stats::Interval;
    use crate::analysis::stats::pooled::Pooled;
    use crate::analysis::stats::ranking::{Difference, Standing};
    use crate::analysis::summary::Figure;

    fn place(change: f64, half: f64) -> Place {
        let log = change.ln_1p();
        Place {
            arm: "a".into(),
            figure: Figure::of([1.0]).unwrap(),
            standing: Standing::NotToldApart,
            difference: Some(Difference {
                change,
                interval: Some(Interval {
                    low: (log - half).exp_m1(),
                    high: (log + half).exp_m1(),
                }),
            }),
        }
    }

    #[test]
    fn an_interval_is_narrow_beside_the_margin_or_beside_the_difference() {
        let margin = 0.05;
        assert!(is_narrow(&place(0.0, 0.029), margin) && !is_narrow(&place(0.0, 0.03), margin));
        // A factor of two need not be known to three percent.
        assert!(is_narrow(&place(-0.5, 0.4), margin) && !is_narrow(&place(-0.5, 0.45), margin));
        // That a difference was found is not enough: this interval holds no zero.
        assert!(!is_narrow(&place(-0.2, 0.2), margin));
    }

    #[test]
    fn looks_come_at_set_numbers_of_repeats() {
        let looks: Vec<u64> = (0..21).filter(|&n| is_time_to_look(n)).collect();
        assert_eq!(looks, [3, 4, 6, 8, 12, 16, 20]);
    }

    /// Runs of four equal arms that end by the rule: how many tell one from the best.
    #[test]
    fn ending_when_intervals_are_narrow_finds_no_more_than_was_planned() {
        let margin = 0.05;
        let false_alarm = |seed: &u64| {
            let mut random = fastrand::Rng::with_seed(*seed);
            let mut normal = || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
            let mut logs: Vec<Vec<Option<f64>>> = vec![Vec::new(); 4];
            for repeats in 1..=12 {
                for arm in &mut logs {
                    arm.push(Some(0.03 * normal()));
                }
                if !is_time_to_look(repeats) {
                    continue;
                }
                let Some(pooled) = Pooled::with_simulations(&logs, 200) else {
                    continue;
                };
                let best = pooled.lowest();
                let others = || (0..4).filter(|&arm| arm != best);
                let narrow = |arm| {
                    let half = pooled.half_width(arm, best);
                    narrow_enough(half, pooled.difference(arm, best), margin)
                };
                if repeats == 12 || others().all(narrow) {
                    return others().any(|arm| pooled.interval(arm, best).low > 0.0);
                }
            }
            false
        };
        // 5 % planned: 12 or more of 100 come in one of 250 such tests.
        let alarms = (0..100).filter(false_alarm).count();
        assert!(alarms <= 11, "{alarms}");
    }
}
