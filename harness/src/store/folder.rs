//! The run folder: every file is written beside its place, synced and renamed, so that a reader sees the old one
//! or the new one and a full disk leaves no half of either.

use super::journal::TRIALS;
use super::saved::ENVIRONMENT;
use crate::base::error::Failure;
use crate::base::panic::trials_are_in;
use loadgen::base::error::in_a_sentence;
use loadgen::base::file::{write_atomically, write_together};
use std::collections::BTreeSet;
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
        trials_are_in(Some(folder.path.join(TRIALS)));
        Ok(folder)
    }

    /// The folder of a run that was saved.
    pub fn open(path: &Path) -> RunFolder {
        RunFolder { path: path.into() }
    }

    /// Removes the folder with everything in it.
    pub fn discard(&self) {
        trials_are_in(None);
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
            fs::create_dir_all(parent).map_err(|error| {
                let sentence = format!("{}: {error}", parent.display());
                in_a_sentence(error, sentence)
            })?;
        }
        write_atomically(&target, bytes)
    }

    /// Replaces many files at once: the same as [`RunFolder::write`] for each, but synced together, since every sync
    /// waits for the disk. Where one cannot be written, none is replaced.
    pub fn write_many(&self, files: &[(String, Vec<u8>)]) -> io::Result<()> {
        let files: Vec<(PathBuf, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (self.path.join(name), bytes.as_slice()))
            .collect();
        let folders: BTreeSet<&Path> = files.iter().filter_map(|(file, _)| file.parent()).collect();
        folders.into_iter().try_for_each(fs::create_dir_all)?;
        write_together(&files)
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
        let many = |files: &[(&str, &str)]| {
            let files = files
                .iter()
                .map(|(n, t)| (n.to_string(), t.as_bytes().into()));
            folder.write_many(&files.collect::<Vec<_>>())
        };
        many(&[("hgrm/a.hgrm", "1"), ("hgrm/b.hgrm", "2")]).unwrap();
        let names = fs::read_dir(folder.path().join("hgrm")).unwrap();
        assert_eq!(names.count(), 2);
        assert_eq!(fs::read(folder.path().join("hgrm/b.hgrm")).unwrap(), b"2");
        assert!(many(&[("hgrm/a.hgrm/b", "3")]).is_err());
        let again = RunFolder::create(results.path(), "run").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
