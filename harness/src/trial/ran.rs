//! What a command really ran: the kernel's word for the programs of a server's family, read while they run.

use loadgen::base::address::Address;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Processes that are looked at: a family may have thousands, all of a few programs.
const MOST: usize = 64;

/// One program of a family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ran {
    /// Its file.
    pub program: PathBuf,
    /// Its arguments, without its own name; the port or the path that it was given is `{port}` or `{socket}`, since it is another in
    /// each trial.
    pub args: Vec<OsString>,
    /// The folder it runs in.
    pub folder: PathBuf,
}

/// The programs of these processes, each once.
pub fn of(pids: &[u32], addr: &Address) -> Vec<Ran> {
    let read = |pid: &u32| read(*pid, addr);
    let mut all: Vec<Ran> = pids.iter().take(MOST).filter_map(read).collect();
    all.sort();
    all.dedup();
    all
}

fn read(pid: u32, addr: &Address) -> Option<Ran> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let words = fs::read(process.join("cmdline")).ok()?;
    let words = words.strip_suffix(b"\0").unwrap_or(&words);
    let args = words.split(|byte| *byte == 0).skip(1);
    let (given, name) = match addr {
        Address::Ip(addr) => (addr.port().to_string(), "{port}"),
        Address::Unix(path) => (path.display().to_string(), "{socket}"),
    };
    let without_port = |word: &[u8]| match std::str::from_utf8(word) {
        Ok(text) => OsString::from(text.replace(&given, name)),
        Err(_) => OsString::from_vec(word.to_vec()),
    };
    Some(Ran {
        program: fs::read_link(process.join("exe")).ok()?,
        args: args.map(without_port).collect(),
        folder: fs::read_link(process.join("cwd")).ok()?,
    })
}

impl Ran {
    /// The files that its arguments name.
    pub fn named_files(&self) -> impl Iterator<Item = PathBuf> {
        let places = self.args.iter().map(|word| self.folder.join(word));
        places.filter(|place| place.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn a_running_program_is_named_with_its_arguments_and_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(folder.path()).unwrap();
        fs::write(place.join("data"), "x").unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "echo ready; read line; :", "data", "127.0.0.1:4711"])
            .current_dir(&place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        let ran = of(
            &[child.id(), child.id(), 0],
            &"127.0.0.1:4711".parse().unwrap(),
        );
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(ran.len(), 1, "{ran:?}");
        assert_eq!((ran[0].args.len(), &ran[0].folder), (4, &place));
        assert_eq!(ran[0].args[3], "127.0.0.1:{port}");
        let files: Vec<PathBuf> = ran[0].named_files().collect();
        assert_eq!(files, [place.join("data")]);
    }
}
