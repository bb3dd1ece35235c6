//! The clients: behind a silent one, and all at once.

use super::{BLOCK, CLIENTS};
use crate::base::unit::{Unit, duration};
use crate::lab::finding::Line;
use crate::lab::tools::client::{Client, answered};
use crate::lab::tools::draw;
use crate::lab::{Place, Trouble};
use crate::render::chart::Chart;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// An answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_millis(1500);
/// What was held up is answered in less.
const SOON: Duration = Duration::from_secs(5);

/// Of the clients behind a silent one, how many were answered while it was there, and after it had left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Behind {
    pub model: String,
    pub beside: usize,
    pub after: usize,
}

impl Behind {
    /// The iterative server sits in recv of the silent one.
    pub fn line(&self) -> Line {
        let Behind {
            model,
            beside,
            after,
        } = self;
        let expected = if model == "iterative" { 0 } else { CLIENTS };
        Line::judged(
            format!("{model}: answered behind a silent client, then when it has left"),
            format!("{expected}, then {CLIENTS}"),
            format!("{beside}, then {after}"),
            *beside == expected && *after == CLIENTS,
        )
    }
}

/// How long the last of the requests that came together took; none if it was not answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Last {
    pub model: String,
    /// Whether its handlers run one after the other.
    pub in_turn: bool,
    pub ns: Option<u64>,
}

impl Last {
    /// A sleep is never shorter than asked for; side by side, none waits for another's.
    pub fn line(&self) -> Line {
        let (block_ns, clients) = (BLOCK.as_nanos() as f64, CLIENTS as f64);
        let took_ns = self.ns.map(|ns| ns as f64);
        let (expected_ns, most_ns) = match self.in_turn {
            true => (clients * block_ns, f64::INFINITY),
            false => (block_ns, clients / 2.0 * block_ns),
        };
        Line::judged(
            format!(
                "{}: last of {CLIENTS} requests that wait {}",
                self.model,
                duration(block_ns)
            ),
            format!("{} and a little", duration(expected_ns)),
            took_ns.map_or("never".into(), duration),
            took_ns.is_some_and(|took| took >= expected_ns && took < most_ns),
        )
    }
}

/// Clients that ask while a silent one is there, and again when it has left.
pub fn behind_silent(place: &Place, model: &str) -> Result<Behind, Trouble> {
    let server = place.serve(model, &[])?;
    let silent = Client::connect(server.addr)?;
    let mut clients = Client::several(CLIENTS, server.addr)?;
    for client in &mut clients {
        client.send(b"?")?;
    }
    let beside = answered(&mut clients, Instant::now() + PATIENCE);
    drop(silent);
    let mut held_up = clients.split_off(beside);
    if beside == 0 {
        // They are answered one after the other, each when the one before has left.
        held_up.reverse();
    }
    let mut after = beside;
    while let Some(mut client) = held_up.pop() {
        after += usize::from(client.is_answered(1, Instant::now() + SOON));
    }
    Ok(Behind {
        model: model.into(),
        beside,
        after,
    })
}

/// How long the last of the requests takes that are sent at the same time, ns; none if it is not answered.
pub fn last_answer(place: &Place, model: &str) -> Result<Option<u64>, Trouble> {
    let block = format!("{}ms", BLOCK.as_millis());
    let server = place.serve(model, &["--block", &block])?;
    let mut clients = Client::several(CLIENTS, server.addr)?;
    let began = Instant::now();
    for client in &mut clients {
        client.send(b"?")?;
    }
    let all = answered(&mut clients, began + SOON) == CLIENTS;
    Ok(all.then(|| began.elapsed().as_nanos() as u64))
}

/// The bars.
pub fn chart(all: &[Last]) -> Option<Chart> {
    let bar = |last: &Last| Some((last.model.clone(), last.ns? as f64));
    let texts = draw::texts(
        "In a loop each request waits for those before it",
        "four requests at the same time, each of which waits 200 ms in its handler",
        "The loops run one handler after the other; threads, and tokio's for blocking calls, wait side by side.",
    );
    let bars = all.iter().filter_map(bar).collect();
    draw::bars(
        "head-of-line",
        texts,
        "time until the last of the four is answered",
        Unit::Duration,
        bars,
    )
}
