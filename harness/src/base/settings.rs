//! The settings of this machine that figures depend on.

use super::control_group;
use nix::time::{ClockId, clock_getres};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The sysctls of a network that change what is measured in it: copied from the host into a private namespace, whose own
/// are the kernel's defaults.
pub const NETWORK_SYSCTLS: [&str; 19] = [
    "net/core/somaxconn",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_abort_on_overflow",
    "net/ipv4/tcp_autocorking",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_fin_timeout",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_max_tw_buckets",
    "net/ipv4/tcp_notsent_lowat",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_slow_start_after_idle",
    "net/ipv4/tcp_syn_linear_timeouts",
    "net/ipv4/tcp_syn_retries",
    "net/ipv4/tcp_synack_retries",
    "net/ipv4/tcp_syncookies",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_tw_reuse_delay",
    "net/ipv4/tcp_wmem",
];

/// The machine's own: every network has them.
const MACHINE_SYSCTLS: [&str; 8] = [
    "kernel/sched_autogroup_enabled",
    "net/core/busy_poll",
    "net/core/busy_read",
    "net/core/netdev_max_backlog",
    "net/core/rmem_default",
    "net/core/rmem_max",
    "net/core/wmem_default",
    "net/core/wmem_max",
];

/// The values of [`NETWORK_SYSCTLS`] in force for the calling process; those that this kernel has not are left out.
pub fn network_sysctls() -> Vec<(String, String)> {
    sysctls(&NETWORK_SYSCTLS)
}

fn sysctls(names: &[&str]) -> Vec<(String, String)> {
    let read = |key: &&str| {
        let value = fs::read_to_string(Path::new("/proc/sys").join(key)).ok()?;
        Some((key.to_string(), value.trim().replace('\t', " ")))
    };
    names.iter().filter_map(read).collect()
}

/// Everything else, by the names that people look for it under; what this machine does not say is left out.
pub fn machine() -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = sysctls(&MACHINE_SYSCTLS).into_iter().collect();
    let files = [
        (
            "clock source",
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        ),
        (
            "transparent huge pages",
            "/sys/kernel/mm/transparent_hugepage/enabled",
        ),
        (
            "simultaneous multithreading",
            "/sys/devices/system/cpu/smt/control",
        ),
        ("kernel command line", "/proc/cmdline"),
    ];
    let found = files
        .into_iter()
        .filter_map(|(name, path)| Some((name.to_string(), text(path)?)));
    settings.extend(found.map(|(name, value)| (name, chosen(&value))));
    settings.extend(timer_hz().map(|hz| ("timer HZ".into(), hz.to_string())));
    settings.extend(in_one_line(governors()).map(|all| ("CPU governor".into(), all)));
    settings.extend(mitigations());
    settings.extend(control_groups());
    settings
}

/// The limits that control groups around this process set, at every level that sets one.
fn control_groups() -> impl Iterator<Item = (String, String)> {
    let files = [
        ("cpu.max", ("cpu", "cpu.cfs_quota_us")),
        ("cpu.weight", ("cpu", "cpu.shares")),
        ("cpuset.cpus.effective", ("cpuset", "cpuset.effective_cpus")),
        ("memory.max", ("memory", "memory.limit_in_bytes")),
        ("memory.high", ("memory", "memory.soft_limit_in_bytes")),
        ("pids.max", ("pids", "pids.max")),
    ];
    let values = files
        .into_iter()
        .flat_map(|(v2, v1)| control_group::values(v2, v1));
    // Version 1 writes "none" as -1, or as the largest multiple of a page.
    let is_none = |value: &str| {
        value.starts_with("max")
            || value.starts_with('-')
            || value.parse().is_ok_and(|n: u64| n >= 1 << 62)
    };
    values
        .filter(move |(_, value)| !is_none(value))
        .map(|(name, value)| (format!("cgroup {name}"), value))
}

/// What the kernel does against faults of the CPUs, a line each: some cost microseconds in every system call.
fn mitigations() -> impl Iterator<Item = (String, String)> {
    let entries = fs::read_dir("/sys/devices/system/cpu/vulnerabilities")
        .into_iter()
        .flatten()
        .flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((format!("mitigation {name}"), text(entry.path().to_str()?)?))
    })
}

/// The governors of all CPUs that have one.
pub fn governors() -> Vec<String> {
    let entries = fs::read_dir("/sys/devices/system/cpu")
        .into_iter()
        .flatten()
        .flatten();
    let files = entries.map(|entry| entry.path().join("cpufreq/scaling_governor"));
    files.filter_map(|file| text(file.to_str()?)).collect()
}

/// Every value once.
fn in_one_line(values: Vec<String>) -> Option<String> {
    let all: BTreeSet<String> = values.into_iter().collect();
    (!all.is_empty()).then(|| all.into_iter().collect::<Vec<_>>().join(", "))
}

/// Timer interrupts per second: the coarse clock moves with them (clock_getres(2)).
pub fn timer_hz() -> Option<u64> {
    let step = clock_getres(ClockId::from_raw(nix::libc::CLOCK_MONOTONIC_COARSE)).ok()?;
    let ns = step.tv_sec() as u64 * 1_000_000_000 + step.tv_nsec() as u64;
    (ns > 0).then(|| (1_000_000_000 + ns / 2) / ns)
}

/// `always [madvise] never` is madvise.
fn chosen(text: &str) -> String {
    let inner = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inner.map_or(text, |(inner, _)| inner).to_string()
}

fn text(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_network_settings_are_read() {
        let sysctls = network_sysctls();
        let value = |key: &str| {
            sysctls
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.as_str())
        };
        assert!(value("net/core/somaxconn").unwrap().parse::<u32>().unwrap() > 0);
        assert!(!value("net/ipv4/tcp_congestion_control").unwrap().is_empty());
        assert_eq!(value("net/ipv4/tcp_rmem").unwrap().split(' ').count(), 3);
    }

    #[test]
    fn what_is_chosen_stands_in_brackets() {
        assert_eq!(chosen("always [madvise] never"), "madvise");
        assert_eq!(chosen("tsc"), "tsc");
        assert_eq!(
            in_one_line(vec!["b".into(), "a".into(), "b".into()]).as_deref(),
            Some("a, b")
        );
        assert_eq!(in_one_line(Vec::new()), None);
    }

    #[test]
    fn this_machines_settings_are_known() {
        let settings = machine();
        let hz: u64 = settings["timer HZ"].parse().unwrap();
        assert!((24..=10_000).contains(&hz), "{hz}");
        assert!(settings.contains_key("net/core/rmem_max"), "{settings:?}");
    }
}
