//! What the machine's CPUs did in a window, and for whom.

use super::procfs::{Stat, processes, ticks_per_second};
use super::unrelated;
use serde::{Deserialize, Serialize};
use std::fs;
use std::sync::LazyLock;
use std::time::Instant;

/// The machine's CPU counters, in seconds over all CPUs (proc_stat(5)).
///
/// Idle time is measured at every entry to and exit from idling, but what a CPU did while it was busy is only sampled
/// at the clock's ticks: with a load that is itself driven by timers the samples were off by 0.3 of a CPU. So what
/// was not idle was busy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MachineCpu {
    /// When it was read.
    at: Instant,
    cpus: f64,
    idle_s: f64,
    kernel_s: f64,
    unrelated_s: Option<f64>,
    steal_s: f64,
}

/// What the machine's CPUs did between two readings, in seconds over all CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineTime {
    /// CPUs that there were.
    pub cpus: f64,
    /// The time between the readings times the number of CPUs.
    pub all_s: f64,
    /// Time spent on anything but idling, waiting for disks, and being stolen.
    pub busy_s: f64,
    /// Of that, by kernel threads, which work for whoever needs them.
    pub kernel_s: f64,
    /// Of that, by processes that have nothing to do with the trial; `None` where not every process can be seen.
    pub unrelated_s: Option<f64>,
    /// Time in which the hypervisor ran somebody else (steal, proc_stat(5)).
    pub steal_s: f64,
}

impl MachineCpu {
    /// Reads /proc/stat, and the times of the kernel's threads and of all who are not `own` or descend from them.
    pub fn read(own: &[u32]) -> Option<MachineCpu> {
        let machine = MachineCpu::parse(&fs::read_to_string("/proc/stat").ok()?, Instant::now())?;
        let threads = KERNEL_THREADS.iter().filter_map(|pid| Stat::read(*pid));
        let ticks: u64 = threads.map(|stat| stat.ticks()).sum();
        Some(MachineCpu {
            kernel_s: ticks as f64 / ticks_per_second(),
            unrelated_s: unrelated::cpu_s(own),
            ..machine
        })
    }

    /// What happened since an earlier reading.
    pub fn since(self, then: MachineCpu) -> MachineTime {
        let all_s = (self.at - then.at).as_secs_f64() * self.cpus;
        let steal_s = self.steal_s - then.steal_s;
        MachineTime {
            cpus: self.cpus,
            all_s,
            busy_s: (all_s - (self.idle_s - then.idle_s) - steal_s).max(0.0),
            // A kernel thread that ended took its time with it.
            kernel_s: (self.kernel_s - then.kernel_s).max(0.0),
            unrelated_s: (self.unrelated_s.zip(then.unrelated_s))
                .map(|(now, then)| (now - then).max(0.0)),
            steal_s,
        }
    }

    fn parse(text: &str, at: Instant) -> Option<MachineCpu> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<f64> = line
            .split_whitespace()
            .filter_map(|tick| tick.parse().ok())
            .collect();
        let is_one = |line: &&str| {
            let name = line.strip_prefix("cpu");
            name.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let hz = ticks_per_second();
        // user nice system idle iowait irq softirq steal
        Some(MachineCpu {
            at,
            cpus: text.lines().filter(is_one).count() as f64,
            idle_s: (ticks.get(3)? + ticks.get(4)?) / hz,
            kernel_s: 0.0,
            unrelated_s: None,
            steal_s: ticks.get(7)? / hz,
        })
    }
}

/// The kernel's threads, looked for once: there are few new ones, and among ten thousand servers it takes long.
static KERNEL_THREADS: LazyLock<Vec<u32>> = LazyLock::new(kernel_threads);

fn kernel_threads() -> Vec<u32> {
    processes()
        .filter(|&pid| Stat::read(pid).is_some_and(|stat| stat.is_kernel_thread()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn machine_counters_leave_idle_and_steal_out_of_busy() {
        let hz = ticks_per_second();
        let start = Instant::now();
        let read = |text: &str, after_s| {
            MachineCpu::parse(text, start + Duration::from_secs(after_s)).unwrap()
        };
        let then = read(
            "cpu  10 20 30 1000 500 5 15 7 3 0\ncpu0 1 2\ncpu1 3 4\nintr 5\n",
            0,
        );
        let now = read(
            "cpu  0 0 0 1200 600 0 0 57 0 0\ncpu0 1 2\ncpu1 3 4\nintr 5\n",
            10,
        );
        let found = now.since(then);
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-9;
        assert_eq!(found.all_s, 20.0);
        assert!(near(found.steal_s, 50.0 / hz), "{found:?}");
        assert!(near(found.busy_s, 20.0 - 350.0 / hz), "{found:?}");
        assert_eq!(MachineCpu::parse("nonsense", start), None);
    }

    #[test]
    fn this_process_is_no_kernel_thread() {
        assert!(!kernel_threads().contains(&std::process::id()));
    }
}
