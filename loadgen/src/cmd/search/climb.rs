//! The climb: a step at each rate that is tried.

use std::io;

use serde::{Deserialize, Serialize};

use super::START_PER_S;
use super::bounds::{Bounds, MAX_STEPS};
use crate::base::units::format_rate;
use crate::fleet::link::{Interruption, Link};
use crate::fleet::run::Listener;
use crate::fleet::{Place, run_everywhere};
use crate::load::Load;
use crate::tally::outcome::Outcome;
use crate::tally::slo::Slo;

/// Share of the offered requests that must have been sent, and answered, for a step to count as held.
const DELIVERED: f64 = 0.99;

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
    place: &Place,
    link: &mut Link,
    listener: &mut dyn Listener,
) -> io::Result<(Found, Option<Interruption>)> {
    let mut bounds = Bounds::new(load.rate_per_s.unwrap_or(START_PER_S));
    let (mut steps, mut interruption) = (Vec::new(), None);
    while let Some(rate_per_s) = bounds.next().filter(|_| steps.len() < MAX_STEPS) {
        let step = match try_rate(load, rate_per_s, slo, place, link, listener)? {
            Ok((step, served)) if served > 0 || !steps.is_empty() => step,
            Ok(_) => {
                return Err(io::Error::other(format!(
                    "no connection was served by {}",
                    load.target_in_words()
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
    place: &Place,
    link: &mut Link,
    listener: &mut dyn Listener,
) -> io::Result<Result<(Step, u64), Interruption>> {
    let load = Load {
        rate_per_s: Some(rate_per_s),
        ..load.clone()
    };
    let report = run_everywhere(load, place, link, listener)?;
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
