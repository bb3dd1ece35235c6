//! The other end of a connection: a reset, which loses what was on its way and leaves nothing behind.

mod ways;

use super::tools::counters::Counters;
use super::{About, Finding, Lab, Line, Place, Settings, Trouble};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use ways::{END_OF_FILE, End, MUCH, PIPE, RESET};
use ways::{accept_after_reset, client_ends, second_write, server_leaves_unread};

/// The lab.
pub struct Resets;

/// Connections ended in different ways.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    /// The client closes.
    closed: End,
    /// The client closes with SO_LINGER at 0.
    lingered: End,
    /// The server closes without having read the request; the end is the client's.
    unread: End,
    aborts_on_close: u64,
    /// What write(2) says after the peer has closed and been written to once.
    second_write: String,
    /// Whether poll(2) said that the listener was ready, what accept(2) said, and what the first read.
    accept_after_reset: (bool, String, String),
}

impl Lab for Resets {
    type Evidence = Evidence;

    const ABOUT: About = About {
        name: "resets",
        question: "What does a reset lose, who sends one, and what does it leave behind?",
        claim: "Closing with SO_LINGER at 0 sends RST in place of FIN: what was not yet sent is lost, and there is no TIME_WAIT. \
                Closing with unread data sends RST too. A server must expect a connection that is reset before it is accepted.",
        sources: &[
            "Stevens, UNIX Network Programming 1, 7.5, 5.11 and 16.6",
            "RFC 9293 3.5.3",
            "RFC 2525 2.17",
            "socket(7): SO_LINGER",
        ],
        prediction: "A server sends its answer and closes, but has not read the whole request. What does the client see: the \
                     end of the file, or an error? And a client that resets its connection before accept(2): does accept fail?",
        done: "A client writes to a server that does not read until both buffers are full, and closes: once as usual, once with \
               SO_LINGER at 0; the server then reads what is there. A server closes with 10 bytes unread. A client writes twice \
               to a server that has closed. A client resets before it is accepted.",
        answer: "close(2) promises to send what was written, and a FIN after it. With SO_LINGER at 0 it throws that away. Unread data \
                 at close means that something the peer sent will never be read, and the kernel says so by RST. After a close, \
                 the first write is answered by RST and the second fails with EPIPE. Linux hands over a reset connection and \
                 lets the first read fail; elsewhere accept itself may fail or, in a blocking server, wait for the next one.",
        next: &[
            "tenk lab time-wait",
            "tenk lab half-close",
            "Stevens, UNIX Network Programming 1, 16.6",
        ],
        settings: &["net/ipv4/tcp_wmem", "net/ipv4/tcp_rmem"],
        programs: &[],
        limit: Duration::from_secs(40),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        place.say("a client that closes, and one that resets");
        let (closed, lingered) = (client_ends(false)?, client_ends(true)?);
        place.say("a server that closes with unread data");
        let before = Counters::read()?;
        let unread = server_leaves_unread()?;
        let aborts_on_close = Counters::read()?
            .since(&before)
            .get("TcpExt", "TCPAbortOnClose");
        Ok(Evidence {
            closed,
            lingered,
            unread,
            aborts_on_close,
            second_write: second_write()?,
            accept_after_reset: accept_after_reset()?,
        })
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        let Evidence {
            closed,
            lingered,
            unread,
            ..
        } = evidence;
        let bytes = |end: &End| format!("{} of {}", end.received_bytes, end.sent_bytes);
        let (ready, accepted, read) = &evidence.accept_after_reset;
        let lines = vec![
            Line::judged(
                "bytes read after close",
                "all",
                bytes(closed),
                closed.received_bytes == closed.sent_bytes,
            ),
            Line::equal("and then", END_OF_FILE, &closed.ended_with),
            Line::equal("TIME_WAIT left by close", &1, &closed.time_wait),
            Line::judged(
                "bytes read after close with SO_LINGER at 0",
                "fewer than sent",
                bytes(lingered),
                lingered.received_bytes < lingered.sent_bytes,
            ),
            Line::equal("and then", RESET, &lingered.ended_with),
            Line::equal("TIME_WAIT left by it", &0, &lingered.time_wait),
            Line::equal(
                "client of a server that closes with unread data",
                RESET,
                &unread.ended_with,
            ),
            Line::judged(
                "counted as TCPAbortOnClose, and TIME_WAIT left",
                "1, 0",
                format!("{}, {}", evidence.aborts_on_close, unread.time_wait),
                (evidence.aborts_on_close, unread.time_wait) == (1, 0),
            ),
            Line::equal(
                "second write to a peer that has closed",
                PIPE,
                &evidence.second_write,
            ),
            Line::yes_or_no("listener ready after a client's reset", true, *ready),
            Line::equal("accept then", "a connection", accepted),
            Line::equal("its first read", RESET, read),
        ];
        if closed.sent_bytes >= MUCH {
            let why = format!(
                "the buffers here hold more than {} MiB, so nothing was left to lose",
                MUCH >> 20
            );
            return Finding::not_judged(
                lines,
                why,
                "run the lab with smaller net.ipv4.tcp_wmem and tcp_rmem",
            );
        }
        Finding::of(
            lines,
            "Something on the way answers in a peer's place, or this kernel reports ends in another order.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    fn end(received_bytes: usize, ended_with: &str, time_wait: usize) -> End {
        End {
            sent_bytes: 1000,
            received_bytes,
            ended_with: ended_with.into(),
            time_wait,
        }
    }

    fn evidence() -> Evidence {
        Evidence {
            closed: end(1000, END_OF_FILE, 1),
            lingered: end(600, RESET, 0),
            unread: end(0, RESET, 0),
            aborts_on_close: 1,
            second_write: PIPE.into(),
            accept_after_reset: (true, "a connection".into(), RESET.into()),
        }
    }

    fn judged(evidence: &Evidence) -> Finding {
        Resets::judge(&settings(&[]), evidence)
    }

    #[test]
    fn a_reset_loses_bytes_and_leaves_nothing() {
        as_expected(&judged(&evidence()));
    }

    #[test]
    fn a_reset_that_loses_nothing_contradicts() {
        let whole = Evidence {
            lingered: end(1000, END_OF_FILE, 1),
            ..evidence()
        };
        let finding = judged(&whole);
        let why = not_as_expected(&finding);
        assert!(
            why.contains("1000 of 1000") && why.contains("TIME_WAIT left by it: 1"),
            "{why}"
        );
        let refused = Evidence {
            accept_after_reset: (true, "ECONNABORTED".into(), "n/a".into()),
            ..evidence()
        };
        assert!(not_as_expected(&judged(&refused)).contains("ECONNABORTED"));
    }

    #[test]
    fn buffers_without_end_are_not_judged() {
        let mut vast = evidence();
        vast.closed.sent_bytes = MUCH;
        assert!(not_judged(&judged(&vast)).contains("32 MiB"));
    }
}
