//! The noise of each arm, moderated towards what is common to all.
//!
//! Empirical Bayes as in Smyth (2004), *Statistical Applications in Genetics and Molecular Biology* 3:3: the true
//! variances are d₀s₀²/χ²(d₀); d₀ and s₀² are found from mean and variance of the logarithms of the sample variances.
//! A dozen arms with two degrees of freedom each say little of d₀ (a run of three blocks whose arms are equally noisy
//! looks half the time as if they were not), so that the excess variance of the logarithms is itself taken together
//! with what is known beforehand, each by its precision.

use super::gamma_functions::{digamma, pentagamma, trigamma, trigamma_inverse};
use fastrand::Rng;

/// What models differ by in noise, beforehand: variance of ln σ², mean and standard deviation. The mean stands for
/// standard deviations that differ by two fifths, as a rule; the standard deviation leaves most of the say to a run of six
/// blocks and little to one of three. Chosen on the pools of `benches/ranking.rs`: a mean of 0.3 ± 0.3 had 9.2 % of false
/// alarms in the worst case of three blocks, and found less with six.
const EXCESS: f64 = 0.6;
const EXCESS_SD: f64 = 0.65;

/// Trials that somebody else disturbed, and by how much more they scatter: what is beyond a normal distribution's tails.
const OUTLIERS: f64 = 0.012;
const OUTLIER: f64 = 3.0;

/// Less than this is no difference in noise at all.
const LEAST_EXCESS: f64 = 1e-3;

/// Residuals that are all nothing: two trials with the same figure to its last digit.
const LEAST_VARIANCE: f64 = 1e-18;

/// Of the mean variance: what an arm has at least. One that is the median of its block in both of two blocks has no
/// residual at all, and the logarithm of nothing would outweigh all others; by chance, of one degree of freedom,
/// one in a thousand has less.
const LEAST_SHARE: f64 = 1e-6;

/// What is known of the noise of each arm.
#[derive(Debug, Clone, PartialEq)]
pub struct Variances {
    /// Expected from the arm's own residuals and the common variance, by how much each says.
    moderated: Vec<f64>,
    /// Degrees of freedom of each of those.
    freedom: Vec<f64>,
    /// s₀², the common one.
    pub common: f64,
}

impl Variances {
    /// From a sample variance of each arm and its degrees of freedom; an arm with none of its own has the common one.
    pub fn moderate(samples: &[f64], freedom: &[f64]) -> Variances {
        let own = || samples.iter().zip(freedom).filter(|(_, d)| **d > 0.0);
        let mean = own().map(|(s, _)| s).sum::<f64>() / own().count().max(1) as f64;
        let least = (LEAST_SHARE * mean).max(LEAST_VARIANCE);
        let known: Vec<(f64, f64)> = own().map(|(s, d)| (s.max(least), *d)).collect();
        let (d0, common) = prior(&known);
        let moderate = |(s, d): (&f64, &f64)| match *d > 0.0 {
            true => (d0 * common + d * s.max(least)) / (d0 + d),
            false => common,
        };
        Variances {
            moderated: samples.iter().zip(freedom).map(moderate).collect(),
            freedom: freedom.iter().map(|d| d0 + d.max(0.0)).collect(),
            common,
        }
    }

    /// The arm's variance as intervals and tests use it: a small one may be small by chance, which is the commonest
    /// false alarm of few blocks, so none is below the common one.
    pub fn of(&self, arm: usize) -> f64 {
        self.moderated[arm].max(self.common)
    }

    /// What the arm's true variance may be, drawn from what is known of it.
    pub fn draw(&self, arm: usize, random: &mut Rng) -> f64 {
        let d = self.freedom[arm];
        self.moderated[arm] * d / chi_squared(d, random)
    }
}

/// d₀ and s₀².
fn prior(known: &[(f64, f64)]) -> (f64, f64) {
    let n = known.len() as f64;
    let mean = |of: &dyn Fn(f64, f64) -> f64| known.iter().map(|&(s, d)| of(s, d)).sum::<f64>() / n;
    let level = |s: f64, d: f64| s.ln() - digamma(d / 2.0) + (d / 2.0).ln();
    if known.is_empty() {
        return (d0_of(EXCESS), 1.0);
    }
    let centre = mean(&level);
    let excess = match known.len() {
        1 => EXCESS,
        _ => {
            let spread = mean(&|s, d| (level(s, d) - centre).powi(2)) * n / (n - 1.0);
            let chance = mean(&|_, d| trigamma(d / 2.0));
            // The variance of a sample variance (n − 1 for n: few samples), of a χ²'s logarithm.
            let uncertain =
                mean(&|_, d| pentagamma(d / 2.0) + 2.0 * trigamma(d / 2.0).powi(2)) / (n - 1.0);
            let weight = EXCESS_SD.powi(2) / (EXCESS_SD.powi(2) + uncertain);
            weight * (spread - chance) + (1.0 - weight) * EXCESS
        }
    };
    let d0 = d0_of(excess.max(LEAST_EXCESS));
    (d0, (centre + digamma(d0 / 2.0) - (d0 / 2.0).ln()).exp())
}

fn d0_of(excess: f64) -> f64 {
    2.0 * trigamma_inverse(excess)
}

/// The noise of a trial, of mean 0 and variance 1: normal, but for few outliers.
pub fn noise(random: &mut Rng) -> f64 {
    let size = if random.f64() < OUTLIERS {
        OUTLIER
    } else {
        1.0
    };
    size * normal(random) / (1.0 + OUTLIERS * (OUTLIER * OUTLIER - 1.0)).sqrt()
}

/// A standard normal number (Marsaglia's polar method).
pub fn normal(random: &mut Rng) -> f64 {
    loop {
        let (u, v) = (2.0 * random.f64() - 1.0, 2.0 * random.f64() - 1.0);
        let s = u * u + v * v;
        if s > 0.0 && s < 1.0 {
            return u * (-2.0 * s.ln() / s).sqrt();
        }
    }
}

/// χ² with d > 0 degrees of freedom (Marsaglia & Tsang 2000, *ACM TOMS* 26:3).
fn chi_squared(d: f64, random: &mut Rng) -> f64 {
    let shape = d / 2.0;
    if shape < 1.0 {
        let smaller = (1.0 - random.f64()).powf(1.0 / shape);
        return chi_squared(d + 2.0, random) * smaller;
    }
    let (a, c) = (shape - 1.0 / 3.0, 1.0 / (9.0 * (shape - 1.0 / 3.0)).sqrt());
    loop {
        let x = normal(random);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - random.f64()).ln() < x * x / 2.0 + a - a * v + a * v.ln() {
            return 2.0 * a * v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_have_their_moments() {
        let mut random = Rng::with_seed(1);
        let mut moments = |draw: &mut dyn FnMut(&mut Rng) -> f64| {
            let values: Vec<f64> = (0..20_000).map(|_| draw(&mut random)).collect();
            let mean = values.iter().sum::<f64>() / 2e4;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 2e4;
            (mean, variance)
        };
        for standard in [normal, noise] {
            let (mean, variance) = moments(&mut |random| standard(random));
            assert!(
                mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
                "{mean} {variance}"
            );
        }
        for d in [0.5, 2.0, 9.0] {
            let (mean, variance) = moments(&mut |random| chi_squared(d, random));
            assert!((mean / d - 1.0).abs() < 0.05, "{d}: {mean}");
            assert!((variance / (2.0 * d) - 1.0).abs() < 0.15, "{d}: {variance}");
        }
    }

    #[test]
    fn variances_move_towards_the_common_one() {
        let samples = [1.0, 1.0, 1.0, 1.0, 1.0, 16.0];
        let few = Variances::moderate(&samples, &[2.0; 6]);
        let many = Variances::moderate(&samples, &[50.0; 6]);
        assert!((2.0..16.0).contains(&few.of(5)), "{few:?}");
        assert!(many.of(5) > 15.0, "{many:?}");
        assert!(few.of(0) >= few.common);
    }

    #[test]
    fn an_arm_that_is_the_median_of_every_block_does_not_make_the_others_noisy() {
        let with = |least: f64| Variances::moderate(&[1.0, 2.0, 0.5, 1.5, least], &[1.0; 5]);
        assert!(with(0.0).common < 4.0 * with(0.02).common);
        assert!((0.1..4.0).contains(&with(0.0).common), "{:?}", with(0.0));
    }

    #[test]
    fn an_arm_without_residuals_of_its_own_has_the_common_variance() {
        let variances = Variances::moderate(&[4.0, 4.0, 0.0], &[5.0, 5.0, 0.0]);
        assert_eq!(variances.of(2), variances.common);
        assert!((1.0..8.0).contains(&variances.common));
        let none = Variances::moderate(&[0.0, 0.0], &[1.0, 1.0]);
        assert!(none.of(0) > 0.0 && none.of(0).is_finite());
    }
}
