//! A peer that is gone without a word: who notices, and after how long.

mod waiting;
mod ways;

use super::finding::{Finding, Line};
use super::tools::draw;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::text::about;
use crate::base::unit::{Unit, duration};
use crate::render::chart::Chart;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use ways::Way;

/// For so long the connections are watched.
const WATCHED: Duration = Duration::from_secs(10);
/// Timers are never early by more than a tick, and late by what else the machine does.
const LATE: Duration = Duration::from_millis(1500);

/// The lab.
pub struct DeadPeer;

/// What came of a connection whose peer is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watched {
    way: Way,
    /// From the last word of either side until the server knew; none if it did not get to know.
    noticed_after_ns: Option<u64>,
    /// What recv(2) said then.
    said: String,
}

impl Lab for DeadPeer {
    type Evidence = Vec<Watched>;
    const ABOUT: About = About {
        name: "dead-peer",
        question: "When does a server notice that its peer is gone?",
        claim: "A peer that loses its power or its network sends no FIN. Whoever only reads never notices; whoever sends \
                notices after about 15 minutes; keepalive takes over two hours unless its timers are set.",
        sources: &[
            "Stevens, UNP 1, 5.14 and 7.5 (SO_KEEPALIVE)",
            "tcp(7)",
            "RFC 5482",
            "RFC 9293 3.8.4",
        ],
        prediction: "The cable of a connected, idle client is pulled out. After how long does recv(2) of the server return: as \
                     it is, with SO_KEEPALIVE, with keepalive of 1 s, 1 s and 3 probes, with TCP_USER_TIMEOUT of 3 s and a \
                     byte on its way, and in a server with an idle time-out of 2 s?",
        done: "Clients connect from a second network namespace over a pair of virtual interfaces (veth), whose far end is then \
               taken down. Every way to notice is given a connection, and all are watched for 10 s.",
        answer: "TCP knows its peer by what it hears. If nothing is sent, nothing is missed: an idle connection stays open for \
                 years. Bytes on their way are sent again with growing pauses until tcp_retries2 is used up. Keepalive sends \
                 what must be answered; its usual timers are from a time when that cost money. TCP_USER_TIMEOUT bounds how long \
                 bytes may stay unacknowledged, and an application's own time-out needs nothing from TCP, and also ends \
                 peers that are there and say nothing.",
        next: &[
            "tenk lab idle-policy",
            "tenk serve thread --idle-timeout 30s",
            "tcp(7): tcp_keepalive_time, tcp_retries2",
        ],
        settings: ways::SETTINGS,
        programs: &["thread"],
        limit: Duration::from_secs(40),
    };

    fn measure(place: &Place) -> Result<Vec<Watched>, Trouble> {
        waiting::measure(place)
    }

    fn judge(settings: &Settings, all: &Vec<Watched>) -> Finding {
        let line = |one: &Watched| {
            let expected = one.way.noticed_between(settings);
            let holds = match (expected, one.noticed_after_ns.map(Duration::from_nanos)) {
                (Some((first, last)), Some(after)) => {
                    after >= first.mul_f64(0.95) && after <= last + LATE
                }
                (Some((_, last)), None) => last + LATE > WATCHED,
                (None, noticed) => noticed.is_none(),
            };
            Line::judged(one.way.words(), in_words(expected), one.told(), holds)
        };
        let lines: Vec<Line> = all.iter().map(line).collect();
        if all.iter().all(|one| one.noticed_after_ns.is_none()) {
            let why = "nobody noticed, not even the server's own time-out";
            return Finding::not_judged(lines, why, "run it when the machine has less else to do");
        }
        Finding::of(lines, "The kernel's timers follow other settings than those that were read, or the link was not down.")
            .with_chart(chart(all))
    }
}

impl Watched {
    fn told(&self) -> String {
        match self.noticed_after_ns {
            Some(after_ns) => format!("{} ({})", duration(after_ns as f64), self.said),
            None => format!("not within {} s", WATCHED.as_secs()),
        }
    }
}

fn in_words(expected: Option<(Duration, Duration)>) -> String {
    let words = |time: Duration| match time.as_secs() {
        0..120 => duration(time.as_nanos() as f64),
        _ => about(time),
    };
    match expected {
        None => "never".into(),
        Some((first, last)) if first == last => words(first),
        Some((first, last)) => format!("{} to {}", words(first), words(last)),
    }
}

fn chart(all: &[Watched]) -> Option<Chart> {
    let bar = |one: &Watched| Some((one.way.words().to_string(), one.noticed_after_ns? as f64));
    let texts = draw::texts(
        "How long until a server knows that its peer is gone",
        "the link of a connected client is taken down; no FIN, no RST",
        "Those without a bar had not noticed after 10 s, when the lab ended.",
    );
    draw::bars(
        "dead-peer",
        texts,
        "time until recv(2) returns",
        Unit::Duration,
        all.iter().filter_map(bar).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    /// What each way showed, ms.
    fn judged_with(retries: &str, noticed: [Option<u64>; 6]) -> Finding {
        let values = [
            ("net/ipv4/tcp_keepalive_time", "7200"),
            ("net/ipv4/tcp_keepalive_intvl", "75"),
            ("net/ipv4/tcp_keepalive_probes", "9"),
            ("net/ipv4/tcp_retries2", retries),
        ];
        let one = |(way, ms): (Way, Option<u64>)| Watched {
            way,
            noticed_after_ns: ms.map(|ms| ms * 1_000_000),
            said: "ETIMEDOUT".into(),
        };
        let all: Vec<Watched> = Way::ALL.into_iter().zip(noticed).map(one).collect();
        DeadPeer::judge(&settings(&values), &all)
    }

    fn judged(noticed: [Option<u64>; 6]) -> Finding {
        judged_with("15", noticed)
    }

    #[test]
    fn only_who_asks_gets_to_know() {
        let finding = judged([None, None, None, Some(4090), Some(4250), Some(2002)]);
        as_expected(&finding);
        let expected: Vec<&str> = finding
            .lines
            .iter()
            .map(|line| line.expected.as_str())
            .collect();
        assert_eq!(
            expected,
            ["never", "2h 10m", "15m to 17m", "4 s", "3 s to 6 s", "2 s"]
        );
    }

    #[test]
    fn news_from_nowhere_and_silence_where_news_is_due_contradict() {
        let told = judged([Some(50), None, None, Some(4090), Some(4250), Some(2002)]);
        assert!(not_as_expected(&told).contains("50 ms"));
        let deaf = judged([None, None, None, None, Some(4250), Some(2002)]);
        assert!(not_as_expected(&deaf).contains("not within 10 s, where 4 s"));
        not_as_expected(&judged([
            None,
            None,
            None,
            Some(2000),
            Some(4250),
            Some(2002),
        ]));
    }

    #[test]
    fn what_is_expected_follows_the_settings() {
        let silent = judged_with("3", [None, None, None, Some(4090), Some(4250), Some(2002)]);
        assert!(not_as_expected(&silent).contains("3 s to 6"), "{silent:#?}");
        as_expected(&judged_with(
            "3",
            [None, None, Some(4000), Some(4090), Some(4250), Some(2002)],
        ));
    }

    #[test]
    fn a_server_that_closes_nothing_is_not_judged() {
        not_judged(&judged([None; 6]));
    }
}
