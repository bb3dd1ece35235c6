//! This machine's floor and ceiling: what loadgen measures against a server that
//! does nothing. No server model can be seen below the one or above the other.
//!
//! The result is kept in the cache directory under the machine's fingerprint, and
//! later runs against loopback show it beside their own.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::files::write_atomically;
use crate::flags::{CpuList, LoadFlags, RunFlags, ShapeFlags};
use crate::limits::{online_cpus, own_cpus};
use crate::link::Link;
use crate::load::Load;
use crate::null_server::NullServer;
use crate::outcome::{Floor, Outcome};
use crate::run::{Listener, run};
use crate::schedule::mix;
use crate::sys::unix_now_ns;

/// Connections at which the ceiling is measured.
const CEILING_CONNECTIONS: u64 = 50;

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
    let path = cache_file("floor")
        .ok_or_else(|| io::Error::other("neither XDG_CACHE_HOME nor HOME says where to keep it"))?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    write_atomically(&path, &serde_json::to_vec(floor)?)?;
    Ok(path)
}

/// The floor kept for this machine, if one was measured.
#[must_use]
pub fn kept() -> Option<Floor> {
    serde_json::from_slice(&fs::read(cache_file("floor")?).ok()?).ok()
}

/// `$XDG_CACHE_HOME/tenk`, by default under `~/.cache`: where what was found out about this machine is kept.
#[must_use]
pub fn cache_directory() -> Option<PathBuf> {
    let directory = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = directory("XDG_CACHE_HOME")
        .or_else(|| directory("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("tenk"))
}

/// `KIND-FINGERPRINT.json` in the cache directory: a file that is found again on this machine only.
#[must_use]
pub fn cache_file(kind: &str) -> Option<PathBuf> {
    Some(cache_directory()?.join(format!("{kind}-{:016x}.json", fingerprint())))
}

/// A number that changes with the CPU, the kernel or the number of CPUs; not with those this process is pinned to, or a
/// pinned generator would not find what was measured before it was.
fn fingerprint() -> u64 {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let model = cpu_info
        .lines()
        .find(|line| line.starts_with("model name"))
        .unwrap_or_default();
    let facts = format!(
        "{model} {} {} {:?}",
        read("/proc/sys/kernel/osrelease"),
        read("/proc/sys/kernel/hostname"),
        online_cpus()
    );
    facts
        .bytes()
        .fold(0, |hash, byte| mix(hash ^ u64::from(byte)))
}
