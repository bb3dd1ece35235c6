//! Which rate to try next.

use crate::base::units::MAX_RATE_PER_S;

/// The bisection ends when the bounds are this close.
const PRECISION: f64 = 0.05;

/// Steps at most; a climb from 1 to 10 million and its bisection take 30.
pub(super) const MAX_STEPS: usize = 32;

/// What is known so far, and what to try next.
#[derive(Debug)]
pub(super) struct Bounds {
    start_per_s: f64,
    pub(super) held_per_s: Option<f64>,
    pub(super) broken_per_s: Option<f64>,
    /// The highest rate that had too few samples.
    unknown_per_s: Option<f64>,
}

impl Bounds {
    pub(super) fn new(start_per_s: f64) -> Self {
        Self {
            start_per_s,
            held_per_s: None,
            broken_per_s: None,
            unknown_per_s: None,
        }
    }

    pub(super) fn learn(&mut self, rate_per_s: f64, held: Option<bool>) {
        match held {
            Some(true) => self.held_per_s = Some(rate_per_s),
            Some(false) => self.broken_per_s = Some(rate_per_s),
            None => self.unknown_per_s = Some(rate_per_s),
        }
    }

    /// The next rate; `None` when the bounds are close or the scale is at its end.
    pub(super) fn next(&self) -> Option<f64> {
        let low = self.held_per_s.or(self.unknown_per_s);
        let next = match (low, self.broken_per_s) {
            (None, None) => self.start_per_s,
            (Some(low), None) => low.max(self.unknown_per_s.unwrap_or(0.0)) * 2.0,
            (None, Some(broken)) => broken / 2.0,
            (Some(low), Some(broken)) if broken - low <= PRECISION * low => return None,
            (Some(low), Some(broken)) => f64::midpoint(low, broken),
        };
        (1.0..=MAX_RATE_PER_S).contains(&next).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a server that keeps its promise below `limit` and needs `enough` a second to tell.
    fn found(start: f64, limit: f64, enough: f64) -> (Option<f64>, usize) {
        let mut bounds = Bounds::new(start);
        let mut steps = 0;
        while let Some(rate) = bounds.next().filter(|_| steps < MAX_STEPS) {
            bounds.learn(rate, (rate >= enough).then_some(rate < limit));
            steps += 1;
        }
        (bounds.held_per_s, steps)
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for start in [1.0, 1000.0, 1e6] {
            let (held, steps) = found(start, 54_321.0, 0.0);
            let held = held.expect("found");
            assert!(
                held < 54_321.0 && held > 54_321.0 * 0.94,
                "{held} from {start}"
            );
            assert!(steps < MAX_STEPS);
        }
    }

    #[test]
    fn rates_too_low_to_judge_are_climbed_past() {
        let held = found(10.0, 54_321.0, 2000.0).0.expect("found");
        assert!(held > 50_000.0, "{held}");
    }

    #[test]
    fn what_never_holds_or_never_breaks_ends() {
        assert_eq!(found(1000.0, 0.0, 0.0).0, None);
        assert!(found(1000.0, f64::INFINITY, 0.0).0.is_some());
    }
}
