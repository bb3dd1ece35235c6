//! How evenly connections were served.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How evenly the active connections were served in the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fairness {
    /// Jain's index over requests completed per active connection, 1/n to 1: (Σx)² / (n·Σx²)
    /// (Jain, Chiu, Hawe, DEC-TR-301, 1984); absent if nothing was completed.
    pub jain: Option<f64>,
    /// Active connections that were answered nothing in the window, not even with a no.
    pub starved_connections: u64,
    /// Active connections counted.
    pub connections: u64,
    /// Σx, requests completed.
    pub sum: u64,
    /// Σx², so that outcomes can be merged exactly.
    pub sum_of_squares: u64,
}

impl Fairness {
    /// Counts one connection that completed `requests`, and whether others of its requests were answered with a no.
    pub fn add(&mut self, requests: u64, was_refused: bool) {
        self.connections += 1;
        self.starved_connections += u64::from(requests == 0 && !was_refused);
        self.sum += requests;
        self.sum_of_squares = self
            .sum_of_squares
            .saturating_add(requests.saturating_mul(requests));
    }

    /// Adds the connections of another worker or process; the index is left to [`Fairness::set_index`].
    pub fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.starved_connections += other.starved_connections;
        self.sum += other.sum;
        self.sum_of_squares = self.sum_of_squares.saturating_add(other.sum_of_squares);
    }

    /// Derives the index from the sums.
    pub fn set_index(&mut self) {
        let (sum, squares) = (self.sum as f64, self.sum_of_squares as f64);
        self.jain = (self.sum > 0).then(|| sum * sum / (self.connections as f64 * squares));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_is_one_for_equals_and_one_nth_for_a_monopoly() {
        let jain = |requests: [u64; 4]| {
            let mut fairness = Fairness::default();
            requests
                .iter()
                .for_each(|count| fairness.add(*count, false));
            fairness.set_index();
            (fairness.jain, fairness.starved_connections)
        };
        assert_eq!(jain([10; 4]), (Some(1.0), 0));
        assert_eq!(jain([40, 0, 0, 0]), (Some(0.25), 3));
        assert_eq!(jain([0; 4]), (None, 4));
    }

    #[test]
    fn a_connection_that_was_told_no_is_not_starved() {
        let mut fairness = Fairness::default();
        fairness.add(0, true);
        fairness.add(0, false);
        fairness.add(9, true);
        assert_eq!((fairness.starved_connections, fairness.connections), (1, 3));
    }
}
