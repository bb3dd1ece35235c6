//! What was asked of a server: what rows must share to be compared with each other.

use super::row::Row;

/// The part of a row's settings that says what was asked of the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// What the server does with bytes.
    pub service: String,
    /// Active connections.
    pub conns: u64,
    /// Idle connections.
    pub idle: u64,
    /// Bytes per request.
    pub payload_bytes: u64,
    /// Requests per connection; none: long-lived.
    pub requests_per_conn: Option<u64>,
    /// Offered rate, in a unit that can be compared exactly; none: closed loop.
    pub requests_per_1000_s: Option<u64>,
    /// CPU work per request.
    pub work_ns: Option<u64>,
    /// Blocking call per request.
    pub block_ns: Option<u64>,
}

impl Row {
    /// What identifies the workload: rows of one workload are compared with each other.
    pub fn workload(&self) -> Workload {
        Workload {
            service: self.service.clone(),
            conns: self.conns,
            idle: self.idle,
            payload_bytes: self.payload_bytes,
            requests_per_conn: self.requests_per_conn,
            requests_per_1000_s: self.rate_per_s.map(|rate| (rate * 1e3) as u64),
            work_ns: self.work_ns,
            block_ns: self.block_ns,
        }
    }
}

/// A workload in one word: `c10000/echo64`, and what else makes it differ from others.
pub fn workload_name(row: &Row) -> String {
    let mut name = format!("c{}/{}{}", row.conns, row.service, row.payload_bytes);
    if row.idle > 0 {
        name.push_str(&format!("/idle{}", row.idle));
    }
    if let Some(n) = row.requests_per_conn {
        name.push_str(&format!("/rpc{n}"));
    }
    if let Some(rate) = row.rate_per_s {
        name.push_str(&format!("/{}{rate}", row.arrival));
    }
    for (what, ns) in [("work", row.work_ns), ("block", row.block_ns)] {
        if let Some(ns) = ns.filter(|&ns| ns > 0) {
            name.push_str(&format!("/{what}{ns}ns"));
        }
    }
    name
}
