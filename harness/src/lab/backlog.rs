//! listen(b): how many connections wait for accept(2), and when the others get in.

mod clients;
mod expected;

use super::tools::draw;
use super::{About, Finding, Lab, Line, Place, Settings, Trouble};
use crate::base::unit::Unit;
use crate::render::chart::{Chart, canvas::Scale};
use clients::connected;
use expected::{expected, is_on_time};
use loadgen::base::syn::seconds_in_words;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What listen(2) is given, as in the tutorial.
const BACKLOG: i32 = 4;
/// Clients beyond those that find a place.
const LATE: usize = 6;
/// From then on one place becomes free every second, between the seconds in which SYNs are sent again.
const FIRST_FREED: Duration = Duration::from_millis(500);

/// The lab.
pub struct Backlog;

/// When each client was connected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    clients: usize,
    /// s after the first connect(2), in order; those that were not connected are missing.
    connected_after_s: Vec<f64>,
    listen_overflows: u64,
    syn_retransmissions: u64,
    /// The longest time for which nobody looked, s: times are not known better than that.
    longest_pause_s: f64,
}

impl Lab for Backlog {
    type Evidence = Evidence;

    const ABOUT: About = About {
        name: "backlog",
        question: "How many clients are connected while nobody accepts, and when do the others get in?",
        claim: "listen(b) sets how many connections wait to be accepted. The tutorial says that it limits how many \
                clients are served at a time, and that a client beyond it waits until another leaves.",
        sources: &[
            "Stevens, UNIX Network Programming 1, 4.5 and figure 4.10",
            "listen(2)",
            "Linux: Documentation/networking/ip-sysctl.rst, tcp_syn_linear_timeouts",
        ],
        prediction: "A server calls listen(fd, 4) and accepts nobody. Eleven clients connect. How many connect(2) \
                     calls return at once? From half a second on the server accepts one connection every second: after \
                     how many seconds does each of the others get in?",
        done: "Five clients connect to listen(4) at once and six more 60 ms apart, without anybody accepting. From 0.5 s on one \
               connection is accepted every second, and the time is taken that each client's connect takes.",
        answer: "The queue takes b + 1 connections, since the kernel refuses only when it holds more than b. A SYN that \
                 finds it full is dropped in silence, so the client is not told anything: it sends the SYN again by its \
                 timer, and only then can it get the place that became free. So late clients are connected at whole \
                 seconds, whenever the place became free. (SYNs that come together may all be answered before the queue is \
                 full; then the last segment of a handshake is dropped, and the client believes to be connected.) The backlog limits who waits to be accepted, not who is served: \
                 a server that accepts quickly may have any number of connections with listen(4).",
        next: &[
            "tenk lab syn-queue",
            "tenk lab head-of-line",
            "listen(2), about somaxconn",
        ],
        settings: &[
            "net/core/somaxconn",
            "net/ipv4/tcp_syn_linear_timeouts",
            "net/ipv4/tcp_syn_retries",
            "net/ipv4/tcp_abort_on_overflow",
        ],
        programs: &[],
        limit: Duration::from_secs(40),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let last_s = expected(place.settings()).late_s.last().copied();
        let limit = Duration::from_secs(last_s.unwrap_or(1) + 2);
        let found = connected(place, limit)?;
        // Two timers that fired together let in two where one place was free.
        match is_on_time(&expected(place.settings()), &found) {
            true => Ok(found),
            false => connected(place, limit),
        }
    }

    fn judge(settings: &Settings, evidence: &Evidence) -> Finding {
        let expected = expected(settings);
        let early = expected.at_once(evidence);
        let late = &evidence.connected_after_s[early..];
        let on_time = is_on_time(&expected, evidence);
        let seconds = |times: &[f64]| {
            let words: Vec<String> = times.iter().map(|at| format!("{at:.2}")).collect();
            format!("{} s", words.join(", "))
        };
        let lines = vec![
            Line::equal(
                format!("connected at once by listen({BACKLOG})"),
                &expected.places,
                &early,
            ),
            Line::judged(
                "the others, one place freed every second from 0.5 s on",
                seconds_in_words(&expected.late_s),
                if late.is_empty() {
                    "never".into()
                } else {
                    seconds(late)
                },
                on_time,
            ),
            Line::judged(
                "SYNs dropped because the queue was full (ListenOverflows)",
                format!("{LATE} at least"),
                evidence.listen_overflows.to_string(),
                evidence.listen_overflows >= LATE as u64,
            ),
            Line::shown(
                "SYNs sent again",
                "",
                evidence.syn_retransmissions.to_string(),
            ),
        ];
        if evidence.longest_pause_s > 0.15 {
            let why = format!(
                "the lab was kept from looking for {:.2} s",
                evidence.longest_pause_s
            );
            return Finding::not_judged(lines, why, "run it on a machine that has less else to do");
        }
        Finding::of(lines, "Something between client and server answers for the server, or the retries follow other \
                            settings than those of this namespace.")
            .with_chart(chart(evidence))
    }
}

fn chart(evidence: &Evidence) -> Option<Chart> {
    let times = evidence.connected_after_s.iter().enumerate();
    let points = times.map(|(n, at)| (n as f64 + 1.0, *at)).collect();
    let caption =
        "The first five find a place in the queue; each of the others waits for its own timer.";
    draw::lines(
        "backlog",
        draw::texts(
            "When each of eleven clients was connected to listen(4)",
            "one place freed every second from 0.5 s on",
            caption,
        ),
        (
            "client, in the order of being connected",
            Scale::Linear,
            Unit::Count,
        ),
        ("seconds after connect(2)", Scale::Linear, Unit::Seconds),
        vec![("connected".into(), points)],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    fn evidence(at_once: usize, late_s: &[f64]) -> Evidence {
        let mut connected_after_s = vec![0.001; at_once];
        connected_after_s.extend(late_s);
        Evidence {
            clients: 11,
            connected_after_s,
            listen_overflows: 21,
            syn_retransmissions: 21,
            longest_pause_s: 0.01,
        }
    }

    #[test]
    fn late_clients_come_with_their_retries() {
        let found = evidence(5, &[1.02, 2.03, 3.05, 4.06, 5.08, 7.2]);
        as_expected(&Backlog::judge(&settings(&[]), &found));
        let old = settings(&[("net/ipv4/tcp_syn_linear_timeouts", "0")]);
        assert_eq!(expected(&old).late_s, [1, 3, 3, 7, 7, 7]);
        let why = Backlog::judge(&old, &found);
        assert!(
            not_as_expected(&why).contains("1 s, 3 s"),
            "other settings, other times"
        );
        as_expected(&Backlog::judge(
            &old,
            &evidence(5, &[1.0, 3.0, 3.0, 7.1, 7.1, 7.1]),
        ));
    }

    #[test]
    fn a_queue_that_takes_all_contradicts() {
        let mut found = evidence(11, &[]);
        found.listen_overflows = 0;
        let finding = Backlog::judge(&settings(&[]), &found);
        let why = not_as_expected(&finding);
        assert!(
            why.contains("11, where 5") && why.contains("never"),
            "{why}"
        );
        let small = settings(&[("net/core/somaxconn", "2")]);
        assert_eq!(expected(&small).places, 3);
    }

    #[test]
    fn nobody_judges_what_nobody_looked_at() {
        let mut found = evidence(5, &[1.9, 2.9, 3.9, 4.9, 5.9, 8.9]);
        found.longest_pause_s = 0.9;
        assert!(not_judged(&Backlog::judge(&settings(&[]), &found)).contains("0.90 s"));
    }
}
