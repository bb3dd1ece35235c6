//! A chart in words.

use serde::Serialize;

/// The figures of a chart in words: an arm per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The columns; the first is the arm.
    pub header: Vec<String>,
    /// The lines.
    pub lines: Vec<Vec<String>>,
}
