//! Outcome files and the histograms in them. `loadgen/fuzz/run 60 outcome`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::tally::{blob, merge, outcome};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        // Damage is an error; what decodes has the layout that everything here relies on.
        if let Ok(histogram) = blob::decode(text) {
            assert_eq!(histogram.sigfig(), loadgen::tally::latency::DIGITS);
        }
    }
    if let Ok(outcome) = outcome::read(bytes) {
        let _ = merge::merge(&[outcome.clone(), outcome], false);
    }
});
