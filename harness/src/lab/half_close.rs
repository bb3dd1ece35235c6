//! One side has nothing more to say: the other reads 0 and may still answer; and what is left of one that never closes.

mod ends;

use super::{About, Finding, Lab, Line, Place, Settings, Trouble};
use ends::{ANSWER, CLIENTS, FIN_TIMEOUT_S, NOT_SEEN, answered, copied, forgotten};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The lab.
pub struct HalfClose;

/// What both sides saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    read_after_fin_bytes: usize,
    /// The client's and the server's state between the two FINs.
    states_between: (String, String),
    answer_received_bytes: usize,
    close_wait_sockets: usize,
    close_wait_later: usize,
    /// Closed clients whose peer never closed, after longer than tcp_fin_timeout; none where it could not be set.
    fin_wait_later: Option<usize>,
    state_with_a_copy_open: String,
    read_after_the_last_close_bytes: usize,
}

impl Lab for HalfClose {
    type Evidence = Evidence;

    const ABOUT: About = About {
        name: "half-close",
        question: "What can still be sent when one side has closed, and what is left when the other forgets to?",
        claim: "A FIN ends one direction only: the peer's read(2) returns 0, and it may go on sending until it closes too. A \
                server that never closes keeps its sockets in CLOSE_WAIT for ever. The FIN is sent when the last descriptor \
                of a socket is closed.",
        sources: &[
            "Stevens, UNIX Network Programming 1, 6.6 and 4.8",
            "RFC 9293 3.6",
            "shutdown(2)",
            "Linux: Documentation/networking/ip-sysctl.rst, tcp_fin_timeout",
        ],
        prediction: "A client calls shutdown(fd, SHUT_WR). Can the server still answer it? Five other clients have closed, \
                     and the server has not: in which state are the server's five sockets after a minute, and the clients'?",
        done: "A client ends its sending, and the server answers 10 000 bytes after having read 0. Then five clients close \
               while their server keeps its descriptors, with tcp_fin_timeout at 3 s. Last, a client closes one of two \
               descriptors of its socket, and then the other.",
        answer: "Each direction is closed by itself. The kernel cannot know that a program has forgotten a socket, so \
                 CLOSE_WAIT has no timer: it is a bug of the program, seen as descriptors that run out. FIN_WAIT2 has one, \
                 where nobody has the socket open any more. A fork()ed server's parent must close its copy, or no FIN is \
                 ever sent; threads share one descriptor, and the first close ends it.",
        next: &[
            "tenk lab resets",
            "tenk lab handshake",
            "ss -tan state close-wait",
        ],
        settings: &["net/ipv4/tcp_fin_timeout"],
        programs: &[],
        limit: Duration::from_secs(40),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        place.say("an answer after the end of the request");
        let (read_after_fin_bytes, states_between, answer_received_bytes) = answered()?;
        let was_set = place
            .set("net/ipv4/tcp_fin_timeout", &FIN_TIMEOUT_S.to_string())
            .is_ok();
        place.say("five clients of a server that forgets to close");
        let (close_wait_sockets, close_wait_later, fin_wait) = forgotten()?;
        let (state_with_a_copy_open, read_after_the_last_close_bytes) = copied()?;
        Ok(Evidence {
            read_after_fin_bytes,
            states_between,
            answer_received_bytes,
            close_wait_sockets,
            close_wait_later,
            fin_wait_later: was_set.then_some(fin_wait),
            state_with_a_copy_open,
            read_after_the_last_close_bytes,
        })
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        let (client, server) = &evidence.states_between;
        let between = format!("{client}, {server}");
        let mut lines = vec![
            Line::equal(
                "bytes that the server reads after the client's FIN",
                &0,
                &evidence.read_after_fin_bytes,
            ),
            Line::equal(
                "states of client and server then",
                "FIN_WAIT2, CLOSE_WAIT",
                &between,
            ),
            Line::equal(
                "bytes of the answer that the client still gets",
                &ANSWER,
                &evidence.answer_received_bytes,
            ),
            Line::equal(
                "CLOSE_WAIT of a server that forgets five",
                &CLIENTS,
                &evidence.close_wait_sockets,
            ),
            Line::equal(
                "the same, longer than tcp_fin_timeout later",
                &CLIENTS,
                &evidence.close_wait_later,
            ),
        ];
        lines.extend(
            evidence
                .fin_wait_later
                .map(|found| Line::equal("FIN_WAIT2 of their clients then", &0, &found)),
        );
        lines.push(Line::equal(
            "state of a client that closed one of two descriptors",
            "ESTABLISHED",
            &evidence.state_with_a_copy_open,
        ));
        lines.push(Line::equal(
            "bytes that its server reads once the other is closed",
            &0,
            &evidence.read_after_the_last_close_bytes,
        ));
        if client == NOT_SEEN {
            let why = "the acknowledgement of the FIN did not come in time";
            return Finding::not_judged(
                lines,
                why,
                "run the lab on a machine that has less else to do",
            );
        }
        Finding::of(
            lines,
            "The kernel's timers may be other ones here: see tcp_fin_timeout and tcp_orphan_retries.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    fn evidence() -> Evidence {
        Evidence {
            read_after_fin_bytes: 0,
            states_between: ("FIN_WAIT2".into(), "CLOSE_WAIT".into()),
            answer_received_bytes: ANSWER,
            close_wait_sockets: 5,
            close_wait_later: 5,
            fin_wait_later: Some(0),
            state_with_a_copy_open: "ESTABLISHED".into(),
            read_after_the_last_close_bytes: 0,
        }
    }

    fn judged(evidence: &Evidence) -> Finding {
        HalfClose::judge(&settings(&[]), evidence)
    }

    #[test]
    fn each_direction_is_closed_by_itself() {
        as_expected(&judged(&evidence()));
        let unset = Evidence {
            fin_wait_later: None,
            ..evidence()
        };
        as_expected(&judged(&unset));
    }

    #[test]
    fn an_answer_that_is_cut_off_contradicts() {
        let cut = Evidence {
            answer_received_bytes: 0,
            ..evidence()
        };
        assert!(not_as_expected(&judged(&cut)).contains("0, where 10000"));
        let gone = Evidence {
            close_wait_later: 0,
            ..evidence()
        };
        assert!(not_as_expected(&judged(&gone)).contains("later"));
    }

    #[test]
    fn states_that_were_not_seen_are_not_judged() {
        let unseen = Evidence {
            states_between: (NOT_SEEN.into(), NOT_SEEN.into()),
            ..evidence()
        };
        assert!(not_judged(&judged(&unseen)).contains("in time"));
    }
}
