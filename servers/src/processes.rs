//! Worker processes, forked beforehand and kept up.

use std::collections::HashMap;
use std::io::{self, Write};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::accept::Backoff;
use crate::ledger::Shortage;
use crate::sys::process::{Fork, Parent};
use crate::trace::Worker;

/// fork(2), for each of so many workers. Returns in each of them, with its
/// number. The parent stays in here, in waitpid(2): a worker that is killed is
/// replaced; one that gives up ends the server.
///
/// When processes are short, it runs with those it could get, counts the failure
/// as `worker`'s, and tries again after a pause.
///
/// # Errors
/// In the parent alone: a sentence on which worker gave up, or what waitpid says.
pub fn fork_and_waitpid(workers: usize, worker: Worker) -> io::Result<usize> {
    let parent = Parent::new()?;
    let mut running: HashMap<Pid, usize> = HashMap::new();
    let mut missing: Vec<usize> = (0..workers).rev().collect();
    let mut backoff = Backoff::default();
    let mut complained = false;
    loop {
        while let Some(&number) = missing.last() {
            match parent.fork() {
                Ok(Fork::Child) => return Ok(number),
                Ok(Fork::Parent(pid)) => {
                    running.insert(pid, number);
                    missing.pop();
                    backoff.succeed();
                }
                Err(error) => {
                    worker.slot.accept_failed(Shortage::of(&error));
                    if !std::mem::replace(&mut complained, true) {
                        let count = running.len();
                        say(&format!("only {count} of {workers} workers run: {error}"));
                    }
                    std::thread::sleep(backoff.fail());
                    break;
                }
            }
        }
        // Waits for a child to end; in a shortage only looks whether one has.
        let how = (!missing.is_empty()).then_some(WaitPidFlag::WNOHANG);
        match waitpid(None, how) {
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                if let Some(number) = running.remove(&pid) {
                    say(&format!(
                        "worker {number} (process {pid}) was killed by {signal}: starting another"
                    ));
                    missing.push(number);
                }
            }
            Ok(WaitStatus::Exited(pid, code)) if running.contains_key(&pid) => {
                return Err(io::Error::other(format!(
                    "worker process {pid} gave up with exit code {code}"
                )));
            }
            Ok(_) | Err(nix::Error::EINTR) => {}
            // No worker could be started yet.
            Err(nix::Error::ECHILD) if !missing.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A diagnostic line; if nobody reads it there is nobody to tell.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
