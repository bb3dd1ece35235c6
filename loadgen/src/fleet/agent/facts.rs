//! What an agent can say of its host.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use hmac_sha256::Hash as Sha256;

use super::super::wire::{Hello, Limits, PROTOCOL};
use super::Agent;
use crate::base::limits::{connections_possible, own_cpus};
use crate::base::machine::{MachineFacts, boot_id};

pub(super) fn hello(agent: &Agent) -> Hello {
    let line = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let namespace = fs::read_link("/proc/self/ns/net").unwrap_or_default();
    Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").into(),
        name: line("/proc/sys/kernel/hostname"),
        place: format!("{} {}", boot_id().unwrap_or_default(), namespace.display()),
        machine: MachineFacts::read(),
        programs: agent.programs.clone(),
        cpus: own_cpus().len() as u64,
        limits: Limits {
            connections_per_process: connections_possible(1),
        },
        servers: agent.servers.is_some(),
    }
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Whether a process was stopped by a signal (proc_pid_stat(5)).
pub(super) fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().next() == Some("T")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_files() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "abc").expect("written");
        let digest = digest_of(file.path()).expect("read");
        assert!(
            digest.starts_with("ba7816bf8f01cfea") && digest.len() == 64,
            "{digest}"
        );
        assert!(!is_stopped(std::process::id()));
    }
}
