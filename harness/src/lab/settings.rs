//! The settings that a lab's figures depend on, read inside the namespace in which they are measured.

use super::About;
use crate::base::settings::{network_sysctls, timer_hz};
use loadgen::base::syn::SynTimeouts;
use nix::sys::resource::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, thread};

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The kernel's version: major and minor.
    pub kernel: (u32, u32),
    /// Timer interrupts per second, where the coarse clock tells.
    pub hz: Option<u64>,
    /// CPUs that may be used.
    pub cpus: usize,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Descriptors that a process may have (RLIMIT_NOFILE, soft).
    pub descriptors: u64,
    /// Whether the host's root runs it.
    pub is_root: bool,
    /// The network's sysctls and those that the lab names, by path below /proc/sys.
    pub values: BTreeMap<String, String>,
}

impl Settings {
    /// Reads them for one lab, in the calling process's network namespace.
    pub fn read(about: &About, is_root: bool) -> Settings {
        let mut values: BTreeMap<String, String> = network_sysctls().into_iter().collect();
        for name in about.settings {
            if let Ok(text) = fs::read_to_string(Path::new("/proc/sys").join(name)) {
                values.insert(name.to_string(), text.trim().replace('\t', " "));
            }
        }
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
        Settings {
            kernel: kernel(&fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()),
            hz: timer_hz(),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            page_bytes: page.ok().flatten().map_or(4096, |bytes| bytes as u64),
            descriptors: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
            is_root,
            values,
        }
    }

    /// A setting as it is written; `None` where this kernel has not got it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A setting that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// When a SYN is sent again.
    pub fn syn_timeouts(&self) -> SynTimeouts {
        let setting = |name| self.number(name).and_then(|n| u32::try_from(n).ok());
        SynTimeouts {
            linear: setting("net/ipv4/tcp_syn_linear_timeouts").unwrap_or(0),
            retries: setting("net/ipv4/tcp_syn_retries").unwrap_or(6),
        }
    }

    /// The named settings with their values, for people.
    pub fn of(&self, about: &About) -> Vec<(String, String)> {
        let value = |name: &str| self.text(name).unwrap_or("not in this kernel").to_string();
        let mut all: Vec<(String, String)> = about
            .settings
            .iter()
            .map(|name| (name.to_string(), value(name)))
            .collect();
        all.push((
            "kernel".into(),
            format!("{}.{}", self.kernel.0, self.kernel.1),
        ));
        let hz = self.hz.map_or("unknown".into(), |hz| hz.to_string());
        all.push(("timer HZ".into(), hz));
        all.push(("CPUs".into(), self.cpus.to_string()));
        all
    }
}

/// `6.18.44-cloud` is (6, 18).
fn kernel(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next())
}

#[cfg(test)]
impl Settings {
    /// A machine: Linux 6.12 with the kernel's own settings, and these over them.
    pub fn example(values: &[(&str, &str)]) -> Settings {
        let defaults = [
            ("net/core/somaxconn", "4096"),
            ("net/ipv4/ip_local_port_range", "32768 60999"),
            ("net/ipv4/tcp_abort_on_overflow", "0"),
            ("net/ipv4/tcp_congestion_control", "cubic"),
            ("net/ipv4/tcp_fin_timeout", "60"),
            ("net/ipv4/tcp_max_syn_backlog", "2048"),
            ("net/ipv4/tcp_syn_linear_timeouts", "4"),
            ("net/ipv4/tcp_syn_retries", "6"),
            ("net/ipv4/tcp_synack_retries", "5"),
            ("net/ipv4/tcp_syncookies", "1"),
            ("net/ipv4/tcp_timestamps", "1"),
            ("net/ipv4/tcp_tw_reuse", "2"),
            ("net/ipv4/tcp_tw_reuse_delay", "1000"),
        ];
        let all = defaults.iter().chain(values);
        Settings {
            kernel: (6, 12),
            hz: Some(250),
            cpus: 2,
            page_bytes: 4096,
            descriptors: 20_000,
            is_root: true,
            values: all.map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_understood() {
        let about = crate::lab::LABS[0].about;
        let found = Settings::read(&about, false);
        assert!(found.kernel.0 >= 3 && found.cpus >= 1 && found.descriptors > 0);
        assert!(found.text("net/ipv4/ip_local_port_range").is_some());
        assert_eq!(found.number("net/ipv4/there_is_no_such_setting"), None);
        assert!(found.of(&about).len() > about.settings.len());
        assert_eq!(kernel("6.18.44-cloud"), (6, 18));
        assert_eq!(kernel(""), (0, 0));
        let old = Settings {
            values: Default::default(),
            ..Settings::example(&[])
        };
        assert_eq!(old.syn_timeouts().linear, 0);
    }
}
