//! Counts by name, rates, and laws between counts.

use std::collections::BTreeMap;

pub(super) fn describe_broken(what: &str, laws: &[(&str, u64, u64)]) -> Vec<String> {
    let broken = laws.iter().filter(|(_, left, right)| left != right);
    broken
        .map(|(law, left, right)| format!("{what}: {law}, but {left} ≠ {right}"))
        .collect()
}

/// The total of counts by name.
#[must_use]
pub fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// Adds every count of `other` to `counts`.
pub fn add_all(counts: &mut BTreeMap<String, u64>, other: &BTreeMap<String, u64>) {
    for (name, count) in other {
        *counts.entry(name.clone()).or_default() += count;
    }
}

pub(super) fn per_second(count: u64, window_s: f64) -> f64 {
    if window_s > 0.0 {
        count as f64 / window_s
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use crate::tally::outcome::{Connections, Requests};

    #[test]
    fn a_missing_request_or_connection_breaks_a_law_by_name() {
        let requests = Requests {
            offered: 3,
            sent: 3,
            completed: 2,
            ..Requests::default()
        };
        let broken = requests.broken_laws("window");
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(
            broken[0].contains("window: sent = completed") && broken[0].contains("3 ≠ 2"),
            "{broken:?}"
        );
        let connections = Connections {
            attempts: 1,
            ..Connections::default()
        };
        assert!(connections.broken_laws()[0].contains("attempts = "));
        assert!(
            Requests::default().broken_laws("ramp").is_empty()
                && Connections::default().broken_laws().is_empty()
        );
    }
}
