//! The run folder: every file is written beside its place, synced and renamed, so that a reader sees the old one
//! or the new one and a full disk leaves no half of either.

use super::read::ENVIRONMENT;
use crate::base::error::Failure;
use loadgen::files::write_atomically;
use std::fs;
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
        let again = RunFolder::create(results.path(), "run").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
