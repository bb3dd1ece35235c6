//! Control groups of the test's own, in which everything that a run makes can be counted.

use harness::base::control_group::own;
use std::fs;
use std::path::PathBuf;

/// The hierarchies that a run makes groups in.
const CONTROLLERS: [&str; 3] = ["", "cpuacct", "memory"];

/// A group in every hierarchy that allows one; this process is in it, and so is whatever it starts.
pub struct Groups(Vec<Inner>);

struct Inner {
    before: PathBuf,
    own: PathBuf,
}

impl Groups {
    pub fn enter() -> Groups {
        let name = format!("faults-{}", std::process::id());
        let enter = |controller: &str| {
            let before = own(controller)?;
            let inner = before.join(&name);
            // Two hierarchies may be one mount.
            fs::create_dir(&inner).ok()?;
            match fs::write(inner.join("cgroup.procs"), "0") {
                Ok(()) => Some(Inner { before, own: inner }),
                Err(_) => {
                    let _ = fs::remove_dir(&inner);
                    None
                }
            }
        };
        Groups(CONTROLLERS.into_iter().filter_map(enter).collect())
    }

    /// The groups that runs have left; none where none can be made.
    pub fn left(&self) -> Option<Vec<PathBuf>> {
        let below = |inner: &Inner| {
            let entries = fs::read_dir(&inner.own).into_iter().flatten().flatten();
            let folders = entries.filter(|entry| entry.path().is_dir());
            folders.map(|entry| entry.path()).collect::<Vec<PathBuf>>()
        };
        (!self.0.is_empty()).then(|| self.0.iter().flat_map(below).collect())
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for inner in &self.0 {
            for path in fs::read_dir(&inner.own).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(path.path());
            }
            let _ = fs::write(inner.before.join("cgroup.procs"), "0");
            let _ = fs::remove_dir(&inner.own);
        }
    }
}
