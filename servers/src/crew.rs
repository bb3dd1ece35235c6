//! A fixed crew of worker processes, forked beforehand and kept up.

use std::collections::HashMap;
use std::io::{self, Write};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::accept::Backoff;
use crate::ledger::Slot;
use crate::sys::{Fork, Parent};

/// Forks `workers` processes, each of which runs `work` with its number, and
/// looks after them: one that is killed is replaced. Returns in a worker, with
/// what its work returns, and in the parent when the crew cannot go on.
///
/// When processes are short, it runs with those it could get, counts the failure
/// in `slot`, and tries again after a pause.
///
/// # Errors
/// A worker's own error; in the parent, a sentence on which worker gave up.
pub fn run(
    workers: usize,
    slot: Slot,
    work: impl FnOnce(usize) -> io::Result<()>,
) -> io::Result<()> {
    let parent = Parent::new()?;
    let mut running: HashMap<Pid, usize> = HashMap::new();
    let mut missing: Vec<usize> = (0..workers).rev().collect();
    let mut backoff = Backoff::default();
    let mut complained = false;
    loop {
        while let Some(&worker) = missing.last() {
            match parent.fork() {
                Ok(Fork::Child) => return work(worker),
                Ok(Fork::Parent(pid)) => {
                    running.insert(pid, worker);
                    missing.pop();
                    backoff.succeed();
                }
                Err(error) => {
                    slot.accept_errors(1);
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
                if let Some(worker) = running.remove(&pid) {
                    say(&format!(
                        "worker {worker} (process {pid}) was killed by {signal}: starting another"
                    ));
                    missing.push(worker);
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
