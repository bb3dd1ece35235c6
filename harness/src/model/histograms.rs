//! The response times of trials.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Response-time histograms by trial number.
pub type Histograms = BTreeMap<u32, Histogram<u64>>;
