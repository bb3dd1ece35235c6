//! Where what was found out about this machine is kept.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::error::in_a_sentence;
use super::file::write_atomically;
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

/// Keeps something in the cache directory for later runs on this machine; returns where.
///
/// # Errors
/// Where there is no such directory, or it cannot be written: a sentence with what mends it.
pub fn keep(kind: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let path = cache_file(kind).ok_or_else(|| {
        io::Error::other(
            "neither XDG_CACHE_HOME nor HOME says where (`export XDG_CACHE_HOME=/var/tmp` would)",
        )
    })?;
    let folder = path.parent().unwrap_or(&path);
    let made = fs::create_dir_all(folder).map_err(|error| {
        let sentence = format!("{}: {error}", folder.display());
        in_a_sentence(error, sentence)
    });
    made.and_then(|()| write_atomically(&path, bytes))
        .map_err(|error| {
            let sentence = format!("{error} (XDG_CACHE_HOME may name another folder)");
            in_a_sentence(error, sentence)
        })?;
    Ok(path)
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
