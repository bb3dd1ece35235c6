//! What was asked of a server: what rows must share to be compared with each other.

use super::row::Row;
use loadgen::base::hash::mix;
use loadgen::base::units::{format_count, format_ns, format_rate};

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
    /// What requests say; none: what the service is asked by default.
    pub requests: Option<String>,
    /// Requests per connection; none: long-lived.
    pub requests_per_conn: Option<u64>,
    /// Offered rate, in a unit that can be compared exactly; none: closed loop, or a share of each arm's capacity.
    pub requests_per_1000_s: Option<u64>,
    /// Offered share of each arm's own capacity, in thousandths; none: a rate is, or a closed loop.
    pub capacity_permille: Option<u64>,
    /// Course of the rate; none: it is one rate, or a closed loop.
    pub stages: Option<String>,
    /// Course of the number of connections; none: it is one number.
    pub conn_stages: Option<String>,
    /// CPU work per request.
    pub work_ns: Option<u64>,
    /// Blocking call per request.
    pub block_ns: Option<u64>,
}

impl Workload {
    /// Whether requests have a schedule, whatever the server does.
    pub fn is_open_loop(&self) -> bool {
        let rate = self.requests_per_1000_s.or(self.capacity_permille);
        rate.is_some() || self.stages.is_some()
    }

    /// The same without its rate: workloads that share it are levels of load.
    pub fn without_rate(&self) -> Workload {
        Workload {
            requests_per_1000_s: None,
            capacity_permille: None,
            ..self.clone()
        }
    }
}

impl Row {
    /// What identifies the workload: rows of one workload are compared with each other.
    pub fn workload(&self) -> Workload {
        Workload {
            service: self.service.clone(),
            conns: self.conns,
            idle: self.idle,
            payload_bytes: self.payload_bytes,
            requests: self.requests.clone(),
            requests_per_conn: self.requests_per_conn,
            requests_per_1000_s: match self.capacity_fraction {
                None => self.rate_per_s.map(|rate| (rate * 1e3) as u64),
                Some(_) => None,
            },
            capacity_permille: self.capacity_fraction.map(|of| (of * 1e3).round() as u64),
            stages: self.stages.clone(),
            conn_stages: self.conn_stages.clone(),
            work_ns: self.work_ns,
            block_ns: self.block_ns,
        }
    }
}

/// A workload in one word: `c10000/echo64`, and what else makes it differ from others.
pub fn workload_name(row: &Row) -> String {
    let mut name = format!("c{}/{}{}", row.conns, row.service, row.payload_bytes);
    if let Some(requests) = &row.requests {
        name.push_str(&format!("/{}", short_name(requests)));
    }
    if row.idle > 0 {
        name.push_str(&format!("/idle{}", row.idle));
    }
    if let Some(n) = row.requests_per_conn {
        name.push_str(&format!("/rpc{n}"));
    }
    match (row.capacity_fraction, row.rate_per_s) {
        (Some(share), _) => name.push_str(&format!("/{}{}%", row.arrival, percent(share))),
        (None, Some(rate)) => name.push_str(&format!("/{}{rate}", row.arrival)),
        (None, None) => {}
    }
    for stages in row.stages.iter().chain(&row.conn_stages) {
        name.push_str(&format!("/{}[{stages}]", row.arrival));
    }
    for (what, ns) in [("work", row.work_ns), ("block", row.block_ns)] {
        if let Some(ns) = ns.filter(|&ns| ns > 0) {
            name.push_str(&format!("/{what}{ns}ns"));
        }
    }
    name
}

/// A word of letters, digits and hyphens for what requests say: as much of it as is short, and a digest of all.
fn short_name(requests: &str) -> String {
    const MOST: usize = 24;
    let words = requests.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut name = words.join("-").to_lowercase();
    name.truncate(MOST);
    let digest = requests
        .bytes()
        .fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    format!("{}-{:06x}", name.trim_end_matches('-'), digest >> 40)
}

/// A share in percent, with what decimals it has.
pub fn percent(share: f64) -> f64 {
    (share * 1e3).round() / 10.0
}

/// A workload in words: `50 connections + 5 000 idle, 200 requests/s`.
pub fn title(row: &Row) -> String {
    let mut text = connections(row);
    text.push_str(&match (row.capacity_fraction, row.rate_per_s) {
        (Some(share), _) => format!(
            ", {} at {} % of each arm's capacity",
            row.arrival,
            percent(share)
        ),
        (None, Some(rate)) => format!(", {} {}", row.arrival, format_rate(rate)),
        (None, None) if row.stages.is_some() || row.conn_stages.is_some() => in_stages(row),
        (None, None) if row.service == "discard" => ", as fast as they send".into(),
        (None, None) => ", closed loop".into(),
    });
    text + &requests(row)
}

/// `, fixed in stages of 10s@1000,30s@1000..20000`.
fn in_stages(row: &Row) -> String {
    match (&row.stages, &row.conn_stages) {
        (Some(stages), _) => format!(", {} in stages of {stages} requests/s", row.arrival),
        (None, Some(stages)) => format!(", closed loop in stages of {stages} connections"),
        (None, None) => String::new(),
    }
}

/// The same of a load at several rates: `50 connections, open loop, echo 64 B`.
pub fn title_without_rate(row: &Row) -> String {
    format!("{}, open loop{}", connections(row), requests(row))
}

fn connections(row: &Row) -> String {
    let mut text = match row.conns {
        1 => "1 connection".to_string(),
        n => format!("{} connections", format_count(n)),
    };
    if row.idle > 0 {
        text.push_str(&format!(" + {} idle", format_count(row.idle)));
    }
    text
}

/// What is sent over them, and what it costs to answer.
fn requests(row: &Row) -> String {
    let mut text = String::new();
    match row.requests_per_conn {
        Some(1) => text.push_str(", a connection per request"),
        Some(n) => text.push_str(&format!(", {} requests per connection", format_count(n))),
        None => {}
    }
    match &row.requests {
        Some(requests) => text.push_str(&format!(", {} {requests}", row.protocol)),
        None => text.push_str(&format!(
            ", {} {} B",
            row.service,
            format_count(row.payload_bytes)
        )),
    }
    for (what, ns) in [("work", row.work_ns), ("block", row.block_ns)] {
        if let Some(ns) = ns.filter(|&ns| ns > 0) {
            text.push_str(&format!(", {what} {}", format_ns(ns)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_differ_are_workloads_of_their_own_with_names_that_differ() {
        let row = |requests: Option<&str>| Row {
            service: "http".into(),
            protocol: "http".into(),
            conns: 5,
            requests: requests.map(String::from),
            ..Row::blank()
        };
        let (plain, a, b) = (row(None), row(Some("GET /a")), row(Some("GET /A")));
        assert!(plain.workload() != a.workload() && a.workload() != b.workload());
        assert_eq!(workload_name(&plain), "c5/http0");
        assert!(workload_name(&a).starts_with("c5/http0/get-a-"));
        assert_ne!(workload_name(&a), workload_name(&b));
        assert_eq!(title(&a), "5 connections, closed loop, http GET /a");
    }
}
