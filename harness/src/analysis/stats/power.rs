//! How many blocks it takes: planning a comparison so that "no difference found" means something.
//!
//! Sources: the sample size of a one-sample test of a normal mean (any textbook), divided by the asymptotic relative
//! efficiency of the signed-rank test, 3/π = 0.955 (Hodges and Lehmann 1956), plus 2 for small samples;
//! the normal quantile: P. J. Acklam's rational approximation (2003), relative error below 1.2e-9.

use super::POWER;

/// The signed-rank test needs this much more than the t test would under normal noise.
const EFFICIENCY: f64 = 3.0 / std::f64::consts::PI;

/// Blocks after which a one-sided test at `alpha` finds a true log-ratio of `difference` with chance [`POWER`],
/// when the log-ratios scatter with standard deviation `sd`: n ≈ ((z₁₋α + z₀.₈) · sd / difference)² / 0.955 + 2,
/// and at least as many as make the smallest possible p-value, 2⁻ⁿ, reach `alpha`.
///
/// `None` where no number would do: a difference of zero, an `sd` that is not finite, more blocks than 10⁹.
pub fn blocks_needed(sd: f64, difference: f64, alpha: f64) -> Option<u64> {
    let z = normal_quantile(1.0 - alpha) + normal_quantile(POWER);
    let n = (z * sd / difference).powi(2) / EFFICIENCY + 2.0;
    let possible = (n.is_finite() && n <= 1e9).then(|| n.ceil() as u64)?;
    Some(possible.max(fewest_blocks(alpha)))
}

/// The smallest true log-ratio that so many blocks find with chance [`POWER`]: [`blocks_needed`] turned around.
/// Infinite where there are too few blocks to find any.
pub fn change_found(sd: f64, blocks: u64, alpha: f64) -> f64 {
    if blocks < fewest_blocks(alpha).max(3) {
        return f64::INFINITY;
    }
    let z = normal_quantile(1.0 - alpha) + normal_quantile(POWER);
    z * sd / ((blocks - 2) as f64 * EFFICIENCY).sqrt()
}

/// The fewest blocks with which a one-sided signed-rank test can reach `alpha` at all.
pub fn fewest_blocks(alpha: f64) -> u64 {
    (-alpha.log2()).ceil().max(1.0) as u64
}

/// The sample standard deviation; `None` of fewer than two values.
pub fn standard_deviation(x: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let squares: f64 = x.iter().map(|v| (v - mean).powi(2)).sum();
    (x.len() >= 2).then(|| (squares / (n - 1.0)).sqrt())
}

/// The standard normal quantile of `p` in (0, 1); infinite at its ends.
pub fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e+01,
        2.209460984245205e+02,
        -2.759285104469687e+02,
        1.38357751867269e+02,
        -3.066479806614716e+01,
        2.506628277459239e+00,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e+01,
        1.615858368580409e+02,
        -1.556989798598866e+02,
        6.680131188771972e+01,
        -1.328068155288572e+01,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-03,
        -3.223964580411365e-01,
        -2.400758277161838e+00,
        -2.549732539343734e+00,
        4.374664141464968e+00,
        2.938163982698783e+00,
    ];
    const D: [f64; 5] = [
        7.784695709041462e-03,
        3.224671290700398e-01,
        2.445134137142996e+00,
        3.754408661907416e+00,
        1.0,
    ];
    const TAIL: f64 = 0.02425;
    let polynomial =
        |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / polynomial(&D, q)
    };
    match p {
        p if p <= 0.0 => f64::NEG_INFINITY,
        p if p >= 1.0 => f64::INFINITY,
        p if p < TAIL => tail(p),
        p if p > 1.0 - TAIL => -tail(1.0 - p),
        p => {
            let q = p - 0.5;
            q * polynomial(&A, q * q) / polynomial(&B, q * q)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (p, z) in [
            (0.5, 0.0),
            (0.8, 0.841_621_233_6),
            (0.95, 1.644_853_627_0),
            (0.975, 1.959_963_984_5),
            (0.999, 3.090_232_306_2),
            (0.01, -2.326_347_874_0),
        ] {
            assert!((normal_quantile(p) - z).abs() < 1e-8, "{p}");
        }
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
    }

    #[test]
    fn more_noise_or_a_smaller_difference_needs_more_blocks() {
        // ((1.645 + 0.842) · 3 % ÷ 3 %)² ÷ 0.955 + 2 = 8.47
        assert_eq!(blocks_needed(0.03, 0.03, 0.05), Some(9));
        assert_eq!(blocks_needed(0.06, 0.03, 0.05), Some(28));
        assert_eq!(blocks_needed(0.03, 0.015, 0.05), Some(28));
    }

    #[test]
    fn the_change_found_is_the_one_the_blocks_were_planned_for() {
        for blocks in [9, 28, 100] {
            let change = change_found(0.03, blocks, 0.05);
            assert_eq!(blocks_needed(0.03, change * 1.0001, 0.05), Some(blocks));
        }
        assert_eq!(change_found(0.03, 4, 0.05), f64::INFINITY);
    }

    #[test]
    fn without_noise_only_the_test_itself_asks_for_blocks() {
        assert_eq!(blocks_needed(0.0, 0.03, 0.05), Some(5));
        assert_eq!(blocks_needed(0.0, 0.03, 0.05 / 12.0), Some(8));
        assert_eq!(fewest_blocks(0.025), 6);
    }

    #[test]
    fn where_no_number_would_do_there_is_none() {
        assert_eq!(blocks_needed(0.03, 0.0, 0.05), None);
        assert_eq!(blocks_needed(0.0, 0.0, 0.05), None);
        assert_eq!(blocks_needed(f64::NAN, 0.03, 0.05), None);
        assert_eq!(blocks_needed(1.0, 1e-9, 0.05), None);
    }

    #[test]
    fn a_deviation_needs_two_values() {
        assert_eq!(standard_deviation(&[]), None);
        assert_eq!(standard_deviation(&[1.0]), None);
        assert_eq!(standard_deviation(&[4.0; 5]), Some(0.0));
        assert_eq!(standard_deviation(&[1.0, 3.0]), Some(2f64.sqrt()));
    }
}
