//! Rates that were found out.

use schemars::JsonSchema;
use serde::Serialize;

/// What one arm could do.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Capacity {
    /// The arm.
    pub arm: String,
    /// Requests per second in a closed loop; none: it did not serve the workload, and does not count.
    pub requests_per_s: Option<f64>,
    /// Whether the generator had reached its own limit (W01): the arm could do more.
    pub is_lower_bound: bool,
}

/// The rates that were found for a workload.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Found {
    /// The workload in words, without a rate.
    pub workload: String,
    /// What each arm could do.
    pub capacities: Vec<Capacity>,
    /// The rate of all of them, requests per second; none where each arm has shares of its own capacity.
    pub rate_per_s: Option<f64>,
}
