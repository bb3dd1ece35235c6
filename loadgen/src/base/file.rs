//! Files written whole or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::syncfs;

use super::error::in_a_sentence;

/// Replaces a file in one step: a temporary file beside it is written, synced
/// and renamed, then the directory is synced. On failure the old file stands. Its permissions are kept.
///
/// # Errors
/// The step that failed, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_no_file_of_its_own(path) {
        return named(path, write_into(path, bytes));
    }
    let beside = Beside::of(path)?;
    let written = beside.put(bytes).and_then(|file| {
        named(path, synced(file.sync_all()))?;
        beside.take_place()
    });
    if written.is_err() {
        beside.remove();
    }
    written?;
    // The file is in its place: that the directory cannot be opened for syncing changes nothing about that.
    match File::open(directory_of(&beside.place)) {
        Ok(directory) => named(path, synced(directory.sync_all())),
        Err(_) => Ok(()),
    }
}

/// Replaces a file in one step, so that whoever reads it finds the old text or the new one whole. Nothing is synced: what
/// is written every second is not what has to survive a crash of the machine.
///
/// # Errors
/// The step that failed, with the path.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = Beside::of(path)?;
    let written = beside.put(bytes).and_then(|_| beside.take_place());
    if written.is_err() {
        beside.remove();
    }
    written
}

/// Replaces many files, each as [`write_atomically`] does, but syncs them together: thousands of syncs take minutes.
/// Nothing is replaced before everything is written; their directories must be there.
///
/// # Errors
/// The first step that failed, with the path.
pub fn write_together(files: &[(PathBuf, &[u8])]) -> io::Result<()> {
    let (others, files): (Vec<_>, Vec<_>) = files
        .iter()
        .partition(|(path, _)| is_no_file_of_its_own(path));
    let beside: Vec<Beside> = files
        .iter()
        .map(|(path, _)| Beside::of(path))
        .collect::<io::Result<_>>()?;
    let directories: BTreeSet<PathBuf> = beside.iter().map(|b| directory_of(&b.place)).collect();
    let put = |(beside, (_, bytes)): (&Beside, &&(PathBuf, &[u8]))| beside.put(bytes).map(drop);
    let written = beside
        .iter()
        .zip(&files)
        .try_for_each(put)
        .and_then(|()| sync_file_systems(&directories))
        .and_then(|()| beside.iter().try_for_each(Beside::take_place));
    if written.is_err() {
        // Those that were not written, or have their place already, are not there.
        beside.iter().for_each(Beside::remove);
    }
    written?;
    for directory in &directories {
        if let Ok(open) = File::open(directory) {
            named(directory, synced(open.sync_all()))?;
        }
    }
    let mut others = others.into_iter();
    others.try_for_each(|(path, bytes)| named(path, write_into(path, bytes)))
}

/// What is a device or a pipe is written to, never replaced.
fn is_no_file_of_its_own(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

fn write_into(path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(bytes)
}

/// Syncs each file system that these directories are in.
fn sync_file_systems(directories: &BTreeSet<PathBuf>) -> io::Result<()> {
    let mut seen = BTreeSet::new();
    for directory in directories {
        let mut sync = || {
            let open = File::open(directory)?;
            match seen.insert(open.metadata()?.dev()) {
                true => synced(syncfs(open).map_err(io::Error::from)),
                false => Ok(()),
            }
        };
        named(directory, sync())?;
    }
    Ok(())
}

/// A file that is written beside the place which it is to take.
struct Beside<'a> {
    /// As it was asked for.
    path: &'a Path,
    place: PathBuf,
    temporary: PathBuf,
    /// Of the file that has the place now.
    permissions: Option<Permissions>,
}

impl Beside<'_> {
    /// A link stays one: what it leads to is replaced.
    fn of(path: &Path) -> io::Result<Beside<'_>> {
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = place.file_name();
        let name = name.ok_or_else(|| said(path, io::ErrorKind::IsADirectory.into()));
        let mut name = name?.to_owned();
        name.push(format!(".tmp{}", std::process::id()));
        Ok(Beside {
            path,
            temporary: place.with_file_name(name),
            permissions: fs::metadata(&place).ok().map(|there| there.permissions()),
            place,
        })
    }

    fn put(&self, bytes: &[u8]) -> io::Result<File> {
        let put = || {
            let mut file = File::create(&self.temporary)?;
            file.write_all(bytes)?;
            if let Some(permissions) = &self.permissions {
                permitted(file.set_permissions(permissions.clone()))?;
            }
            Ok(file)
        };
        put().map_err(|error| said(self.path, error))
    }

    fn take_place(&self) -> io::Result<()> {
        named(self.path, fs::rename(&self.temporary, &self.place))
    }

    /// What remains of the temporary file is useless; that it may not exist is no second error.
    fn remove(&self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

fn named(path: &Path, result: io::Result<()>) -> io::Result<()> {
    result.map_err(|error| said(path, error))
}

/// The error with the path that it is of.
fn said(path: &Path, error: io::Error) -> io::Error {
    let sentence = format!("{}: {error}", path.display());
    in_a_sentence(error, sentence)
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
    use std::os::unix::fs::PermissionsExt as _;

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
    fn many_files_are_replaced_together_and_where_one_cannot_be_written_none_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let (at, folder) = (|name: &str| directory.path().join(name), "folder");
        fs::create_dir(at(folder)).expect("made");
        let files = |text: &'static [u8]| ["a", "folder/b"].map(|name| (at(name), text));
        write_together(&files(b"old")).expect("written");
        fs::set_permissions(at("a"), Permissions::from_mode(0o600)).expect("set");
        write_together(&files(b"new")).expect("replaced");
        let mut more = files(b"newer").to_vec();
        more.push((at("nowhere/c"), b""));
        let error = write_together(&more).expect_err("there is no such folder");
        assert!(error.to_string().contains("nowhere/c: "), "{error}");
        for name in ["a", "folder/b"] {
            assert_eq!(fs::read(at(name)).expect("read"), b"new");
        }
        let mode = fs::metadata(at("a")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(at("")).expect("listed").count(), 2);
        assert_eq!(fs::read_dir(at(folder)).expect("listed").count(), 1);
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
