//! What the generator itself used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::load::Poll;

/// What the generator used inside the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// User time of the workers, in seconds.
    pub cpu_user_s: f64,
    /// System time of the workers, in seconds; on loopback it includes the softirq work of what they send.
    pub cpu_system_s: f64,
    /// User and system time less [`Generator::spin_s`], per completed request, in microseconds.
    pub cpu_us_per_request: Option<f64>,
    /// Useful CPU time over the CPUs the workers may use, 0 to 1; empty polls excluded.
    pub cpu_utilisation: f64,
    /// Time spent polling in vain, in seconds.
    pub spin_s: f64,
    /// Time inside the window in which a worker did not run although it had to, in seconds; a sum over workers. Only
    /// pauses of 15 ms and more are seen.
    pub stalled_s: f64,
    /// The longest of them, in nanoseconds.
    pub longest_stall_ns: u64,
    /// Time inside the window that slots whose request was due waited before they were opened again, after a connection
    /// that had answered nothing or could not be had (10 ms, doubled up to 1.28 s), in seconds; a sum over slots.
    #[serde(default)]
    pub backoff_s: f64,
    /// How much later than it was to the last worker began with the load, in nanoseconds; absent in older outcomes,
    /// and where it never began.
    #[serde(default)]
    pub started_late_ns: Option<u64>,
    /// Largest resident set of the process, in KiB; a sum over processes.
    pub max_rss_kib: u64,
    /// CPUs the workers may use.
    pub cpus: u64,
    /// Worker threads, over all processes.
    pub threads: u64,
    /// Processes.
    pub processes: u64,
    /// How they waited: `spin` or `sleep`, or `auto` where they did both in turn.
    pub poll: Poll,
}

impl Generator {
    /// Adds what another process used; ratios are left to [`Generator::set_ratios`].
    pub fn merge(&mut self, other: &Self) {
        self.cpu_user_s += other.cpu_user_s;
        self.cpu_system_s += other.cpu_system_s;
        self.spin_s += other.spin_s;
        self.stalled_s += other.stalled_s;
        self.backoff_s += other.backoff_s;
        self.longest_stall_ns = self.longest_stall_ns.max(other.longest_stall_ns);
        self.started_late_ns = self.started_late_ns.max(other.started_late_ns);
        self.max_rss_kib += other.max_rss_kib;
        self.cpus += other.cpus;
        self.threads += other.threads;
        self.processes += other.processes;
    }

    /// Derives the ratios from the sums; useful time is all but empty polls.
    pub fn set_ratios(&mut self, completed: u64, window_s: f64) {
        let useful_s = (self.cpu_user_s + self.cpu_system_s - self.spin_s).max(0.0);
        let available_s = window_s * self.cpus as f64;
        self.cpu_us_per_request = (completed > 0).then(|| useful_s * 1e6 / completed as f64);
        self.cpu_utilisation = if available_s > 0.0 {
            useful_s / available_s
        } else {
            0.0
        };
    }
}
