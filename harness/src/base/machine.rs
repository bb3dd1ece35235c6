//! Facts about the machine that this process runs on.

use super::error::{Failure, OrFail};
use loadgen::load::CpuList;

/// CPUs online, whatever this process is pinned to.
pub fn machine_cpus() -> f64 {
    use nix::unistd::{SysconfVar, sysconf};
    match sysconf(SysconfVar::_NPROCESSORS_ONLN) {
        Ok(Some(cpus)) => cpus as f64,
        _ => 1.0,
    }
}

/// The CPUs this process may use.
pub fn available_cpus() -> Result<Vec<usize>, Failure> {
    loadgen::base::sys::affinity().or_failed("cannot find out which CPUs this process may use")
}

/// A list of CPUs for rows and people: `0`, `0-1,3`.
pub fn cpu_list(cpus: &[usize]) -> String {
    let list = CpuList(cpus.iter().map(|&cpu| cpu as u32).collect());
    list.to_string()
}

/// Whether this process is that one or descends from it.
pub fn descends_from(pid: u32) -> bool {
    let parent = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        line.trim().parse().ok().filter(|&parent| parent != 0)
    };
    // Ids that are given to new processes meanwhile could make a ring.
    const MOST: usize = 1 << 22;
    std::iter::successors(Some(std::process::id()), parent)
        .take(MOST)
        .any(|own| own == pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_are_known() {
        assert!(
            descends_from(std::process::id()) && descends_from(std::os::unix::process::parent_id())
        );
        assert!(!descends_from(u32::MAX));
    }

    #[test]
    fn this_process_may_use_a_cpu() {
        assert!(!available_cpus().unwrap().is_empty());
        assert!(machine_cpus() >= 1.0);
    }
}
