//! The segments of one connection, with their flags and numbers, beside the states of its two ends.

mod connection;
mod numbers;
mod picture;

use super::tools::capture::Segment;
use super::{About, Finding, Lab, Line, Place, Settings, Trouble};
use connection::{BUSY, DATA, connection};
use numbers::{Numbers, to_close};
use picture::{chart, shown};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The lab.
pub struct Handshake;

/// What passed, and in which states both ends were.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    /// The server closes as soon as it reads the end.
    at_once: Vec<Segment>,
    /// It does something else first.
    later: Vec<Segment>,
    /// The client's and the server's state: connected, between the two FINs, closed.
    states: Vec<(String, String)>,
}

impl Lab for Handshake {
    type Evidence = Evidence;

    const ABOUT: About = About {
        name: "handshake",
        question: "Which segments open and close a connection, and which of them take a sequence number?",
        claim: "Opening takes three segments (SYN, SYN+ACK, ACK), closing takes four (FIN, ACK, FIN, ACK). SYN and FIN take \
                one sequence number each, data takes its length, and an acknowledgement takes none.",
        sources: &[
            "RFC 9293 3.4, 3.5 and 3.6",
            "Stevens, UNIX Network Programming 1, 2.6 and 6.6",
            "packet(7)",
        ],
        prediction: "A client connects, sends 10 bytes, reads 10 bytes, and closes; the server closes as soon as it reads \
                     the end. How many segments pass in all? What acknowledgement number is in the last one?",
        done: "A packet socket on the loopback interface of the private network reads every segment of two connections: in \
               one the server closes at once when it reads the end, in the other 0.4 s later. The states of both ends are \
               read from /proc/net/tcp.",
        answer: "The server's SYN and its acknowledgement of the client's go in one segment, since it has nothing to wait for. \
                 When closing, the acknowledgement of the first FIN can travel with the second FIN only if the server closes \
                 before its delayed acknowledgement is due; otherwise it goes first, and there are four. Since SYN and FIN \
                 take a number, they can be acknowledged, and so be sent again when they are lost.",
        next: &[
            "tenk lab half-close",
            "tenk lab time-wait",
            "tenk lab syn-queue",
        ],
        settings: &["net/ipv4/tcp_timestamps"],
        programs: &[],
        limit: Duration::from_secs(20),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let mut states = Vec::new();
        place.say("a server that closes at once");
        let at_once = connection(Duration::ZERO, &mut Vec::new())?;
        place.say("a server that still has something to do");
        let later = connection(BUSY, &mut states)?;
        Ok(Evidence {
            at_once,
            later,
            states,
        })
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        let mut lines = opening(evidence);
        lines.extend(closing(evidence));
        lines.extend(states(evidence));
        let segments = evidence.at_once.iter().enumerate();
        lines.extend(segments.map(|(n, segment)| shown(n + 1, segment)));
        if evidence.at_once.is_empty() || evidence.states.len() < MOMENTS.len() {
            return Finding::not_judged(
                lines,
                "the packet socket saw no segment",
                "run the lab again, as root",
            );
        }
        Finding::of(
            lines,
            "Segments may have been sent again, or captured twice, on a machine this busy.",
        )
        .with_chart(chart(&evidence.later))
    }
}

/// The segments that open a connection, and what takes a sequence number.
fn opening(evidence: &Evidence) -> Vec<Line> {
    let open = &evidence.at_once[..evidence.at_once.len().min(3)];
    let flags: Vec<&str> = open.iter().map(|s| s.flags.as_str()).collect();
    let numbers = Numbers::of(&evidence.later);
    let data = [DATA as u32; 2];
    vec![
        Line::judged(
            "to open",
            "S, SA, A",
            flags.join(", "),
            flags == ["S", "SA", "A"],
        ),
        numbers.line("numbers taken by SYN", "1 and 1", numbers.syn, [1, 1]),
        numbers.line("numbers taken by 10 bytes", "10 and 10", numbers.data, data),
        numbers.line("numbers taken by FIN", "1 and 1", numbers.fin, [1, 1]),
    ]
}

/// The segments that close one: an ACK and a FIN may go together only where the server closes at once.
fn closing(evidence: &Evidence) -> Vec<Line> {
    let line = |server: &str, segments: &[Segment], allowed: &[usize]| {
        let found = to_close(segments).len();
        let expected: Vec<String> = allowed.iter().map(usize::to_string).collect();
        Line::judged(
            format!("segments to close, with a server {server}"),
            expected.join(" or "),
            found.to_string(),
            allowed.contains(&found),
        )
    };
    vec![
        line("that closes at once", &evidence.at_once, &[3, 4]),
        line("that closes later", &evidence.later, &[4]),
    ]
}

/// When both ends are looked at, and the states that they are in then.
const MOMENTS: [(&str, [&str; 2]); 3] = [
    ("connected", ["ESTABLISHED", "ESTABLISHED"]),
    ("between the two FINs", ["FIN_WAIT2", "CLOSE_WAIT"]),
    ("closed", ["TIME_WAIT", "none"]),
];

fn states(evidence: &Evidence) -> Vec<Line> {
    let pairs = MOMENTS.iter().zip(&evidence.states);
    let line = |((moment, expected), found): (&(&str, [&str; 2]), &(String, String))| {
        let what = format!("states of client and server, {moment}");
        let found = format!("{}, {}", found.0, found.1);
        Line::equal(what, &expected.join(", "), &found)
    };
    pairs.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    fn segment(words: &str) -> Segment {
        let mut words = words.split(' ');
        let mut next = || words.next().unwrap();
        let from_client = next() == "c";
        let flags = next().to_string();
        let mut number = || next().parse().unwrap();
        Segment {
            at_us: 0,
            from_client,
            client_port: 50_000,
            flags,
            sequence: number(),
            acknowledgement: number(),
            length: number(),
        }
    }

    fn segments(close: &[&str]) -> Vec<Segment> {
        let open = ["c S 0 0 0", "s SA 0 1 0", "c A 1 1 0"];
        let data = ["c PA 1 1 10", "s A 1 11 0", "s PA 1 11 10", "c A 11 11 0"];
        open.iter()
            .chain(&data)
            .chain(close)
            .map(|words| segment(words))
            .collect()
    }

    fn evidence() -> Evidence {
        let states = [
            ("ESTABLISHED", "ESTABLISHED"),
            ("FIN_WAIT2", "CLOSE_WAIT"),
            ("TIME_WAIT", "none"),
        ];
        Evidence {
            at_once: segments(&["c FA 11 11 0", "s FA 11 12 0", "c A 12 12 0"]),
            later: segments(&["c FA 11 11 0", "s A 11 12 0", "s FA 11 12 0", "c A 12 12 0"]),
            states: states.map(|(a, b)| (a.to_string(), b.to_string())).into(),
        }
    }

    #[test]
    fn syn_and_fin_take_a_number_each() {
        as_expected(&Handshake::judge(&settings(&[]), &evidence()));
    }

    #[test]
    fn a_fin_without_a_number_contradicts() {
        let mut found = evidence();
        for s in &mut found.later {
            s.acknowledgement = s.acknowledgement.min(11);
        }
        let finding = Handshake::judge(&settings(&[]), &found);
        let why = not_as_expected(&finding);
        assert!(
            why.contains("taken by FIN, client and server: 0 and 0"),
            "{why}"
        );
    }

    #[test]
    fn a_state_that_should_have_gone_contradicts() {
        let mut found = evidence();
        found.states[1].1 = "ESTABLISHED".into();
        assert!(not_as_expected(&Handshake::judge(&settings(&[]), &found)).contains("between"));
    }

    #[test]
    fn without_segments_nothing_is_judged() {
        let found = Evidence {
            at_once: vec![],
            ..evidence()
        };
        assert!(not_judged(&Handshake::judge(&settings(&[]), &found)).contains("no segment"));
    }
}
