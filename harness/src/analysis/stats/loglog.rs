//! How a figure grows: the exponent b of y = a · xᵇ, a straight line on logarithmic axes.
//!
//! The slope is Theil and Sen's, the median of the slopes between all pairs of points, so that one disturbed trial
//! does not tilt it. Sources: H. Theil (1950); P. K. Sen, "Estimates of the regression coefficient based on
//! Kendall's tau", JASA 63 (1968), whose interval counts how many pairs may be out of order by chance
//! (normal approximation, corrected for trials at the same x).

use super::power::normal_quantile;
use super::{ALPHA, Interval, sorted};
use crate::analysis::summary::median;
use serde::Serialize;

/// Fewer different sizes than this make no law of growth.
const FEWEST_SIZES: usize = 3;

/// The law of growth of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fit {
    /// b: 0 does not grow, 1 grows in proportion.
    pub exponent: f64,
    /// Its 95 % interval; none with too few points.
    pub interval: Option<Interval>,
}

/// Fits the exponent to (x, y) points; several may share an x. Points that are not positive and finite are left
/// out, as they have no logarithm. `None` with fewer than three different x.
pub fn fit(points: &[(f64, f64)]) -> Option<Fit> {
    let usable = |v: f64| v > 0.0 && v.is_finite();
    let mut logs: Vec<(f64, f64)> = points
        .iter()
        .filter(|(x, y)| usable(*x) && usable(*y))
        .map(|(x, y)| (x.ln(), y.ln()))
        .collect();
    logs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let groups: Vec<usize> = logs.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len).collect();
    if groups.len() < FEWEST_SIZES {
        return None;
    }
    let slopes = sorted(&slopes(&logs))?;
    Some(Fit {
        exponent: median(&slopes)?,
        interval: interval(&slopes, logs.len(), &groups),
    })
}

fn slopes(logs: &[(f64, f64)]) -> Vec<f64> {
    let pairs = logs
        .iter()
        .enumerate()
        .flat_map(|(i, a)| logs[..i].iter().map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| a.0 != b.0)
        .map(|(a, b)| (a.1 - b.1) / (a.0 - b.0))
        .collect()
}

/// Sen's interval: with C = z · √Var(S), the slopes of rank (N − C) / 2 and (N + C) / 2 + 1, and
/// Var(S) = (n (n − 1)(2n + 5) − Σ t (t − 1)(2t + 5)) / 18 over groups of t points that share an x.
fn interval(sorted_slopes: &[f64], n: usize, groups: &[usize]) -> Option<Interval> {
    let term = |t: usize| (t * t.saturating_sub(1) * (2 * t + 5)) as f64;
    let variance = (term(n) - groups.iter().map(|&t| term(t)).sum::<f64>()) / 18.0;
    let c = normal_quantile(1.0 - ALPHA / 2.0) * variance.sqrt();
    let left_out = (sorted_slopes.len() as f64 - c) / 2.0;
    // The rank counts from 1 and is rounded down, to the wider side.
    (left_out >= 1.0)
        .then(|| Interval::between_order_statistics(sorted_slopes, left_out as usize - 1))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn law(exponent: f64, factors: &[f64]) -> Vec<(f64, f64)> {
        let sizes = [10.0, 100.0, 1000.0, 10_000.0];
        let noisy = |x: f64| factors.iter().map(move |f| (x, 3.0 * x.powf(exponent) * f));
        sizes.into_iter().flat_map(noisy).collect()
    }

    #[test]
    fn too_little_makes_no_law() {
        assert_eq!(fit(&[]), None);
        assert_eq!(fit(&[(1.0, 1.0), (2.0, 2.0), (2.0, 3.0)]), None);
        assert_eq!(
            fit(&[(1.0, 1.0), (2.0, 2.0), (0.0, 3.0), (4.0, f64::NAN)]),
            None
        );
    }

    #[test]
    fn exact_laws_are_found_exactly() {
        for exponent in [-1.0, 0.0, 0.5, 1.0, 2.0] {
            let fit = fit(&law(exponent, &[1.0, 1.0, 1.0])).unwrap();
            let interval = fit.interval.unwrap();
            assert!((fit.exponent - exponent).abs() < 1e-9);
            assert!(interval.low <= fit.exponent + 1e-9 && fit.exponent <= interval.high + 1e-9);
        }
    }

    #[test]
    fn three_points_have_a_slope_but_no_interval() {
        let fit = fit(&[(1.0, 1.0), (10.0, 10.0), (100.0, 100.0)]).unwrap();
        assert!((fit.exponent - 1.0).abs() < 1e-9);
        assert_eq!(fit.interval, None);
    }

    #[test]
    fn one_wild_trial_does_not_tilt_it() {
        let mut points = law(1.0, &[0.97, 1.0, 1.02]);
        points[11].1 *= 50.0;
        let fit = fit(&points).unwrap();
        assert!((fit.exponent - 1.0).abs() < 0.1, "{fit:?}");
        let interval = fit.interval.unwrap();
        assert!(interval.low < 1.0 && 1.0 < interval.high, "{fit:?}");
    }

    proptest! {
        #[test]
        fn units_do_not_matter(
            exponent in -2.0..2.0f64,
            noise in prop::collection::vec(0.8..1.25f64, 3),
            scale in 1e-3..1e3f64,
        ) {
            let points = law(exponent, &noise);
            let scaled: Vec<_> = points.iter().map(|(x, y)| (x * scale, y / scale)).collect();
            let (a, b) = (fit(&points).unwrap(), fit(&scaled).unwrap());
            prop_assert!((a.exponent - b.exponent).abs() < 1e-6);
        }
    }
}
