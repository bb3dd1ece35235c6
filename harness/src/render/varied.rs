//! What tells workloads apart besides their connections, as columns of a table.

use crate::model::workload::percent;
use loadgen::base::units::{format_count, format_ns, format_rate};

/// The names of the columns.
pub const NAMES: [&str; 6] = ["idle", "req/conn", "payload", "rate", "work", "block"];

/// A cell's words in each of [`NAMES`]; none where there is nothing to say.
pub type Words = [Option<String>; NAMES.len()];

/// The parts of one workload; rates per second, times in nanoseconds.
#[derive(Debug, Default)]
pub struct Varied {
    /// Silent connections.
    pub idle: u64,
    /// Requests per connection; none: long-lived.
    pub requests_per_conn: Option<u64>,
    /// Bytes per request, where they are worth a word.
    pub payload_bytes: Option<String>,
    /// Offered rate; none: closed loop.
    pub rate_per_s: Option<f64>,
    /// The share of the arm's own capacity that is offered, where no rate is.
    pub share: Option<f64>,
    /// CPU work per request.
    pub work_ns: Option<u64>,
    /// Blocking call per request.
    pub block_ns: Option<u64>,
}

impl Varied {
    /// The words of its columns.
    pub fn words(&self) -> Words {
        [
            (self.idle > 0).then(|| format_count(self.idle)),
            self.requests_per_conn.map(format_count),
            self.payload_bytes
                .as_ref()
                .map(|bytes| format!("{bytes} B")),
            match self.share {
                Some(share) => Some(format!("{} %", percent(share))),
                None => self.rate_per_s.map(format_rate),
            },
            self.work_ns.map(format_ns),
            self.block_ns.map(format_ns),
        ]
    }
}
