//! Half-open connections: how many a listener keeps, what SYN cookies do beyond that, and when it answers again.

mod again;
mod filling;

use super::{About, Finding, Lab, Line, Place, Settings, Trouble};
use again::{again_s, chart};
use filling::{BACKLOG, CLIENTS, Filled, MAX_SYN_BACKLOG, WATCHED, filled, sent_again};
use loadgen::base::syn::seconds_in_words;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The lab.
pub struct SynQueue;

/// What was seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    with_cookies: Filled,
    without_cookies: Filled,
    /// When the SYN+ACK of one half-open connection was sent again, s after the first.
    sent_again_s: Vec<f64>,
}

impl Lab for SynQueue {
    type Evidence = Evidence;

    const ABOUT: About = About {
        name: "syn-queue",
        question: "What do clients that never complete the handshake do to a server?",
        claim: "The tutorial says that the three-way handshake keeps malicious requests off. A listener keeps a bounded number of \
                half-open connections; when they are used up, SYN cookies let it answer without keeping anything, and without \
                cookies new clients are dropped. A SYN+ACK that is not answered is sent again after 1, 3, 7, 15 and 31 s.",
        sources: &[
            "RFC 4987",
            "Linux: Documentation/networking/ip-sysctl.rst, tcp_max_syn_backlog, tcp_syncookies, tcp_synack_retries",
            "RFC 9293 3.5",
        ],
        prediction: "Eighty clients connect, and the third segment of each is lost. The listener has listen(64) and \
                     tcp_max_syn_backlog 8. How many of them believe that they are connected, with SYN cookies and without? Can an \
                     honest client still connect?",
        done: "A filter on the listener takes away every bare ACK from 127.0.0.2, from where eighty clients connect; then a client \
               from another address connects. Once with tcp_syncookies 1, once with 0. Last, the repetitions of one SYN+ACK are captured for 17 s.",
        answer: "A client is connected when the SYN+ACK arrives, whatever becomes of its ACK. The listener keeps a request for each, \
                 as many as its backlog; beyond that a cookie in the SYN+ACK's sequence number stands for it, and only the ACK that \
                 brings the cookie back makes a connection. Without cookies the last quarter of tcp_max_syn_backlog is kept for \
                 hosts that are known, and others' SYNs are dropped, the honest client's too. So it is not the third segment that \
                 protects the server, but that nothing is kept before it has come.",
        next: &[
            "tenk lab backlog",
            "tenk lab idle-policy",
            "RFC 4987, 3 (the countermeasures)",
        ],
        settings: &[
            "net/ipv4/tcp_syncookies",
            "net/ipv4/tcp_max_syn_backlog",
            "net/ipv4/tcp_synack_retries",
            "net/core/somaxconn",
        ],
        programs: &[],
        limit: Duration::from_secs(50),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        place.set("net/ipv4/tcp_max_syn_backlog", &MAX_SYN_BACKLOG.to_string())?;
        // Hosts that have been connected are known, and served before others: each honest client is a new one.
        let with = |cookies: &str, honest: u8| {
            place.set("net/ipv4/tcp_syncookies", cookies)?;
            place.say(&format!("eighty silent clients, tcp_syncookies {cookies}"));
            filled([127, 0, 0, honest].into())
        };
        let (with_cookies, without_cookies) = (with("1", 3)?, with("0", 4)?);
        place.say("watching one SYN+ACK being sent again, 17 s");
        Ok(Evidence {
            with_cookies,
            without_cookies,
            sent_again_s: sent_again()?,
        })
    }

    fn judge(settings: &Settings, evidence: &Evidence) -> Finding {
        let due_s = again_s(settings);
        let mut lines = with_cookies(&evidence.with_cookies);
        lines.extend(without_cookies(&evidence.without_cookies));
        lines.push(repetitions(&evidence.sent_again_s, &due_s));
        Finding::of(
            lines,
            "The kernel's rule for a full SYN queue may be another one: see tcp_conn_request() in \
                            net/ipv4/tcp_input.c.",
        )
        .with_chart(chart(&evidence.sent_again_s, &due_s))
    }
}

/// A request more or less than expected: the kernel's comparison has been "greater" and "greater or equal".
fn about(what: &str, expected: usize, found: usize) -> Line {
    let words = format!("{expected} (1 more or less)");
    let holds = found.abs_diff(expected) <= 1;
    Line::judged(what, words, found.to_string(), holds)
}

fn with_cookies(filled: &Filled) -> Vec<Line> {
    let kept = BACKLOG + 1;
    vec![
        Line::equal(
            "with cookies: clients that believe to be connected",
            &CLIENTS,
            &filled.connected,
        ),
        about(
            "with cookies: half-open connections kept",
            kept,
            filled.half_open,
        ),
        about(
            "with cookies: cookies sent",
            CLIENTS - kept,
            filled.cookies_sent as usize,
        ),
        Line::yes_or_no(
            "with cookies: an honest client is served",
            true,
            filled.honest_client_served,
        ),
    ]
}

fn without_cookies(filled: &Filled) -> Vec<Line> {
    let allowed = MAX_SYN_BACKLOG - MAX_SYN_BACKLOG / 4 + 1;
    let dropped = CLIENTS - allowed - 1;
    vec![
        about(
            "without: clients that believe to be connected",
            allowed,
            filled.connected,
        ),
        Line::judged(
            "without: SYNs dropped",
            format!("{dropped} or more"),
            filled.listen_drops.to_string(),
            filled.listen_drops as usize >= dropped,
        ),
        Line::yes_or_no(
            "without: an honest client is served within 0.9 s",
            false,
            filled.honest_client_served,
        ),
    ]
}

/// When a SYN+ACK that nobody answers was sent again. A timer of the kernel's is never early, and late by up to an
/// eighth of its length.
fn repetitions(sent_again_s: &[f64], due_s: &[f64]) -> Line {
    let due: Vec<u64> = due_s.iter().map(|at| *at as u64).collect();
    let times: Vec<String> = sent_again_s.iter().map(|at| format!("{at:.1}")).collect();
    let mut pairs = sent_again_s.iter().zip(due_s);
    let on_time = sent_again_s.len() == due_s.len()
        && pairs.all(|(at, due)| (due - 0.1..=due * 1.125 + 0.3).contains(at));
    Line::judged(
        "a SYN+ACK is sent again after",
        seconds_in_words(&due),
        format!("{} s", times.join(", ")),
        on_time,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, settings};

    fn evidence() -> Evidence {
        Evidence {
            with_cookies: Filled {
                connected: 80,
                half_open: 65,
                cookies_sent: 15,
                listen_drops: 0,
                honest_client_served: true,
            },
            without_cookies: Filled {
                connected: 7,
                half_open: 7,
                cookies_sent: 0,
                listen_drops: 73,
                honest_client_served: false,
            },
            sent_again_s: vec![1.02, 3.05, 7.1, 15.3],
        }
    }

    fn judged(evidence: &Evidence) -> Finding {
        SynQueue::judge(&settings(&[]), evidence)
    }

    #[test]
    fn cookies_keep_a_full_listener_serving() {
        as_expected(&judged(&evidence()));
        let fewer = settings(&[("net/ipv4/tcp_synack_retries", "2")]);
        assert_eq!(again_s(&fewer), [1.0, 3.0]);
        assert!(not_as_expected(&SynQueue::judge(&fewer, &evidence())).contains("1 s and 3 s"));
    }

    #[test]
    fn an_honest_client_that_is_not_served_contradicts() {
        let mut denied = evidence();
        denied.with_cookies.honest_client_served = false;
        assert!(not_as_expected(&judged(&denied)).contains("honest client is served: no"));
        let mut unbounded = evidence();
        unbounded.without_cookies.connected = 80;
        assert!(not_as_expected(&judged(&unbounded)).contains("80, where 7"));
    }

    #[test]
    fn where_a_setting_cannot_be_made_nothing_is_judged() {
        let report = crate::lab::Report {
            lab: "syn-queue".into(),
            at: String::new(),
            took_s: 0.0,
            settings: Some(settings(&[])),
            evidence: None,
            trouble: Some(Trouble::denied(
                "tcp_syncookies cannot be set to 0",
                "run as root",
            )),
        };
        assert!(crate::lab::testing::not_judged(&report.finding()).contains("tcp_syncookies"));
    }
}
