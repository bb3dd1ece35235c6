//! Where a series changes its level: E-divisive, with the energy distance between the two sides of every possible split
//! and a permutation test of the best one; then the same within both sides.
//!
//! Source: D. S. Matteson, N. A. James, "A nonparametric approach for multiple change point analysis of multivariate
//! data", JASA 109 (2014), with α = 1 and splits that use a segment whole, as it is used on benchmarks by D. Daly et
//! al., "The use of change point detection to identify software performance regressions in a continuous integration
//! system", ICPE 2020, and M. Fleming et al., "Hunter: using change point detection to hunt for performance
//! regressions", ICPE 2023. Where nothing has changed only one test is made, so that the chance of finding any change in
//! a whole series is at most [`LEVEL`], if its values could as well have come in another order.

/// The chance of finding a change in a series that has none.
pub const LEVEL: f64 = 0.01;

/// Values on each side of a change at least.
pub const FEWEST: usize = 4;

/// Values that are looked at, the latest: the work grows with their square.
pub const MOST: usize = 256;

/// Orders that a split is held against.
const PERMUTATIONS: usize = 499;

/// A place where a series changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// The first value of the new level.
    pub at: usize,
    /// The share of random orders that split as well as the real one.
    pub p: f64,
}

/// The changes of a series in their order; none of values that are not finite. Same series, same changes.
pub fn change_points(values: &[f64]) -> Vec<ChangePoint> {
    if values.iter().any(|value| !value.is_finite()) {
        return Vec::new();
    }
    let skipped = values.len().saturating_sub(MOST);
    let mut found = Vec::new();
    let mut random = fastrand::Rng::with_seed(1);
    split(&values[skipped..], skipped, &mut random, &mut found);
    found
}

fn split(values: &[f64], offset: usize, random: &mut fastrand::Rng, found: &mut Vec<ChangePoint>) {
    let Some((at, statistic)) = best_split(values) else {
        return;
    };
    let Some(p) = chance(values, statistic, random) else {
        return;
    };
    split(&values[..at], offset, random, found);
    found.push(ChangePoint { at: offset + at, p });
    split(&values[at..], offset + at, random, found);
}

/// The share of orders that split at least so well, the real one included; none as soon as that is more than [`LEVEL`].
fn chance(values: &[f64], statistic: f64, random: &mut fastrand::Rng) -> Option<f64> {
    let most = (LEVEL * (PERMUTATIONS + 1) as f64) as usize;
    let mut shuffled = values.to_vec();
    let mut as_good = 1;
    for _ in 0..PERMUTATIONS {
        random.shuffle(&mut shuffled);
        let best = best_split(&shuffled).map_or(0.0, |(_, statistic)| statistic);
        as_good += usize::from(best >= statistic * (1.0 - 1e-12));
        if as_good > most {
            return None;
        }
    }
    Some(as_good as f64 / (PERMUTATIONS + 1) as f64)
}

/// The split whose sides differ most, and by how much: nm/(n+m) times the energy distance between them.
fn best_split(values: &[f64]) -> Option<(usize, f64)> {
    let distance = |from: &[f64], value: f64| -> f64 {
        let sum: f64 = from.iter().map(|other| (other - value).abs()).sum();
        sum
    };
    let all = values.len();
    // Distances between the sides, and within each.
    let (mut between, mut left, mut right) = (0.0, 0.0, 0.0);
    for (i, value) in values.iter().enumerate() {
        right += distance(&values[..i], *value);
    }
    let mut best: Option<(usize, f64)> = None;
    for at in 1..all {
        // The value before `at` goes from the right side to the left one.
        let moved = values[at - 1];
        let (to_left, to_right) = (
            distance(&values[..at - 1], moved),
            distance(&values[at..], moved),
        );
        between += to_right - to_left;
        left += to_left;
        right -= to_right;
        if at < FEWEST || all - at < FEWEST {
            continue;
        }
        let (n, m) = (at as f64, (all - at) as f64);
        let energy =
            2.0 * between / (n * m) - 2.0 * left / (n * (n - 1.0)) - 2.0 * right / (m * (m - 1.0));
        let statistic = energy * n * m / (n + m);
        if best.is_none_or(|(_, most)| statistic > most) {
            best = Some((at, statistic));
        }
    }
    best.filter(|(_, statistic)| *statistic > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(random: &mut fastrand::Rng) -> f64 {
        (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
    }

    fn places(values: &[f64]) -> Vec<usize> {
        change_points(values)
            .iter()
            .map(|change| change.at)
            .collect()
    }

    #[test]
    fn the_statistic_is_the_one_of_the_definition() {
        let values = [1.0, 2.5, 0.5, 1.5, 7.0, 8.0, 6.5, 7.5, 9.0];
        let of = |at: usize| {
            let (x, y) = values.split_at(at);
            let mean = |a: &[f64], b: &[f64]| {
                let pairs = a.iter().flat_map(|p| b.iter().map(move |q| (p - q).abs()));
                pairs.sum::<f64>()
            };
            let (n, m) = (x.len() as f64, y.len() as f64);
            let energy = 2.0 * mean(x, y) / (n * m)
                - mean(x, x) / (n * (n - 1.0))
                - mean(y, y) / (m * (m - 1.0));
            energy * n * m / (n + m)
        };
        let (at, statistic) = best_split(&values).unwrap();
        assert_eq!(at, 4);
        assert!((statistic - of(4)).abs() < 1e-9, "{statistic} {}", of(4));
    }

    #[test]
    fn levels_are_told_apart_and_one_level_is_one() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut level = |middle: f64, n: usize| -> Vec<f64> {
            (0..n).map(|_| middle + 0.1 * noise(&mut random)).collect()
        };
        let steps = [level(1.0, 12), level(2.0, 9), level(1.5, 15)].concat();
        let found = places(&steps);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].abs_diff(12) <= 1 && found[1].abs_diff(21) <= 1,
            "{found:?}"
        );
        assert_eq!(places(&level(1.0, 40)), Vec::<usize>::new());
        assert_eq!(places(&[1.0; 30]), Vec::<usize>::new());
        // Too few to be sure of anything.
        assert_eq!(places(&[1.0, 1.0, 1.0, 9.0, 9.0, 9.0]), Vec::<usize>::new());
        assert_eq!(places(&[f64::NAN; 30]), Vec::<usize>::new());
    }

    #[test]
    fn series_without_a_change_are_rarely_split_and_those_with_one_usually() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut found_of_200 = |step: f64| {
            let one = |_: &usize| {
                let series: Vec<f64> = (0..24)
                    .map(|i| noise(&mut random) + if i < 14 { 0.0 } else { step })
                    .collect();
                !change_points(&series).is_empty()
            };
            (0..200).filter(one).count()
        };
        let (none, three) = (found_of_200(0.0), found_of_200(3.0));
        assert!(none <= 6, "{none} of 200");
        assert!(three >= 195, "{three} of 200");
    }

    proptest! {
        #[test]
        fn changes_are_in_order_and_apart(values in prop::collection::vec(-1e3f64..1e3, 0..40)) {
            let found = places(&values);
            let edges: Vec<usize> = [&[0], &found[..], &[values.len()]].concat();
            prop_assert!(found.is_empty() || edges.windows(2).all(|w| w[1] - w[0] >= FEWEST));
        }
    }
}
