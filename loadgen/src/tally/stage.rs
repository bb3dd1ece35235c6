//! The stages of a window whose load changes by plan: each has figures of its own.

use std::collections::BTreeMap;

use super::blob::{self, BlobError};
use super::latency::Latency;
use super::outcome::{Quantiles, Requests};
use crate::base::units::SECOND_NS;
use crate::load::Load;

pub use super::outcome::Stage;

/// What one worker counted in one stage.
#[derive(Clone, Debug, Default)]
pub struct StageTally {
    /// Requests due in it.
    pub requests: Requests,
    /// Their response times.
    pub response: Latency,
    /// Their service times, kept apart in an open loop only.
    pub service: Latency,
}

impl StageTally {
    /// Adds another worker's counts.
    pub fn merge(&mut self, other: &Self) {
        self.requests.merge(&other.requests);
        self.response.merge(&other.response);
        self.service.merge(&other.service);
    }
}

/// The stages of a window of so many nanoseconds, whose first began `late_ns` before it.
#[must_use]
pub fn stages(load: &Load, tallies: &[StageTally], window_ns: u64, late_ns: u64) -> Vec<Stage> {
    let Some(asked) = load.any_stages() else {
        return Vec::new();
    };
    let mut from_ns = 0;
    let mut all = Vec::new();
    for (index, stage) in asked.0.iter().enumerate() {
        let (start_ns, end_ns) = (from_ns, from_ns + stage.length_ns);
        from_ns = end_ns;
        let [start_ns, end_ns] =
            [start_ns, end_ns].map(|ns: u64| ns.saturating_sub(late_ns).min(window_ns));
        if start_ns == end_ns {
            continue;
        }
        let nothing = StageTally::default();
        let tally = tallies.get(index).unwrap_or(&nothing);
        let values = [stage.from(), stage.to()];
        all.push(stage_of(load, tally, values, [start_ns, end_ns]));
    }
    all
}

fn stage_of(
    load: &Load,
    tally: &StageTally,
    values: [f64; 2],
    [start_ns, end_ns]: [u64; 2],
) -> Stage {
    let service = if load.is_open_loop() {
        &tally.service
    } else {
        &tally.response
    };
    let length_s = (end_ns - start_ns) as f64 / SECOND_NS as f64;
    let mut stage = Stage {
        from_s: start_ns as f64 / SECOND_NS as f64,
        length_s,
        rate_per_s: load.stages.is_some().then_some(values),
        conns: load.conn_stages.is_some().then_some(values),
        requests: tally.requests.clone(),
        response_ns: Quantiles::default(),
        service_ns: Quantiles::default(),
        histograms: BTreeMap::new(),
    };
    stage.set(&tally.response, service);
    stage.set_rate();
    stage
}

impl Stage {
    fn set(&mut self, response: &Latency, service: &Latency) {
        self.response_ns = response.quantiles();
        self.service_ns = service.quantiles();
        let latencies = [("response", response), ("service", service)];
        let filled = latencies
            .into_iter()
            .filter(|(_, latency)| !latency.histogram.is_empty());
        self.histograms = filled
            .map(|(name, latency)| (name.to_owned(), blob::encode(&latency.histogram)))
            .collect();
    }

    /// Requests due in it that were completed, per second of it.
    fn set_rate(&mut self) {
        self.requests.per_s = self.requests.completed as f64 / self.length_s;
    }

    /// Adds the same stage of another process.
    ///
    /// # Errors
    /// When a histogram is damaged.
    pub fn merge(&mut self, other: &Self) -> Result<(), BlobError> {
        self.from_s = self.from_s.min(other.from_s);
        self.length_s = self.length_s.max(other.length_s);
        self.requests.merge(&other.requests);
        let latency = |name: &str, of: fn(&Self) -> &Quantiles| {
            let mut total = Latency::default();
            for stage in [&*self, other] {
                if let Some(text) = stage.histograms.get(name) {
                    let Quantiles {
                        censored,
                        censored_from,
                        ..
                    } = *of(stage);
                    let histogram = blob::decode(text)?;
                    total.merge(&Latency {
                        histogram,
                        censored,
                        censored_from,
                    });
                }
            }
            Ok::<_, BlobError>(total)
        };
        let response = latency("response", |stage| &stage.response_ns)?;
        let service = latency("service", |stage| &stage.service_ns)?;
        self.set(&response, &service);
        self.set_rate();
        Ok(())
    }
}
