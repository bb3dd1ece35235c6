//! The run folder: every file is written beside its place, synced and renamed, so that a reader sees the old one
//! or the new one and a full disk leaves no half of either.

use super::saved::ENVIRONMENT;
use crate::base::error::Failure;
use loadgen::base::error::in_a_sentence;
use loadgen::base::file::{synced, write_atomically};
use nix::unistd::syncfs;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A folder of one run's results.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes `results/run_id`; it must not exist yet, so that no old result is ever overwritten.
    pub fn create(results: &Path, run_id: &str) -> io::Result<RunFolder> {
        fs::create_dir_all(results)?;
        let path = results.join(run_id);
        fs::create_dir(&path)?;
        let folder = RunFolder { path };
        // A folder that cannot hold a file is better known now than after the first trial.
        folder.write(ENVIRONMENT, b"{}\n").inspect_err(|_| {
            let _ = fs::remove_dir_all(&folder.path);
        })?;
        Ok(folder)
    }

    /// The folder of a run that was saved.
    pub fn open(path: &Path) -> RunFolder {
        RunFolder { path: path.into() }
    }

    /// Removes the folder with everything in it.
    pub fn discard(&self) {
        let _ = fs::remove_dir_all(&self.path);
    }

    /// The run's name, which is the folder's.
    pub fn run_id(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file `name` (which may lie in a sub-folder) by these bytes.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let target = self.path.join(name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        write_atomically(&target, bytes)
    }

    /// Replaces many small files of one sub-folder: the same as [`RunFolder::write`] for each, but synced together,
    /// since a sync of each of two thousand takes minutes.
    pub fn write_many(&self, folder: &str, files: &[(String, String)]) -> io::Result<()> {
        let folder = self.path.join(folder);
        fs::create_dir_all(&folder)?;
        let temporary = |name: &str| folder.join(format!("{name}.tmp{}", std::process::id()));
        let written = files
            .iter()
            .try_for_each(|(name, text)| fs::write(temporary(name), text))
            .and_then(|()| synced(syncfs(File::open(&folder)?).map_err(io::Error::from)))
            .and_then(|()| {
                let mut names = files.iter().map(|(name, _)| name);
                names.try_for_each(|name| fs::rename(temporary(name), folder.join(name)))
            });
        if let Err(error) = written {
            for (name, _) in files {
                // Those that were not written, or have their name already, are not there.
                let _ = fs::remove_file(temporary(name));
            }
            let what = format!("{}: {error}", folder.display());
            return Err(in_a_sentence(error, what));
        }
        synced(File::open(&folder)?.sync_all())
    }
}

/// A failed write, named by its path, with what mends it.
pub fn cannot_save(what: impl std::fmt::Display) -> Failure {
    Failure::failed(format!(
        "cannot save {what}; what was saved before is untouched (choose another place with --results DIR)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_folder_is_never_used_twice() {
        let results = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(results.path(), "run").unwrap();
        folder.write("charts/a.svg", b"<svg/>").unwrap();
        assert_eq!(
            fs::read(folder.path().join("charts/a.svg")).unwrap(),
            b"<svg/>"
        );
        let many = [("a.hgrm", "1"), ("b.hgrm", "2")].map(|(n, t)| (n.into(), t.into()));
        folder.write_many("hgrm", &many).unwrap();
        let names = fs::read_dir(folder.path().join("hgrm")).unwrap();
        assert_eq!(names.count(), 2);
        assert_eq!(fs::read(folder.path().join("hgrm/b.hgrm")).unwrap(), b"2");
        let impossible = [("a/b".into(), String::new())];
        assert!(folder.write_many("hgrm", &impossible).is_err());
        let again = RunFolder::create(results.path(), "run").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
