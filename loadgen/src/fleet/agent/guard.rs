//! The process beside an agent that ends it when it does not run any more: one that is stopped cannot end by itself.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};

use super::super::Program;
use super::HEAD_GONE_NS;

/// The agent's end of its guard.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Guard {
    pub(super) fn start(program: &Program) -> io::Result<Self> {
        let mut command = program.command();
        command
            .arg("agent")
            .arg(format!("--guard={}", std::process::id()))
            .stdin(Stdio::piped())
            // What the launcher reads ends when the agent ends.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin })
    }

    /// Says that the agent runs. Without its guard it goes on.
    pub(super) fn tell(&mut self) {
        if let Some(stdin) = &mut self.stdin
            && stdin.write_all(b".").is_err()
        {
            self.stdin = None;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stdin = None;
        // It ends with its input.
        let _ = self.child.wait();
    }
}

/// The guard itself: ends the process `agent`, its parent, once that says nothing for as long as a head may be silent.
pub fn guard(agent: i32) {
    let stdin = io::stdin();
    let timeout = PollTimeout::from((HEAD_GONE_NS / 1_000_000) as u16);
    loop {
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) => {
                let agent = Pid::from_raw(agent);
                if getppid() == agent {
                    // It may end in this very moment.
                    let _ = kill(agent, Signal::SIGKILL);
                }
                return;
            }
            Err(Errno::EINTR) => {}
            Err(_) => return,
            Ok(_) => match nix::unistd::read(stdin.as_fd(), &mut [0; 64]) {
                Ok(1..) | Err(Errno::EINTR) => {}
                _ => return,
            },
        }
    }
}
