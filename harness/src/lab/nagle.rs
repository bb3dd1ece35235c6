//! Two small writes and a read: Nagle's algorithm waits for the acknowledgement that the peer's delayed ACK holds back.

use super::tools::{draw, sockets};
use super::{About, Finding, Lab, Line, Place, Settings, Trouble};
use crate::base::unit::{Unit, duration};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Exchanges of each kind.
const EXCHANGES: usize = 25;
/// Bytes of each of the two pieces, and of the answer.
const PIECE: usize = 10;

/// The lab.
pub struct Nagle;

/// How long each exchange took, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    two_pieces_ns: Vec<u64>,
    one_piece_ns: Vec<u64>,
    two_pieces_no_delay_ns: Vec<u64>,
}

impl Lab for Nagle {
    type Evidence = Evidence;

    const ABOUT: About = About {
        name: "nagle",
        question: "Why does a request that is written in two pieces take 40 ms?",
        claim: "Nagle's algorithm holds a second small segment back until the first is acknowledged, and the receiver \
                delays that acknowledgement: write-write-read costs a delayed ACK in every exchange.",
        sources: &[
            "RFC 896",
            "RFC 1122 4.2.3.2 and 4.2.3.4",
            "Stevens, UNIX Network Programming 1, 7.9",
            "tcp(7): TCP_NODELAY",
        ],
        prediction: "A client writes 10 bytes, then 10 more, and waits for the answer to all 20. Nothing is lost, and the \
                     server is on the same machine. How long does an exchange take: 50 µs, 4 ms, or 40 ms? And when the \
                     client writes 20 bytes at once?",
        done: "A server answers 10 bytes as soon as it has 20. A client asks 25 times each: in two pieces, in one piece, \
               and in two pieces with TCP_NODELAY on its socket.",
        answer: "After the first piece is sent and not acknowledged, Nagle's algorithm keeps the second, small one back. \
                 The server has nothing to say to half a request, so its acknowledgement waits for the delayed-ACK timer, \
                 40 ms at least on Linux. One write, or TCP_NODELAY, and nothing waits for anything. The first exchanges \
                 may be quick: Linux acknowledges at once while a connection is new.",
        next: &[
            "tenk lab handshake",
            "tcp(7), about TCP_CORK and TCP_QUICKACK",
        ],
        settings: &["net/ipv4/tcp_autocorking"],
        programs: &[],
        limit: Duration::from_secs(30),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        place.say("requests in two pieces");
        let two_pieces_ns = exchanges(2, false)?;
        place.say("requests in one piece, and with TCP_NODELAY");
        Ok(Evidence {
            two_pieces_ns,
            one_piece_ns: exchanges(1, false)?,
            two_pieces_no_delay_ns: exchanges(2, true)?,
        })
    }

    fn judge(settings: &Settings, evidence: &Evidence) -> Finding {
        let two = median(&evidence.two_pieces_ns);
        let (one, no_delay) = (
            median(&evidence.one_piece_ns),
            median(&evidence.two_pieces_no_delay_ns),
        );
        let (least, most) = delayed_ack_ns(settings);
        let kinds = [
            ("in one piece", one),
            ("in two pieces with TCP_NODELAY", no_delay),
        ];
        let mut lines = vec![Line::judged(
            "median exchange in two pieces",
            format!("{} to {}", duration(least), duration(most)),
            duration(two),
            // On a busy machine whoever is woken up comes later, never earlier.
            two >= least * 0.9 && two <= most * 2.0,
        )];
        lines.extend(kinds.map(|(kind, median)| {
            let expected = format!("less than half of {}", duration(least));
            Line::judged(
                format!("median exchange {kind}"),
                expected,
                duration(median),
                median < least / 2.0,
            )
        }));
        if one >= least / 2.0 && no_delay >= least / 2.0 {
            let why = format!(
                "even a request in one piece took {}, so the pieces are not what is seen",
                duration(one)
            );
            return Finding::not_judged(
                lines,
                why,
                "run the lab on a machine that has less else to do",
            );
        }
        let data = kinds.into_iter().chain([("in two pieces", two)]);
        let data = data.map(|(kind, ns)| (kind.to_string(), ns)).collect();
        let texts = draw::texts(
            "An exchange of 20 bytes for 10",
            "median of 25, over loopback",
            "",
        );
        Finding::of(lines, "One of the two algorithms is off here: TCP_NODELAY or TCP_QUICKACK may be set by a library, \
                            or the route has the quickack option (ip-route(8)).")
            .with_chart(draw::bars("nagle", texts, "median exchange", Unit::Duration, data))
    }
}

/// The delayed-ACK timer: 40 ms to 200 ms, in ticks of the kernel's timer (TCP_ATO_MIN, TCP_DELACK_MAX, include/net/tcp.h).
fn delayed_ack_ns(settings: &Settings) -> (f64, f64) {
    let tick = 1e9 / settings.hz.unwrap_or(250) as f64;
    ((4e7 / tick).floor() * tick, 2e8 + 2.0 * tick)
}

fn median(times_ns: &[u64]) -> f64 {
    let mut sorted = times_ns.to_vec();
    sorted.sort_unstable();
    sorted
        .get(sorted.len() / 2)
        .map_or(f64::NAN, |ns| *ns as f64)
}

/// Times of exchanges of two pieces' bytes, written in so many pieces.
fn exchanges(pieces: usize, no_delay: bool) -> Result<Vec<u64>, Trouble> {
    let (mut client, mut server) = sockets::pair()?;
    client.set_nodelay(no_delay)?;
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let serving = thread::spawn(move || answer(&mut server));
    let request = [7; 2 * PIECE];
    let mut times_ns = Vec::new();
    for _ in 0..EXCHANGES {
        let began = Instant::now();
        for piece in request.chunks(request.len() / pieces) {
            client.write_all(piece)?;
        }
        client.read_exact(&mut [0; PIECE])?;
        times_ns.push(began.elapsed().as_nanos() as u64);
    }
    drop(client);
    // It ends with its client.
    let _ = serving.join();
    Ok(times_ns)
}

/// A short answer to each whole request, until the client has gone.
fn answer(server: &mut TcpStream) {
    while server.read_exact(&mut [0; 2 * PIECE]).is_ok() && server.write_all(&[8; PIECE]).is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    fn judged(two_us: u64, one_us: u64, no_delay_us: u64) -> Finding {
        let times = |us: u64| vec![us * 1000; EXCHANGES];
        let evidence = Evidence {
            two_pieces_ns: times(two_us),
            one_piece_ns: times(one_us),
            two_pieces_no_delay_ns: times(no_delay_us),
        };
        Nagle::judge(&settings(&[]), &evidence)
    }

    #[test]
    fn forty_milliseconds_are_a_delayed_acknowledgement() {
        as_expected(&judged(44_000, 60, 20));
        as_expected(&judged(39_900, 5_000, 9_000));
    }

    #[test]
    fn pieces_that_do_not_wait_contradict() {
        let finding = judged(60, 50, 20);
        assert!(not_as_expected(&finding).contains("60 µs, where 40 ms"));
        let finding = judged(44_000, 60, 44_000);
        assert!(not_as_expected(&finding).contains("TCP_NODELAY: 44 ms"));
    }

    #[test]
    fn where_everything_is_slow_nothing_is_judged() {
        assert!(not_judged(&judged(90_000, 60_000, 70_000)).contains("60 ms"));
    }

    #[test]
    fn the_timer_counts_in_ticks() {
        assert_eq!(delayed_ack_ns(&settings(&[])).0, 4e7);
        let coarse = Settings {
            hz: Some(100),
            ..settings(&[])
        };
        assert_eq!(delayed_ack_ns(&coarse), (4e7, 2.2e8));
    }
}
