//! When a SYN+ACK is sent again.

use super::WATCHED;
use crate::base::unit::Unit;
use crate::lab::Settings;
use crate::lab::tools::draw;
use crate::render::chart::{Chart, canvas::Scale};

/// When a SYN+ACK is sent again, s: the time-out is 1 s at first and doubles, as often as the setting says.
pub fn again_s(settings: &Settings) -> Vec<f64> {
    let retries = settings
        .number("net/ipv4/tcp_synack_retries")
        .unwrap_or(5)
        .min(16);
    let times = (1..=retries).map(|n| ((1u64 << n) - 1) as f64);
    times
        .filter(|at| *at < WATCHED.as_secs_f64() - 1.5)
        .collect()
}

/// The repetitions, measured and expected.
pub fn chart(sent_again_s: &[f64], due_s: &[f64]) -> Option<Chart> {
    let numbered = |times: &[f64]| {
        times
            .iter()
            .enumerate()
            .map(|(n, at)| (n as f64 + 1.0, *at))
            .collect()
    };
    draw::lines(
        "syn-queue",
        draw::texts(
            "When a SYN+ACK that nobody answers is sent again",
            "the time-out is 1 s and doubles",
            "",
        ),
        ("repetition", Scale::Linear, Unit::Count),
        ("seconds after the first", Scale::Linear, Unit::Seconds),
        vec![
            ("measured".into(), numbered(sent_again_s)),
            ("expected".into(), numbered(due_s)),
        ],
    )
}
