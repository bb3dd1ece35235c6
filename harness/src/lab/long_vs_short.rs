//! A connection for every request: what opening and closing it costs in segments, CPU time and throughput.

mod far;
mod second;

use super::finding::Finding;
use super::tools::draw;
use super::tools::rows::Missing;
use super::tools::table::Table;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::Unit;
use far::Far;
use second::{Way, add};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Rounds, in which the two take turns.
const ROUNDS: usize = 3;

/// The lab.
pub struct LongVsShort;

/// Both, here and from far away, or why that cannot be had.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    long: Way,
    short: Way,
    far: Result<Far, String>,
}

impl Lab for LongVsShort {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "long-vs-short",
        question: "What does a connection for every request cost?",
        claim: "A short connection takes three segments to open and three or four to close, around the two that carry \
                request and answer; a long one has only these. It costs throughput and CPU time accordingly.",
        sources: &[
            "UNP 1, 2.6 and 2.7",
            "RFC 9293, 3.5 and 3.6",
            "RFC 9112, 9.3 (persistence)",
        ],
        prediction: "Ten clients ask and ask again: over one connection each, or over a new one for every request. How many \
                     segments does a request take, and how many times the requests does the long connection get answered?",
        done: "The same ten clients ask an epoll server over connections that stay and over new ones, in turns. Segments \
               are the kernel's count for this network (Tcp OutSegs), in both directions. Then one client asks over a way of 25 ms.",
        answer: "SYN, SYN-ACK and ACK open; request and answer carry each other's acknowledgements where they are quick; FIN, \
                 FIN-ACK and ACK close. The server makes accept, epoll_ctl and close besides recv and send. Over a network a \
                 round trip comes on top of every request; here one is made of a tun interface.",
        next: &[
            "tenk lab handshake",
            "tenk lab time-wait",
            "tenk --model epoll --conns 10 --requests-per-conn 1,10",
        ],
        settings: &["net/ipv4/tcp_tw_reuse"],
        programs: &["loadgen", "epoll"],
        limit: Duration::from_secs(60),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let (mut long, mut short) = (Way::default(), Way::default());
        for round in 1..=ROUNDS {
            place.say(&format!("round {round} of {ROUNDS}"));
            add(place, &mut long, "")?;
            add(place, &mut short, "--requests-per-conn 1")?;
        }
        let far = far::asked(place).map_err(|trouble| trouble.in_words().0);
        Ok(Evidence { long, short, far })
    }

    fn judge(_: &Settings, Evidence { long, short, far }: &Evidence) -> Finding {
        if long.requests == 0 || short.requests == 0 {
            return Missing::of("no request was answered").into();
        }
        let [each, cpu, per_s] = [Way::segments_each, Way::cpu_each_s, Way::median_per_s];
        let mut table = Table::of(Unit::Count);
        table.about("segments per request, long", 2.0, each(long), (1.0, 1.3));
        // Three to open, two with data, three to close; acknowledgements may also go alone.
        table.about("segments per request, short", 8.0, each(short), (1.0, 1.4));
        let mut table = table.then_of(Unit::Ratio);
        table.at_least(
            "server CPU, short against long",
            2.0,
            cpu(short) / cpu(long),
        );
        let ratio = per_s(long) / per_s(short);
        table.at_least("requests per second, long against short", 2.0, ratio);
        table.lines.extend(far::lines(far));
        let texts = draw::texts("Segments for a request", "in both directions", "");
        let bars = [("long connection", long), ("a connection each", short)];
        let bars = bars.map(|(label, way)| (label.to_string(), each(way)));
        let chart = draw::bars("segments", texts, "segments", Unit::Count, bars.into());
        let why = "Opening and closing takes other segments here, or costs less than it should.";
        Finding::of(table.lines, why).with_chart(chart)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_expected, not_as_expected, not_judged, settings};
    use super::*;

    fn evidence(long: (u64, f64, f64), short: (u64, f64, f64)) -> Evidence {
        let [long, short] = [long, short].map(|(segments, server_cpu_s, per_s)| Way {
            requests: 1000,
            segments,
            server_cpu_s,
            requests_per_s: vec![per_s],
        });
        let far = Err("no tun".into());
        Evidence { long, short, far }
    }

    fn judged(long: (u64, f64, f64), short: (u64, f64, f64)) -> Finding {
        LongVsShort::judge(&settings(&[]), &evidence(long, short))
    }

    #[test]
    fn far_away_a_connection_costs_a_round_trip() {
        let judged = |long_ns, short_ns| {
            let far = Far {
                round_trip_ns: 50e6,
                long_ns,
                short_ns,
            };
            let near = evidence((2003, 0.005, 2e5), (9500, 0.03, 3e4));
            LongVsShort::judge(
                &settings(&[]),
                &Evidence {
                    far: Ok(far),
                    ..near
                },
            )
        };
        as_expected(&judged(50.6e6, 101.2e6));
        assert!(not_as_expected(&judged(50.6e6, 51.0e6)).contains("far away, short"));
    }

    #[test]
    fn opening_and_closing_is_expected_to_cost_what_it_takes() {
        as_expected(&judged((2003, 0.005, 2e5), (9500, 0.03, 3e4)));
    }

    #[test]
    fn a_short_connection_as_cheap_as_a_long_one_contradicts() {
        let finding = judged((2003, 0.005, 2e5), (2100, 0.006, 1.9e5));
        assert!(not_as_expected(&finding).contains("segments per request, short"));
        let finding = judged((2003, 0.005, 2e5), (9500, 0.006, 3e4));
        assert!(not_as_expected(&finding).contains("CPU"));
    }

    #[test]
    fn without_requests_nothing_is_judged() {
        let none = Evidence {
            long: Way::default(),
            short: Way::default(),
            far: Err("no tun".into()),
        };
        not_judged(&LongVsShort::judge(&settings(&[]), &none));
    }
}
