//! A mount namespace of the test's own, in which only what runs of the test make can appear.

use nix::sched::{CloneFlags, unshare};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// The mounts that were there before anything was tried; none where no mount namespace can be made. Who may not make one
/// may not mount anything either.
pub struct Mounts(Option<BTreeSet<String>>);

impl Mounts {
    /// This thread, and what it starts, no longer see what others mount.
    pub fn enter() -> Mounts {
        let entered = unshare(CloneFlags::CLONE_NEWNS).is_ok() && is_private();
        Mounts(entered.then(namespace_mounts))
    }

    /// Mounts since then that hold a namespace.
    pub fn added(&self) -> Vec<String> {
        let Some(before) = &self.0 else {
            return Vec::new();
        };
        namespace_mounts().difference(before).cloned().collect()
    }
}

/// Makes the mounts of this thread's namespace private: until then those of its parent come here as well.
fn is_private() -> bool {
    let status = Command::new("mount")
        .args(["--make-rprivate", "/"])
        .status();
    status.is_ok_and(|status| status.success())
}

/// Mounts that hold a namespace (proc_pid_mountinfo(5)), in the namespace of this thread.
fn namespace_mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let lines = text.lines().filter(|line| line.contains(" - nsfs "));
    lines
        .filter_map(|line| line.split(' ').nth(4))
        .map(str::to_string)
        .collect()
}
