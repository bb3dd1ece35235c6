//! What this process may use: descriptors and CPUs.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors kept for everything that is no connection: two for each thread,
/// the standard streams, files to be written, and some to spare.
const RESERVE: u64 = 32;

/// Raises RLIMIT_NOFILE to its hard limit and returns how many connections this
/// process may open beside what is open now.
#[must_use]
pub fn connections_possible(threads: u64) -> u64 {
    let limit = raise_nofile();
    let open = fs::read_dir("/proc/self/fd").map_or(16, |entries| entries.count() as u64);
    limit.saturating_sub(open + RESERVE + 2 * threads)
}

fn raise_nofile() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// The CPUs this process may run on, in ascending order.
#[must_use]
pub fn own_cpus() -> Vec<usize> {
    let Ok(set) = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..nix::sched::CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect()
}

/// Restricts this thread to some CPUs; false where it is not allowed to run there.
pub fn pin(cpus: &[usize]) -> bool {
    let mut set = nix::sched::CpuSet::new();
    cpus.iter().all(|cpu| set.set(*cpu).is_ok())
        && nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).is_ok()
}

/// CPUs of the machine, whether this process may use them or not; 1 if unknown.
#[must_use]
pub fn online_cpus() -> u64 {
    let count = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN);
    count.ok().flatten().map_or(1, |count| count.max(1) as u64)
}

/// The kernel's count of connections that found a listen queue full
/// (`TcpExt: ListenOverflows` of this network namespace); `None` if unreadable.
#[must_use]
pub fn listen_overflows() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let position = names
        .split_whitespace()
        .position(|name| name == "ListenOverflows")?;
    values.split_whitespace().nth(position)?.parse().ok()
}
