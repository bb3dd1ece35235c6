//! The rank-sum test of two independent samples with its exact null distribution, and the interval that belongs
//! to it: for trials that share no block, such as those of two runs.
//!
//! Under "no difference" every choice of which trials are the second sample's is equally likely. Ties share the
//! mean of their ranks, and the distribution is that of the ranks at hand.
//!
//! Source: H. B. Mann and D. R. Whitney, Annals of Mathematical Statistics 18 (1947); the shift and its interval:
//! Hollander, Wolfe, Chicken, "Nonparametric Statistical Methods", 3rd ed., §4.1–4.3 (Hodges–Lehmann, Moses).

use super::signed_rank::PValues;
use super::{Interval, sorted};
use crate::analysis::summary::median;

/// Tests whether `b` lies above or below `a`. An empty sample or a value that is not finite says nothing: both
/// chances are 1.
pub fn test(a: &[f64], b: &[f64]) -> PValues {
    let (greater, less) = match (sorted(a), sorted(b)) {
        (Some(_), Some(_)) => tails(a, b),
        _ => (1.0, 1.0),
    };
    PValues { greater, less }
}

/// How far `b` lies above `a`: the median of all differences; `None` if there is none.
pub fn shift(a: &[f64], b: &[f64]) -> Option<f64> {
    median(&differences(a, b))
}

/// The interval for that shift with chance at most `tail` of error on either side; `None` with too few values:
/// 95 % (tail 0.025) needs four in each sample, or three and five.
pub fn interval(a: &[f64], b: &[f64], tail: f64) -> Option<Interval> {
    let k = critical_value(a.len(), b.len(), tail)?;
    Interval::between_order_statistics(&differences(a, b), k)
}

/// The largest k with P(U ≤ k) ≤ `tail` for samples of m and n without ties; `None` if even P(U = 0) is more.
pub fn critical_value(m: usize, n: usize, tail: f64) -> Option<usize> {
    let ranks: Vec<usize> = (1..=m + n).collect();
    let mut below = 0.0;
    let mut within = |p: &f64| {
        below += p;
        below <= tail
    };
    let count = null_distribution(&ranks, n)
        .iter()
        .skip(n * (n + 1) / 2)
        .take_while(|p| within(p))
        .count();
    count.checked_sub(1)
}

/// All bⱼ − aᵢ in rising order; empty if a value is not finite.
fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
    let (Some(a), Some(b)) = (sorted(a), sorted(b)) else {
        return Vec::new();
    };
    let of = |y: &f64| a.iter().map(|x| y - x).collect::<Vec<_>>();
    let mut all: Vec<f64> = b.iter().flat_map(of).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The chances of a rank sum of `b` at least, and at most, as large as the one seen.
fn tails(a: &[f64], b: &[f64]) -> (f64, f64) {
    let first = a.iter().map(|v| (*v, false));
    let mut pooled: Vec<(f64, bool)> = first.chain(b.iter().map(|v| (*v, true))).collect();
    pooled.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut ranks, mut seen) = (Vec::new(), 0);
    for tied in pooled.chunk_by(|x, y| x.0 == y.0) {
        let doubled = 2 * ranks.len() + 1 + tied.len();
        seen += doubled * tied.iter().filter(|(_, second)| *second).count();
        ranks.extend(tied.iter().map(|_| doubled));
    }
    let null = null_distribution(&ranks, b.len());
    let chance = |p: &[f64]| p.iter().sum::<f64>().min(1.0);
    (chance(&null[seen..]), chance(&null[..=seen]))
}

/// P(S = s) for s from 0 up, S being the sum of `n` of the ranks drawn without putting back: with c drawn so far,
/// the next of `left` ranks is drawn with chance (n − c) / left.
fn null_distribution(ranks: &[usize], n: usize) -> Vec<f64> {
    let sums = ranks.iter().sum::<usize>() + 1;
    let mut p = vec![vec![0.0; sums]; n + 1];
    p[0][0] = 1.0;
    for (done, &rank) in ranks.iter().enumerate() {
        let left = (ranks.len() - done) as f64;
        for c in (0..=n).rev() {
            let drawn = ((n - c) as f64 / left).min(1.0);
            for s in (0..sums).rev().filter(|s| s + rank < sums || c == n) {
                let chance = p[c][s];
                if c < n {
                    p[c + 1][s + rank] += chance * drawn;
                }
                p[c][s] = chance * (1.0 - drawn);
            }
        }
    }
    p.swap_remove(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_critical_values_are_those_of_the_tables() {
        let of = |m, n| critical_value(m, n, 0.025);
        let equal = [4, 5, 6, 7, 8, 10, 20].map(|n| of(n, n).unwrap());
        assert_eq!(equal, [0, 2, 5, 8, 13, 23, 127]);
        assert_eq!((of(3, 5), of(5, 3)), (Some(0), Some(0)));
        assert_eq!((of(3, 3), of(0, 4), of(4, 0)), (None, None, None));
    }

    #[test]
    fn separate_samples_of_four_have_one_chance_in_seventy() {
        let p = test(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]);
        assert!((p.greater - 1.0 / 70.0).abs() < 1e-12, "{p:?}");
        assert!((p.less - 1.0).abs() < 1e-12, "{p:?}");
    }

    #[test]
    fn ties_and_nothing_say_nothing() {
        assert!((test(&[1.0; 4], &[1.0; 5]).two_sided() - 1.0).abs() < 1e-12);
        assert_eq!(test(&[], &[1.0]).two_sided(), 1.0);
        assert_eq!(test(&[f64::NAN], &[1.0]).two_sided(), 1.0);
    }

    #[test]
    fn the_shift_is_the_median_difference_and_lies_in_its_interval() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]);
        assert_eq!(shift(&a, &b), Some(10.0));
        let interval = interval(&a, &b, 0.025).unwrap();
        assert_eq!((interval.low, interval.high), (7.0, 13.0));
        assert_eq!(shift(&[], &b), None);
    }
}
