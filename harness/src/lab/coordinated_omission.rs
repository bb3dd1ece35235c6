//! A server that stands still: seen by whoever asks on time, and by whoever waits for the answer before asking again.

mod pause;

use super::finding::Finding;
use super::tools::rows::Missing;
use super::tools::table::Table;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::Unit;
use pause::{STEPS, Side, chart, side};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Connections of both generators, which send about a thousand requests a second.
const CONNS: f64 = 20.0;
const OPEN: [&str; 4] = ["--conns", "20", "--rate", "1000"];
const CLOSED: [&str; 4] = ["--conns", "20", "--think", "20ms"];
/// How far a share may be from the curve.
const BAND: (f64, f64) = (0.75, 1.3);

/// The lab.
pub struct CoordinatedOmission;

/// What each of the two generators saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    open: Side,
    closed: Side,
}

impl Lab for CoordinatedOmission {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "coordinated-omission",
        question: "A server stands still for a second: how many requests suffer?",
        claim: "A generator that waits for each answer before it asks again stops asking while the server stands still, \
                and leaves nearly all who would have suffered out of its figures.",
        sources: &[
            "Tene, How NOT to Measure Latency, 2013",
            "Schroeder et al., NSDI 2006",
        ],
        prediction: "A thousand requests a second for four seconds, in which the server stands still for one. Which share \
                     waits for more than half a second: of requests due on time, and of a closed loop of 20 connections?",
        done: "The server is stopped (SIGSTOP) for a second within a window of four: once under requests that are due at \
               a thousand a second, once under a closed loop of that rate.",
        answer: "Whoever comes in the pause waits for what is left of it. Of requests due all the time the share that \
                 waits longer than x is (P - x) / D, for a pause P in a window D. A closed loop has one request in flight \
                 on each connection and sends no more: it sees as many long waits as it has connections, however long \
                 the pause is, and its percentiles do not show them.",
        next: &[
            "tenk --model epoll --conns 20 --rate 1000",
            "the README of wrk2",
        ],
        settings: &[],
        programs: &["loadgen", "epoll"],
        limit: Duration::from_secs(60),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let (open, closed) = (side(place, &OPEN)?, side(place, &CLOSED)?);
        Ok(Evidence { open, closed })
    }

    fn judge(_: &Settings, Evidence { open, closed }: &Evidence) -> Finding {
        let (Some(open_p90), Some(closed_p90)) = (open.p90_ns, closed.p90_ns) else {
            return Missing::of("too few requests were answered").into();
        };
        let mut table = Table::of(Unit::Percent);
        for step in [2, 5, 10, 15, 18] {
            let what = format!("on time: longer than {} % of the pause", step * 100 / STEPS);
            table.about(&what, open.law(step), open.share(step), BAND);
        }
        let mut table = table.then_of(Unit::Count);
        let long = closed.longer.get(STEPS / 2 - 1).map_or(0.0, |n| *n as f64);
        table.about(
            "closed loop: longer than half of it",
            CONNS,
            long,
            (0.8, 1.0),
        );
        let mut table = table.then_of(Unit::Duration);
        let p90_ns = (open.pause_s - 0.1 * open.window_s) * 1e9;
        table.about("on time: p90", p90_ns, open_p90 as f64, BAND);
        table.at_most("closed loop: p90", p90_ns / 10.0, closed_p90 as f64);
        let why = "Something else than the pause kept requests waiting, or hid it.";
        Finding::of(table.lines, why).with_chart(chart(open, closed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_expected, not_as_expected, not_judged, settings};
    use super::*;

    /// A pause of one second in four; of so many requests these wait for what is left of it.
    fn side(requests: u64, waiting: u64, p90_ns: u64) -> Side {
        let longer = |step: usize| waiting * (STEPS - step) as u64 / STEPS as u64;
        Side {
            pause_s: 1.0,
            window_s: 4.0,
            requests,
            longer: (1..=STEPS).map(longer).collect(),
            p90_ns: Some(p90_ns),
        }
    }

    /// Nobody sends a second request in the pause.
    fn closed() -> Side {
        Side {
            longer: vec![20; STEPS],
            ..side(3000, 0, 90_000)
        }
    }

    fn judged(open: Side, closed: Side) -> Finding {
        CoordinatedOmission::judge(&settings(&[]), &Evidence { open, closed })
    }

    #[test]
    fn the_curve_on_time_and_a_request_per_connection_are_expected() {
        as_expected(&judged(side(4000, 1000, 600_000_000), closed()));
    }

    #[test]
    fn requests_that_are_left_out_on_time_contradict() {
        let finding = judged(
            Side {
                longer: vec![20; STEPS],
                ..side(4000, 0, 90_000)
            },
            closed(),
        );
        assert!(not_as_expected(&finding).contains("on time: p90"));
    }

    #[test]
    fn a_closed_loop_that_sees_everyone_contradicts() {
        let finding = judged(side(4000, 1000, 600_000_000), side(4000, 1000, 600_000_000));
        assert!(not_as_expected(&finding).contains("closed loop"));
    }

    #[test]
    fn too_few_requests_are_not_judged() {
        let few = Side {
            p90_ns: None,
            ..closed()
        };
        not_judged(&judged(side(4000, 1000, 600_000_000), few));
    }
}
