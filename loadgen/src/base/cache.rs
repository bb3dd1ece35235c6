//! Where what was found out about this machine is kept.

use std::fs;
use std::path::PathBuf;

use super::hash::mix;
use super::limits::online_cpus;

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
