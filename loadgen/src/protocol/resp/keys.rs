//! Which key a request is about: a pure function of (seed, connection, sequence, place in the command).

use std::f64::consts::TAU;

use crate::base::hash::mix;
use crate::load::choice::share;
use crate::load::commands::KeyDistribution;

/// Draws keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    count: u64,
    draw: Draw,
}

#[derive(Clone, Copy, Debug)]
enum Draw {
    Uniform,
    Zipf(Zipf),
    Gaussian,
}

/// How often a draw that fell outside is made anew: that it falls outside every time does not happen.
const ATTEMPTS: u32 = 64;

impl Keys {
    pub(super) fn new(count: u64, distribution: KeyDistribution) -> Self {
        let draw = match distribution {
            KeyDistribution::Uniform => Draw::Uniform,
            KeyDistribution::Zipf(exponent) => Draw::Zipf(Zipf::new(count, exponent)),
            KeyDistribution::Gaussian => Draw::Gaussian,
        };
        Self { count, draw }
    }

    /// The key that these random bits lead to, below the number of keys.
    pub(super) fn draw(&self, random: u64) -> u64 {
        match self.draw {
            Draw::Uniform => share(random, self.count),
            Draw::Zipf(zipf) => zipf.draw(random),
            Draw::Gaussian => gaussian(self.count, random),
        }
    }
}

/// A number in (0, 1].
fn unit(random: u64) -> f64 {
    ((random >> 11) + 1) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Normal around the middle, by the method of Box and Muller (Annals of Mathematical Statistics, 1958).
fn gaussian(count: u64, mut random: u64) -> u64 {
    let (middle, deviation) = (count as f64 / 2.0, count as f64 / 6.0);
    for _ in 0..ATTEMPTS {
        let angle = mix(random);
        let normal = (-2.0 * unit(random).ln()).sqrt() * (TAU * unit(angle)).cos();
        let key = middle + normal * deviation;
        if (0.0..count as f64).contains(&key) {
            return key as u64;
        }
        random = mix(angle);
    }
    count / 2
}

/// Zipf by rejection-inversion (Hörmann, Derflinger, "Rejection-inversion to generate variates from monotone discrete
/// distributions", ACM TOMACS 6(3), 1996): a few logarithms a draw, however many keys there are.
#[derive(Clone, Copy, Debug)]
struct Zipf {
    count: f64,
    exponent: f64,
    integral_first: f64,
    integral_last: f64,
    accepted_within: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let mut zipf = Self {
            count: count as f64,
            exponent,
            integral_first: 0.0,
            integral_last: 0.0,
            accepted_within: 0.0,
        };
        zipf.integral_first = zipf.integral(1.5) - 1.0;
        zipf.integral_last = zipf.integral(zipf.count + 0.5);
        zipf.accepted_within = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// The key, from 0.
    fn draw(&self, mut random: u64) -> u64 {
        for _ in 0..ATTEMPTS {
            let at = self.integral_last + unit(random) * (self.integral_first - self.integral_last);
            let x = self.inverse(at);
            let rank = (x + 0.5).floor().clamp(1.0, self.count);
            if rank - x <= self.accepted_within
                || at >= self.integral(rank + 0.5) - self.density(rank)
            {
                return rank as u64 - 1;
            }
            random = mix(random);
        }
        0
    }

    fn density(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the density from 1 on.
    fn integral(&self, x: f64) -> f64 {
        let ln = x.ln();
        let power = (1.0 - self.exponent) * ln;
        // (e^p − 1) ÷ p, which is 1 where p is 0.
        let ratio = if power.abs() > 1e-8 {
            power.exp_m1() / power
        } else {
            1.0 + power / 2.0
        };
        ratio * ln
    }

    fn inverse(&self, integral: f64) -> f64 {
        let t = (integral * (1.0 - self.exponent)).max(-1.0);
        // ln(1 + t) ÷ t, which is 1 where t is 0.
        let ratio = if t.abs() > 1e-8 {
            t.ln_1p() / t
        } else {
            1.0 - t / 2.0
        };
        (ratio * integral).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pearson's χ² of draws against their probabilities.
    fn chi(distribution: KeyDistribution, weight: impl Fn(u64) -> f64) -> f64 {
        const KEYS: u64 = 50;
        const DRAWS: u64 = 200_000;
        let keys = Keys::new(KEYS, distribution);
        let mut counts = [0u64; KEYS as usize];
        for at in 0..DRAWS {
            counts[keys.draw(mix(at)) as usize] += 1;
        }
        let weights: Vec<f64> = (0..KEYS).map(weight).collect();
        let total: f64 = weights.iter().sum();
        let terms = counts.iter().zip(weights).map(|(count, weight)| {
            let expected = DRAWS as f64 * weight / total;
            (*count as f64 - expected).powi(2) / expected
        });
        terms.sum()
    }

    #[test]
    fn keys_are_taken_as_often_as_their_distribution_says() {
        // The 0.1 % critical value of χ² with 49 degrees of freedom.
        const CRITICAL: f64 = 85.4;
        let uniform = chi(KeyDistribution::Uniform, |_| 1.0);
        assert!(uniform < CRITICAL, "{uniform}");
        for exponent in [0.3, 0.99, 1.0, 1.5] {
            let zipf = chi(KeyDistribution::Zipf(exponent), |key| {
                (key as f64 + 1.0).powf(-exponent)
            });
            assert!(zipf < CRITICAL, "{exponent}: {zipf}");
        }
        // The normal density over each key, by Simpson's rule.
        let density = |x: f64| (-((x - 25.0) / (50.0 / 6.0)).powi(2) / 2.0).exp();
        let normal = chi(KeyDistribution::Gaussian, |key| {
            let x = key as f64;
            (density(x) + 4.0 * density(x + 0.5) + density(x + 1.0)) / 6.0
        });
        assert!(normal < CRITICAL, "{normal}");
    }

    proptest! {
        #[test]
        fn every_draw_is_a_key(count in 1u64..=1_000_000_000_000, random in any::<u64>(), which in 0..4u8) {
            let distribution = match which {
                0 => KeyDistribution::Uniform,
                1 => KeyDistribution::Gaussian,
                2 => KeyDistribution::Zipf(0.01),
                _ => KeyDistribution::Zipf(10.0),
            };
            prop_assert!(Keys::new(count, distribution).draw(random) < count);
        }
    }
}
