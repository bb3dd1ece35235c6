//! The first bytes of a connection: the window starts small and doubles with every round trip.

mod picture;
mod transfers;

use super::finding::{Finding, Line};
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::{Unit, duration};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a segment is under way.
const ONE_WAY: Duration = Duration::from_millis(50);
/// Segments of each transfer: half of what the round it ends in carries.
const SEGMENTS: [u64; 6] = [5, 20, 50, 110, 230, 470];

/// The lab.
pub struct SlowStart;

/// What the transfers took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    /// What the way is made of.
    device: String,
    /// Bytes of a full segment, and how many may be under way at first, as the kernel says.
    segment_bytes: u64,
    initial_window: u64,
    /// What connect(2) took, the least of all.
    round_trip_ns: u64,
    transfers: Vec<Transfer>,
    /// Segments that were sent in each round trip of the longest.
    by_round: Vec<u64>,
}

/// So many segments, from the request to the last byte, the least of several attempts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Transfer {
    segments: u64,
    took_ns: u64,
}

impl Lab for SlowStart {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "slow-start",
        question: "How many round trips does a new connection need for its first bytes?",
        claim: "A connection may have ten segments under way at first, and twice as many after each round trip. So S bytes \
                take about log2(S / (10 MSS) + 1) round trips, whatever the bandwidth.",
        sources: &[
            "RFC 5681 3.1",
            "RFC 6928",
            "Grigorik, High Performance Browser Networking, 2",
        ],
        prediction: "The way there and back takes 100 ms, and nothing limits the bandwidth. How long do 7 KB, 72 KB and 680 KB \
                     take on a new connection?",
        done: "A network device (TUN, or veth), whose other end is this program, holds every packet for 50 ms. A server that uses reno sends 5 to \
               470 segments, each time on a new connection, and the time from the request to the last byte is taken.",
        answer: "The sender does not know what the way can carry, so it starts with the initial window (10 segments in Linux) \
                 and adds a segment for each that is acknowledged: the window doubles with each round trip, 10, 20, 40. A \
                 short connection ends before its window has grown, so its speed is decided by the round trip. That is what \
                 long-lived connections save beside the handshake, and why the first 14 KB of a page matter. Losses, or a \
                 congestion control that leaves slow start earlier, make it slower.",
        next: &[
            "tenk lab long-vs-short",
            "ip-sysctl: tcp_slow_start_after_idle",
            "man: tcp(7), TCP_CONGESTION",
        ],
        settings: &["net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem"],
        programs: &[],
        limit: Duration::from_secs(50),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        transfers::measure(place)
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        let round_trip_ns = evidence.round_trip_ns as f64;
        let least = 2.0 * ONE_WAY.as_nanos() as f64;
        let line = |one: &Transfer| {
            let expected = rounds(one.segments, evidence.initial_window) as f64;
            let taken = one.took_ns as f64 / round_trip_ns;
            let size = Unit::Bytes.words((one.segments * evidence.segment_bytes) as f64);
            let what = format!("round trips for {} segments ({size})", one.segments);
            let told = format!("{taken:.2} ({})", duration(one.took_ns as f64));
            Line::judged(
                what,
                format!("{expected}"),
                told,
                (taken - expected).abs() < 0.5,
            )
        };
        let mut lines: Vec<Line> = evidence.transfers.iter().map(line).collect();
        let windows: Vec<String> = evidence.by_round.iter().map(u64::to_string).collect();
        lines.push(Line::shown(
            "segments sent in each round trip of the longest",
            "doubled each time",
            windows.join(", "),
        ));
        lines.push(Line::shown(
            "initial window, as the kernel says",
            "10 segments",
            evidence.initial_window.to_string(),
        ));
        lines.push(Line::shown(
            format!("round trip, {}", evidence.device),
            duration(least),
            duration(round_trip_ns),
        ));
        if round_trip_ns > 1.5 * least || evidence.initial_window == 0 {
            let why = format!(
                "a round trip of {} took {}",
                duration(least),
                duration(round_trip_ns)
            );
            return Finding::not_judged(lines, why, "run it when the machine has less else to do");
        }
        Finding::of(
            lines,
            "Segments were lost, or the receiver's window was smaller than the sender's.",
        )
        .with_chart(picture::chart(evidence))
    }
}

/// Round trips until so many segments have been sent with a window that doubles each time.
fn rounds(segments: u64, initial_window: u64) -> u32 {
    let (mut rounds, mut window, mut sent) = (0, initial_window, 0);
    while sent < segments && window > 0 {
        (rounds, sent, window) = (rounds + 1, sent + window, window * 2);
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    /// Transfers that took so many round trips of so many ms.
    fn judged(round_trip_ms: u64, taken: [f64; 6]) -> Finding {
        let round_trip_ns = round_trip_ms * 1_000_000;
        let transfer = |(segments, taken): (u64, f64)| Transfer {
            segments,
            took_ns: (taken * round_trip_ns as f64) as u64,
        };
        let evidence = Evidence {
            device: "TUN device".into(),
            segment_bytes: 1448,
            initial_window: 10,
            round_trip_ns,
            transfers: SEGMENTS.into_iter().zip(taken).map(transfer).collect(),
            by_round: vec![10, 20, 40, 80, 160, 160],
        };
        SlowStart::judge(&settings(&[]), &evidence)
    }

    #[test]
    fn the_window_doubles_with_every_round_trip() {
        let finding = judged(101, [1.0, 2.0, 3.03, 4.08, 5.06, 6.2]);
        as_expected(&finding);
        assert!(finding.chart.is_some());
        for (segments, expected) in [
            (1, 1),
            (10, 1),
            (11, 2),
            (30, 2),
            (31, 3),
            (150, 4),
            (470, 6),
        ] {
            assert_eq!(rounds(segments, 10), expected);
            // The textbook's formula, rounded up to whole rounds.
            let formula = (segments as f64 / 10.0 + 1.0).log2().ceil();
            assert_eq!(f64::from(expected), formula, "{segments}");
        }
    }

    #[test]
    fn all_at_once_or_one_by_one_contradicts() {
        let at_once = judged(101, [1.0; 6]);
        assert!(not_as_expected(&at_once).contains("20 segments"));
        let linear = judged(101, [1.0, 2.0, 5.0, 11.0, 23.0, 47.0]);
        assert!(not_as_expected(&linear).contains("where 6 was expected"));
    }

    #[test]
    fn a_round_trip_that_is_too_long_is_not_judged() {
        assert!(not_judged(&judged(180, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).contains("180 ms"));
    }
}
