//! Who waits for whom: a silent client in front of others, and a handler that waits in the middle of a loop.

mod waiting;

use super::finding::{Finding, Line};
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use waiting::{Behind, Last, behind_silent, last_answer};

/// Clients behind the silent one, or whose requests come together.
const CLIENTS: usize = 4;
/// What a request waits for, such as a disk or another server.
const BLOCK: Duration = Duration::from_millis(200);
/// Who makes the clients wait for each other's requests, and who does not.
const HANDLERS: [(&str, bool); 4] = [
    ("epoll", true),
    ("epoll-et", true),
    ("thread", false),
    ("tokio", false),
];

/// The lab.
pub struct HeadOfLine;

/// What the clients got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    behind_silent: Vec<Behind>,
    last_answer: Vec<Last>,
}

impl Lab for HeadOfLine {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "head-of-line",
        question: "Whom does one slow client, or one slow request, hold up?",
        claim: "An iterative server serves one client at a time, so a silent one stops all others. An event loop is not \
                stopped by a silent client, but by a handler that blocks. Threads are held up by neither.",
        sources: &[
            "Stevens, UNP 1, 4.8 and 30.2",
            "Kerrisk, TLPI, 60.3",
            "man: accept(2), epoll(7)",
        ],
        prediction: "A client connects and says nothing; four others ask. Whom do iterative, epoll and thread answer? Then \
                     each of four requests waits 200 ms in the handler: when is the last answered?",
        done: "A silent client connects to each server, and four others after it send a byte. Then four clients ask at \
               once, and each request waits 200 ms in the server (--block); the time of the last answer is taken.",
        answer: "The iterative server sits in recv of the first client; the others are connected, as the kernel does that, \
                 and unserved. A loop sits in epoll_wait instead, so silence costs it nothing; but it runs one handler at a \
                 time, and whatever that waits for, all wait for. A thread waits alone. tokio hands a blocking call to a \
                 thread kept for such (spawn_blocking): without that it would be as the loops are.",
        next: &[
            "tenk --model epoll,thread --block 10ms --conns 8",
            "tenk lab pool-queue",
            "tenk lab idle-policy",
        ],
        settings: &[],
        programs: &["iterative", "epoll", "epoll-et", "thread", "tokio"],
        limit: Duration::from_secs(50),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let mut evidence = Evidence {
            behind_silent: Vec::new(),
            last_answer: Vec::new(),
        };
        for model in ["iterative", "epoll", "thread"] {
            place.say(&format!("four clients behind a silent one, {model}"));
            evidence.behind_silent.push(behind_silent(place, model)?);
        }
        for (model, in_turn) in HANDLERS {
            place.say(&format!("four requests at once that wait, {model}"));
            // Whatever else runs here can only delay an answer.
            let mut times = Vec::new();
            for _ in 0..3 {
                times.extend(last_answer(place, model)?);
            }
            let (model, ns) = (model.into(), times.into_iter().min());
            evidence.last_answer.push(Last { model, in_turn, ns });
        }
        Ok(evidence)
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        let mut lines: Vec<Line> = evidence.behind_silent.iter().map(Behind::line).collect();
        lines.extend(evidence.last_answer.iter().map(Last::line));
        if evidence
            .behind_silent
            .iter()
            .any(|behind| behind.after == 0)
        {
            let why = "nobody was answered even after the silent client had left";
            return Finding::not_judged(lines, why, "run it when the machine has less else to do");
        }
        Finding::of(
            lines,
            "A very busy machine delays answers; run the lab again.",
        )
        .with_chart(waiting::chart(&evidence.last_answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    /// Answered behind the silent client, by iterative, epoll and thread; the last answer of each handler, ms.
    fn judged(beside: [usize; 3], after: usize, last_ms: [Option<u64>; 4]) -> Finding {
        let models = ["iterative", "epoll", "thread"].into_iter().zip(beside);
        let behind = |(model, beside): (&str, _)| Behind {
            model: model.into(),
            beside,
            after,
        };
        let handlers = HANDLERS.into_iter().zip(last_ms);
        let last = |((model, in_turn), ms): ((&str, bool), Option<u64>)| {
            let ns = ms.map(|ms| ms * 1_000_000);
            Last {
                model: model.into(),
                in_turn,
                ns,
            }
        };
        let evidence = Evidence {
            behind_silent: models.map(behind).collect(),
            last_answer: handlers.map(last).collect(),
        };
        HeadOfLine::judge(&settings(&[]), &evidence)
    }

    const TIMES: [Option<u64>; 4] = [Some(801), Some(802), Some(203), Some(205)];

    #[test]
    fn the_silent_stop_the_iterative_and_the_blocked_stop_the_loops() {
        as_expected(&judged([0, 4, 4], 4, TIMES));
        assert!(judged([0, 4, 4], 4, TIMES).chart.is_some());
    }

    #[test]
    fn a_loop_that_serves_side_by_side_contradicts() {
        let finding = judged([0, 4, 4], 4, [Some(210), Some(802), Some(203), Some(205)]);
        assert!(not_as_expected(&finding).contains("epoll: last of 4"));
        let threads = judged([0, 4, 4], 4, [Some(801), Some(802), Some(790), None]);
        assert!(not_as_expected(&threads).contains("thread: last of 4"));
        let iterative = judged([4, 4, 4], 4, TIMES);
        assert!(not_as_expected(&iterative).contains("iterative: answered"));
    }

    #[test]
    fn servers_that_never_answer_are_not_judged() {
        not_judged(&judged([0, 0, 0], 0, TIMES));
    }
}
