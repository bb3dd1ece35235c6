//! Memory that ran short.

use crate::base::limits::Limit;
use loadgen::base::units::format_bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Processes of a server that the kernel ended because memory was short (proc_pid_oom_score(5)).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutOfMemory {
    /// How many.
    pub killed: u64,
    /// What leaves the least memory here.
    pub limit: Option<Limit>,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory was short")?;
        match &self.limit {
            Some(limit) => write!(
                f,
                " ({} is {})",
                limit.what,
                format_bytes(limit.most as f64)
            ),
            None => Ok(()),
        }
    }
}
