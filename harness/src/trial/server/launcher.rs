//! Starting the harness's own program as a launcher, which becomes something else or watches over it.

use super::super::cgroup::Group;
use super::super::launch::{Action, Launch};
use super::super::supervise::Service;
use super::{GRACE, Ready, ServerSpec};
use crate::base::shell::FOLDER;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// The environment variables that a process is started with.
#[derive(Debug, Clone, Default)]
pub enum Surroundings {
    /// None but PATH: what is compared is alike everywhere.
    #[default]
    Bare,
    /// The user's, and these.
    Users(Vec<(String, String)>),
}

/// The supervisor, and what it says.
pub(super) fn spawn(
    spec: &ServerSpec,
    group: &Group,
) -> io::Result<(Child, Lines<BufReader<UnixStream>>)> {
    let grace = match spec.ready {
        Ready::Line => Duration::ZERO,
        Ready::Answers(_) => GRACE,
    };
    let launch = Launch {
        parent: std::process::id() as i32,
        network: spec.network.clone(),
        cpus: spec.cpus.clone(),
        groups: group.procs_files(),
        action: Action::Serve(Service {
            program: spec.program.clone(),
            args: spec.args.clone(),
            grace_ms: grace.as_millis() as u64,
        }),
    };
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut launcher = command(&launch, &spec.surroundings)?;
    if let Some(folder) = &spec.folder {
        launcher.current_dir(folder).env(FOLDER, folder);
    }
    let child = launcher
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Its end is told to it by the socket, so that it can end the rest.
        .kill_on_drop(false)
        .spawn()?;
    Ok((child, BufReader::new(UnixStream::from_std(ours)?).lines()))
}

/// The harness's own program as a launcher: a process group of its own, killed when dropped.
pub fn command(launch: &Launch, surroundings: &Surroundings) -> io::Result<Command> {
    let mut command = Command::new(own_program()?);
    command
        .arg("launch")
        .arg(serde_json::to_string(launch)?)
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    match surroundings {
        Surroundings::Bare => {
            command.env_clear();
            command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        }
        Surroundings::Users(more) => {
            command.envs(more.iter().cloned());
        }
    }
    Ok(command)
}

/// This very program, also where its file was replaced or removed since it started (a build during a run).
pub fn own_program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(match own.exists() {
        true => own,
        false => Path::new("/proc/self/exe").into(),
    })
}
