//! Equivalence: the absence of a difference that matters, shown rather than assumed.
//!
//! Source: D. J. Schuirmann, "A comparison of the two one-sided tests procedure…", Journal of Pharmacokinetics and
//! Biopharmaceutics 15 (1987): two one-sided tests at α are the 1 − 2α interval lying inside the margin.

use super::{ALPHA, signed_rank};

/// Whether the middle of these log-ratios is shown to lie within ±`margin` (a log-ratio too), with chance at most
/// [`ALPHA`] of error. Too few values show nothing.
pub fn is_shown(x: &[f64], margin: f64) -> bool {
    signed_rank::interval(x, ALPHA).is_some_and(|i| -margin < i.low && i.high < margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_too_little_show_nothing() {
        assert!(!is_shown(&[], 1.0));
        assert!(!is_shown(&[0.0; 4], 1.0));
        assert!(is_shown(&[0.0; 5], 1.0));
    }

    #[test]
    fn noise_wider_than_the_margin_shows_nothing() {
        let noisy = [-0.2, 0.2, -0.1, 0.1, 0.15, -0.15, 0.05, -0.05];
        assert!(!is_shown(&noisy, 0.05));
        let quiet: Vec<f64> = noisy.iter().map(|x| x / 10.0).collect();
        assert!(is_shown(&quiet, 0.05));
    }

    #[test]
    fn a_difference_as_large_as_the_margin_is_not_equivalence() {
        assert!(!is_shown(&[0.05; 12], 0.05));
        assert!(is_shown(&[0.049; 12], 0.05));
    }
}
