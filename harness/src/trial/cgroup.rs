//! A control group around one server and all its children: exact CPU time, memory including the kernel's, and
//! a way to end everything at once. Works with cgroup v2, v1, and the mixture of both; every part may be missing.

use super::identity;
use super::procfs::CpuTime;
use crate::base::control_group::{self, field};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One group, removed again when dropped.
#[derive(Debug, Default)]
pub struct Group {
    unified: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    memory: Option<PathBuf>,
}

impl Group {
    /// Makes a group of this name under the calling process's own, in every hierarchy that allows it.
    pub fn create(name: &str) -> Group {
        let make = |controller: &str| {
            let path = control_group::own(controller)?.join(name);
            fs::create_dir(&path).ok()?;
            Some(path)
        };
        Group {
            unified: make(""),
            cpuacct: make("cpuacct"),
            memory: make("memory"),
        }
    }

    /// The files a process writes `0` to in order to join.
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.directories()
            .map(|directory| directory.join("cgroup.procs"))
            .collect()
    }

    /// The processes in the group, if there is one.
    pub fn pids(&self) -> Option<Vec<u32>> {
        let list = fs::read_to_string(self.directories().next()?.join("cgroup.procs")).ok()?;
        Some(list.lines().filter_map(|pid| pid.parse().ok()).collect())
    }

    /// CPU time of everything that ever ran in the group (`cpu.stat`, else `cpuacct.usage`).
    pub fn cpu(&self) -> Option<CpuTime> {
        self.cpu_v2().or_else(|| self.cpu_v1())
    }

    fn cpu_v2(&self) -> Option<CpuTime> {
        let text = fs::read_to_string(self.unified.as_ref()?.join("cpu.stat")).ok()?;
        let seconds = |key| Some(field(&text, key)? as f64 / 1e6);
        Some(CpuTime {
            total_s: seconds("usage_usec")?,
            user_s: seconds("user_usec")?,
            system_s: seconds("system_usec")?,
        })
    }

    fn cpu_v1(&self) -> Option<CpuTime> {
        let directory = self.cpuacct.as_ref()?;
        let usage = fs::read_to_string(directory.join("cpuacct.usage")).ok()?;
        let split = fs::read_to_string(directory.join("cpuacct.stat")).ok()?;
        let ticks = super::procfs::ticks_per_second();
        Some(CpuTime {
            total_s: usage.trim().parse::<f64>().ok()? / 1e9,
            user_s: field(&split, "user")? as f64 / ticks,
            system_s: field(&split, "system")? as f64 / ticks,
        })
    }

    /// Memory charged to the group, kernel memory included, in bytes; `None` without a memory controller.
    pub fn memory_bytes(&self) -> Option<u64> {
        let read = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse().ok();
        let v2 = self.unified.as_ref().map(|d| d.join("memory.current"));
        let v1 = self
            .memory
            .as_ref()
            .map(|d| d.join("memory.usage_in_bytes"));
        v2.and_then(read).or_else(|| v1.and_then(read))
    }

    /// How often the kernel ended a process of the group because memory was short, at whatever level; none where no
    /// group counts that.
    pub fn killed_for_memory(&self) -> Option<u64> {
        let read = |directory: &Option<PathBuf>, file| {
            let text = fs::read_to_string(directory.as_ref()?.join(file)).ok()?;
            field(&text, "oom_kill")
        };
        let v2 = read(&self.unified, "memory.events");
        v2.or_else(|| read(&self.memory, "memory.oom_control"))
    }

    /// Sends SIGKILL to every process in the group, however it detached itself.
    pub fn kill(&self) {
        for directory in self.directories() {
            end_all(directory);
        }
    }

    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.unified, &self.cpuacct, &self.memory]
            .into_iter()
            .flatten()
    }
}

impl Drop for Group {
    /// The last process may still be on its way out, so the removal is tried for up to two seconds.
    fn drop(&mut self) {
        for directory in self.directories() {
            for _ in 0..100 {
                match fs::remove_dir(directory) {
                    Err(e) if e.kind() == std::io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Removes the groups that killed harnesses left behind, and ends what still runs in them.
pub fn sweep_leftovers() {
    for directory in ["", "cpuacct", "memory"]
        .into_iter()
        .filter_map(control_group::own)
    {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if identity::is_abandoned(&entry.file_name()) {
                end_all(&entry.path());
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// SIGKILL to every process of a group, also where there is no `cgroup.kill` (before Linux 5.14, and in cgroup v1).
fn end_all(group: &Path) {
    let is_done =
        || fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|list| list.is_empty());
    let _ = fs::write(group.join("cgroup.kill"), "1");
    for _ in 0..100 {
        let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in list.lines().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if is_done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_counts_its_process_or_says_that_it_cannot() {
        let group = Group::create(&format!("{}test", identity::own_prefix()));
        let joined = group.procs_files();
        assert_eq!(
            group.cpu().is_some(),
            group.unified.is_some() || group.cpuacct.is_some()
        );
        assert_eq!(group.pids().map(|p| p.len()), joined.first().map(|_| 0));
        let directories: Vec<_> = group.directories().cloned().collect();
        drop(group);
        assert!(directories.iter().all(|d| !d.exists()));
    }
}
