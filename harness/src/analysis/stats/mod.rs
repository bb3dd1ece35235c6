//! Statistics over trials: pure functions over slices, each with its source.
//!
//! The unit of every sample is one trial (fresh server, fresh generator), never one request: requests of one trial
//! share its fate and would make any interval far too narrow.

pub mod e_divisive;
pub mod equivalence;
mod gamma_functions;
pub mod growth;
pub mod holm;
pub mod layout;
pub mod loglog;
pub mod order_statistic;
pub mod pooled;
pub mod power;
pub mod rank_sum;
pub mod ranking;
pub mod signed_rank;
mod variances;
pub mod walsh;

#[cfg(test)]
mod simulation;

use schemars::JsonSchema;
use serde::Serialize;

/// Error rate of every test and of every family of tests; intervals cover `1 - ALPHA`.
pub const ALPHA: f64 = 0.05;

/// The chance of finding a difference of the size planned for.
pub const POWER: f64 = 0.8;

/// A closed interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The interval between the (k+1)-th smallest and the (k+1)-th largest of sorted values; `None` when they cross.
    fn between_order_statistics(sorted: &[f64], k: usize) -> Option<Interval> {
        let last = sorted.len().checked_sub(k + 1)?;
        (k <= last).then(|| Interval {
            low: sorted[k],
            high: sorted[last],
        })
    }

    /// Both ends through a rising or falling function.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Interval {
        let (a, b) = (f(self.low), f(self.high));
        Interval {
            low: a.min(b),
            high: a.max(b),
        }
    }
}

/// The values in rising order; `None` if there are none or one is not finite, since no figure can be made of those.
fn sorted(values: &[f64]) -> Option<Vec<f64>> {
    let usable = !values.is_empty() && values.iter().all(|v| v.is_finite());
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    usable.then_some(values)
}
