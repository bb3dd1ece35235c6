//! The part of an agent that starts servers: a process of its own, which may take its time with a reading while the agent
//! goes on saying that it is there.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde_json::Value;

use super::super::wire::{Reader, lines_of};

/// How long the part has to end what it started once its input has ended: servers get two seconds after SIGTERM.
const PATIENCE: Duration = Duration::from_millis(3500);

#[derive(Debug)]
pub(super) struct Part {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    reader: Reader,
}

impl Part {
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            child,
            stdin,
            stdout,
            reader: Reader::default(),
        })
    }

    pub(super) fn output(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }

    pub(super) fn say(&mut self, value: &Value) -> io::Result<()> {
        match &mut self.stdin {
            Some(stdin) => stdin.write_all(&lines_of(value)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// What it says.
    pub(super) fn hear(&mut self) -> io::Result<Vec<Value>> {
        let mut buffer = [0; 64 * 1024];
        match nix::unistd::read(&self.stdout, &mut buffer) {
            Ok(0) => return Err(io::Error::other("what starts servers here has ended")),
            Ok(length) => self.reader.push(&buffer[..length]),
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let mut values = Vec::new();
        while let Some(value) = self.reader.take().map_err(io::Error::other)? {
            values.push(value);
        }
        Ok(values)
    }

    /// Ends it, and with it the server.
    pub(super) fn end(mut self) {
        self.stdin = None;
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > PATIENCE {
                // Its servers end with it: they have a supervisor.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
