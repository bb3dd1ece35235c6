//! The record of one second, and what it says of its responses.

use super::blob::{self, BlobError};
use super::latency::Latency;
use super::outcome::{Second, quantile};

/// What a record of one second says of its responses, the inverse of [`second_of`].
///
/// # Errors
/// When its histogram is damaged.
pub fn latency_of(second: &Second) -> Result<Latency, BlobError> {
    Ok(Latency {
        histogram: blob::decode(&second.histogram)?,
        censored: second.censored,
        censored_from: second.censored_from_ns,
    })
}

/// The record of one second.
#[must_use]
pub fn second_of(second: u64, latency: &Latency, errors: u64) -> Second {
    let histogram = &latency.histogram;
    let is_known = |ns: &u64| latency.censored_from.is_none_or(|from| *ns < from);
    let largest = (!histogram.is_empty()).then(|| histogram.max());
    Second {
        second,
        length_s: 1,
        completed: histogram.len().saturating_sub(latency.censored),
        censored: latency.censored,
        censored_from_ns: latency.censored_from,
        errors,
        response_p50_ns: quantile(histogram, 0.5).filter(is_known),
        response_p99_ns: quantile(histogram, 0.99).filter(is_known),
        response_max_ns: largest.filter(is_known),
        histogram: blob::encode(histogram),
    }
}
