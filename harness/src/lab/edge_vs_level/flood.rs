//! One client has much to say, another asks for one byte: how much of the flood is served before that client?

use crate::base::unit::Unit;
use crate::lab::finding::Line;
use crate::lab::tools::{client::Client, draw};
use crate::lab::{Place, Trouble};
use crate::render::chart::Chart;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// All of it is in the kernel's buffers before the other client asks, so that no program has to hurry to keep it coming.
const FLOOD: u64 = 8 << 20;
/// So much of it has been served when the other client asks.
const ASKED_AFTER: u64 = 1 << 20;
/// Room for it, and for its echo.
const BUFFERS: &str = "4096 33554432 33554432";
/// What each read costs the server: more than a second in all.
const BLOCK: &str = "10ms";
/// The whole flood takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whatever else runs here can only delay an answer.
const ATTEMPTS: usize = 3;

/// The servers: what each is called, its model, its flags, and whether it lets others have their turn.
const SERVERS: [(&str, &str, &[&str], bool); 3] = [
    ("epoll", "epoll", &[], true),
    ("epoll-et", "epoll-et", &[], true),
    (
        "epoll-et without a budget",
        "epoll-et",
        &["--broken", "no-budget"],
        false,
    ),
];

/// How far a server was with the flood.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overtaken {
    server: String,
    gives_turns: bool,
    /// When the other client asked.
    asked_at_bytes: u64,
    /// When it was answered; none if it was not.
    answered_at_bytes: Option<u64>,
}

/// Beside every server.
pub fn all(place: &Place) -> Result<Vec<Overtaken>, Trouble> {
    place.set("net/ipv4/tcp_wmem", BUFFERS)?;
    let mut all = Vec::new();
    for (server, model, flags, gives_turns) in SERVERS {
        place.say(&format!("a flood beside a client of {server}"));
        let flags = [flags, &["--block", BLOCK]].concat();
        let mut found = beside(place, model, &flags)?;
        for _ in 1..ATTEMPTS {
            if gives_turns && !is_early(found.1) {
                found = beside(place, model, &flags)?;
            }
        }
        all.push(Overtaken {
            server: server.into(),
            gives_turns,
            asked_at_bytes: found.0,
            answered_at_bytes: found.1,
        });
    }
    Ok(all)
}

/// How far the server was when the other client asked, and when it was answered.
fn beside(place: &Place, model: &str, flags: &[&str]) -> Result<(u64, Option<u64>), Trouble> {
    let server = place.serve(model, flags)?;
    let (mut flood, mut other) = (Client::connect(server.addr)?, Client::connect(server.addr)?);
    let by = Instant::now() + PATIENCE;
    flood.send(&vec![7; FLOOD as usize])?;
    while server.tally().bytes_in < ASKED_AFTER && Instant::now() < by {
        std::thread::sleep(Duration::from_millis(1));
    }
    let asked_at = server.tally().bytes_in;
    other.send(b"?")?;
    let answered = other.is_answered(1, by);
    Ok((
        asked_at,
        answered.then(|| server.tally().bytes_in.saturating_sub(1)),
    ))
}

impl Overtaken {
    /// A line of the lab's table.
    pub fn line(&self) -> Line {
        let (expected, holds) = match (self.gives_turns, self.answered_at_bytes) {
            (true, at) => ("a turn or two of it", is_early(at)),
            (false, at) => ("all that is left", at.is_none_or(|at| at >= FLOOD)),
        };
        let measured = match self.answered_at_bytes {
            Some(at) => format!(
                "{} of {}",
                in_words(at.saturating_sub(self.asked_at_bytes)),
                in_words(FLOOD - self.asked_at_bytes)
            ),
            None => "it was not answered".into(),
        };
        let what = format!("{}: of a flood, served before another client", self.server);
        Line::judged(what, expected, measured, holds)
    }
}

/// The bars.
pub fn chart(all: &[Overtaken]) -> Option<Chart> {
    let bar = |one: &Overtaken| {
        let bytes = one.answered_at_bytes?.saturating_sub(one.asked_at_bytes);
        Some((one.server.clone(), bytes as f64))
    };
    let texts = draw::texts(
        "A client beside a flood waits while the server reads on",
        &format!(
            "{} are waiting to be read when the client asks; each read costs {BLOCK}",
            in_words(FLOOD - ASKED_AFTER)
        ),
        "Without a budget the loop sees EAGAIN, and with it the others, only when the flood is over.",
    );
    let label = "bytes of the flood served before the client";
    draw::bars(
        "edge-vs-level",
        texts,
        label,
        Unit::Bytes,
        all.iter().filter_map(bar).collect(),
    )
}

/// Whether most of the flood was still to be served.
fn is_early(answered_at_bytes: Option<u64>) -> bool {
    answered_at_bytes.is_some_and(|at| at < FLOOD / 2)
}

fn in_words(bytes: u64) -> String {
    Unit::Bytes.words(bytes as f64)
}

/// What the servers showed, in their order.
#[cfg(test)]
pub fn found(answered_at_mib: [Option<u64>; 3]) -> Vec<Overtaken> {
    let servers = SERVERS.into_iter().zip(answered_at_mib);
    let found = |((server, _, _, gives_turns), mib): ((&str, _, _, _), Option<u64>)| Overtaken {
        server: server.into(),
        gives_turns,
        asked_at_bytes: ASKED_AFTER,
        answered_at_bytes: mib.map(|mib| mib << 20),
    };
    servers.map(found).collect()
}
