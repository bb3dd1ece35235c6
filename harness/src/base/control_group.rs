//! Where this process's control groups are, and what each level of them holds. Works with cgroup v2, v1, and the mixture
//! of both.

use std::fs;
use std::path::{Path, PathBuf};

/// One level of a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// What people call it: the path below the mount, `/` at the top.
    pub name: String,
    /// Where it is in the file system.
    pub path: PathBuf,
}

impl Level {
    /// The text of one of its files, without the line feed; none where there is no such file.
    pub fn read(&self, file: &str) -> Option<String> {
        let text = fs::read_to_string(self.path.join(file)).ok()?;
        Some(text.trim_end().to_string())
    }

    /// A number of one of its files that has a name and a number in each line.
    pub fn field(&self, file: &str, key: &str) -> Option<u64> {
        field(&self.read(file)?, key)
    }
}

/// Where this process's own group is; the empty controller means cgroup v2.
pub fn own(controller: &str) -> Option<PathBuf> {
    levels(controller)
        .into_iter()
        .next()
        .map(|level| level.path)
}

/// This process's own group, and all above it that can be seen.
pub fn levels(controller: &str) -> Vec<Level> {
    levels_around("self", controller)
}

/// The same of another process, by its id.
pub fn levels_around(process: &str, controller: &str) -> Vec<Level> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let memberships = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    match place(&mounts, &memberships, controller) {
        Some((mount, below)) => levels_of(&mount, &below),
        None => Vec::new(),
    }
}

/// Every level's value of a file, own group first: the name of the file as people know it, and its text. In v1 a file
/// has another name than in v2.
pub fn values(v2: &str, (controller, v1): (&str, &str)) -> Vec<(String, String)> {
    let read = |controller: &str, file: &str| -> Vec<(String, String)> {
        let found = levels(controller).into_iter().filter_map(|level| {
            let text = level.read(file)?;
            Some((format!("{file} of {}", level.name), text))
        });
        found.collect()
    };
    let mut values = read("", v2);
    values.extend(read(controller, v1));
    values
}

/// The number behind a name, in a text with a name and a number in each line.
pub fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok()).flatten()
    })
}

fn levels_of(mount: &Path, below: &Path) -> Vec<Level> {
    let ancestors = below.ancestors().map(|below| Level {
        name: format!("/{}", below.display()),
        path: mount.join(below),
    });
    ancestors.collect()
}

/// The mount of a controller's hierarchy, and the own group's path below it. mountinfo: proc_pid_mountinfo(5), whose
/// fourth field is what of the hierarchy is mounted; memberships: cgroups(7), `id:controllers:path`.
fn place(mounts: &str, memberships: &str, controller: &str) -> Option<(PathBuf, PathBuf)> {
    let (root, mount) = mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut kind = filesystem.split(' ');
        let matches = match kind.next()? {
            "cgroup2" => controller.is_empty(),
            "cgroup" => {
                !controller.is_empty() && kind.next_back()?.split(',').any(|o| o == controller)
            }
            _ => false,
        };
        let mut fields = mount.split(' ').skip(3);
        matches
            .then(|| Some((fields.next()?, fields.next()?)))
            .flatten()
    })?;
    let path = memberships.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let listed = parts.next()?.split(',').any(|c| c == controller);
        listed.then(|| parts.next()).flatten()
    })?;
    // A container may see its own group mounted as if it were the top, and still be told its path from the real one.
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    let climbs = below.components().any(|part| part.as_os_str() == "..");
    Some((
        mount.into(),
        if climbs { PathBuf::new() } else { below.into() },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 29 0:27 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
31 29 0:28 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
32 29 0:29 /docker/1f /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
35 29 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const MEMBERSHIPS: &str = "5:pids:/docker/1f/job\n4:memory:/jobs/7\n2:cpuacct:/\n0::/../..\n";

    #[test]
    fn own_groups_are_found_in_a_mixed_hierarchy_and_in_a_container() {
        let find = |controller| {
            place(MOUNTS, MEMBERSHIPS, controller).map(|(mount, below)| mount.join(below))
        };
        assert_eq!(find("memory"), Some("/sys/fs/cgroup/memory/jobs/7".into()));
        assert_eq!(find("cpuacct"), Some("/sys/fs/cgroup/cpuacct/".into()));
        assert_eq!(find("pids"), Some("/sys/fs/cgroup/pids/job".into()));
        assert_eq!(
            find(""),
            Some("/sys/fs/cgroup/unified/".into()),
            "no way up out of a namespace"
        );
        assert_eq!(find("blkio"), None);
        assert_eq!(place("", "", ""), None);
    }

    #[test]
    fn fields_are_read_by_whole_names() {
        let text = "usage_usec 12\nuser_usec 7\n";
        assert_eq!(field(text, "user_usec"), Some(7));
        assert_eq!(field(text, "user"), None);
    }

    #[test]
    fn every_level_is_looked_at_from_the_own_one_up() {
        let levels = levels_of(Path::new("/mnt"), Path::new("jobs/7"));
        let names: Vec<&str> = levels.iter().map(|level| level.name.as_str()).collect();
        assert_eq!(names, ["/jobs/7", "/jobs", "/"]);
        assert_eq!(levels[1].path, Path::new("/mnt/jobs"));
    }
}
