//! A control group around one server and all its children: exact CPU time, memory including the kernel's, and
//! a way to end everything at once. Works with cgroup v2, v1, and the mixture of both; every part may be missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// CPU time used since the group was made, or since a process started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CpuTime {
    /// User and system together, in seconds; the only exact one of the three.
    pub total_s: f64,
    /// User time in seconds; sampled at the kernel's ticks.
    pub user_s: f64,
    /// System time in seconds; sampled at the kernel's ticks.
    pub system_s: f64,
}

impl CpuTime {
    /// What was used between `earlier` and `self`.
    pub fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            total_s: self.total_s - earlier.total_s,
            user_s: self.user_s - earlier.user_s,
            system_s: self.system_s - earlier.system_s,
        }
    }
}

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
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let make = |controller: &str| {
            let path = own_directory(&mounts, &memberships, controller)?.join(name);
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

    /// Sends SIGKILL to every process in the group, however it detached itself (`cgroup.kill`, Linux 5.14).
    pub fn kill(&self) {
        if let Some(directory) = &self.unified {
            let _ = fs::write(directory.join("cgroup.kill"), "1");
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

/// Removes groups left behind by harnesses that were killed: those whose name carries a dead process id.
pub fn sweep_leftovers(prefix: &str) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for controller in ["", "cpuacct", "memory"] {
        let Some(directory) = own_directory(&mounts, &memberships, controller) else {
            continue;
        };
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| {
                let pid = name.strip_prefix(prefix)?.split('-').next()?;
                pid.parse::<u32>().ok()
            });
            if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                let _ = fs::write(entry.path().join("cgroup.kill"), "1");
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// The text of a file in the calling process's own group, such as its limit; none where there is no such file.
pub fn own_limit(controller: &str, file: &str) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
    let directory = own_directory(&mounts, &memberships, controller)?;
    fs::read_to_string(directory.join(file)).ok()
}

/// Where the calling process's own group is in the file system; the empty controller means cgroup v2.
/// mountinfo: proc_pid_mountinfo(5); memberships: cgroups(7), `id:controllers:path`.
fn own_directory(mounts: &str, memberships: &str, controller: &str) -> Option<PathBuf> {
    let root = mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut kind = filesystem.split(' ');
        let matches = match kind.next()? {
            "cgroup2" => controller.is_empty(),
            "cgroup" => {
                !controller.is_empty() && kind.next_back()?.split(',').any(|o| o == controller)
            }
            _ => false,
        };
        matches.then(|| mount.split(' ').nth(4)).flatten()
    })?;
    let path = memberships.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let listed = parts.next()?.split(',').any(|c| c == controller);
        listed.then(|| parts.next()).flatten()
    })?;
    Some(Path::new(root).join(path.trim_start_matches('/')))
}

fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 29 0:27 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
31 29 0:28 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
35 29 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const MEMBERSHIPS: &str = "4:memory:/jobs/7\n2:cpuacct:/\n0::/\n";

    #[test]
    fn own_directories_are_found_in_a_mixed_hierarchy() {
        let find = |controller| own_directory(MOUNTS, MEMBERSHIPS, controller);
        assert_eq!(find(""), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(find("memory"), Some("/sys/fs/cgroup/memory/jobs/7".into()));
        assert_eq!(find("cpuacct"), Some("/sys/fs/cgroup/cpuacct".into()));
        assert_eq!(find("pids"), None);
        assert_eq!(own_directory("", "", ""), None);
    }

    #[test]
    fn fields_are_read_by_whole_names() {
        let text = "usage_usec 12\nuser_usec 7\n";
        assert_eq!(field(text, "user_usec"), Some(7));
        assert_eq!(field(text, "user"), None);
    }

    #[test]
    fn a_group_counts_its_process_or_says_that_it_cannot() {
        let group = Group::create(&format!("tenk-{}-test", std::process::id()));
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
