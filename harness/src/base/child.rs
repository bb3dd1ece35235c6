//! Helper programs (git, cargo, a build command): run to their end in a process group of their own, which ends whole
//! when nobody waits for it any longer, with an environment that does not decide what is made.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How often a child is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// What git may take from the caller: how it reaches a server, and its configuration files. Every other variable of its
/// own binds it to the caller's repository or index (`git rev-parse --local-env-vars` names them: a hook has them), or
/// describes a commit that is not the one being built.
const GIT_KEPT: [&str; 12] = [
    "GIT_SSH",
    "GIT_ASKPASS",
    "GIT_TERMINAL_PROMPT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_EXEC_PATH",
    "GIT_SSL",
    "GIT_HTTP",
    "GIT_PROXY",
    "GIT_ALLOW_PROTOCOL",
    "GIT_LFS",
];

/// What cargo may take: where its registries are and how they are reached.
const CARGO_KEPT: [&str; 5] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTR",
    "CARGO_TERM_",
];

/// What decides a toolchain, its flags, or how an outer make was called.
const OTHERS: [&str; 11] = [
    "RUSTUP_TOOLCHAIN",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUST_RECURSION_COUNT",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "MFLAGS",
    "GNUMAKEFLAGS",
    "GOWORK",
];

/// Whether a variable of the caller would decide which sources are read, where a build goes, or how it is made.
fn decides_what_is_made(name: &str) -> bool {
    let begins = |list: &[&str]| list.iter().any(|begin| name.starts_with(begin));
    match () {
        () if name.starts_with("GIT_") => !begins(&GIT_KEPT),
        () if name == "CARGO" || name.starts_with("CARGO_") => !begins(&CARGO_KEPT),
        () => begins(&OTHERS),
    }
}

/// A program without the caller's variables of repository, toolchain and target.
pub fn clean_command(program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if decides_what_is_made(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// Waits for a child to end. tokio is woken by its pidfd or, where there is none (before Linux 5.3, or with no descriptor
/// left), by a socket that its handler of SIGCHLD writes to, and what cannot be written there is lost: so the child is
/// looked at as well.
pub async fn ended(child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        if let Ok(status) = timeout(LOOK, child.wait()).await {
            return status;
        }
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
    }
}

/// Runs a command to its end and reads what it prints; it is killed when the future is dropped before.
pub async fn captured(command: &mut Command) -> io::Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    collected(&mut command.kill_on_drop(true).spawn()?).await
}

/// Reads what a child prints and waits for its end.
pub async fn collected(child: &mut Child) -> io::Result<Output> {
    drop(child.stdin.take());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (status, stdout, stderr) = tokio::try_join!(ended(child), all(stdout), all(stderr))?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

async fn all(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Runs a command to its end; when the future is dropped before, everything that it started in its group ends too.
pub async fn output(command: &mut Command) -> io::Result<Output> {
    let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
    let mut group = Group::of(&child);
    let output = collected(&mut child).await;
    // What outlives its build on purpose (a compiler's cache server) is not ours to end.
    group.0 = None;
    output
}

/// A process group that is killed when this is dropped.
#[derive(Debug)]
pub struct Group(Option<u32>);

impl Group {
    /// The group that a child leads.
    pub fn of(child: &Child) -> Group {
        Group(child.id())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            // Gone already is as good.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn everything_that_git_calls_local_is_taken_away() {
        let output = std::process::Command::new("git")
            .args(["rev-parse", "--local-env-vars"])
            .output();
        let Ok(output) = output else {
            eprintln!("skipped: needs git");
            return;
        };
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().count() > 10, "{text}");
        for name in text.lines() {
            assert!(decides_what_is_made(name), "{name}");
        }
    }

    #[test]
    fn what_reaches_a_registry_or_a_server_stays() {
        for name in [
            "PATH",
            "HOME",
            "CC",
            "CARGO_HOME",
            "CARGO_REGISTRIES_X_TOKEN",
            "CARGO_HTTP_PROXY",
            "RUSTUP_HOME",
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_GLOBAL",
        ] {
            assert!(!decides_what_is_made(name), "{name}");
        }
        for name in [
            "CARGO",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "MAKEFLAGS",
        ] {
            assert!(decides_what_is_made(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_group_that_nobody_waits_for_ends_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 600 & echo $! >pid.new; mv pid.new pid; wait"]);
        command.current_dir(folder.path());
        let waiting = output(&mut command);
        let seen = async {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = waiting => panic!("it ended by itself"),
            () = seen => {}
        }
        let pid = std::fs::read_to_string(&file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let is_gone = || match std::fs::read_to_string(&stat) {
            // A zombie waits for whoever inherits it.
            Ok(text) => text.contains(") Z"),
            Err(_) => true,
        };
        for _ in 0..1000 {
            if is_gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the grandchild is still there");
    }
}
