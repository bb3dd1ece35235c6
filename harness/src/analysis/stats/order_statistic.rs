//! The interval of a median between two order statistics: true of any distribution.
//!
//! Source: W. R. Thompson, "On confidence ranges for the median…", Annals of Mathematical Statistics 7 (1936);
//! Hollander, Wolfe, Chicken, §3.6. The number of values below the median is binomial (n, ½).

use super::{ALPHA, Interval, sorted};

/// The interval of the median at 95 %: [x₍k+1₎, x₍n−k₎] with k = max {k : P(B(n, ½) ≤ k) ≤ 0.025}.
/// `None` of fewer than 6 values, or when one is not finite.
pub fn median_interval(x: &[f64]) -> Option<Interval> {
    let values = sorted(x)?;
    let k = critical_value(values.len(), ALPHA / 2.0)?;
    Interval::between_order_statistics(&values, k)
}

/// The largest k with P(B(n, ½) ≤ k) ≤ `tail`; `None` if even 2⁻ⁿ is more.
fn critical_value(n: usize, tail: f64) -> Option<usize> {
    // Logarithms, because 2⁻ⁿ of a few thousand trials is less than the smallest number there is.
    let mut log_chance = -(n as f64) * std::f64::consts::LN_2;
    let mut below = 0.0;
    let mut count = 0usize;
    for k in 0..=n {
        below += log_chance.exp();
        if below > tail {
            break;
        }
        count = k + 1;
        log_chance += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    count.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn critical_values_of_the_sign_test() {
        // Any table of the sign test, two-sided 5 %.
        let sizes = [6, 8, 9, 10, 12, 15, 20, 25];
        let expected = [0, 0, 1, 1, 2, 3, 5, 7];
        assert_eq!(sizes.map(|n| critical_value(n, 0.025).unwrap()), expected);
        assert_eq!(critical_value(5, 0.025), None);
        assert_eq!(critical_value(0, 0.025), None);
        assert!(critical_value(5000, 0.025).is_some_and(|k| (2400..2500).contains(&k)));
    }

    #[test]
    fn none_one_constant_and_skewed() {
        assert_eq!(median_interval(&[]), None);
        assert_eq!(median_interval(&[1.0; 5]), None);
        assert_eq!(
            median_interval(&[7.0; 6]),
            Some(Interval {
                low: 7.0,
                high: 7.0
            })
        );
        let skewed = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 900.0, 9000.0];
        assert_eq!(
            median_interval(&skewed),
            Some(Interval {
                low: 1.1,
                high: 900.0
            })
        );
        assert_eq!(median_interval(&[f64::NAN; 9]), None);
    }

    proptest! {
        #[test]
        fn the_median_lies_inside(x in prop::collection::vec(-1e9..1e9f64, 6..40)) {
            let range = median_interval(&x).unwrap();
            let median = crate::analysis::summary::median(&sorted(&x).unwrap()).unwrap();
            prop_assert!(range.low <= median && median <= range.high);
        }
    }
}
