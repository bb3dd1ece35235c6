//! Facts about the machine that this process runs on.

use loadgen::flags::CpuList;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;

/// The sysctls that decide how many connections fit, copied from the host into a private namespace.
pub const NETWORK_SYSCTLS: [&str; 4] = [
    "net/core/somaxconn",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_max_syn_backlog",
];

/// CPUs online, whatever this process is pinned to.
pub fn machine_cpus() -> f64 {
    use nix::unistd::{SysconfVar, sysconf};
    match sysconf(SysconfVar::_NPROCESSORS_ONLN) {
        Ok(Some(cpus)) => cpus as f64,
        _ => 1.0,
    }
}

/// The CPUs this process may use.
pub fn available_cpus() -> Vec<usize> {
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count())
            .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
            .collect(),
        Err(_) => vec![0],
    }
}

/// A list of CPUs for rows and people: `0`, `0-1,3`.
pub fn cpu_list(cpus: &[usize]) -> String {
    let list = CpuList(cpus.iter().map(|&cpu| cpu as u32).collect());
    list.to_string()
}

/// The values of [`NETWORK_SYSCTLS`] in force for the calling process; unreadable ones are left out.
pub fn read_sysctls() -> Vec<(String, String)> {
    NETWORK_SYSCTLS
        .iter()
        .filter_map(|key| {
            let value = fs::read_to_string(Path::new("/proc/sys").join(key)).ok()?;
            Some((key.to_string(), value.trim().replace('\t', " ")))
        })
        .collect()
}
