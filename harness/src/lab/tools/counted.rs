//! Trials in which the server's system calls are counted.

use super::rows::Missing;
use crate::model::instrumented::Syscalls;
use crate::model::row::Row;
use serde::{Deserialize, Serialize};

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Counted {
    /// Its row.
    pub row: Row,
    /// Its calls.
    pub syscalls: Syscalls,
}

impl Counted {
    /// System calls per request that the server received while they were counted.
    pub fn per_request(&self) -> Result<f64, Missing> {
        let spread = self.syscalls.between_s / self.row.duration_s;
        let answered = self.row.requests_completed.map(|n| n as f64 * spread);
        let requests = self.syscalls.requests.filter(|n| *n > 0.0).or(answered);
        let requests = requests.filter(|n| *n > 0.0 && n.is_finite());
        let missing = || Missing::of(format!("{} answered no request", self.row.arm));
        Ok(self.syscalls.total as f64 / requests.ok_or_else(missing)?)
    }

    /// Turns of its loop per request.
    pub fn turns(&self) -> Result<f64, Missing> {
        let missing = || Missing::of(format!("{} did not count its turns", self.row.arm));
        self.row.wakeups_per_request.ok_or_else(missing)
    }
}
