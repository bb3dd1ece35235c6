//! Round trips against bytes, as measured and as expected.

use super::{Evidence, Transfer, rounds};
use crate::base::unit::Unit;
use crate::lab::tools::draw;
use crate::render::chart::{Chart, canvas::Scale};

/// Two lines.
pub fn chart(evidence: &Evidence) -> Option<Chart> {
    let round_trip_ns = evidence.round_trip_ns as f64;
    let bytes = |segments: u64| (segments * evidence.segment_bytes) as f64;
    let found = evidence
        .transfers
        .iter()
        .map(|one| (bytes(one.segments), one.took_ns as f64 / round_trip_ns));
    let expected = |one: &Transfer| {
        (
            bytes(one.segments),
            f64::from(rounds(one.segments, evidence.initial_window)),
        )
    };
    let expected = evidence.transfers.iter().map(expected);
    let texts = draw::texts(
        "Each further round trip carries twice as much",
        "a new connection over a way of 100 ms, reno, no losses",
        "Expected: the rounds in which a window of 10, 20, 40 … segments has sent so much.",
    );
    let x = ("bytes sent", Scale::Log, Unit::Bytes);
    let y = (
        "round trips until the last byte",
        Scale::Linear,
        Unit::Count,
    );
    draw::lines(
        "slow-start",
        texts,
        x,
        y,
        vec![
            ("measured".into(), found.collect()),
            ("expected".into(), expected.collect()),
        ],
    )
}
