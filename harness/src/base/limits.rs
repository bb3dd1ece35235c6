//! What may be had here at most, at every level: the kernel's, this user's, and that of each control group around this
//! process. The one place that knows; whoever needs one asks which is the tightest.

use super::control_group::{self, Level};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use std::fs;

/// How many descriptors a server may open at most: servers with a table of all possible ones would not start where the
/// hard limit is 2^30, as some container runtimes set it.
pub const MOST_DESCRIPTORS: u64 = 1 << 20;

/// One limit, and how much of it is used already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Where it is set, as people find it: `pids.max of /jobs/7`.
    pub what: String,
    /// At most so many.
    pub most: u64,
    /// Of those, used now.
    pub used: u64,
}

impl Limit {
    /// How many more there may be.
    pub fn room(&self) -> u64 {
        self.most.saturating_sub(self.used)
    }
}

/// The limit that leaves the least room.
pub fn tightest(limits: Vec<Limit>) -> Option<Limit> {
    limits.into_iter().min_by_key(Limit::room)
}

/// Descriptors that a server gets which this program starts: its soft limit is raised to the hard one.
pub fn descriptors() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(hard.min(MOST_DESCRIPTORS).max(soft))
}

/// Descriptors that a process which runs already may have: its soft limit.
pub fn descriptors_of(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        soft => soft.parse().ok(),
    }
}

/// All that limits processes and threads together.
pub fn tasks() -> Vec<Limit> {
    let running = tasks_running(&read("/proc/loadavg"));
    let sysctl = |name: &str| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let most = read(&path).trim().parse().ok()?;
        Some(Limit {
            what: format!("sysctl {name}"),
            most,
            used: running,
        })
    };
    let kernel = ["kernel.pid_max", "kernel.threads-max"]
        .into_iter()
        .filter_map(sysctl);
    kernel
        .chain(of_groups(["", "pids"], "pids.max", "pids.current"))
        .chain(of_user())
        .collect()
}

/// Memory in bytes: what the machine has left, and what each control group may use.
pub fn memory() -> Vec<Limit> {
    let kib = |key: &str| {
        let meminfo = read("/proc/meminfo");
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    let machine = kib("MemTotal:")
        .zip(kib("MemAvailable:"))
        .map(|(total, available)| Limit {
            what: "this machine's memory".into(),
            most: total * 1024,
            used: total.saturating_sub(available) * 1024,
        });
    let v2 = of_groups([""], "memory.max", "memory.current");
    let v1 = of_groups(["memory"], "memory.limit_in_bytes", "memory.usage_in_bytes");
    // Version 1 writes "none" as the largest multiple of a page.
    let is_limit = |limit: &Limit| limit.most < 1 << 62;
    machine
        .into_iter()
        .chain(v2)
        .chain(v1)
        .filter(is_limit)
        .collect()
}

/// CPU time that control groups allow, in CPUs: the tightest, and where it is set.
pub fn cpu_quota() -> Option<(String, f64)> {
    let v2 = control_group::levels("").into_iter().filter_map(|level| {
        let quota = quota(&level.read("cpu.max")?)?;
        Some((format!("cpu.max of {}", level.name), quota))
    });
    let v1 = control_group::levels("cpu")
        .into_iter()
        .filter_map(|level| {
            let text = format!(
                "{} {}",
                level.read("cpu.cfs_quota_us")?,
                level.read("cpu.cfs_period_us")?
            );
            Some((format!("cpu.cfs_quota_us of {}", level.name), quota(&text)?))
        });
    v2.chain(v1).min_by(|a, b| a.1.total_cmp(&b.1))
}

/// How long a quota of CPU time has kept the processes of a control group from running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Throttled {
    /// Where the quota is set: `cpu.max of /jobs/7`.
    pub what: String,
    /// In how many of its periods.
    pub periods: u64,
    /// How long, over all CPUs, s.
    pub total_s: f64,
}

/// What quotas have done so far to a process (`self`, or an id), at every level that has one.
pub fn throttled(process: &str) -> Vec<Throttled> {
    let v2 = control_group::levels_around(process, "");
    let v2 = v2.iter().filter_map(|level| {
        quota(&level.read("cpu.max")?)?;
        throttled_at(level, "cpu.max", ("throttled_usec", 1e6))
    });
    let v1 = control_group::levels_around(process, "cpu");
    let v1 = v1.iter().filter_map(|level| {
        level.read("cpu.cfs_quota_us")?.parse::<u64>().ok()?;
        throttled_at(level, "cpu.cfs_quota_us", ("throttled_time", 1e9))
    });
    v2.chain(v1).collect()
}

fn throttled_at(level: &Level, quota: &str, (time, per_s): (&str, f64)) -> Option<Throttled> {
    Some(Throttled {
        what: format!("{quota} of {}", level.name),
        periods: level.field("cpu.stat", "nr_throttled")?,
        total_s: level.field("cpu.stat", time)? as f64 / per_s,
    })
}

/// What came between two readings of [`throttled`], where a quota was felt most.
pub fn throttled_between(then: &[Throttled], now: &[Throttled]) -> Option<Throttled> {
    let between = |now: &Throttled| {
        let then = then.iter().find(|then| then.what == now.what)?;
        Some(Throttled {
            what: now.what.clone(),
            periods: now.periods.checked_sub(then.periods).filter(|n| *n > 0)?,
            total_s: now.total_s - then.total_s,
        })
    };
    let felt = now.iter().filter_map(between);
    felt.max_by(|a, b| a.total_s.total_cmp(&b.total_s))
}

/// How often the kernel has ended a process because memory was short, in this process's own control group or, where
/// that is not counted, on this machine.
pub fn killed_for_memory() -> Option<u64> {
    let own = |controller: &str| control_group::levels(controller).into_iter().next();
    killed_in(own("").as_ref(), own("memory").as_ref()).or_else(|| killed(&read("/proc/vmstat")))
}

/// The same in a group of version 2, whose file counts those of the groups below it, too, or else of version 1. A group
/// at the top of version 2, and one without the memory controller, has no such file.
fn killed_in(v2: Option<&Level>, v1: Option<&Level>) -> Option<u64> {
    let counted = |level: Option<&Level>, file: &str| killed(&level?.read(file)?);
    counted(v2, "memory.events").or_else(|| counted(v1, "memory.oom_control"))
}

fn killed(text: &str) -> Option<u64> {
    control_group::field(text, "oom_kill")
}

/// `max 100000` or `150000 100000`: time per period (cgroup v2, cpu.max); v1 writes -1 for no limit.
fn quota(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next()?.parse().ok()?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn of_groups<const N: usize>(controllers: [&str; N], most: &str, used: &str) -> Vec<Limit> {
    let levels = controllers.into_iter().flat_map(control_group::levels);
    levels
        .filter_map(|level| of_level(&level, most, used))
        .collect()
}

/// `max` is no limit.
fn of_level(level: &Level, most: &str, used: &str) -> Option<Limit> {
    let number = |file: &str| level.read(file)?.parse::<u64>().ok();
    Some(Limit {
        what: format!("{most} of {}", level.name),
        most: number(most)?,
        used: number(used).unwrap_or(0),
    })
}

/// RLIMIT_NPROC counts all tasks of a user, and is not for root (setrlimit(2)).
fn of_user() -> Option<Limit> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NPROC).ok()?;
    if soft == RLIM_INFINITY || geteuid().is_root() {
        return None;
    }
    Some(Limit {
        what: "`ulimit -u` of this user".into(),
        most: soft,
        used: tasks_of(geteuid().as_raw()),
    })
}

fn tasks_of(user: u32) -> u64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let threads = entries.filter_map(|entry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        (field("Uid:")? == u64::from(user))
            .then(|| field("Threads:"))
            .flatten()
    });
    threads.sum()
}

/// The fourth field of /proc/loadavg, `running/all` tasks (proc_loadavg(5)).
fn tasks_running(loadavg: &str) -> u64 {
    let all = loadavg
        .split_whitespace()
        .nth(3)
        .and_then(|field| field.split_once('/'));
    all.and_then(|(_, all)| all.parse().ok()).unwrap_or(0)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(what: &str, most: u64, used: u64) -> Limit {
        Limit {
            what: what.into(),
            most,
            used,
        }
    }

    #[test]
    fn the_tightest_is_the_one_with_the_least_room() {
        let limits = vec![limit("a", 1000, 0), limit("b", 500, 450), limit("c", 60, 0)];
        assert_eq!(tightest(limits).unwrap().what, "b");
        assert_eq!(limit("over", 5, 9).room(), 0);
        assert_eq!(tightest(Vec::new()), None);
    }

    #[test]
    fn a_level_without_a_limit_limits_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let level = Level {
            name: "/jobs".into(),
            path: folder.path().into(),
        };
        let of = |most: &str| {
            fs::write(folder.path().join("pids.max"), most).unwrap();
            fs::write(folder.path().join("pids.current"), "30\n").unwrap();
            of_level(&level, "pids.max", "pids.current")
        };
        assert_eq!(of("100\n"), Some(limit("pids.max of /jobs", 100, 30)));
        assert_eq!(of("max\n"), None);
        assert_eq!(of_level(&level, "none.max", "none.current"), None);
    }

    #[test]
    fn processes_that_were_ended_for_their_memory_are_counted_in_either_version() {
        let folder = tempfile::tempdir().unwrap();
        let level = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            Level {
                name: format!("/{name}"),
                path,
            }
        };
        let (v2, v1) = (level("v2"), level("v1"));
        let put = |level: &Level, file: &str, text: &str| {
            fs::write(level.path.join(file), text).unwrap();
        };
        assert_eq!(killed_in(Some(&v2), Some(&v1)), None, "neither counts them");
        put(
            &v1,
            "memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
        );
        assert_eq!(killed_in(Some(&v2), Some(&v1)), Some(5));
        let events = |kills: u64| {
            format!("low 0\nhigh 7\nmax 12\noom 3\noom_kill {kills}\noom_group_kill 9\n")
        };
        put(&v2, "memory.events", &events(2));
        assert_eq!(killed_in(Some(&v2), Some(&v1)), Some(2));
        assert_eq!(killed_in(Some(&v2), None), Some(2));
        // Before Linux 4.13 the attempts were counted and not the kills.
        put(&v2, "memory.events", "low 0\nhigh 7\nmax 12\noom 3\n");
        assert_eq!(killed_in(Some(&v2), None), None);
    }

    #[test]
    fn a_quota_is_time_per_period() {
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        for none in ["max 100000", "-1 100000", "", "100000", "1 0"] {
            assert_eq!(quota(none), None, "{none}");
        }
    }

    #[test]
    fn a_quota_that_was_felt_is_named_with_what_it_withheld() {
        let folder = tempfile::tempdir().unwrap();
        let level = Level {
            name: "/jobs".into(),
            path: folder.path().into(),
        };
        let of = |stat: &str, time| {
            fs::write(folder.path().join("cpu.stat"), stat).unwrap();
            throttled_at(&level, "cpu.max", time)
        };
        let v2 = ("throttled_usec", 1e6);
        let then = of("nr_periods 9\nnr_throttled 3\nthrottled_usec 500000\n", v2).unwrap();
        let now = of(
            "nr_periods 20\nnr_throttled 10\nthrottled_usec 1700000\n",
            v2,
        )
        .unwrap();
        let felt = throttled_between(std::slice::from_ref(&then), &[now]).unwrap();
        assert_eq!((felt.what.as_str(), felt.periods), ("cpu.max of /jobs", 7));
        assert!((felt.total_s - 1.2).abs() < 1e-9);
        assert_eq!(
            throttled_between(std::slice::from_ref(&then), std::slice::from_ref(&then)),
            None
        );
        let v1 = of(
            "nr_throttled 1\nthrottled_time 2500000000\n",
            ("throttled_time", 1e9),
        );
        assert_eq!(v1.unwrap().total_s, 2.5);
        assert_eq!(of("usage_usec 5\n", v2), None);
    }

    #[test]
    fn this_machine_has_limits() {
        assert!(
            tasks()
                .iter()
                .any(|limit| limit.what == "sysctl kernel.pid_max")
        );
        assert!(tightest(memory()).unwrap().room() > 0);
        let own = std::process::id();
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(descriptors_of(own), Some(soft));
        assert!(descriptors().unwrap() >= soft);
        assert!(tasks_of(geteuid().as_raw()) > 0);
        assert_eq!(tasks_running("0.29 1.80 0.66 2/116 12345"), 116);
    }
}
