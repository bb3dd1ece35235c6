//! The kernel's tracepoints by their numbers, which tracefs has (tracefs(5), `events/GROUP/NAME/id`).

use crate::base::sys;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where distributions mount it.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The tracing files, for as long as this lives.
#[derive(Debug)]
pub struct Tracefs {
    root: PathBuf,
    /// A mount of our own, where there was none.
    _mount: Option<OwnedFd>,
}

impl Tracefs {
    /// Where it is mounted, else in a mount that only this program sees.
    ///
    /// # Errors
    /// Why not, and what mends it.
    pub fn open() -> Result<Tracefs, String> {
        let mut denied = None;
        for place in PLACES {
            match fs::read_dir(Path::new(place).join("events")) {
                Ok(_) => {
                    return Ok(Tracefs {
                        root: place.into(),
                        _mount: None,
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => denied = Some(place),
                Err(_) => {}
            }
        }
        match sys::tracing_files() {
            Ok(mount) => Ok(Tracefs {
                root: format!("/proc/self/fd/{}", mount.as_raw_fd()).into(),
                _mount: Some(mount),
            }),
            Err(_) if denied.is_some() => Err(format!(
                "{} cannot be read by this user: run tenk as root",
                denied.unwrap_or_default()
            )),
            Err(e) => Err(format!(
                "the kernel's tracing files are not there ({e}): as root, `mount -t tracefs tracefs {}`",
                PLACES[0]
            )),
        }
    }

    /// The number of a tracepoint; none where the kernel does not have it.
    pub fn id(&self, group: &str, name: &str) -> Option<u64> {
        let file = self.root.join("events").join(group).join(name).join("id");
        parse_id(&fs::read_to_string(file).ok()?)
    }
}

/// A number from 1 up, on a line of its own.
fn parse_id(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|id| *id > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number_and_nothing_else() {
        assert_eq!(parse_id("443\n"), Some(443));
        for text in [
            "",
            "\n",
            "0\n",
            "-1\n",
            "44 3\n",
            "id: 443\n",
            "99999999999999999999\n",
        ] {
            assert_eq!(parse_id(text), None, "{text:?}");
        }
    }

    #[test]
    fn tracepoints_are_found_by_group_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("events/syscalls/sys_enter_read");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("id"), "719\n").unwrap();
        let tracefs = Tracefs {
            root: folder.path().into(),
            _mount: None,
        };
        assert_eq!(tracefs.id("syscalls", "sys_enter_read"), Some(719));
        assert_eq!(tracefs.id("syscalls", "sys_enter_write"), None);
    }
}
