//! Promises about a server: a figure below a limit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use crate::base::units::{as_ns, parse_duration};

/// A figure of the outcome that promises can be made about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Median response time.
    ResponseP50Ns,
    /// 0.9 quantile of the response time.
    ResponseP90Ns,
    /// 0.99 quantile of the response time.
    ResponseP99Ns,
    /// 0.999 quantile of the response time.
    ResponseP999Ns,
    /// Largest response time.
    ResponseMaxNs,
    /// 0.99 quantile of the service time.
    ServiceP99Ns,
    /// Requests of the window not answered rightly.
    Errors,
}

impl Metric {
    /// Every one of them by its name, which is also that of a harness's column.
    pub const ALL: [(&str, Self); 7] = [
        ("response_p50_ns", Self::ResponseP50Ns),
        ("response_p90_ns", Self::ResponseP90Ns),
        ("response_p99_ns", Self::ResponseP99Ns),
        ("response_p999_ns", Self::ResponseP999Ns),
        ("response_max_ns", Self::ResponseMaxNs),
        ("service_p99_ns", Self::ServiceP99Ns),
        ("errors", Self::Errors),
    ];

    /// Whether the promise was kept; `None` with too few samples. A lower bound below the limit says nothing good: the
    /// request it stands for was given up.
    #[must_use]
    pub fn is_kept(self, outcome: &Outcome, limit: u64) -> Option<bool> {
        let value = self.of(outcome)?;
        let bounded = match self {
            Self::Errors => false,
            Self::ServiceP99Ns => outcome.latency_ns.service.is_lower_bound(value),
            _ => outcome.latency_ns.response.is_lower_bound(value),
        };
        Some(value < limit && !bounded)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let known = Self::ALL.iter().find(|(_, metric)| *metric == self);
        known.map_or("", |(name, _)| name)
    }

    fn of(self, outcome: &Outcome) -> Option<u64> {
        let (response, requests) = (&outcome.latency_ns.response, &outcome.requests);
        match self {
            Self::ResponseP50Ns => response.p50,
            Self::ResponseP90Ns => response.p90,
            Self::ResponseP99Ns => response.p99,
            Self::ResponseP999Ns => response.p999,
            Self::ResponseMaxNs => response.max,
            Self::ServiceP99Ns => outcome.latency_ns.service.p99,
            Self::Errors => Some(requests.offered.saturating_sub(requests.completed)),
        }
    }
}

/// A promise: a figure below a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slo {
    /// Of what.
    pub metric: Metric,
    /// The value that must not be reached; latencies in nanoseconds.
    pub limit: u64,
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Metric::ALL.map(|(name, _)| name).join(", ");
        let (name, limit) = text
            .split_once('<')
            .ok_or_else(|| format!("`{text}` is not METRIC<LIMIT"))?;
        let metric = Metric::ALL.iter().find(|(known, _)| *known == name.trim());
        let (_, metric) = metric.ok_or_else(|| format!("`{name}` is none of {}", names()))?;
        let limit = limit.trim();
        let plain = limit.parse().ok();
        let limit = match metric {
            Metric::Errors => {
                plain.ok_or_else(|| format!("`{limit}` is not a number of errors"))?
            }
            _ => plain.map_or_else(|| parse_duration(limit).map(as_ns), Ok)?,
        };
        Ok(Self {
            metric: *metric,
            limit,
        })
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric.name();
        match self.metric {
            Metric::Errors => write!(f, "{name}<{}", self.limit),
            _ => write!(
                f,
                "{name}<{}",
                humantime::format_duration(Duration::from_nanos(self.limit))
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_read() {
        assert_eq!(
            "response_p99_ns < 5000000".parse(),
            Ok(Slo {
                metric: Metric::ResponseP99Ns,
                limit: 5_000_000
            })
        );
        assert_eq!(
            "errors < 1".parse(),
            Ok(Slo {
                metric: Metric::Errors,
                limit: 1
            })
        );
        for bad in [
            "",
            "p99<5ms",
            "response_p99_ns>5ms",
            "response_p99_ns<fast",
            "errors<5ms",
        ] {
            assert!(bad.parse::<Slo>().is_err(), "{bad}");
        }
    }
}
