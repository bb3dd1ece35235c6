//! The figures of a stage.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Quantiles, Requests};

/// One stage of the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// When it began, in seconds from the start of the window.
    pub from_s: f64,
    /// How long it lasted, in seconds; shorter than asked for if the run was ended in it.
    pub length_s: f64,
    /// Requests per second asked for at its beginning and at its end; absent in a closed loop.
    pub rate_per_s: Option<[f64; 2]>,
    /// Active connections asked for at its beginning and at its end; absent in an open loop.
    pub conns: Option<[f64; 2]>,
    /// Requests due in it; rates are of those, whenever they were answered.
    pub requests: Requests,
    /// Response times of requests due in it.
    pub response_ns: Quantiles,
    /// Service times of requests due in it.
    pub service_ns: Quantiles,
    /// Base64 of the histograms of both, as in [`Outcome`](super::Outcome).
    pub histograms: BTreeMap<String, String>,
}
