//! `trials.jsonl` while a run is made: a line is appended and synced as its trial ends. What has been written is never
//! touched again.

use crate::base::lock::{Kind, Locked};
use loadgen::base::file::synced;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The file's name in the folder of a run.
pub const TRIALS: &str = "trials.jsonl";

/// The file, open for as long as the run goes on.
#[derive(Debug)]
pub struct Journal {
    file: LockedFile,
    /// Bytes of the lines that are on the disk.
    length: u64,
    /// Lines that could not be written yet, as on a full disk: each append tries them again.
    waiting: Vec<u8>,
    /// Whether half a line is in the file and cannot be taken out of it: nothing may follow.
    is_torn: bool,
}

/// The lock says that the run goes on; it ends with the process, however that ends.
#[derive(Debug)]
enum LockedFile {
    Locked(Locked),
    /// Where the file system knows no locks.
    Plain(File),
}

impl LockedFile {
    fn get(&mut self) -> &mut File {
        match self {
            LockedFile::Locked(lock) => lock,
            LockedFile::Plain(file) => file,
        }
    }
}

/// Whether a run still writes this file.
pub fn is_being_written(file: File) -> bool {
    match Locked::at_once(file, Kind::Shared) {
        Ok(_) => false,
        Err((_, error)) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

impl Journal {
    /// Makes the file in this folder; it must not exist yet.
    pub fn create(folder: &Path) -> io::Result<Journal> {
        let file = File::options()
            .append(true)
            .create_new(true)
            .open(folder.join(TRIALS))?;
        let file = match Locked::at_once(file, Kind::Exclusive) {
            Ok(lock) => LockedFile::Locked(lock),
            Err((file, _)) => LockedFile::Plain(file),
        };
        Ok(Journal {
            file,
            length: 0,
            waiting: Vec::new(),
            is_torn: false,
        })
    }

    /// Appends a line and waits until it is on the disk.
    ///
    /// # Errors
    /// What the system refused. The line is then kept in memory, and tried again with the next one.
    pub fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.waiting, line)?;
        self.waiting.push(b'\n');
        if self.is_torn {
            return Err(io::Error::other(
                "half a line could not be removed from its end",
            ));
        }
        let file = self.file.get();
        let written = file
            .write_all(&self.waiting)
            .and_then(|()| synced(file.sync_data()));
        match written {
            Ok(()) => {
                self.length += self.waiting.len() as u64;
                self.waiting.clear();
                Ok(())
            }
            Err(error) => {
                self.is_torn = file.set_len(self.length).is_err();
                Err(error)
            }
        }
    }

    /// Whether every line is on the disk.
    pub fn is_whole(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_the_lock_says_that_the_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TRIALS);
        let mut journal = Journal::create(folder.path()).unwrap();
        journal.append(&"one\ntwo").unwrap();
        journal.append(&3).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "\"one\\ntwo\"\n3\n"
        );
        assert!(journal.is_whole());
        assert!(is_being_written(File::open(&path).unwrap()));
        drop(journal);
        assert!(!is_being_written(File::open(&path).unwrap()));
        let again = Journal::create(folder.path()).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
