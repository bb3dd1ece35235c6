//! How much of epoll's lead over poll(2) is left when all connections talk.

use super::finding::Finding;
use super::tools::asking::Asking;
use super::tools::rows::{Missing, cpu_chart, cpu_ns, figure, trials};
use super::tools::table::Table;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::Unit;
use crate::model::row::Row;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Connections, and how many of them talk.
const ALL: u64 = 1_000;
const ACTIVE: [u64; 4] = [10, 100, 400, ALL];

/// The lab.
pub struct ActiveRatio;

/// What asking one connection costs, and trials with more and more active ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    asking: Asking,
    rows: Vec<Row>,
}

impl Lab for ActiveRatio {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "active-ratio",
        question: "When does poll cost no more than epoll?",
        claim: "epoll's advantage is the connections that have nothing to say. Where most are active in every turn, poll \
                asks hardly one in vain, and costs as much as epoll or less.",
        sources: &[
            "Gammo et al., Comparing and Evaluating epoll, select, and poll, OLS 2004",
            "Kegel, The C10K problem",
        ],
        prediction: "A thousand connections, of which 10, 100, 400 or all send requests. At which share does poll cost as \
                     little CPU per request as epoll, if ever?",
        done: "The active connections send their next request as soon as they have the answer; the others are silent. What \
               poll is expected to cost more: all connections, times what asking one costs here, times turns per request.",
        answer: "A turn of poll asks every connection, whatever it finds; its cost is shared by the requests that the turn \
                 serves. With few active ones a turn serves few, with many it serves many. epoll in turn pays a little for \
                 each event: the socket has to be put on the ready list, and taken off it.",
        next: &[
            "tenk lab idle-scaling",
            "tenk --model poll,epoll --conns 1k",
        ],
        settings: &[],
        programs: &["loadgen", "poll", "epoll"],
        limit: Duration::from_secs(60),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let asking = Asking::timed()?;
        let mut rows = Vec::new();
        for active in ACTIVE {
            let size = format!("--conns {active} --idle {}", ALL - active);
            let rest = "--model poll,epoll --warmup 200ms --duration 1s";
            rows.extend(trials(place, &size, rest)?);
        }
        Ok(Evidence { asking, rows })
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        compared(evidence).unwrap_or_else(Finding::from)
    }
}

fn compared(Evidence { asking, rows }: &Evidence) -> Result<Finding, Missing> {
    let at =
        |arm, active, of: fn(&Row) -> Option<f64>| figure(rows, arm, (active, ALL - active), of);
    let mut ratios = Vec::new();
    let mut table = Table::of(Unit::Duration);
    for active in ACTIVE {
        let (poll, epoll) = (at("poll", active, cpu_ns)?, at("epoll", active, cpu_ns)?);
        let turns = at("poll", active, |row| row.wakeups_per_request)?;
        ratios.push(poll / epoll);
        // All are asked at once where a turn finds requests, and waited for where it does not.
        let [once, waiting] =
            [asking.at_once_ns, asking.waiting_ns].map(|ns| epoll + ALL as f64 * turns * ns);
        let what = format!("poll with {active} of {ALL} active");
        table.between(&what, (once / 2.0, waiting * 3.0), poll);
    }
    let mut table = table.then_of(Unit::Ratio);
    let (first, last) = (ratios[0], ratios[ratios.len() - 1]);
    table.at_least("poll against epoll with 1 % active", 2.0, first);
    table.at_most("poll against epoll with all active", first / 2.0, last);
    let by = "active connections of 1000";
    let chart = cpu_chart(rows, &["poll", "epoll"], by, |row| row.conns);
    let why = "What poll costs does not follow from the connections that it asks in vain.";
    Ok(Finding::of(table.lines, why).with_chart(chart))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_expected, not_as_expected, not_judged, settings};
    use super::super::tools::rows::row;
    use super::*;

    /// Every turn serves a third of the active ones; poll asks `asked` connections in it, each for 20 ns.
    fn evidence(asked: f64) -> Evidence {
        let of = |active: u64| {
            let turns = 3.0 / active as f64;
            let size = (active, ALL - active);
            let poll = row("poll", size, 4.0 + asked * 0.02 * turns);
            [
                Row {
                    wakeups_per_request: Some(turns),
                    ..poll
                },
                row("epoll", size, 4.5),
            ]
        };
        Evidence {
            asking: Asking {
                at_once_ns: 20.0,
                waiting_ns: 100.0,
            },
            rows: ACTIVE.into_iter().flat_map(of).collect(),
        }
    }

    #[test]
    fn a_lead_that_goes_with_activity_is_expected() {
        as_expected(&ActiveRatio::judge(&settings(&[]), &evidence(1000.0)));
    }

    #[test]
    fn a_poll_that_asks_nobody_or_everybody_twice_over_contradicts() {
        let finding = ActiveRatio::judge(&settings(&[]), &evidence(10.0));
        assert!(not_as_expected(&finding).contains("poll against epoll with 1 %"));
        not_as_expected(&ActiveRatio::judge(&settings(&[]), &evidence(20_000.0)));
    }

    #[test]
    fn without_the_turns_nothing_is_judged() {
        let mut evidence = evidence(1000.0);
        evidence
            .rows
            .iter_mut()
            .for_each(|row| row.wakeups_per_request = None);
        not_judged(&ActiveRatio::judge(&settings(&[]), &evidence));
    }
}
