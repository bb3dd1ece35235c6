//! Wilcoxon's signed-rank test with its exact null distribution, and the interval that belongs to it.
//!
//! Under "no difference" a paired log-ratio is as likely positive as negative, because the order within a block was
//! drawn at random: every sign pattern has chance 2⁻ⁿ, whatever the distribution of the values. Nothing is assumed
//! normal, nothing approximated.
//!
//! Source: F. Wilcoxon, Biometrics Bulletin 1 (1945); ties and zeros: J. W. Pratt, "Remarks on zeros and ties in
//! the Wilcoxon signed rank procedures", JASA 54 (1959); the interval: Hollander, Wolfe, Chicken, §3.3 (Tukey).

use super::{Interval, sorted, walsh};

/// Chances of a rank sum at least as extreme as the one seen, if there were no difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PValues {
    /// That the values lie above zero by chance alone.
    pub greater: f64,
    /// That the values lie below zero by chance alone.
    pub less: f64,
}

impl PValues {
    /// That they lie on either side by chance alone.
    pub fn two_sided(self) -> f64 {
        (2.0 * self.greater.min(self.less)).min(1.0)
    }
}

/// Tests whether the values lie around zero. No value, or only zeros, say nothing: both chances are 1; so it is
/// with values that are not finite.
pub fn test(x: &[f64]) -> PValues {
    let ranks = match sorted(x) {
        Some(_) => doubled_ranks(x),
        None => Vec::new(),
    };
    let signed = || ranks.iter().filter(|(value, _)| *value != 0.0);
    let positive: usize = signed().filter(|(v, _)| *v > 0.0).map(|(_, r)| r).sum();
    let null = null_distribution(signed().map(|(_, rank)| *rank));
    PValues {
        greater: null[positive..].iter().sum::<f64>().min(1.0),
        less: null[..=positive].iter().sum::<f64>().min(1.0),
    }
}

/// The interval for the middle of the values with chance at most `tail` of error on either side:
/// [W₍K+1₎, W₍M−K₎] of the Walsh averages, with K = max {k : P(T ≤ k) ≤ tail}.
///
/// `None` with too few values: 95 % (tail 0.025) needs 6, 90 % (tail 0.05) needs 5.
pub fn interval(x: &[f64], tail: f64) -> Option<Interval> {
    let k = critical_value(x.len(), tail)?;
    Interval::between_order_statistics(&walsh::averages(x), k)
}

/// The largest k with P(T ≤ k) ≤ `tail` for n values without ties; `None` if even P(T = 0) = 2⁻ⁿ is more.
pub fn critical_value(n: usize, tail: f64) -> Option<usize> {
    let mut below = 0.0;
    let mut within = |p: &f64| {
        below += p;
        below <= tail
    };
    let count = null_distribution(1..=n)
        .iter()
        .take_while(|p| within(p))
        .count();
    count.checked_sub(1)
}

/// P(T = t) for t from 0 up, T being the sum of the ranks that drew a positive sign. Each rank is in the sum with
/// chance one half, so every rank turns p[t] into (p[t] + p[t − rank]) / 2.
fn null_distribution(ranks: impl Iterator<Item = usize>) -> Vec<f64> {
    let mut p = vec![1.0];
    for rank in ranks {
        let mut next = vec![0.0; p.len() + rank];
        for (t, chance) in p.iter().enumerate() {
            next[t] += chance / 2.0;
            next[t + rank] += chance / 2.0;
        }
        p = next;
    }
    p
}

/// Every value with twice its rank by size; equal sizes share the mean of their ranks, which doubling keeps whole.
/// Zeros are ranked with the others and left out afterwards (Pratt).
fn doubled_ranks(x: &[f64]) -> Vec<(f64, usize)> {
    let mut by_size = x.to_vec();
    by_size.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let mut ranks = Vec::new();
    for tied in by_size.chunk_by(|a, b| a.abs() == b.abs()) {
        let (first, last) = (ranks.len() + 1, ranks.len() + tied.len());
        ranks.extend(tied.iter().map(|&value| (value, first + last)));
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZES: [usize; 7] = [6, 8, 10, 12, 16, 20, 24];

    #[test]
    fn the_critical_values_are_those_of_the_tables() {
        let of = |tail| SIZES.map(|n| critical_value(n, tail).unwrap());
        assert_eq!(of(0.025), [0, 3, 8, 13, 29, 52, 81]);
        assert_eq!(of(0.05), [2, 5, 10, 17, 35, 60, 91]);
        assert_eq!(critical_value(5, 0.025), None);
        assert_eq!(critical_value(5, 0.05), Some(0));
        assert_eq!(critical_value(0, 0.05), None);
    }

    #[test]
    fn the_null_distribution_of_three_is_counted_by_hand() {
        // Of 8 sign patterns: sums 0, 1, 2, 3 (twice), 4, 5, 6.
        let p: Vec<f64> = null_distribution(1..=3).iter().map(|p| p * 8.0).collect();
        assert_eq!(p, [1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn nothing_said_by_nothing() {
        for x in [&[][..], &[0.0; 5], &[f64::NAN, 1.0]] {
            let p = test(x);
            assert_eq!((p.greater, p.less, p.two_sided()), (1.0, 1.0, 1.0));
        }
        assert_eq!(interval(&[], 0.025), None);
        assert_eq!(interval(&[1.0; 5], 0.025), None);
        assert_eq!(interval(&[f64::NAN; 9], 0.025), None);
    }

    #[test]
    fn all_on_one_side_is_one_pattern_in_all() {
        let p = test(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!((p.greater, p.less), (1.0 / 64.0, 1.0));
        assert_eq!(p.two_sided(), 2.0 / 64.0);
        // Constant values are tied, and the chance of all signs being the same does not change.
        assert_eq!(test(&[0.5; 6]), p);
    }

    #[test]
    fn ties_and_zeros_follow_pratt() {
        // Sizes 0 1 1 2: doubled ranks 2 5 5 8, the zero's left out. Positive: 5 + 8 = 13 of {0 5 5 8 10 13 13 18}.
        let p = test(&[0.0, 1.0, -1.0, 2.0]);
        assert_eq!(p.greater, 3.0 / 8.0);
        assert_eq!(p.less, 7.0 / 8.0);
    }

    #[test]
    fn the_textbook_example_has_the_textbook_chance() {
        // Hollander and Wolfe, example 3.1: T⁺ = 5 of nine, P(T ≤ 5) = 0.0195.
        let z = [
            -0.952, 0.147, -1.022, -0.430, -0.620, -0.590, -0.490, 0.080, -0.010,
        ];
        assert!((test(&z).less - 0.0195).abs() < 5e-5);
    }

    #[test]
    fn six_blocks_give_the_whole_range() {
        let x = [3.0, 1.0, 2.0, 9.0, 5.0, 4.0];
        let all = interval(&x, 0.025).unwrap();
        assert_eq!((all.low, all.high), (1.0, 9.0));
    }

    proptest! {
        #[test]
        fn invariances(
            x in prop::collection::vec(-1e3..1e3f64, 6..16),
            scale in 1e-3..1e3f64,
            turn in 0usize..16,
        ) {
            let (p, range) = (test(&x), interval(&x, 0.025).unwrap());
            let mut turned = x.clone();
            turned.rotate_left(turn % x.len());
            prop_assert_eq!(test(&turned), p);
            prop_assert_eq!(interval(&turned, 0.025), Some(range));
            let flipped: Vec<f64> = x.iter().map(|v| -v).collect();
            let mirrored = test(&flipped);
            prop_assert!((mirrored.less - p.greater).abs() < 1e-12 && (mirrored.greater - p.less).abs() < 1e-12);
            prop_assert_eq!(interval(&flipped, 0.025), Some(range.map(|v| -v)));
            // A power of two scales exactly, so no tie is made or broken by rounding.
            let scale = 2f64.powi(scale.log2().round() as i32);
            let scaled: Vec<f64> = x.iter().map(|v| v * scale).collect();
            prop_assert_eq!(test(&scaled), p);
            prop_assert_eq!(interval(&scaled, 0.025), Some(range.map(|v| v * scale)));
            prop_assert!((0.0..=1.0).contains(&p.two_sided()));
        }

        /// The test rejects zero exactly when the interval leaves it out: both are the same statistic.
        #[test]
        fn test_and_interval_agree(x in prop::collection::vec(-10.0..12.0f64, 6..16)) {
            let range = interval(&x, 0.025).unwrap();
            let outside = range.low > 0.0 || range.high < 0.0;
            let p = test(&x);
            prop_assert_eq!(p.greater.min(p.less) <= 0.025, outside);
        }
    }
}
