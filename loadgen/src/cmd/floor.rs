//! This machine's floor and ceiling: what loadgen measures against a server that
//! does nothing. No server model can be seen below the one or above the other.
//!
//! The result is kept in the cache directory under the machine's fingerprint, and
//! later runs against loopback show it beside their own.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::cli::PrintFlags;
use super::output::{Stderr, save, show};
use super::{Failure, report};
use crate::base::cache::{self, cache_file};
use crate::base::clock::unix_now_ns;
use crate::base::limits::own_cpus;
use crate::base::null_server::NullServer;
use crate::fleet::link::Link;
use crate::fleet::run::{Listener, run};
use crate::load::flags::{LoadFlags, RunFlags, ShapeFlags};
use crate::load::{CpuList, Load};
use crate::tally::outcome::{Floor, Outcome};

/// Connections at which the ceiling is measured.
const CEILING_CONNECTIONS: u64 = 50;

pub(super) fn execute(print: &PrintFlags, quiet: bool) -> Result<(), Failure> {
    let mut link = Link::new(None)?;
    let mut stderr = Stderr::new(quiet);
    let floor = measure(&mut link, &mut stderr)?;
    save(&floor, print.save.as_deref())?;
    show(&floor, print.format, report::floor_text)?;
    // What was measured has been shown: that it cannot be kept costs later runs their line beside the figures.
    if let Err(why) = keep(&floor) {
        stderr.notice(&format!("the floor is not kept for later runs: {why}"));
    }
    Ok(())
}

/// Measures the floor and the ceiling, null server on the first CPU, generator on the last.
///
/// # Errors
/// When a run fails or is interrupted.
pub fn measure(link: &mut Link, listener: &mut dyn Listener) -> io::Result<Floor> {
    let single = against_null_server(1, Duration::from_secs(2), link, listener)?;
    let many = against_null_server(CEILING_CONNECTIONS, Duration::from_secs(2), link, listener)?;
    let (Some(p50), Some(p99)) = (
        single.latency_ns.response.p50,
        single.latency_ns.response.p99,
    ) else {
        return Err(io::Error::other(
            "too few answers for a p99: this machine is too busy",
        ));
    };
    Ok(Floor {
        response_p50_ns: p50,
        response_p99_ns: p99,
        requests_per_s: many.requests.per_s,
        measured_unix_ns: unix_now_ns(),
    })
}

fn against_null_server(
    conns: u64,
    duration: Duration,
    link: &mut Link,
    listener: &mut dyn Listener,
) -> io::Result<Outcome> {
    let cpus = own_cpus();
    let server = NullServer::start(cpus.first().copied())?;
    let shape = ShapeFlags {
        conns,
        ..ShapeFlags::default()
    };
    let run_flags = RunFlags {
        duration,
        warmup: Duration::from_millis(500),
        threads: 1,
        cpus: cpus.last().map(|cpu| CpuList(vec![*cpu as u32])),
        ..RunFlags::default()
    };
    let load = Load::new(
        &server.address().to_string(),
        &shape,
        &LoadFlags::default(),
        &run_flags,
    );
    let report = run(load.map_err(io::Error::other)?, link, listener)?;
    match report.interruption {
        Some(interruption) => Err(io::Error::other(interruption)),
        None => Ok(report.outcome),
    }
}

/// Keeps a floor for later runs; returns where.
///
/// # Errors
/// When the cache directory cannot be written.
pub fn keep(floor: &Floor) -> io::Result<PathBuf> {
    cache::keep("floor", &serde_json::to_vec(floor)?)
}

/// The floor kept for this machine, if one was measured.
#[must_use]
pub fn kept() -> Option<Floor> {
    serde_json::from_slice(&fs::read(cache_file("floor")?).ok()?).ok()
}
