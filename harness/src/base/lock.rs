//! Locks on files (flock(2)): advisory, and gone with the process that holds them, however it ends.

use super::sys;
use nix::libc;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};

/// Who else may hold the lock meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everybody who asks for the same.
    Shared,
    /// Nobody.
    Exclusive,
}

/// An open file that is locked until this goes.
#[derive(Debug)]
pub struct Locked(File);

impl Locked {
    /// Locks the file at once, or gives it back: with [`io::ErrorKind::WouldBlock`] where somebody else has the lock,
    /// with another error where the file system knows none.
    ///
    /// # Errors
    /// What the system refused.
    pub fn at_once(file: File, kind: Kind) -> Result<Locked, (File, io::Error)> {
        Locked::by(file, kind, libc::LOCK_NB)
    }

    /// Waits until the file can be locked.
    ///
    /// # Errors
    /// What the system refused.
    pub fn wait(file: File, kind: Kind) -> Result<Locked, (File, io::Error)> {
        Locked::by(file, kind, 0)
    }

    fn by(file: File, kind: Kind, how: libc::c_int) -> Result<Locked, (File, io::Error)> {
        let operation = match kind {
            Kind::Shared => libc::LOCK_SH,
            Kind::Exclusive => libc::LOCK_EX,
        };
        loop {
            match sys::flock(&file, operation | how) {
                Ok(()) => return Ok(Locked(file)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((file, error)),
            }
        }
    }
}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing the file unlocks it as well, but not before a process that is just being started has closed its copy.
        let _ = sys::flock(&self.0, libc::LOCK_UN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_keeps_others_out_until_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let open = || File::create(&path).unwrap();
        let exclusive = Locked::wait(open(), Kind::Exclusive).unwrap();
        let (_, error) = Locked::at_once(open(), Kind::Shared).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(exclusive);
        let shared = Locked::at_once(open(), Kind::Shared).unwrap();
        assert!(Locked::at_once(open(), Kind::Shared).is_ok());
        assert!(Locked::at_once(open(), Kind::Exclusive).is_err());
        drop(shared);
        assert!(Locked::at_once(open(), Kind::Exclusive).is_ok());
    }
}
