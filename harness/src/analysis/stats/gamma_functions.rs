//! ψ, ψ′ and ψ‴, derivatives of ln Γ, and the inverse of ψ′: the moments of the logarithm of a variance.
//!
//! Abramowitz & Stegun, *Handbook of Mathematical Functions*, 6.3.18 and 6.4.11 (asymptotic series), 6.3.5 and 6.4.6
//! (recurrence); the inverse by Newton's method on 1/ψ′, as in Smyth (2004), appendix.

/// From here on the series is exact to ten digits.
const SERIES_FROM: f64 = 8.0;

/// ψ(x) of x > 0.
pub fn digamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < SERIES_FROM {
        below -= 1.0 / x;
        x += 1.0;
    }
    let f = 1.0 / (x * x);
    let series = f * (1.0 / 12.0 - f * (1.0 / 120.0 - f * (1.0 / 252.0 - f / 240.0)));
    below + x.ln() - 0.5 / x - series
}

/// ψ′(x) of x > 0.
pub fn trigamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < SERIES_FROM {
        below += 1.0 / (x * x);
        x += 1.0;
    }
    let f = 1.0 / (x * x);
    let series = f / x * (1.0 / 6.0 - f * (1.0 / 30.0 - f * (1.0 / 42.0 - f / 30.0)));
    below + 1.0 / x + f / 2.0 + series
}

/// ψ″(x) of x > 0.
fn tetragamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < SERIES_FROM {
        below -= 2.0 / (x * x * x);
        x += 1.0;
    }
    let f = 1.0 / (x * x);
    below - f - f / x - f * f * (0.5 - f * (1.0 / 6.0 - f * (1.0 / 6.0 - f * 0.3)))
}

/// ψ‴(x) of x > 0.
pub fn pentagamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < SERIES_FROM {
        below += 6.0 / x.powi(4);
        x += 1.0;
    }
    let f = 1.0 / (x * x);
    let series = f * f * f * x * (2.0 - f * (1.0 - f * (4.0 / 3.0 - f * 3.0)));
    below + 2.0 * f / x + 3.0 * f * f + series
}

/// The x > 0 with ψ′(x) = y, of y > 0.
pub fn trigamma_inverse(y: f64) -> f64 {
    // 1/ψ′ is nearly linear and convex: Newton's method from below converges to the answer without overshooting.
    let mut x = 0.5 + 1.0 / y;
    for _ in 0..12 {
        let value = trigamma(x);
        let step = value * (1.0 - value / y) / tetragamma(x);
        x += step;
        if -step / x < 1e-8 {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let euler = 0.577_215_664_901_532_9;
        assert!((digamma(1.0) + euler).abs() < 1e-10);
        assert!((digamma(0.5) + euler + 2.0 * 2f64.ln()).abs() < 1e-10);
        let sixth_of_pi_squared = std::f64::consts::PI.powi(2) / 6.0;
        assert!((trigamma(1.0) - sixth_of_pi_squared).abs() < 1e-10);
        assert!((trigamma(0.5) - 3.0 * sixth_of_pi_squared).abs() < 1e-9);
        // −2 ζ(3).
        assert!((tetragamma(1.0) + 2.404_113_806_319_188).abs() < 1e-9);
        assert!((pentagamma(1.0) - std::f64::consts::PI.powi(4) / 15.0).abs() < 1e-8);
    }

    #[test]
    fn the_inverse_leads_back() {
        for x in [0.05, 0.3, 1.0, 2.5, 7.0, 60.0, 4000.0] {
            let back = trigamma_inverse(trigamma(x));
            assert!((back / x - 1.0).abs() < 1e-6, "{x}: {back}");
        }
    }
}
