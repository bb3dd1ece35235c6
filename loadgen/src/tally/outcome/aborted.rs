//! What ended a run early.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which condition ended a run, and by which figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aborted {
    /// The condition, as it was asked for.
    pub condition: String,
    /// The last second of the window that was looked at, from 0.
    pub second: u64,
    /// What was found, in words.
    pub found: String,
}

impl std::fmt::Display for Aborted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (after_s, found) = (self.second + 1, &self.found);
        write!(f, "`{}` was met after {after_s} s: {found}", self.condition)
    }
}
