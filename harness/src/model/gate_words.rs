//! What a gate says in words: kept with its run, so that every form of it says the same.

use serde::{Deserialize, Serialize};

/// What a gate says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GateWords {
    /// The worst verdict of the gated figures.
    pub verdict: String,
    /// Both sides, and how long it took.
    pub headline: String,
    /// What else must be known.
    pub notes: Vec<String>,
    /// The table's columns.
    pub header: Vec<String>,
    /// Its lines.
    pub lines: Vec<Vec<String>>,
    /// A sentence for every gated figure.
    pub sentences: Vec<String>,
}
