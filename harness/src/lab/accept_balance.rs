//! Several workers wait for the next connection: which of them gets it.

mod ways;

use super::finding::Finding;
use super::tools::rows::Missing;
use super::tools::table::Table;
use super::tools::{draw, shares};
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::Unit;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use ways::{CONNECTIONS, WAYS, accepted};

/// Four even shares give a larger chi squared once in ten thousand times.
const UNLIKELY: f64 = 21.1;

const EVEN: f64 = CONNECTIONS as f64 / 4.0;

/// The lab.
pub struct AcceptBalance;

/// Connections that each worker accepted, by way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    accepted: Vec<Vec<u64>>,
}

impl Lab for AcceptBalance {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "accept-balance",
        question: "Four workers wait for one connection: who gets it?",
        claim: "Workers that block in accept take turns. With the listener in an epoll of each and EPOLLEXCLUSIVE, one \
                gets nearly all. SO_REUSEPORT spreads connections by a hash of their addresses.",
        sources: &[
            "Cloudflare 2017, Why does one NGINX worker take all the load?",
            "UNP 1, 30.6; epoll_ctl(2); socket(7)",
        ],
        prediction: "240 connections come one at a time, each when all four workers sleep. How many does the busiest worker \
                     get with accept(2), with EPOLLEXCLUSIVE, and with SO_REUSEPORT?",
        done: "Each connection asks once. The next comes when all workers sleep again, so that nobody is passed over for \
               being busy. The servers count what each worker accepted.",
        answer: "A worker that blocks in accept joins the end of the listener's queue every time, and the kernel wakes the \
                 first: they take turns. An epoll stays where it is in that queue, so the same one is woken every time \
                 unless it is busy. With SO_REUSEPORT each has a queue of its own, chosen by a hash that is blind to who \
                 is busy: even on average, uneven among few.",
        next: &[
            "tenk lab pool-queue",
            "tenk --model reuseport --conns 100 --requests-per-conn 1",
        ],
        settings: &[],
        programs: &["prefork", "reuseport", "epoll-oneshot"],
        limit: Duration::from_secs(60),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let accepted = WAYS.iter().map(|way| accepted(place, way));
        Ok(Evidence {
            accepted: accepted.collect::<Result<_, _>>()?,
        })
    }

    fn judge(_: &Settings, Evidence { accepted }: &Evidence) -> Finding {
        let [turns, exclusive, hashed, shared, one] = accepted.as_slice() else {
            return Missing::of("not every way was measured").into();
        };
        let busiest = |each: &Vec<u64>| each.iter().copied().max().unwrap_or(0) as f64;
        let mut table = Table::of(Unit::Count);
        let [low, high] = [(1.0, 1.5), (0.6, 1.0)];
        table.about("accept(2): the busiest worker", EVEN, busiest(turns), low);
        table.about(
            "EPOLLEXCLUSIVE: the busiest",
            4.0 * EVEN,
            busiest(exclusive),
            high,
        );
        let squares = hashed.iter().map(|n| (*n as f64 - EVEN).powi(2) / EVEN);
        table.at_most("SO_REUSEPORT: chi squared of all", UNLIKELY, squares.sum());
        table.shown("an epoll each: the busiest", busiest(shared));
        table.shown("one epoll for all: the busiest", busiest(one));
        let texts = draw::texts("Who accepts", "four workers, connections one at a time", "");
        let bars = WAYS.iter().zip(accepted);
        let bars = bars.map(|(way, each)| (way.name.to_string(), each.clone()));
        let chart = shares::chart("accepts", texts, "share of the connections", bars.collect());
        let why = "The kernel wakes those that wait in another order than it is said to.";
        Finding::of(table.lines, why).with_chart(chart)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_expected, not_as_expected, not_judged, settings};
    use super::*;

    fn judged(ways: &[&[u64]]) -> Finding {
        let shown: [&[u64]; 2] = [&[95, 67, 37, 41], &[60; 4]];
        let accepted = ways
            .iter()
            .chain(&shown)
            .map(|each| each.to_vec())
            .collect();
        AcceptBalance::judge(&settings(&[]), &Evidence { accepted })
    }

    const HASHED: &[u64] = &[70, 52, 57, 61];

    #[test]
    fn turns_one_favourite_and_a_hash_are_expected() {
        let finding = judged(&[&[60; 4], &[239, 1, 0, 0], HASHED]);
        as_expected(&finding);
        assert_eq!(finding.chart.unwrap().arms(), 5);
    }

    #[test]
    fn another_order_contradicts() {
        let why = judged(&[&[240, 0, 0, 0], &[239, 1, 0, 0], HASHED]);
        assert!(not_as_expected(&why).contains("accept(2)"));
        not_as_expected(&judged(&[&[60; 4], &[60; 4], HASHED]));
        let why = judged(&[&[60; 4], &[240, 0, 0, 0], &[120, 40, 40, 40]]);
        assert!(not_as_expected(&why).contains("chi squared"));
    }

    #[test]
    fn half_a_measurement_is_not_judged() {
        not_judged(&judged(&[&[60; 4]]));
    }
}
