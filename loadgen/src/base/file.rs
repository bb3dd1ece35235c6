//! Files written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::error::in_a_sentence;

/// Replaces a file in one step: a temporary file beside it is written, synced
/// and renamed, then the directory is synced. On failure the old file stands. Its permissions are kept.
///
/// # Errors
/// The step that failed, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let said = |error: io::Error| {
        let sentence = format!("{}: {error}", path.display());
        in_a_sentence(error, sentence)
    };
    // What is no file of its own (a device, a pipe) is written to, never replaced; a link stays one.
    let there = fs::metadata(path).ok();
    if there
        .as_ref()
        .is_some_and(|there| !there.is_file() && !there.is_dir())
    {
        let file = File::options().write(true).open(path);
        return file
            .and_then(|mut file| file.write_all(bytes))
            .map_err(said);
    }
    let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = resolved.as_path();
    let mut name = path
        .file_name()
        .ok_or_else(|| said(io::ErrorKind::IsADirectory.into()))?
        .to_owned();
    name.push(format!(".tmp{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_synced(&temporary, bytes)
        .and_then(|()| match &there {
            Some(there) => permitted(fs::set_permissions(&temporary, there.permissions())),
            None => Ok(()),
        })
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // What remains of the temporary file is useless; that it may not exist is no second error.
        let _ = fs::remove_file(&temporary);
        return Err(said(error));
    }
    // The file is in its place: that the directory cannot be opened for syncing changes nothing about that.
    match File::open(directory_of(path)) {
        Ok(directory) => synced(directory.sync_all()).map_err(said),
        Err(_) => Ok(()),
    }
}

/// Replaces a file in one step, so that whoever reads it finds the old text or the new one whole. Nothing is synced: what
/// is written every second is not what has to survive a crash of the machine.
///
/// # Errors
/// The step that failed, with the path.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let said = |error: io::Error| {
        let sentence = format!("{}: {error}", path.display());
        in_a_sentence(error, sentence)
    };
    let mut name = path
        .file_name()
        .ok_or_else(|| said(io::ErrorKind::IsADirectory.into()))?
        .to_owned();
    name.push(format!(".tmp{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // What remains of the temporary file is useless; that it may not exist is no second error.
        let _ = fs::remove_file(&temporary);
        said(error)
    })
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    synced(file.sync_all())
}

/// The result of a sync. That a file system knows none (EINVAL, ENOTSUP, ENOSYS) is no fault of what was written; that
/// the disk is full or broken is.
///
/// # Errors
/// What else the sync met.
pub fn synced(result: io::Result<()>) -> io::Result<()> {
    unless(result, &[Errno::EINVAL, Errno::ENOTSUP, Errno::ENOSYS])
}

/// The result of keeping a file's permissions, which file systems without any (CIFS, 9p) refuse.
fn permitted(result: io::Result<()>) -> io::Result<()> {
    unless(
        result,
        &[Errno::EPERM, Errno::ENOTSUP, Errno::ENOSYS, Errno::EINVAL],
    )
}

/// The result, but for errors that say that an optional step does not exist here.
fn unless(result: io::Result<()>, optional: &[Errno]) -> io::Result<()> {
    match result {
        Err(error)
            if optional
                .iter()
                .any(|e| error.raw_os_error() == Some(*e as i32)) =>
        {
            Ok(())
        }
        result => result,
    }
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.json");
        write_atomically(&path, b"old").expect("written");
        write_atomically(&path, b"new").expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        write_atomically(&link, b"through").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"through");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe)
        });
        write_atomically(&pipe, b"through").expect("written");
        let read = reader.join().expect("no panic").expect("read");
        assert_eq!(read, b"through");
        let error = write_atomically(Path::new("/nonexistent/a.json"), b"x").expect_err("refused");
        assert!(error.to_string().contains("/nonexistent/a.json"), "{error}");
    }

    #[test]
    fn a_step_that_a_file_system_does_not_know_is_no_failed_write() {
        let refused = |errno: Errno| Err(io::Error::from_raw_os_error(errno as i32));
        for errno in [Errno::EINVAL, Errno::ENOTSUP, Errno::ENOSYS] {
            assert!(synced(refused(errno)).is_ok(), "{errno}");
            assert!(permitted(refused(errno)).is_ok(), "{errno}");
        }
        assert!(permitted(refused(Errno::EPERM)).is_ok());
        for errno in [Errno::ENOSPC, Errno::EIO, Errno::EDQUOT, Errno::EROFS] {
            assert!(synced(refused(errno)).is_err(), "{errno}");
            assert!(permitted(refused(errno)).is_err(), "{errno}");
        }
        assert!(synced(Ok(())).is_ok());
    }

    #[test]
    fn a_sentence_leads_to_the_error_of_the_system() {
        let error = write_atomically("/no/such/folder/file".as_ref(), b"");
        let error = error.expect_err("there is no such folder");
        assert!(error.to_string().starts_with("/no/such/folder/file: "));
        let cause = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        let errno = cause.and_then(io::Error::raw_os_error);
        assert_eq!(errno, Some(Errno::ENOENT as i32));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
