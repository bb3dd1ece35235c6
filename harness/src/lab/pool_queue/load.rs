//! Clients that come, ask once, and come again, before a pool of a few workers.

use crate::base::unit::Unit;
use crate::lab::place::{Place, Served as Server};
use crate::lab::tools::draw;
use crate::lab::tools::rows::words;
use crate::lab::trouble::Trouble;
use crate::render::chart::Chart;
use crate::render::chart::canvas::Scale;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Workers.
pub const WORKERS: u64 = 4;
/// How long each sleeps for a request.
pub const BLOCK: Duration = Duration::from_millis(20);
/// Clients at a time.
pub const CLIENTS: [u64; 6] = [1, 2, 4, 8, 16, 32];

/// What so many clients got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Served {
    /// How many.
    pub clients: u64,
    /// Requests answered per second, all together.
    pub requests_per_s: f64,
    /// Mean response time, ns.
    pub mean_response_ns: f64,
}

/// The pool.
pub fn serve(place: &Place) -> Result<Server<'_>, Trouble> {
    let flags = format!("--workers {WORKERS} --block {}ms", BLOCK.as_millis());
    place.serve("thread-pool", &words(&flags))
}

/// Lets so many clients in.
pub fn served(place: &Place, server: &Server, clients: u64) -> Result<Served, Trouble> {
    place.say(&format!("{clients} clients"));
    let flags = format!("--conns {clients} --requests-per-conn 1 --warmup 400ms --duration 2s");
    let outcome = place.load(server.addr, &words(&flags))?;
    let mean_ns = outcome.latency_ns.response.mean;
    let mean_ns = mean_ns.ok_or_else(|| Trouble::failed("no request was answered"))?;
    Ok(Served {
        clients,
        requests_per_s: outcome.requests.per_s,
        mean_response_ns: mean_ns as f64,
    })
}

/// Response times by clients, beside the law's.
pub fn chart(all: &[Served], law_ns: impl Fn(u64) -> f64) -> Option<Chart> {
    let measured = all.iter().map(|s| (s.clients as f64, s.mean_response_ns));
    let expected = all.iter().map(|s| (s.clients as f64, law_ns(s.clients)));
    let lines = vec![
        ("measured".to_string(), measured.collect()),
        ("N × S / W, and no less than S".into(), expected.collect()),
    ];
    let texts = draw::texts(
        "Response time by clients",
        "four workers, 20 ms a request",
        "",
    );
    let x = ("clients", Scale::Log, Unit::Count);
    let y = ("response time, mean", Scale::Log, Unit::Duration);
    draw::lines("response-by-clients", texts, x, y, lines)
}
