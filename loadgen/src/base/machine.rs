//! What a machine is, as its kernel tells.

use std::fmt;
use std::fs;

use nix::sys::utsname::uname;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::online_cpus;
use super::text::visible;
use super::units::format_bytes;

/// What figures depend on of a machine, whoever measures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineFacts {
    /// Kernel name, release and machine.
    pub kernel: String,
    /// The CPUs' model name.
    pub cpu_model: Option<String>,
    /// CPUs online, whether this process may use them or not.
    pub cpus: u64,
    /// Memory, KiB.
    pub memory_kib: Option<u64>,
    /// Which boot of which machine this is (random(4)): equal for all that share its CPUs.
    pub boot_id: Option<String>,
}

impl MachineFacts {
    /// Those of this machine.
    #[must_use]
    pub fn read() -> Self {
        Self {
            kernel: kernel(),
            cpu_model: cpu_model(),
            cpus: online_cpus(),
            memory_kib: memory_kib(),
            boot_id: boot_id(),
        }
    }
}

/// In words, fit to be shown whoever told them.
impl fmt::Display for MachineFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kernel, cpus) = (visible(&self.kernel), self.cpus);
        let plural = if cpus == 1 { "" } else { "s" };
        write!(f, "{kernel}, {cpus} CPU{plural}")?;
        if let Some(model) = &self.cpu_model {
            write!(f, " ({})", visible(model))?;
        }
        match self.memory_kib {
            Some(kib) => write!(f, ", {} of memory", format_bytes(kib as f64 * 1024.0)),
            None => Ok(()),
        }
    }
}

/// Which boot of which machine this is.
#[must_use]
pub fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

fn kernel() -> String {
    let kernel = uname().map(|u| {
        let words = [u.sysname(), u.release(), u.machine()];
        words.map(|w| w.to_string_lossy().into_owned()).join(" ")
    });
    kernel.unwrap_or_default()
}

fn memory_kib() -> Option<u64> {
    let total = value_of("/proc/meminfo", "MemTotal")?;
    total.split(' ').next()?.parse().ok()
}

/// What the CPU calls itself. ARM's says who made it and which part it is, or the device tree names the board.
fn cpu_model() -> Option<String> {
    let of = |key| value_of("/proc/cpuinfo", key);
    let part = || {
        Some(format!(
            "implementer {}, part {}",
            of("CPU implementer")?,
            of("CPU part")?
        ))
    };
    let board = || {
        let text = fs::read_to_string("/proc/device-tree/model").ok()?;
        Some(text.trim_end_matches('\0').to_owned()).filter(|text| !text.is_empty())
    };
    of("model name").or_else(part).or_else(board)
}

/// The value of the first `key : value` line of a /proc file.
fn value_of(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        let memory = value_of("/proc/meminfo", "MemTotal").expect("a line");
        assert!(memory.ends_with(" kB"), "{memory}");
        assert_eq!(value_of("/proc/meminfo", "NoSuchKey"), None);
        let facts = MachineFacts::read();
        assert!(facts.kernel.starts_with("Linux ") && facts.cpus > 0);
        assert!(facts.memory_kib > Some(1024), "{facts}");
    }

    #[test]
    fn facts_are_words_without_what_a_terminal_would_obey() {
        let mut facts = MachineFacts {
            kernel: "Linux 6.1.0 x86_64".into(),
            cpu_model: Some("EPYC\u{1b}[2J".into()),
            cpus: 2,
            memory_kib: Some(8 << 20),
            boot_id: None,
        };
        assert_eq!(
            facts.to_string(),
            r"Linux 6.1.0 x86_64, 2 CPUs (EPYC\u{1b}[2J), 8.00 GiB of memory"
        );
        (facts.cpu_model, facts.cpus, facts.memory_kib) = (None, 1, None);
        assert_eq!(facts.to_string(), "Linux 6.1.0 x86_64, 1 CPU");
    }
}
