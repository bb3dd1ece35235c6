//! What is told again and what is told once: a server that stops reading too early, and one that does not stop.

mod flood;

use super::finding::{Finding, Line};
use super::tools::client::Client;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::Unit;
use flood::Overtaken;
use serde::{Deserialize, Serialize};
use servers::broken::Broken;
use std::time::Duration;

/// So many reads of a server that asks for little at a time take a whole message.
const READS: u64 = 10;
const MESSAGE: usize = READS as usize * Broken::LITTLE;
/// After so long nothing more will come.
const SILENCE: Duration = Duration::from_secs(1);

const SETTLING: Duration = Duration::from_millis(100);

/// The lab.
pub struct EdgeVsLevel;

/// What came of one message, and of a client beside a flood.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    level: Taken,
    edge: Taken,
    edge_drained: Taken,
    beside_flood: Vec<Overtaken>,
}

/// What a server did with the message.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Taken {
    answered_bytes: usize,
    wakeups: u64,
}

impl Lab for EdgeVsLevel {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "edge-vs-level",
        question: "What does an edge-triggered server lose that does not read until EAGAIN?",
        claim: "A level-triggered event is repeated while there is something to read; an edge-triggered one is told once. \
                So a server must drain the socket then, and must not let one client keep it draining.",
        sources: &[
            "epoll(7): Level-triggered and edge-triggered; Possible pitfalls",
            "Kerrisk, TLPI, 63.4.6",
        ],
        prediction: "A client sends 10 KiB at once, and the server reads 1 KiB for each event. How much comes back where \
                     events are level-triggered, and how much where they are edge-triggered?",
        done: "10 KiB go to servers that read 1 KiB for each event, and to one that drains. Then 7 MiB of one client wait \
               to be read when another asks for one byte: how much of the flood is served before that client?",
        answer: "epoll keeps a level-triggered descriptor on its list of ready ones while there is input. An edge-triggered \
                 one leaves the list when it is reported, and only new input puts it back: nine of the ten KiB stay in the \
                 kernel, and both sides wait for ever. Draining has the opposite danger: a client that never pauses never \
                 lets the loop see EAGAIN. A budget for each turn, and a list of those who exceeded it, mend that.",
        next: &[
            "tenk serve epoll-et --broken no-drain",
            "servers/src/bin/epoll-et.rs",
            "tenk lab head-of-line",
        ],
        settings: &[],
        programs: &["epoll", "epoll-et"],
        limit: Duration::from_secs(50),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        place.say("one message, read a little for each event");
        let little = ["--broken", "no-drain"];
        Ok(Evidence {
            level: take(place, "epoll", &little)?,
            edge: take(place, "epoll-et", &little)?,
            edge_drained: take(place, "epoll-et", &[])?,
            beside_flood: flood::all(place)?,
        })
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        let Evidence {
            level,
            edge,
            edge_drained,
            beside_flood,
        } = evidence;
        let line = |what: &str, expected: &str, taken: &Taken, holds| {
            let answered = Unit::Bytes.words(taken.answered_bytes as f64);
            Line::judged(
                what,
                expected,
                format!("{answered} in {} wake-up(s)", taken.wakeups),
                holds,
            )
        };
        let repeated = level.answered_bytes == MESSAGE && level.wakeups >= READS;
        // A message that came in two pieces makes two edges.
        let told_once = (1..READS / 2).contains(&edge.wakeups)
            && edge.answered_bytes == edge.wakeups as usize * Broken::LITTLE;
        let drained = edge_drained.answered_bytes == MESSAGE && edge_drained.wakeups < READS;
        let mut lines = vec![
            line(
                "level-triggered, 1 KiB for each event",
                "10 KiB in 10 wake-ups",
                level,
                repeated,
            ),
            line(
                "edge-triggered, 1 KiB for each event",
                "1 KiB in 1 wake-up",
                edge,
                told_once,
            ),
            line(
                "edge-triggered, drained",
                "10 KiB in 1 wake-up",
                edge_drained,
                drained,
            ),
        ];
        lines.extend(beside_flood.iter().map(Overtaken::line));
        if level.answered_bytes == 0 || edge_drained.answered_bytes == 0 {
            let why = "a server that reads everything answered nothing within a second";
            return Finding::not_judged(lines, why, "run it when the machine has less else to do");
        }
        Finding::of(
            lines,
            "Another event loop, or a machine so busy that a message came in many pieces.",
        )
        .with_chart(flood::chart(beside_flood))
    }
}

fn take(place: &Place, model: &str, flags: &[&str]) -> Result<Taken, Trouble> {
    let server = place.serve(model, flags)?;
    let mut client = Client::connect(server.addr)?;
    client.send(b"!")?;
    client.receive(1, SILENCE);
    // Meanwhile the server has gone back to waiting.
    std::thread::sleep(SETTLING);
    let before = server.tally().wakeups;
    client.send(&vec![7; MESSAGE])?;
    let answered_bytes = client.receive(MESSAGE, SILENCE);
    let wakeups = server.tally().wakeups - before;
    Ok(Taken {
        answered_bytes,
        wakeups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    const KIB: usize = 1024;

    fn taken(answered_bytes: usize, wakeups: u64) -> Taken {
        Taken {
            answered_bytes,
            wakeups,
        }
    }

    fn evidence() -> Evidence {
        Evidence {
            level: taken(MESSAGE, 10),
            edge: taken(KIB, 1),
            edge_drained: taken(MESSAGE, 1),
            beside_flood: flood::found([Some(1), Some(2), Some(8)]),
        }
    }

    fn judged(evidence: &Evidence) -> Finding {
        EdgeVsLevel::judge(&settings(&[]), evidence)
    }

    #[test]
    fn told_again_and_told_once() {
        as_expected(&judged(&evidence()));
        let in_two_pieces = Evidence {
            edge: taken(2 * KIB, 2),
            ..evidence()
        };
        as_expected(&judged(&in_two_pieces));
        let starved = flood::found([Some(1), Some(3), None]);
        as_expected(&judged(&Evidence {
            beside_flood: starved,
            ..evidence()
        }));
    }

    #[test]
    fn an_edge_that_is_repeated_contradicts() {
        let repeated = Evidence {
            edge: taken(MESSAGE, 10),
            ..evidence()
        };
        assert!(not_as_expected(&judged(&repeated)).contains("edge-triggered, 1 KiB"));
        let level_told_once = Evidence {
            level: taken(KIB, 1),
            ..evidence()
        };
        not_as_expected(&judged(&level_told_once));
    }

    #[test]
    fn turns_without_a_budget_and_none_with_one_contradict() {
        for mib in [
            [Some(1), Some(1), Some(2)],
            [Some(1), Some(8), None],
            [None, Some(1), None],
        ] {
            let beside_flood = flood::found(mib);
            let finding = judged(&Evidence {
                beside_flood,
                ..evidence()
            });
            assert!(not_as_expected(&finding).contains("of a flood"));
        }
    }

    #[test]
    fn silence_from_a_sound_server_is_not_judged() {
        not_judged(&judged(&Evidence {
            level: taken(0, 0),
            ..evidence()
        }));
    }
}
