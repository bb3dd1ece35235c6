//! The ways in which several workers can wait for a connection.

use crate::lab::Place;
use crate::lab::tools::tasks;
use crate::lab::trouble::{During, Trouble};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Connections, one after the other.
pub const CONNECTIONS: u64 = 240;
/// The workers that wait for them.
const WORKERS: &str = "4";

/// One way.
pub struct Way {
    /// In words.
    pub name: &'static str,
    model: &'static str,
    flags: &'static [&'static str],
}

/// All that are looked at.
pub const WAYS: [Way; 5] = [
    Way {
        name: "all in accept(2)",
        model: "prefork",
        flags: &["--accept", "shared"],
    },
    Way {
        name: "an epoll each, EPOLLEXCLUSIVE",
        model: "reuseport",
        flags: &["--listen-mode", "exclusive"],
    },
    Way {
        name: "SO_REUSEPORT, a listener each",
        model: "reuseport",
        flags: &["--listen-mode", "reuseport"],
    },
    Way {
        name: "an epoll each",
        model: "reuseport",
        flags: &["--listen-mode", "shared"],
    },
    Way {
        name: "one epoll for all",
        model: "epoll-oneshot",
        flags: &[],
    },
];

/// How many connections each worker accepted, every one of them made while all slept.
pub fn accepted(place: &Place, way: &Way) -> Result<Vec<u64>, Trouble> {
    place.say(way.name);
    let server = place.serve(way.model, &[&["--workers", WORKERS], way.flags].concat())?;
    let pids = server.pids();
    let before = server.workers();
    for _ in 0..CONNECTIONS {
        tasks::wait_for_sleep(&pids)?;
        let mut client = TcpStream::connect(server.addr).during("connect")?;
        client.write_all(b"who?").during("ask")?;
        client.read_exact(&mut [0; 4]).during("read the answer")?;
    }
    let each = server.workers().into_iter().zip(before);
    let each = each.map(|(now, then)| now.accepted - then.accepted);
    Ok(each.collect())
}
