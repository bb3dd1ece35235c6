//! The instruments of one trial: attached to a server that is ready and has no load yet, read or switched at the
//! window's edges, taken away at its end. A trial without any opens nothing.

use super::profile::Recorder;
use super::server::Server;
use super::syscalls::{Counters, Counts};
use crate::model::instrumented::{Instruments, Shown};
use servers::ledger::Reader;
use std::path::Path;

pub use super::profile::INSTALL_PERF;

/// Whether system calls can be counted here; why not, and what mends it.
pub fn can_count_syscalls() -> Result<(), String> {
    Counters::attach(&[std::process::id()]).map(drop)
}

/// Whether there is a program `perf`.
pub fn has_perf() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("perf").is_file())
}

/// What a server has received so far.
fn received(ledger: Option<&Reader>) -> Option<u64> {
    ledger.map(|ledger| ledger.total().bytes_in)
}

/// Instruments at a server.
#[derive(Debug, Default)]
pub struct Attached {
    counters: Option<Counters>,
    opening: Option<(Counts, Option<u64>)>,
    recorder: Option<Recorder>,
    shown: Shown,
}

impl Attached {
    /// Attaches what is asked for.
    pub async fn to(server: &Server, asked: Instruments, scratch: &Path) -> Attached {
        let mut attached = Attached::default();
        if asked.syscalls {
            match Counters::attach(&server.pids()) {
                Ok(counters) => attached.counters = Some(counters),
                Err(why) => attached.no_syscalls(&why),
            }
        }
        if asked.profile {
            match Recorder::start(&server.pids(), scratch).await {
                Ok(recorder) => attached.recorder = Some(recorder),
                Err(why) => attached.no_profile(&why),
            }
        }
        attached
    }

    /// The window begins.
    pub async fn begin(&mut self, ledger: Option<&Reader>) {
        if let Some(recorder) = &mut self.recorder
            && let Err(why) = recorder.switch_on().await
        {
            self.recorder = None;
            self.no_profile(&why);
        }
        if let Some(counters) = &self.counters {
            self.opening = counters.read().ok().zip(Some(received(ledger)));
        }
    }

    /// It ends.
    pub async fn end(&mut self, ledger: Option<&Reader>) {
        if let Some((counters, (opening, bytes))) = self.counters.take().zip(self.opening.take()) {
            match counters.read() {
                Ok(counts) => {
                    self.shown.syscalls = Some(counts.since(&opening));
                    let now = received(ledger).zip(bytes);
                    self.shown.received_bytes = now.map(|(now, then)| now - then);
                }
                Err(e) => self.no_syscalls(&e.to_string()),
            }
        }
        if let Some(recorder) = &mut self.recorder
            && let Err(why) = recorder.switch_off().await
        {
            self.recorder = None;
            self.no_profile(&why);
        }
    }

    /// What was seen. The server must not have been ended yet: its program's names are read from its files.
    pub async fn shown(mut self) -> Shown {
        if let Some(recorder) = self.recorder.take() {
            match recorder.finish().await {
                Ok(profile) if profile.samples == 0 => {
                    self.no_profile("the server used no CPU time in the window");
                }
                Ok(profile) => self.shown.profile = Some(profile),
                Err(why) => self.no_profile(&why),
            }
        }
        self.shown
    }

    fn no_syscalls(&mut self, why: &str) {
        let note = format!("system calls were not counted: {why}");
        self.shown.notes.push(note);
    }

    fn no_profile(&mut self, why: &str) {
        let note = format!("no flame graph: {why}");
        self.shown.notes.push(note);
    }
}
