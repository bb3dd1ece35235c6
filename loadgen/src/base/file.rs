//! Files written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Replaces a file in one step: a temporary file beside it is written, synced
/// and renamed, then the directory is synced. On failure the old file stands. Its permissions are kept.
///
/// # Errors
/// The step that failed, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let said =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
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
            Some(there) => fs::set_permissions(&temporary, there.permissions()),
            None => Ok(()),
        })
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // What remains of the temporary file is useless; that it may not exist is no second error.
        let _ = fs::remove_file(&temporary);
        return Err(said(error));
    }
    File::open(directory_of(path))
        .and_then(|directory| directory.sync_all())
        .map_err(said)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
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
}
