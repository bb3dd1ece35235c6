//! The figures that arms, builds and runs are compared by: the one list of their names, units, directions and margins.
//! Rankings, gates, comparisons, charts and exports take them from here.

use super::row::Row;
use crate::base::column_unit::ColumnUnit;
use crate::base::error::did_you_mean;
use std::str::FromStr;

/// A figure to compare by.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its column, which is also its name in JSON.
    pub column: &'static str,
    /// Its name at the head of a column.
    pub title: &'static str,
    /// The same where there is room for few letters.
    pub short: &'static str,
    /// Its name along an axis and in sentences.
    pub label: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Relative differences up to this do not matter to anybody.
    pub margin: f64,
    /// Reads it from a row.
    pub of: fn(&Row) -> Option<f64>,
}

impl Metric {
    /// The logarithm of a row's figure, turned so that more is worse; none of figures that have no logarithm.
    pub fn cost(&self, row: &Row) -> Option<f64> {
        let log = (self.of)(row).filter(|v| *v > 0.0 && v.is_finite())?.ln();
        Some(if self.more_is_better { -log } else { log })
    }

    /// What its figures count in: the column's name ends with it.
    pub fn unit(&self) -> ColumnUnit {
        ColumnUnit::of(self.column)
    }
}

/// Requests per second; 5 % do not matter.
pub const THROUGHPUT: Metric = Metric {
    column: "requests_per_s",
    title: "requests/s",
    short: "requests/s",
    label: "requests/s",
    more_is_better: true,
    margin: 0.05,
    of: |row| row.requests_per_s,
};

/// Bytes per second, where nothing is answered; 5 % do not matter.
pub const BYTES: Metric = Metric {
    column: "bytes_per_s",
    title: "bytes/s",
    short: "bytes/s",
    label: "bytes/s",
    more_is_better: true,
    margin: 0.05,
    of: |row| row.bytes_per_s,
};

/// Server CPU per request; 3 % do not matter.
pub const CPU_PER_REQUEST: Metric = Metric {
    column: "server_cpu_us_per_request",
    title: "CPU/request",
    short: "CPU/req",
    label: "CPU per request",
    more_is_better: false,
    margin: 0.03,
    of: |row| row.server_cpu_us_per_request,
};

/// Median response time; 5 % do not matter.
pub const RESPONSE_P50: Metric = Metric {
    column: "response_p50_ns",
    title: "p50",
    short: "p50",
    label: "median response time",
    more_is_better: false,
    margin: 0.05,
    of: |row| row.response_p50_ns.map(|ns| ns as f64),
};

/// 99th percentile of the response time; 10 % do not matter: tails move more.
pub const RESPONSE_P99: Metric = Metric {
    column: "response_p99_ns",
    title: "p99",
    short: "p99",
    label: "99th percentile of the response time",
    more_is_better: false,
    margin: 0.10,
    of: |row| row.response_p99_ns.map(|ns| ns as f64),
};

/// Memory per connection; 3 % do not matter.
pub const MEMORY: Metric = Metric {
    column: "server_memory_per_conn_bytes",
    title: "memory/connection",
    short: "mem/conn",
    label: "memory per connection",
    more_is_better: false,
    margin: 0.03,
    of: memory_per_connection,
};

/// Connections served per second; 5 % do not matter.
pub const CONNECTIONS: Metric = Metric {
    column: "conns_per_s",
    title: "conns/s",
    short: "conns/s",
    label: "connections/s",
    more_is_better: true,
    margin: 0.05,
    of: |row| row.conns_per_s,
};

/// Server CPU per connection that makes a few requests and ends; 3 % do not matter.
pub const CPU_PER_CONNECTION: Metric = Metric {
    column: "server_cpu_us_per_request",
    title: "CPU/connection",
    short: "CPU/conn",
    label: "CPU per connection",
    more_is_better: false,
    margin: 0.03,
    of: |row| Some(row.server_cpu_us_per_request? * row.requests_per_conn? as f64),
};

/// The kernel charges memory to a control group in batches of this size, on each CPU.
const CHARGED_AT_ONCE_KIB: u64 = 256;

/// Batches that a reading has to hold: one more or less is then a quarter of it at most.
const FEWEST_BATCHES: u64 = 4;

/// Whether so much memory, read of a control group, is more than the batches in which the kernel counts it.
pub fn is_above_resolution(memory_kib: u64) -> bool {
    memory_kib >= FEWEST_BATCHES * CHARGED_AT_ONCE_KIB
}

/// The memory per connection, in bytes, from which on a reading would have shown it; given where less was read.
pub fn memory_too_small_to_read(row: &Row) -> Option<f64> {
    let is_too_small = |kib: u64| !is_above_resolution(kib);
    let held = row.conns_served.filter(|held| *held > 0)?;
    let least = (FEWEST_BATCHES * CHARGED_AT_ONCE_KIB * 1024) as f64 / held as f64;
    row.server_memory_kib
        .is_some_and(is_too_small)
        .then_some(least)
}

fn memory_per_connection(row: &Row) -> Option<f64> {
    let is_known = row.server_memory_kib.is_some_and(is_above_resolution);
    row.server_memory_per_conn_bytes.filter(|_| is_known)
}

/// Every metric, the one gated by default first. The margins are those of a two-core machine: tails move more.
pub const METRICS: [Metric; 8] = [
    CPU_PER_REQUEST,
    THROUGHPUT,
    RESPONSE_P50,
    RESPONSE_P99,
    Metric {
        column: "response_p999_ns",
        title: "p99.9",
        short: "p99.9",
        label: "99.9th percentile of the response time",
        more_is_better: false,
        margin: 0.20,
        of: |row| row.response_p999_ns.map(|ns| ns as f64),
    },
    Metric {
        column: "ctx_switches_per_request",
        title: "context switches/request",
        short: "switches/req",
        label: "context switches per request",
        more_is_better: false,
        margin: 0.05,
        of: |row| row.ctx_switches_per_request,
    },
    MEMORY,
    CONNECTIONS,
];

/// A metric that decides the gate, and the relative difference that is let pass.
#[derive(Debug, Clone, Copy)]
pub struct Gated {
    /// Which figure.
    pub metric: &'static Metric,
    /// The margin, 0.03 for 3 %.
    pub margin: f64,
    /// What this machine's calibration leaves possible between equal programs; it raises the margin as far as the run's
    /// own equal pairs bear it out.
    pub floor: Option<f64>,
}

impl Gated {
    /// Server CPU per request, 3 %: the one figure that a shared two-core machine measures well.
    pub fn default_one() -> Gated {
        let metric = &METRICS[0];
        Gated {
            metric,
            margin: metric.margin,
            floor: None,
        }
    }
}

impl FromStr for Gated {
    type Err = String;

    /// `METRIC` or `METRIC:MARGIN`, the margin as `3%` or `0.03`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, margin) = match text.split_once(':') {
            Some((name, margin)) => (name.trim(), Some(margin.trim())),
            None => (text.trim(), None),
        };
        let metric = METRICS.iter().find(|metric| metric.column == name);
        let metric = metric.ok_or_else(|| {
            let names = METRICS.map(|metric| metric.column);
            let near = did_you_mean(name, names);
            format!("no metric `{name}`{near} (one of {})", names.join(", "))
        })?;
        let margin = margin.map_or(Ok(metric.margin), fraction)?;
        Ok(Gated {
            metric,
            margin,
            floor: None,
        })
    }
}

fn fraction(text: &str) -> Result<f64, String> {
    let (digits, scale) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim_end(), 100.0),
        None => (text, 1.0),
    };
    let number = digits.parse::<f64>().ok().map(|number| number / scale);
    let number = number.filter(|n| (0.001..=1.0).contains(n));
    number.ok_or_else(|| format!("the margin `{text}` is not from 0.1% to 100%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_and_its_margin_are_understood() {
        let of = |text: &str| {
            let gated: Gated = text.parse().unwrap();
            (gated.metric.title, gated.margin)
        };
        assert_eq!(of("response_p99_ns:15%"), ("p99", 0.15));
        assert_eq!(of("requests_per_s : 0.07"), ("requests/s", 0.07));
        assert_eq!(of("server_cpu_us_per_request"), ("CPU/request", 0.03));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| text.parse::<Gated>().unwrap_err();
        assert!(wrong("response_p99:3%").contains("did you mean `response_p99_ns`?"));
        for margin in ["", "0", "200%", "x", "-3%", "NaN"] {
            assert!(wrong(&format!("response_p99_ns:{margin}")).contains("not from 0.1% to 100%"));
        }
    }
}
