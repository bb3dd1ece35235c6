//! Walsh averages and the Hodges–Lehmann estimate: the middle of a symmetric distribution, unmoved by a few wild
//! trials.
//!
//! Source: J. L. Hodges and E. L. Lehmann, "Estimates of location based on rank tests", Annals of Mathematical
//! Statistics 34 (1963); Hollander, Wolfe, Chicken, "Nonparametric Statistical Methods", 3rd ed., §3.2.

use super::sorted;
use crate::analysis::summary::median;

/// All (xᵢ + xⱼ) / 2 with i ≤ j in rising order: n (n + 1) / 2 of them. Empty if a value is not finite.
pub fn averages(x: &[f64]) -> Vec<f64> {
    let Some(x) = sorted(x) else {
        return Vec::new();
    };
    let mut averages: Vec<f64> = (0..x.len())
        .flat_map(|j| x[..=j].iter().map(move |a| (a, j)))
        .map(|(a, j)| a / 2.0 + x[j] / 2.0)
        .collect();
    averages.sort_by(f64::total_cmp);
    averages
}

/// The Hodges–Lehmann estimate: the median of the Walsh averages; `None` of no values.
pub fn hodges_lehmann(x: &[f64]) -> Option<f64> {
    median(&averages(x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn none_one_and_constant() {
        assert_eq!(hodges_lehmann(&[]), None);
        assert_eq!(hodges_lehmann(&[3.0]), Some(3.0));
        assert_eq!(hodges_lehmann(&[2.5; 7]), Some(2.5));
        assert_eq!(hodges_lehmann(&[1.0, f64::NAN]), None);
        assert_eq!(hodges_lehmann(&[1.0, f64::INFINITY]), None);
    }

    #[test]
    fn two_values_have_three_averages() {
        assert_eq!(averages(&[4.0, 1.0]), [1.0, 2.5, 4.0]);
    }

    #[test]
    fn one_wild_trial_moves_it_little() {
        let estimate = hodges_lehmann(&[1.0, 2.0, 3.0, 4.0, 5.0, 1000.0]).unwrap();
        assert!((3.0..=4.5).contains(&estimate), "{estimate}");
    }

    /// The depression scores of Hollander and Wolfe's table 3.1 (differences of nine patients).
    #[test]
    fn the_textbook_example() {
        let z = [
            -0.952, 0.147, -1.022, -0.430, -0.620, -0.590, -0.490, 0.080, -0.010,
        ];
        assert!((hodges_lehmann(&z).unwrap() + 0.46).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn order_does_not_matter_sign_and_scale_follow(
            x in prop::collection::vec(-1e6..1e6f64, 1..20),
            scale in 1e-3..1e3f64,
            turn in 0usize..20,
        ) {
            let estimate = hodges_lehmann(&x).unwrap();
            let mut turned = x.clone();
            turned.rotate_left(turn % x.len());
            prop_assert_eq!(hodges_lehmann(&turned).unwrap(), estimate);
            let flipped: Vec<f64> = x.iter().map(|v| -v).collect();
            prop_assert!((hodges_lehmann(&flipped).unwrap() + estimate).abs() <= 1e-9 * estimate.abs().max(1.0));
            let scaled: Vec<f64> = x.iter().map(|v| v * scale).collect();
            let expected = estimate * scale;
            prop_assert!((hodges_lehmann(&scaled).unwrap() - expected).abs() <= 1e-9 * expected.abs().max(1.0));
            let (low, high) = (x.iter().copied().fold(f64::MAX, f64::min), x.iter().copied().fold(f64::MIN, f64::max));
            prop_assert!(low <= estimate && estimate <= high);
        }
    }
}
