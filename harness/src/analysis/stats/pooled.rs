//! Many arms from few blocks: a randomised complete block design on the log scale.
//!
//! Every arm runs once in every block, so that a trial's logarithm is its block's effect + its arm's effect + noise.
//! Fourteen arms in three blocks leave 26 degrees of freedom for the noise, where a pair of arms alone leaves two.
//!
//! - Effects: least squares (with complete blocks the difference of two arms is the mean of their differences).
//! - A variance for each arm, as models do differ in noise, from residuals beside the block's *median*: one noisy arm
//!   would move everybody's residuals with a mean. Moderated: see `variances.rs`.
//! - The critical value is the 95th percentile of max |t| of all arms against the best, which is picked by the same
//!   data, and which alone the others are compared with: from a parametric bootstrap (Efron & Tibshirani 1993, *An Introduction to the Bootstrap*, 6.5; max t:
//!   Westfall & Young 1993) that draws the true variances from what is known of them and repeats the whole procedure.
//!   Its random numbers have a fixed seed: the same rows have the same intervals.
//!
//! How often it is wrong, and what it finds: `cargo bench -p harness --bench ranking`.

use super::layout::Layout;
use super::power::normal_quantile;
use super::variances::{Variances, noise};
use super::{ALPHA, Interval, POWER};
use fastrand::Rng;

/// Simulated runs behind a critical value, at least: about 0.7 % of all runs then lie more or less beyond it than should.
const SIMULATIONS: usize = 1000;

/// Small runs are simulated more often, up to as many trials: their critical values are steep, and cost little.
const SIMULATED_TRIALS: usize = 42_000;

/// Any number will do, as long as it is always the same.
const SEED: u64 = 1;

/// Rounds of least squares over arms and blocks in turn; complete blocks need one.
const ROUNDS: usize = 30;

/// Arms and blocks with their effects, and what can be told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    layout: Layout,
    effects: Vec<f64>,
    variances: Variances,
    critical: f64,
}

impl Pooled {
    /// Of the logarithms of each arm's figures, one per block, none where a trial has no figure. All arms must be
    /// comparable ([`Layout::comparable`]); none with fewer than two blocks, which hold no noise to go by.
    pub fn new(logs: &[Vec<Option<f64>>]) -> Option<Pooled> {
        Pooled::with_simulations(logs, simulations(&Layout::of(logs)))
    }

    /// The same with another number of simulated runs.
    pub fn with_simulations(logs: &[Vec<Option<f64>>], simulations: usize) -> Option<Pooled> {
        let layout = Layout::of(logs);
        let shared = layout.arms_of.iter().filter(|arms| arms.len() > 1).count();
        if layout.arms() < 2 || shared < 2 || layout.comparable().len() < layout.arms() {
            return None;
        }
        let values: Vec<Vec<f64>> = logs
            .iter()
            .map(|arm| arm.iter().flatten().copied().collect())
            .collect();
        let Fit { effects, variances } = fit(&layout, &values);
        let critical = critical(&layout, &variances, simulations);
        Some(Pooled {
            layout,
            effects,
            variances,
            critical,
        })
    }

    /// The arm with the lowest effect.
    pub fn lowest(&self) -> usize {
        lowest(&self.effects)
    }

    /// How much higher one arm's effect is than another's.
    pub fn difference(&self, arm: usize, from: usize) -> f64 {
        self.effects[arm] - self.effects[from]
    }

    /// Where that difference lies: all intervals from the best of a run cover the truth together in 95 % of the runs.
    pub fn interval(&self, arm: usize, from: usize) -> Interval {
        let half = self.half_width(arm, from);
        let difference = self.difference(arm, from);
        Interval {
            low: difference - half,
            high: difference + half,
        }
    }

    /// The least difference of these two that could be told from none.
    pub fn half_width(&self, arm: usize, from: usize) -> f64 {
        self.critical * variance_of_difference(&self.layout, &self.variances, arm, from).sqrt()
    }

    /// The noise of one trial that all arms have in common: standard deviation of the logarithm.
    pub fn noise(&self) -> f64 {
        self.variances.common.sqrt()
    }
}

/// The true difference from the best, a logarithm, that so many blocks of so many equal arms tell with chance
/// [`POWER`], where one trial's logarithm scatters by `noise`; none of fewer than two arms or two blocks, which tell
/// nothing.
pub fn will_tell(arms: usize, blocks: usize, noise: f64) -> Option<f64> {
    if arms < 2 || blocks < 2 {
        return None;
    }
    let layout = Layout::complete(arms, blocks);
    let variance = noise * noise;
    let freedom = blocks as f64 - 1.0;
    let variances = Variances::moderate(&vec![variance; arms], &vec![freedom; arms]);
    let critical = critical(&layout, &variances, simulations(&layout));
    let error = (2.0 * variance / blocks as f64).sqrt();
    Some((critical + normal_quantile(POWER)) * error)
}

/// How many runs are simulated.
fn simulations(layout: &Layout) -> usize {
    let trials: usize = layout.blocks_of.iter().map(Vec::len).sum();
    SIMULATIONS.max(SIMULATED_TRIALS / trials.max(1))
}

/// What is estimated from one set of figures.
struct Fit {
    effects: Vec<f64>,
    variances: Variances,
}

/// `values[arm]` are in the order of the arm's blocks.
fn fit(layout: &Layout, values: &[Vec<f64>]) -> Fit {
    let effects = effects(layout, values);
    let medians = block_medians(layout, values, &effects);
    let arms = layout.arms() as f64;
    // The block's centre is estimated from the same arms: of two, it takes half of the noise away.
    let lost = arms / (arms - 1.0);
    let (mut samples, mut freedom) = (Vec::new(), Vec::new());
    for (arm, blocks) in layout.blocks_of.iter().enumerate() {
        let beside = values[arm].iter().zip(blocks).map(|(v, &b)| v - medians[b]);
        let centre = beside.clone().sum::<f64>() / blocks.len() as f64;
        let squares: f64 = beside.map(|r| (r - centre).powi(2)).sum();
        let d = blocks.len() as f64 - 1.0;
        samples.push(if d > 0.0 { squares / d * lost } else { 0.0 });
        freedom.push(d);
    }
    Fit {
        effects,
        variances: Variances::moderate(&samples, &freedom),
    }
}

/// Least squares: arms and blocks in turn, each at the mean of what the other leaves.
fn effects(layout: &Layout, values: &[Vec<f64>]) -> Vec<f64> {
    let mean = |sum: f64, n: usize| sum / n as f64;
    let rounds = if layout.is_complete() { 1 } else { ROUNDS };
    let mut blocks = vec![0.0; layout.blocks()];
    let mut arms = vec![0.0; layout.arms()];
    for _ in 0..rounds {
        for (arm, of) in layout.blocks_of.iter().enumerate() {
            let left = values[arm].iter().zip(of).map(|(v, &b)| v - blocks[b]);
            arms[arm] = mean(left.sum(), of.len());
        }
        blocks.fill(0.0);
        for (arm, of) in layout.blocks_of.iter().enumerate() {
            for (v, &b) in values[arm].iter().zip(of) {
                blocks[b] += mean(v - arms[arm], layout.arms_of[b].len());
            }
        }
    }
    arms
}

/// Each block's median of what its arms' effects leave.
fn block_medians(layout: &Layout, values: &[Vec<f64>], effects: &[f64]) -> Vec<f64> {
    let mut left: Vec<Vec<f64>> = vec![Vec::with_capacity(layout.arms()); layout.blocks()];
    for (arm, of) in layout.blocks_of.iter().enumerate() {
        for (v, &b) in values[arm].iter().zip(of) {
            left[b].push(v - effects[arm]);
        }
    }
    left.into_iter().map(median).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let (n, middle) = (values.len(), values.len() / 2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    match n % 2 {
        1 => upper,
        _ => (below.iter().copied().fold(f64::NEG_INFINITY, f64::max) + upper) / 2.0,
    }
}

/// Each arm's own noise, and that of the effects of blocks which only one of the two has.
fn variance_of_difference(layout: &Layout, variances: &Variances, a: usize, b: usize) -> f64 {
    let own = |arm: usize| variances.of(arm) / layout.blocks_of[arm].len() as f64;
    if layout.is_complete() {
        return own(a) + own(b);
    }
    let alone = |arm: usize, other: usize| -> f64 {
        let blocks = layout.blocks_of[arm].iter();
        let alone = blocks.filter(|block| !layout.blocks_of[other].contains(block));
        let of_block = alone.map(|&block| variances.common / layout.arms_of[block].len() as f64);
        of_block.sum::<f64>() / (layout.blocks_of[arm].len() as f64).powi(2)
    };
    own(a) + own(b) + alone(a, b) + alone(b, a)
}

/// The largest t² of an arm against the one that came out best.
fn largest_t_squared(layout: &Layout, fit: &Fit) -> f64 {
    let best = lowest(&fit.effects);
    let t_squared = |arm: usize| {
        let difference = fit.effects[arm] - fit.effects[best];
        let variance = variance_of_difference(layout, &fit.variances, arm, best);
        difference * difference / variance
    };
    let others = (0..layout.arms()).filter(|&arm| arm != best);
    others.map(t_squared).fold(0.0, f64::max)
}

fn lowest(effects: &[f64]) -> usize {
    let arms = 0..effects.len();
    let lowest = arms.min_by(|&a, &b| effects[a].total_cmp(&effects[b]));
    lowest.unwrap_or(0)
}

/// What max |t| against the best stays below in 95 % of the runs with equal arms.
fn critical(layout: &Layout, variances: &Variances, simulations: usize) -> f64 {
    let mut random = Rng::with_seed(SEED);
    let mut values: Vec<Vec<f64>> = layout
        .blocks_of
        .iter()
        .map(|of| vec![0.0; of.len()])
        .collect();
    let mut largest: Vec<f64> = (0..simulations)
        .map(|_| {
            for (arm, values) in values.iter_mut().enumerate() {
                let sd = variances.draw(arm, &mut random).sqrt();
                for value in values {
                    *value = sd * noise(&mut random);
                }
            }
            largest_t_squared(layout, &fit(layout, &values))
        })
        .collect();
    // The next run exceeds the k-th of n with chance 1 − k ÷ (n + 1).
    let rank = ((1.0 - ALPHA) * (simulations + 1) as f64).ceil() as usize;
    let at = rank.clamp(1, simulations.max(1)) - 1;
    let (_, t_squared, _) = largest.select_nth_unstable_by(at, f64::total_cmp);
    t_squared.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::stats::variances::normal;

    /// Arms at these effects with noise of this size, over blocks of different speed.
    fn logs(effects: &[f64], blocks: usize, noise: f64, seed: u64) -> Vec<Vec<Option<f64>>> {
        let mut random = Rng::with_seed(seed);
        let moods: Vec<f64> = (0..blocks).map(|_| normal(&mut random)).collect();
        let mut arm = |effect: &f64| {
            let trial = |mood: &f64| Some(effect + mood + noise * normal(&mut random));
            moods.iter().map(trial).collect()
        };
        effects.iter().map(&mut arm).collect()
    }

    #[test]
    fn three_blocks_of_many_arms_tell_a_third_from_nothing() {
        let mut effects = vec![0.0; 14];
        effects[5] = 0.4;
        let pooled = Pooled::new(&logs(&effects, 3, 0.05, 7)).unwrap();
        let best = pooled.lowest();
        assert!(pooled.interval(5, best).low > 0.0);
        let others = (0..14).filter(|arm| *arm != 5 && *arm != best);
        assert!(
            others
                .into_iter()
                .all(|arm| pooled.interval(arm, best).low < 0.0)
        );
        assert!((0.02..0.1).contains(&pooled.noise()), "{}", pooled.noise());
    }

    #[test]
    fn what_will_be_told_shrinks_with_the_noise_and_with_more_blocks() {
        let told = |arms, blocks, noise| will_tell(arms, blocks, noise).unwrap();
        assert_eq!((will_tell(1, 9, 0.05), will_tell(9, 1, 0.05)), (None, None));
        assert!((told(4, 6, 0.1) / told(4, 6, 0.05) - 2.0).abs() < 1e-9);
        assert!(told(14, 3, 0.05) > told(14, 6, 0.05) && told(14, 6, 0.05) > told(4, 6, 0.05));
        // Four arms, six blocks: (3.0 + 0.8) × 5 % × √⅓.
        assert!(
            (0.09..0.14).contains(&told(4, 6, 0.05)),
            "{}",
            told(4, 6, 0.05)
        );
    }

    #[test]
    fn two_arms_in_two_blocks_have_students_interval_with_one_degree_of_freedom() {
        let logs = [vec![Some(0.0), Some(0.0)], vec![Some(1.0), Some(1.2)]];
        let pooled = Pooled::new(&logs).unwrap();
        let half = pooled.half_width(1, 0);
        // 12.7 × 0.1, where only the difference is known.
        assert!((0.9..1.6).contains(&half), "{half}");
        assert!((pooled.difference(1, 0) - 1.1).abs() < 1e-12);
    }

    #[test]
    fn the_same_figures_have_the_same_interval_in_any_unit() {
        let logs = logs(&[0.0, 0.1, 0.2], 4, 0.05, 3);
        let shifted: Vec<Vec<Option<f64>>> = logs
            .iter()
            .map(|arm| arm.iter().map(|v| v.map(|v| v + 7.0)).collect())
            .collect();
        let (one, other) = (Pooled::new(&logs).unwrap(), Pooled::new(&shifted).unwrap());
        assert!((one.half_width(0, 2) / other.half_width(0, 2) - 1.0).abs() < 1e-6);
        assert_eq!(Pooled::new(&logs), Some(one));
    }

    #[test]
    fn a_missing_trial_widens_only_its_own_arms_intervals() {
        let whole = logs(&[0.0; 8], 4, 0.05, 5);
        let mut holed = whole.clone();
        holed[2][1] = None;
        holed[2][3] = None;
        let (whole, holed) = (Pooled::new(&whole).unwrap(), Pooled::new(&holed).unwrap());
        assert!(holed.half_width(2, 0) > 1.15 * holed.half_width(1, 0));
        assert!((holed.half_width(1, 0) / whole.half_width(1, 0) - 1.0).abs() < 0.25);
    }

    #[test]
    fn a_block_that_only_some_ran_does_not_move_them() {
        // The second block is slow; the arm that was not in it must not look better for that.
        let slow = |effect: f64| vec![Some(effect), Some(effect + 3.0), Some(effect)];
        let mut logs: Vec<_> = [0.0, 0.0, 0.1].map(slow).into();
        logs[2][1] = None;
        let pooled = Pooled::new(&logs).unwrap();
        assert!((pooled.difference(2, 0) - 0.1).abs() < 1e-3, "{pooled:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_not() {
        assert_eq!(Pooled::new(&logs(&[0.0, 1.0], 1, 0.1, 1)), None);
        assert_eq!(Pooled::new(&logs(&[0.0], 9, 0.1, 1)), None);
        assert_eq!(Pooled::new(&[]), None);
        let (yes, no) = (Some(1.0), None);
        assert_eq!(Pooled::new(&[vec![yes, no], vec![no, yes]]), None);
    }
}
