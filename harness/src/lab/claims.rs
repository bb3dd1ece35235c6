//! What the tutorial that this project grew from says about TCP and servers, and which lab measures it.

use super::finding::Outcome;
use super::report::Report;
use crate::base::text::visible;
use serde::Serialize;

/// A claim, and what became of it on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What the tutorial says.
    pub says: &'static str,
    /// The labs that measure it.
    pub labs: &'static [&'static str],
    /// What is to be said of it, with a figure; or which lab was not as expected.
    pub showed: String,
}

/// Every claim, with what these labs showed.
pub fn rows(reports: &[Report]) -> Vec<Row> {
    CLAIMS.iter().map(|claim| claim.row(reports)).collect()
}

impl Claim {
    fn row(&self, reports: &[Report]) -> Row {
        let finding = |name: &str| {
            let report = reports.iter().find(|report| report.lab == name);
            report.map(Report::finding)
        };
        let other = |name: &&&str| match finding(name) {
            Some(found) if found.outcome == Outcome::AsExpected => None,
            Some(found) => Some(format!("{name}: {}", found.outcome.words())),
            None => Some(format!("{name}: not run")),
        };
        let others: Vec<String> = self.labs.iter().filter_map(|name| other(&name)).collect();
        let figure = self.labs.first().and_then(|name| {
            let line = finding(name)?
                .lines
                .into_iter()
                .find(|line| line.holds == Some(true))?;
            Some(format!(" ({}: {})", line.what, line.measured))
        });
        Row {
            says: self.says,
            labs: self.labs,
            showed: match others.is_empty() {
                true => format!("{}{}", self.verdict, visible(&figure.unwrap_or_default())),
                false => others.join("; "),
            },
        }
    }
}

/// A sentence of the tutorial's.
struct Claim {
    /// What it says, in English.
    says: &'static str,
    /// The labs that measure it.
    labs: &'static [&'static str],
    /// What is to be said of it where those labs are as expected.
    verdict: &'static str,
}

/// In the order of the tutorial.
const CLAIMS: &[Claim] = &[
    Claim {
        says: "listen(4) is the total number of established connections: a new client's connect does not succeed until \
               another one leaves",
        labs: &["backlog"],
        verdict: "not so: the queue of those that wait for accept(2) takes b + 1, and a client gets in when one is \
                  accepted, not when one leaves",
    },
    Claim {
        says: "accept and recv block, so a server with one loop serves one client after the other",
        labs: &["head-of-line"],
        verdict: "true",
    },
    Claim {
        says: "recv returns empty when the peer has closed, without blocking",
        labs: &["half-close"],
        verdict: "true",
    },
    Claim {
        says: "ack = the peer's sequence number + the length of its data; SYN and FIN take one number each",
        labs: &["handshake"],
        verdict: "true, and the data of the first three segments has length 0",
    },
    Claim {
        says: "opening takes three segments, because SYN and ACK go together; closing takes four, because ACK and FIN do not",
        labs: &["handshake"],
        verdict: "three it is; closing takes three when the peer closes at once, and four only when it has something \
                  left to do",
    },
    Claim {
        says: "after one side has closed, the other can still send until it closes too",
        labs: &["half-close"],
        verdict: "true for a half-close (shutdown); after close(2) whatever still comes is answered with a reset",
    },
    Claim {
        says: "the three-way handshake is for safety: it keeps off most malicious requests, which would otherwise fill the \
               server",
        labs: &["syn-queue", "idle-policy"],
        verdict: "half true: it shows that the client's address is real; the SYN queue can still be filled, and against \
                  clients that complete it and stay silent it does nothing",
    },
    Claim {
        says: "the side that closes first stays in TIME_WAIT for 2 MSL",
        labs: &["time-wait"],
        verdict: "true: 60 s on Linux, whatever the MSL",
    },
    Claim {
        says: "TIME_WAIT is there in case the last ACK is lost: the FIN is sent again, and acknowledged again",
        labs: &["time-wait"],
        verdict: "true",
    },
    Claim {
        says: "in TIME_WAIT the port cannot be used again, and late segments are dropped",
        labs: &["time-wait", "reuseaddr"],
        verdict: "true of the same pair of addresses; tcp_tw_reuse lets a client have it back after a second",
    },
    Claim {
        says: "with SO_REUSEADDR a server can be started again without waiting",
        labs: &["reuseaddr"],
        verdict: "true",
    },
    Claim {
        says: "long connections save setting up and taking down; frequent requests should use them",
        labs: &["long-vs-short"],
        verdict: "true",
    },
    Claim {
        says: "short connections that come often make socket errors",
        labs: &["time-wait"],
        verdict: "true: the client runs out of ports, EADDRNOTAVAIL",
    },
    Claim {
        says: "every long connection takes resources of the server, and at some point it cannot bear more",
        labs: &["memory-per-connection", "fd-wall"],
        verdict: "true; how many is a question of the model and of its limits",
    },
    Claim {
        says: "closing connections that have been silent, and a limit per client, keep malicious clients from harming the \
               others",
        labs: &["idle-policy"],
        verdict: "true",
    },
    Claim {
        says: "a process per client is all right for few; hundreds or thousands are not acceptable, because making processes \
               is expensive",
        labs: &["process-cost"],
        verdict: "half true: what is expensive is making one per connection, not having hundreds",
    },
    Claim {
        says: "the parent closes its copy of the connection; threads must not, since they share it",
        labs: &["half-close"],
        verdict: "true: the FIN is sent when the last descriptor is closed",
    },
    Claim {
        says: "nonblocking sockets are swept in a loop, with a pause",
        labs: &["idle-cpu"],
        verdict: "without the pause the sweep burns a whole CPU with nothing to do",
    },
    Claim {
        says: "select can watch 1024 descriptors; 2048 on 64-bit machines",
        labs: &["idle-scaling"],
        verdict: "1024 (FD_SETSIZE) on both; file-max has nothing to do with it",
    },
    Claim {
        says: "select looks at every socket in turn, active or not, which wastes much CPU time when there are many",
        labs: &["idle-scaling"],
        verdict: "true, and poll does so too",
    },
    Claim {
        says: "when select says that the listener is ready, accept never blocks",
        labs: &["resets"],
        verdict: "true on Linux, which hands over even a connection that was reset; POSIX does not promise it",
    },
    Claim {
        says: "epoll has no limit on connections and looks at the active ones only: in real networks it is far more efficient \
               than select and poll",
        labs: &["idle-scaling", "active-ratio"],
        verdict: "true with many silent connections; when all are active, poll is as good",
    },
    Claim {
        says: "level-triggered epoll tells again and again until it is handled; edge-triggered tells once, and what is not \
               handled then is lost",
        labs: &["edge-vs-level"],
        verdict: "true",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::LABS;

    #[test]
    fn every_claim_is_measured_by_a_lab_that_there_is() {
        for claim in CLAIMS {
            assert!(!claim.labs.is_empty(), "{}", claim.says);
            for name in claim.labs {
                assert!(
                    LABS.iter().any(|lab| lab.about.name == *name),
                    "{name}: {}",
                    claim.says
                );
            }
        }
    }

    #[test]
    fn what_was_not_run_shows_nothing() {
        let rows = rows(&[]);
        assert_eq!(rows[0].showed, "backlog: not run");
    }
}
