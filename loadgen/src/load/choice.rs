//! Which of several things a request says: a pure function of (seed, connection, sequence), so that threads, processes
//! and segments together send exactly what one process would.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::hash::mix;

/// How one of several requests is chosen.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// One after the other, each as often in a row as its weight says; connections begin at different ones.
    #[default]
    Sequential,
    /// At random by weight.
    Random,
}

/// The largest sum of weights: positions are multiplied in 64 bits.
pub const MAX_WEIGHTS: u64 = u32::MAX as u64;

/// Draws from a seed differ by what they are for.
const CHOICE: u64 = 0x6368_6f69_6365;

/// Chooses between weighted things.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Where each thing's share of the positions ends; `None` where each has one.
    ends: Option<Box<[u64]>>,
    total: u64,
    order: Order,
    seed: u64,
    /// How far a connection's requests are apart in a sequence.
    stride: u64,
}

impl Choice {
    /// A choice between things of these weights, each at least 1 and together at most [`MAX_WEIGHTS`], for a load of
    /// `population` connections.
    #[must_use]
    pub fn new(weights: &[u64], order: Order, seed: u64, population: u64) -> Self {
        let ends = weights.iter().scan(0, |end, weight| {
            *end += weight;
            Some(*end)
        });
        let ends: Box<[u64]> = ends.collect();
        let total = ends.last().copied().unwrap_or(1).max(1);
        Self {
            ends: weights.iter().any(|weight| *weight != 1).then_some(ends),
            total,
            order,
            seed: mix(seed ^ CHOICE),
            stride: stride(population, total) % total,
        }
    }

    /// Which of them the request `sequence` of `connection` is.
    #[must_use]
    pub fn pick(&self, connection: u32, sequence: u64) -> usize {
        let position = match self.order {
            Order::Sequential => {
                (sequence % self.total * self.stride + u64::from(connection)) % self.total
            }
            Order::Random => share(random(self.seed, connection, sequence), self.total),
        };
        match &self.ends {
            None => position as usize,
            Some(ends) => ends.partition_point(|end| *end <= position),
        }
    }
}

/// The requests of all connections, taken in turn, go through the positions in order. Where the number of connections
/// had a divisor in common with that of the positions, each connection would send always the same few; so the next
/// number that has none is taken.
fn stride(population: u64, total: u64) -> u64 {
    let mut stride = population.max(1);
    while divisor(stride, total) != 1 {
        stride += 1;
    }
    stride
}

fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// 64 random bits that depend on nothing but their arguments.
#[must_use]
pub fn random(seed: u64, connection: u32, sequence: u64) -> u64 {
    mix(mix(seed ^ u64::from(connection)) ^ sequence)
}

/// Maps 64 random bits onto `0..total` (Lemire, TOMACS 2019).
#[must_use]
pub fn share(random: u64, total: u64) -> u64 {
    ((u128::from(random) * u128::from(total)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_connection_goes_through_all_in_order_each_as_often_as_its_weight() {
        let choice = Choice::new(&[1, 3, 2], Order::Sequential, 7, 1);
        let picked: Vec<_> = (0..8).map(|sequence| choice.pick(0, sequence)).collect();
        assert_eq!(picked, [0, 1, 1, 1, 2, 2, 0, 1]);
    }

    #[test]
    fn a_random_choice_keeps_the_weights() {
        let weights = [1, 9, 90];
        let choice = Choice::new(&weights, Order::Random, 42, 10);
        let mut counts = [0u64; 3];
        for connection in 0..10 {
            for sequence in 0..10_000 {
                counts[choice.pick(connection, sequence)] += 1;
            }
        }
        // χ² of two degrees of freedom; its 0.1 % critical value is 13.8.
        let chi: f64 = counts
            .iter()
            .zip(weights)
            .map(|(count, weight)| {
                let expected = 1000.0 * weight as f64;
                (*count as f64 - expected).powi(2) / expected
            })
            .sum();
        assert!(chi < 13.8, "{counts:?}");
        let other = Choice::new(&weights, Order::Random, 43, 10);
        let differs = |sequence| choice.pick(0, sequence) != other.pick(0, sequence);
        assert!((0..1000).any(differs));
    }

    proptest! {
        #[test]
        fn in_order_every_connection_sends_all_of_them_alike(
            weights in proptest::collection::vec(1u64..20, 1..20), population in 1u64..500, connection in 0u32..500,
        ) {
            let total: u64 = weights.iter().sum();
            let choice = Choice::new(&weights, Order::Sequential, 1, population);
            let mut counts = vec![0; weights.len()];
            for sequence in 5..5 + total {
                counts[choice.pick(connection, sequence)] += 1;
            }
            prop_assert_eq!(counts, weights);
        }

        #[test]
        fn all_connections_in_turn_go_through_the_file_in_order(total in 1usize..50, population in 1u64..200) {
            prop_assume!(divisor(population, total as u64) == 1);
            let choice = Choice::new(&vec![1; total], Order::Sequential, 1, population);
            for number in 0..2 * population {
                let picked = choice.pick((number % population) as u32, number / population);
                prop_assert_eq!(picked, number as usize % total);
            }
        }

        #[test]
        fn what_is_picked_is_there(
            weights in proptest::collection::vec(1u64..1 << 25, 1..60), random in any::<bool>(), seed in any::<u64>(),
            population in 1u64..16_000_000, connection in any::<u32>(), sequence in any::<u64>(),
        ) {
            let order = if random { Order::Random } else { Order::Sequential };
            let choice = Choice::new(&weights, order, seed, population);
            prop_assert!(choice.pick(connection, sequence) < weights.len());
        }
    }
}
