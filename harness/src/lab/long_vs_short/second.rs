//! A second of one way of connecting.

use crate::lab::Place;
use crate::lab::tools::counters::Counters;
use crate::lab::tools::rows::{median, words};
use crate::lab::trouble::Trouble;
use serde::{Deserialize, Serialize};

/// What one way of connecting took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Way {
    /// Requests that were answered, from the first SYN to the last FIN.
    pub requests: u64,
    /// Segments sent in either direction meanwhile.
    pub segments: u64,
    /// CPU time of the server, s.
    pub server_cpu_s: f64,
    /// Requests per second in each round's window.
    pub requests_per_s: Vec<f64>,
}

impl Way {
    /// Segments per request.
    pub fn segments_each(&self) -> f64 {
        self.segments as f64 / self.requests as f64
    }

    /// CPU time of the server per request, s.
    pub fn cpu_each_s(&self) -> f64 {
        self.server_cpu_s / self.requests as f64
    }

    /// The median of the rounds.
    pub fn median_per_s(&self) -> f64 {
        median(self.requests_per_s.clone())
    }
}

/// Adds a second of load with these flags, against a server of its own.
pub fn add(place: &Place, way: &mut Way, flags: &str) -> Result<(), Trouble> {
    let server = place.serve("epoll", &[])?;
    let (sent, used_s) = (Counters::read()?, server.cpu_s()?);
    let flags = format!("--conns 10 --warmup 200ms --duration 1s {flags}");
    let outcome = place.load(server.addr, &words(&flags))?;
    way.requests += outcome.whole_run.completed;
    way.segments += Counters::read()?.since(&sent).get("Tcp", "OutSegs");
    way.server_cpu_s += server.cpu_s()? - used_s;
    way.requests_per_s.push(outcome.requests.per_s);
    Ok(())
}
