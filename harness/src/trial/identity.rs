//! Names for what a harness leaves in shared places, so that the next one can tell whose it is.
//!
//! A process id alone says nothing: it is given to others later, and in another PID namespace it is somebody else's at
//! the same time. With the process's start and its namespace beside it, it is one process's for as long as the machine
//! is up.

use super::procfs::Stat;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How every such name begins.
const PREFIX: &str = "tenk-";

/// How the names of this process's own begin: `tenk-PID-START-NAMESPACE-`.
pub fn own_prefix() -> String {
    let pid = std::process::id();
    let start = Stat::read(pid).map_or(0, |stat| stat.start_ticks);
    format!("{PREFIX}{pid}-{start}-{}-", namespace().unwrap_or(0))
}

/// Whether the name is that of something whose owner has ended. Of owners in another PID namespace nothing is known,
/// and what may be somebody's is left alone.
pub fn is_abandoned(name: &OsStr) -> bool {
    let Some([pid, start, of]) = name.to_str().and_then(parts) else {
        return false;
    };
    let is_owner = |stat: Stat| stat.start_ticks == start && stat.state != 'Z';
    namespace() == Some(of)
        && !u32::try_from(pid)
            .ok()
            .and_then(Stat::read)
            .is_some_and(is_owner)
}

fn parts(name: &str) -> Option<[u64; 3]> {
    let mut words = name.strip_prefix(PREFIX)?.splitn(4, '-');
    let mut number = || words.next()?.parse().ok();
    let numbers = [number()?, number()?, number()?];
    words.next().map(|_| numbers)
}

fn namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid")
        .ok()
        .map(|file| file.ino())
}

/// Removes the folders that killed harnesses of this user left in `place`.
pub fn sweep_folders(place: &Path) {
    let me = nix::unistd::geteuid().as_raw();
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let is_ours = || {
            let found = fs::symlink_metadata(entry.path());
            found.is_ok_and(|found| found.is_dir() && found.uid() == me)
        };
        if is_abandoned(&entry.file_name()) && is_ours() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> bool {
        is_abandoned(OsStr::new(text))
    }

    #[test]
    fn only_what_belonged_to_a_process_that_has_ended_is_abandoned() {
        let own = own_prefix();
        assert!(!named(&format!("{own}1")), "this process is running");
        let [pid, start, of] = parts(&format!("{own}1")).unwrap();
        assert!(
            named(&format!("tenk-{pid}-{}-{of}-1", start + 1)),
            "its id is another's now"
        );
        assert!(
            named(&format!("tenk-4194305-{start}-{of}-x")),
            "there is no such process"
        );
        assert!(
            !named(&format!("tenk-4194305-{start}-{}-x", of + 1)),
            "of another namespace nothing is known"
        );
        for other in [
            "tenk-7-abc",
            "tenk-7-8-9",
            "tenk-",
            "notes",
            "tenk-a-b-c-d",
            "tenk-99999999999-1-1-x",
        ] {
            let is_of_this_namespace = other.ends_with("-x") && of == 1;
            assert_eq!(named(other), is_of_this_namespace, "{other}");
        }
    }

    #[test]
    fn folders_of_killed_harnesses_are_swept_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let [_, start, of] = parts(&format!("{}1", own_prefix())).unwrap();
        let gone = format!("tenk-4194305-{start}-{of}-gone");
        let kept = [
            format!("{}mine", own_prefix()),
            "tenk-of-the-user".to_string(),
        ];
        for name in kept.iter().chain([&gone]) {
            fs::create_dir_all(place.path().join(name).join("below")).unwrap();
        }
        let link = format!("tenk-4194305-{start}-{of}-link");
        std::os::unix::fs::symlink(place.path().join(&kept[1]), place.path().join(&link)).unwrap();
        sweep_folders(place.path());
        assert!(!place.path().join(gone).exists());
        assert!(
            kept.iter()
                .all(|name| place.path().join(name).join("below").exists())
        );
        assert!(
            place.path().join(link).is_symlink(),
            "a link is not a folder of ours"
        );
    }
}
