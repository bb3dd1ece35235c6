//! Hostile clients, and an honest one that comes after them.

use super::WORKERS;
use crate::base::unit::{Unit, duration};
use crate::lab::tools::client::Client;
use crate::lab::tools::draw;
use crate::lab::{Place, Trouble};
use crate::render::chart::Chart;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Between two bytes of a client that never finishes its request.
pub const EVERY: Duration = Duration::from_millis(100);
/// For so long the honest client waits.
pub const PATIENCE: Duration = Duration::from_secs(6);
/// What takes longer was not done at once.
pub const SOON: Duration = Duration::from_millis(1500);

/// Where the hostile clients come from.
const THEIRS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";
/// The beginning of one that has no end.
const ENDLESS: &[u8] = b"GET / HTTP/1.1\r\nX-Endless: ";

/// What the honest client got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Beside {
    /// How long it waited; none if it gave up.
    pub served_after_ns: Option<u64>,
    /// Connections that the server closed at once.
    pub turned_away: u64,
}

impl Beside {
    /// How long it waited; none if it gave up.
    pub fn waited(&self) -> Option<Duration> {
        self.served_after_ns.map(Duration::from_nanos)
    }

    /// The same in words.
    pub fn told(&self) -> String {
        self.served_after_ns
            .map_or("not served".into(), |ns| duration(ns as f64))
    }
}

/// The bars, in the order of the flags.
pub fn chart(beside: [&Beside; 3]) -> Option<Chart> {
    let label = |flags: &str, beside: &Beside| match beside.waited() {
        Some(_) => flags.to_string(),
        None => format!("{flags} (gave up)"),
    };
    let flags = ["no policy", "--idle-timeout 1s", "--max-conns-per-ip 2"];
    let bar = |(flags, beside): (&str, &Beside)| {
        (
            label(flags, beside),
            beside.waited().unwrap_or(PATIENCE).as_nanos() as f64,
        )
    };
    let bars = flags.into_iter().zip(beside).map(bar).collect();
    let texts = draw::texts(
        "How long an honest client waits behind eight hostile ones",
        "a pool of four threads; the hostile clients come first, all from one address",
        "A bar ends where the client was served, or gave up.",
    );
    draw::bars(
        "idle-policy",
        texts,
        "time until it is served",
        Unit::Duration,
        bars,
    )
}

/// An honest client behind so many hostile ones.
pub fn beside(place: &Place, hostile: usize, flags: &[&str]) -> Result<Beside, Trouble> {
    let workers = WORKERS.to_string();
    let common = ["--service", "http", "--workers", &workers];
    let server = place.serve("thread-pool", &[&common, flags].concat())?;
    let clients = (0..hostile).map(|_| Client::connect_from(THEIRS, server.addr));
    let mut clients = clients.collect::<Result<Vec<_>, _>>()?;
    let by = Instant::now() + SOON;
    while server.tally().accepted < hostile as u64 && Instant::now() < by {
        std::thread::sleep(Duration::from_millis(1));
    }
    for client in clients.iter_mut().step_by(2) {
        // Whoever was turned away cannot send any more.
        let _ = client.send(ENDLESS);
    }
    let mut honest = Client::connect(server.addr)?;
    let began = Instant::now();
    honest.send(REQUEST)?;
    let mut served_after_ns = None;
    while served_after_ns.is_none() && began.elapsed() < PATIENCE {
        if honest.receive(1, EVERY) == 1 {
            served_after_ns = Some(began.elapsed().as_nanos() as u64);
        }
        for client in clients.iter_mut().step_by(2) {
            let _ = client.send(b"x");
        }
    }
    Ok(Beside {
        served_after_ns,
        turned_away: server.tally().shed,
    })
}
