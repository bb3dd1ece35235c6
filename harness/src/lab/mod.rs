//! The textbook's claims about TCP and servers, measured and judged on this machine: one page each.
//!
//! A lab's `measure` runs in a process of its own, in a private network namespace ([`inside`]); what it found comes back
//! as JSON, and its `judge`, a pure function, holds that against what the settings read there lead one to expect.

mod claims;
#[cfg(test)]
mod document;
pub mod finding;
mod inside;
mod machine;
mod message;
mod outside;
mod page;
mod place;
pub mod report;
mod results;
mod settings;
#[cfg(test)]
mod testing;
mod tools;
mod trouble;
pub mod words;

mod accept_balance;
mod active_ratio;
mod backlog;
mod coordinated_omission;
mod dead_peer;
mod edge_vs_level;
mod fd_wall;
mod half_close;
mod handshake;
mod head_of_line;
mod idle_cpu;
mod idle_policy;
mod idle_scaling;
mod long_vs_short;
mod memory_per_connection;
mod nagle;
mod pool_queue;
mod process_cost;
mod resets;
mod reuseaddr;
mod slow_start;
mod syn_queue;
mod syscalls_per_request;
mod time_wait;

use finding::{Finding, Line};
pub use inside::main as measure;
pub use outside::{Run, await_the_rest, run};
pub use place::Place;
pub use report::Report;
pub use results::Folder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use settings::Settings;
use std::time::Duration;
use trouble::Trouble;

/// One claim, measured and judged on this machine.
trait Lab {
    /// What was measured, as it comes out of the namespace.
    type Evidence: Serialize + DeserializeOwned;
    /// What people are told.
    const ABOUT: About;

    /// Measures, inside the private network namespace.
    fn measure(place: &Place) -> Result<Self::Evidence, Trouble>;

    /// Holds the evidence against what the settings lead one to expect. Pure: the machine is not looked at.
    fn judge(settings: &Settings, evidence: &Self::Evidence) -> Finding;
}

/// What people are told about a lab.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct About {
    /// What it is called; its file is named after it.
    pub name: &'static str,
    /// What one wants to know.
    pub question: &'static str,
    /// What the textbooks say.
    pub claim: &'static str,
    /// Which ones: a book's section, an RFC, a manual page, a document of the kernel's.
    pub sources: &'static [&'static str],
    /// What a student answers before looking.
    pub prediction: &'static str,
    /// What is done to find out.
    pub done: &'static str,
    /// Why it is as it is.
    pub answer: &'static str,
    /// What to read, or to type, next.
    pub next: &'static [&'static str],
    /// The settings that the figures depend on: paths below /proc/sys.
    pub settings: &'static [&'static str],
    /// The programs of ours that it starts.
    pub programs: &'static [&'static str],
    /// How long it may take by the clock on the wall.
    pub limit: Duration,
}

/// A lab of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What people are told.
    pub about: About,
    measure: fn(&Place) -> Result<Value, Trouble>,
    judge: fn(&Settings, &Value) -> Result<Finding, String>,
}

impl Entry {
    const fn of<L: Lab>() -> Entry {
        Entry {
            about: L::ABOUT,
            measure: measured::<L>,
            judge: judged::<L>,
        }
    }
}

fn measured<L: Lab>(place: &Place) -> Result<Value, Trouble> {
    let evidence = L::measure(place)?;
    serde_json::to_value(evidence).map_err(|e| Trouble::failed(e.to_string()))
}

fn judged<L: Lab>(settings: &Settings, evidence: &Value) -> Result<Finding, String> {
    let evidence = L::Evidence::deserialize(evidence).map_err(|e| e.to_string())?;
    Ok(L::judge(settings, &evidence))
}

/// The registry, in the order of the course.
pub const LABS: &[Entry] = &[
    Entry::of::<idle_scaling::IdleScaling>(),
    Entry::of::<active_ratio::ActiveRatio>(),
    Entry::of::<backlog::Backlog>(),
    Entry::of::<time_wait::TimeWait>(),
    Entry::of::<reuseaddr::Reuseaddr>(),
    Entry::of::<long_vs_short::LongVsShort>(),
    Entry::of::<handshake::Handshake>(),
    Entry::of::<half_close::HalfClose>(),
    Entry::of::<process_cost::ProcessCost>(),
    Entry::of::<memory_per_connection::MemoryPerConnection>(),
    Entry::of::<edge_vs_level::EdgeVsLevel>(),
    Entry::of::<head_of_line::HeadOfLine>(),
    Entry::of::<fd_wall::FdWall>(),
    Entry::of::<idle_policy::IdlePolicy>(),
    Entry::of::<syn_queue::SynQueue>(),
    Entry::of::<resets::Resets>(),
    Entry::of::<nagle::Nagle>(),
    Entry::of::<accept_balance::AcceptBalance>(),
    Entry::of::<pool_queue::PoolQueue>(),
    Entry::of::<coordinated_omission::CoordinatedOmission>(),
    Entry::of::<dead_peer::DeadPeer>(),
    Entry::of::<idle_cpu::IdleCpu>(),
    Entry::of::<syscalls_per_request::SyscallsPerRequest>(),
    Entry::of::<slow_start::SlowStart>(),
];

/// The lab of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    LABS.iter().find(|lab| lab.about.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::lab::NAMES;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Lines of a page before its tests.
    const PAGE: usize = 170;

    #[test]
    fn the_command_line_knows_every_lab_and_no_other() {
        let known: BTreeSet<&str> = NAMES.iter().copied().collect();
        let all: BTreeSet<&str> = LABS.iter().map(|lab| lab.about.name).collect();
        assert_eq!(known, all, "NAMES in cli/lab.rs and LABS");
        assert_eq!(all.len(), LABS.len(), "names are unique");
    }

    #[test]
    fn a_lab_says_what_people_must_know() {
        for Entry { about, .. } in LABS {
            let name = about.name;
            assert!(about.question.ends_with('?'), "{name}: {}", about.question);
            assert!(about.prediction.contains('?'), "{name}: what is asked?");
            for text in [about.claim, about.done, about.answer] {
                assert!(
                    text.ends_with(['.', '?']) && text.len() > 40,
                    "{name}: {text}"
                );
            }
            assert!(
                !about.sources.is_empty() && !about.next.is_empty(),
                "{name}"
            );
            let most_s = if name == "time-wait" { 90 } else { 60 };
            assert!(about.limit <= Duration::from_secs(most_s), "{name}");
            assert!(
                !about.settings.iter().any(|path| path.starts_with('/')),
                "{name}"
            );
            for program in about.programs {
                let is_ours = *program == "loadgen" || servers::models::find(program).is_ok();
                assert!(is_ours, "{name}: {program}");
            }
            for command in about
                .next
                .iter()
                .filter_map(|next| next.strip_prefix("tenk lab "))
            {
                assert!(
                    NAMES.contains(&command) || command == "all",
                    "{name}: tenk lab {command}"
                );
            }
        }
    }

    #[test]
    fn a_lab_is_one_page() {
        for lab in LABS {
            let file = format!("src/lab/{}.rs", lab.about.name.replace('-', "_"));
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
            let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{file}: {e}"));
            let page = text.lines().take_while(|line| *line != "#[cfg(test)]");
            let lines = page.count();
            assert!(lines <= PAGE, "{file} has {lines} lines before its tests");
            assert!(
                text.contains("#[cfg(test)]"),
                "{file}: its judge is not tested"
            );
        }
    }
}
