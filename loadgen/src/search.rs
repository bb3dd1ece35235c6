//! The highest rate at which a promise is kept: climb by doubling until it
//! breaks, then bisect; between two steps every connection is closed and drained.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fleet::run_everywhere;
use crate::link::{Interruption, Link};
use crate::load::Load;
use crate::outcome::Outcome;
use crate::run::Listener;
use crate::units::{MAX_RATE_PER_S, as_ns, format_rate, parse_duration};

/// Where the climb starts unless `--rate` says otherwise, requests per second.
pub const START_PER_S: f64 = 1000.0;

/// The bisection ends when the bounds are this close.
const PRECISION: f64 = 0.05;

/// Steps at most; a climb from 1 to 10 million and its bisection take 30.
const MAX_STEPS: usize = 32;

/// Share of the offered requests that must have been sent, and answered, for a step to count as held.
const DELIVERED: f64 = 0.99;

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
    const ALL: [(&str, Self); 7] = [
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
    fn is_kept(self, outcome: &Outcome, limit: u64) -> Option<bool> {
        let value = self.of(outcome)?;
        let bounded = match self {
            Self::Errors => false,
            Self::ServiceP99Ns => outcome.latency_ns.service.is_lower_bound(value),
            _ => outcome.latency_ns.response.is_lower_bound(value),
        };
        Some(value < limit && !bounded)
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
        let name = Metric::ALL
            .iter()
            .find(|(_, metric)| *metric == self.metric)
            .map_or("", |(name, _)| name);
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

/// What the search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// `tenk.search/1`.
    pub schema: String,
    /// The promises.
    pub slo: Vec<Slo>,
    /// The highest rate at which they were kept; absent if never.
    pub held_per_s: Option<f64>,
    /// The lowest rate at which one was broken; absent if never.
    pub broken_per_s: Option<f64>,
    /// Every step, in the order taken.
    pub steps: Vec<Step>,
}

/// One rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Offered, requests per second.
    pub rate_per_s: f64,
    /// Whether the promises were kept; absent with too few samples to say.
    pub held: Option<bool>,
    /// Completed, requests per second.
    pub achieved_per_s: f64,
    /// Quantiles of the response time.
    pub response_p50_ns: Option<u64>,
    /// 0.99 quantile.
    pub response_p99_ns: Option<u64>,
    /// Not answered rightly.
    pub errors: u64,
}

/// Searches. `load` gives everything but the rate, its own rate being the start. An interruption ends the search with
/// the steps that were made until then.
///
/// # Errors
/// Those of a run.
pub fn search(
    load: &Load,
    slo: &[Slo],
    link: &mut Link,
    listener: &mut dyn Listener,
) -> io::Result<(Found, Option<Interruption>)> {
    let mut bounds = Bounds::new(load.rate_per_s.unwrap_or(START_PER_S));
    let (mut steps, mut interruption) = (Vec::new(), None);
    while let Some(rate_per_s) = bounds.next().filter(|_| steps.len() < MAX_STEPS) {
        let step = match try_rate(load, rate_per_s, slo, link, listener)? {
            Ok((step, served)) if served > 0 || !steps.is_empty() => step,
            Ok(_) => {
                return Err(io::Error::other(format!(
                    "no connection was served by {}",
                    load.target
                )));
            }
            Err(interrupted) => {
                interruption = Some(interrupted);
                break;
            }
        };
        listener.notice(&describe(&step));
        bounds.learn(rate_per_s, step.held);
        steps.push(step);
    }
    let Bounds {
        held_per_s,
        broken_per_s,
        ..
    } = bounds;
    let found = Found {
        schema: "tenk.search/1".into(),
        slo: slo.to_vec(),
        held_per_s,
        broken_per_s,
        steps,
    };
    Ok((found, interruption))
}

fn try_rate(
    load: &Load,
    rate_per_s: f64,
    slo: &[Slo],
    link: &mut Link,
    listener: &mut dyn Listener,
) -> io::Result<Result<(Step, u64), Interruption>> {
    let load = Load {
        rate_per_s: Some(rate_per_s),
        ..load.clone()
    };
    let report = run_everywhere(load, link, listener)?;
    if let Some(interruption) = report.interruption {
        return Ok(Err(interruption));
    }
    if let Some(law) = report.broken_laws.first() {
        return Err(io::Error::other(format!(
            "a conservation law is broken, a bug in loadgen: {law}"
        )));
    }
    let served = report.outcome.connections.served;
    Ok(Ok((step_of(&report.outcome, rate_per_s, slo), served)))
}

fn step_of(outcome: &Outcome, rate_per_s: f64, slo: &[Slo]) -> Step {
    let requests = &outcome.requests;
    // Answered while the window lasted, but for what may have been in flight at its end: a server that gets there
    // later does not keep up.
    let in_flight = outcome.load.conns * outcome.load.pipeline;
    let answered = requests.completed_halves.iter().sum::<u64>() + in_flight;
    let wanted = DELIVERED * requests.offered as f64;
    let delivered = requests.offered > 0
        && requests.sent as f64 >= wanted
        && requests.completed as f64 >= wanted
        && answered as f64 >= wanted
        && outcome.connections.served_at_barrier >= outcome.connections.requested;
    let kept: Option<Vec<bool>> = slo
        .iter()
        .map(|slo| slo.metric.is_kept(outcome, slo.limit))
        .collect();
    Step {
        rate_per_s,
        held: if delivered {
            kept.map(|kept| kept.iter().all(|kept| *kept))
        } else {
            Some(false)
        },
        achieved_per_s: requests.per_s,
        response_p50_ns: outcome.latency_ns.response.p50,
        response_p99_ns: outcome.latency_ns.response.p99,
        errors: requests.offered.saturating_sub(requests.completed),
    }
}

fn describe(step: &Step) -> String {
    let held = match step.held {
        Some(true) => "held",
        Some(false) => "broken",
        None => "too few samples to say",
    };
    format!("{}: {held}", format_rate(step.rate_per_s))
}

/// What is known so far, and what to try next.
#[derive(Debug)]
struct Bounds {
    start_per_s: f64,
    held_per_s: Option<f64>,
    broken_per_s: Option<f64>,
    /// The highest rate that had too few samples.
    unknown_per_s: Option<f64>,
}

impl Bounds {
    fn new(start_per_s: f64) -> Self {
        Self {
            start_per_s,
            held_per_s: None,
            broken_per_s: None,
            unknown_per_s: None,
        }
    }

    fn learn(&mut self, rate_per_s: f64, held: Option<bool>) {
        match held {
            Some(true) => self.held_per_s = Some(rate_per_s),
            Some(false) => self.broken_per_s = Some(rate_per_s),
            None => self.unknown_per_s = Some(rate_per_s),
        }
    }

    /// The next rate; `None` when the bounds are close or the scale is at its end.
    fn next(&self) -> Option<f64> {
        let low = self.held_per_s.or(self.unknown_per_s);
        let next = match (low, self.broken_per_s) {
            (None, None) => self.start_per_s,
            (Some(low), None) => low.max(self.unknown_per_s.unwrap_or(0.0)) * 2.0,
            (None, Some(broken)) => broken / 2.0,
            (Some(low), Some(broken)) if broken - low <= PRECISION * low => return None,
            (Some(low), Some(broken)) => f64::midpoint(low, broken),
        };
        (1.0..=MAX_RATE_PER_S).contains(&next).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a server that keeps its promise below `limit` and needs `enough` a second to tell.
    fn found(start: f64, limit: f64, enough: f64) -> (Option<f64>, usize) {
        let mut bounds = Bounds::new(start);
        let mut steps = 0;
        while let Some(rate) = bounds.next().filter(|_| steps < MAX_STEPS) {
            bounds.learn(rate, (rate >= enough).then_some(rate < limit));
            steps += 1;
        }
        (bounds.held_per_s, steps)
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for start in [1.0, 1000.0, 1e6] {
            let (held, steps) = found(start, 54_321.0, 0.0);
            let held = held.expect("found");
            assert!(
                held < 54_321.0 && held > 54_321.0 * 0.94,
                "{held} from {start}"
            );
            assert!(steps < MAX_STEPS);
        }
    }

    #[test]
    fn rates_too_low_to_judge_are_climbed_past() {
        let held = found(10.0, 54_321.0, 2000.0).0.expect("found");
        assert!(held > 50_000.0, "{held}");
    }

    #[test]
    fn what_never_holds_or_never_breaks_ends() {
        assert_eq!(found(1000.0, 0.0, 0.0).0, None);
        assert!(found(1000.0, f64::INFINITY, 0.0).0.is_some());
    }

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
