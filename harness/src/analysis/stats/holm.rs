//! Holm's correction: asked several questions at once, chance answers some of them, so each p-value is raised.
//!
//! Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
//! (1979). It holds however the tests depend on each other.

/// The p-values raised so that rejecting those ≤ α errs anywhere in the family with chance at most α: in rising
/// order the k-th of m (from 1) becomes max over j ≤ k of (m − j + 1) · p₍j₎, at most 1. The input's order is kept.
pub fn adjusted(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut highest = 0.0f64;
    for (k, &i) in order.iter().enumerate() {
        highest = highest.max(p[i] * (p.len() - k) as f64).min(1.0);
        adjusted[i] = highest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn none_one_and_equal() {
        assert!(adjusted(&[]).is_empty());
        assert_eq!(adjusted(&[0.04]), [0.04]);
        assert_eq!(adjusted(&[0.5; 3]), [1.0; 3]);
    }

    #[test]
    fn steps_down_and_never_falls() {
        let raised = adjusted(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        assert!(
            raised
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-12),
            "{raised:?}"
        );
    }

    proptest! {
        #[test]
        fn between_plain_and_bonferroni_in_the_same_order(p in prop::collection::vec(0.0..1.0f64, 1..12)) {
            let raised = adjusted(&p);
            for (i, a) in raised.iter().enumerate() {
                prop_assert!(p[i] <= *a && *a <= (p[i] * p.len() as f64).min(1.0) + 1e-12);
                prop_assert!((0..p.len()).all(|j| p[j] < p[i] || *a <= raised[j]));
            }
        }
    }
}
