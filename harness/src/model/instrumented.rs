//! An instrumented trial: one more trial of an arm, in which the server is looked into. That makes it slower, so it is
//! kept apart: it is never ranked, summed up, gated or drawn among the others.

use super::row::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a server is looked into with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Instruments {
    /// Its system calls are counted by name.
    pub syscalls: bool,
    /// Its stacks are sampled.
    pub profile: bool,
}

impl Instruments {
    /// Whether there is any.
    pub fn any(self) -> bool {
        self.syscalls || self.profile
    }
}

/// What the instruments of a trial showed.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The system calls in the window.
    pub syscalls: Option<Syscalls>,
    /// Bytes that the server received meanwhile, by its ledger.
    pub received_bytes: Option<u64>,
    /// The stacks in the window.
    pub profile: Option<Profile>,
    /// What was asked for and is missing: why, and what mends it.
    pub notes: Vec<String>,
}

/// An instrumented trial.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Instrumented {
    /// Its row, as of any other trial.
    pub row: Row,
    /// The system calls of the server in the window; none where they were not counted.
    pub syscalls: Option<Syscalls>,
    /// The samples of the server's stacks in the window; none where they were not taken.
    pub profile: Option<Profile>,
    /// What was asked for and could not be seen, a sentence each, with what mends it.
    pub notes: Vec<String>,
}

/// System calls counted as they were entered (tracepoints `syscalls:sys_enter_*`), by all tasks of the server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Syscalls {
    /// All of them (`raw_syscalls:sys_enter`).
    pub total: u64,
    /// Those that servers make, by name; those that were never made are left out.
    pub by_name: BTreeMap<String, u64>,
    /// Between the two readings, s: longer than the window by the handshake.
    pub between_s: f64,
    /// Requests that the server received between the two readings, by its own counts of bytes; none of a server that
    /// has no ledger.
    pub requests: Option<f64>,
}

/// Samples of stacks, folded: those that are alike are counted together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Samples taken.
    pub samples: u64,
    /// A line per stack, the most frequent first: its functions from the outermost in, joined by `;`, and how many
    /// samples had it.
    pub folded: String,
}

impl Profile {
    /// The innermost functions with the number of samples that were in each of them, the most frequent first.
    pub fn innermost(&self) -> Vec<(&str, u64)> {
        let mut by_function: BTreeMap<&str, u64> = BTreeMap::new();
        for (stack, count) in self.folded.lines().filter_map(stack_and_count) {
            let function = stack.rsplit(';').next().unwrap_or(stack);
            *by_function.entry(function).or_default() += count;
        }
        let mut all: Vec<(&str, u64)> = by_function.into_iter().collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }
}

/// The two parts of a folded line.
fn stack_and_count(line: &str) -> Option<(&str, u64)> {
    let (stack, count) = line.rsplit_once(' ')?;
    Some((stack, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_by_their_innermost_function() {
        let profile = Profile {
            samples: 10,
            folded: "epoll;main;read 4\nepoll;main;write 3\nepoll;main;answer;write 2\nepoll;x y 1\nnonsense\n"
                .into(),
        };
        assert_eq!(profile.innermost(), [("write", 5), ("read", 4), ("x y", 1)]);
        assert!(Profile::default().innermost().is_empty());
    }
}
