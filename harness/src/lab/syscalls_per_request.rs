//! How many system calls a request takes, by model and with requests that come together.

use super::finding::Finding;
use super::tools::counted::Counted;
use super::tools::draw;
use super::tools::rows::{Missing, words};
use super::tools::table::Table;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::Unit;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Requests that a client sends before it waits for an answer.
const TOGETHER: f64 = 16.0;
/// A few calls more are made for time-outs and at the edges of the window.
const BAND: (f64, f64) = (0.9, 1.15);

/// The lab.
pub struct SyscallsPerRequest;

/// Trials of each model with a request at a time, and of epoll with several.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    single: Vec<Counted>,
    together: Vec<Counted>,
}

impl Lab for SyscallsPerRequest {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "syscalls-per-request",
        question: "How many system calls does a server make for a request?",
        claim: "A thread needs two, recv and send. A loop adds one to wait, shared by all that are ready in its turn. \
                io_uring makes one call for a whole turn, and pipelined requests share all of them.",
        sources: &[
            "TLPI 63.4",
            "io_uring_enter(2)",
            "docs/MODELS.md: each model as strace sees it",
        ],
        prediction: "Ten clients, a request in flight each. How many system calls per request does a thread make, how many \
                     epoll, and how many io_uring? And epoll, when clients send 16 requests before they wait?",
        done: "The kernel counts the calls of each server where they enter it (tracepoints), in a window of its own in \
               which nothing is ranked. A loop's turns are counted by the server: two and these are expected of epoll.",
        answer: "Each call costs a crossing into the kernel and back, dearer since the mitigations of 2018. epoll_wait is \
                 shared by what is ready in one turn, recv and send are not: between two and three. io_uring hands over \
                 many operations in one call, and takes their results from memory. Pipelining lets one recv bring many \
                 requests and one send take many answers.",
        next: &[
            "tenk lab idle-scaling",
            "tenk --model epoll,io-uring --conns 10 --syscalls",
            "io_uring(7)",
        ],
        settings: &["kernel/perf_event_paranoid"],
        programs: &["loadgen", "thread", "poll", "epoll", "io-uring"],
        limit: Duration::from_secs(60),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let time = "--conns 10 --warmup 200ms --duration 1s";
        let single = format!("--model thread,poll,epoll,io-uring {time}");
        let together = format!("--model epoll --pipeline {TOGETHER} {time}");
        Ok(Evidence {
            single: place.counted(&words(&single))?,
            together: place.counted(&words(&together))?,
        })
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        compared(evidence).unwrap_or_else(Finding::from)
    }
}

fn compared(Evidence { single, together }: &Evidence) -> Result<Finding, Missing> {
    let mut table = Table::of(Unit::Ratio);
    let mut bars = Vec::new();
    for own in single.iter().filter(|own| own.row.is_usable()) {
        let found = own.per_request()?;
        let (what, expected) = match own.row.arm.as_str() {
            "thread" => ("thread: recv and send", 2.0),
            "poll" => ("poll: recv, send, and its turns", 2.0 + own.turns()?),
            "epoll" => ("epoll: recv, send, and its turns", 2.0 + own.turns()?),
            _ => ("io-uring: its turns", own.turns()?),
        };
        table.about(what, expected, found, BAND);
        bars.push((own.row.arm.clone(), found));
    }
    let alone = single.iter().find(|own| own.row.arm == "epoll");
    if let (Some(alone), Some(together)) = (alone, together.first()) {
        let (alone, together) = (alone.per_request()?, together.per_request()?);
        table.at_most("epoll with 16 together", alone / TOGETHER * 2.0, together);
        bars.push(("epoll, 16 requests together".into(), together));
    }
    let texts = draw::texts("System calls per request", "10 connections", "");
    let chart = draw::bars("syscalls", texts, "calls per request", Unit::Ratio, bars);
    let why = "A server makes other calls than its page says.";
    Ok(Finding::of(table.lines, why).with_chart(chart))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_expected, not_as_expected, not_judged, settings};
    use super::super::tools::rows::row;
    use super::*;
    use crate::model::instrumented::Syscalls;
    use crate::model::row::Row;

    /// Ten thousand requests; so many calls per request, and turns.
    fn counted(arm: &str, calls: f64, turns: f64) -> Counted {
        Counted {
            row: Row {
                wakeups_per_request: Some(turns),
                ..row(arm, (10, 0), 4.0)
            },
            syscalls: Syscalls {
                total: (calls * 1e4) as u64,
                between_s: 1.1,
                requests: Some(1e4),
                ..Syscalls::default()
            },
        }
    }

    fn judged(epoll: f64, uring: f64, together: f64) -> Finding {
        let single = vec![
            counted("thread", 2.0, 1.0),
            counted("poll", 2.3, 0.3),
            counted("epoll", epoll, 0.4),
            counted("io-uring", uring, 0.3),
        ];
        let together = vec![counted("epoll", together, 0.02)];
        SyscallsPerRequest::judge(&settings(&[]), &Evidence { single, together })
    }

    #[test]
    fn two_and_the_turns_are_expected() {
        as_expected(&judged(2.4, 0.3, 0.15));
    }

    #[test]
    fn more_calls_than_the_page_says_contradict() {
        assert!(not_as_expected(&judged(3.4, 0.3, 0.15)).contains("epoll: recv, send"));
        assert!(not_as_expected(&judged(2.4, 2.0, 0.15)).contains("io-uring"));
        assert!(not_as_expected(&judged(2.4, 0.3, 2.4)).contains("16 together"));
    }

    #[test]
    fn without_requests_nothing_is_judged() {
        let mut none = counted("thread", 2.0, 1.0);
        none.syscalls.requests = None;
        let evidence = Evidence {
            single: vec![none],
            together: Vec::new(),
        };
        not_judged(&SyscallsPerRequest::judge(&settings(&[]), &evidence));
    }
}
