//! What ends the program early: a sentence for a person and an exit code.

use std::fmt;

/// A failure that ends the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The process's exit code.
    pub exit: u8,
    /// What failed, what was found against what was needed, and what mends it.
    pub message: String,
}

/// How the program ends: its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The run was made, whatever it found.
    Done = 0,
    /// Something failed while running.
    Failed = 1,
    /// The command line or the configuration makes no sense.
    Usage = 2,
    /// No part of the run could have been made here.
    Preflight = 3,
    /// The one model asked for cannot run on this host.
    Unavailable = 4,
    /// Nothing was shown either way, and that was to fail.
    Inconclusive = 98,
    /// A threshold was missed, or a gate found a regression.
    Missed = 99,
    /// SIGINT ended the run: 128 + its number.
    Interrupted = 130,
    /// SIGTERM ended the run: 128 + its number.
    Terminated = 143,
}

impl Exit {
    /// All of them.
    pub const ALL: [Exit; 9] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Preflight,
        Exit::Unavailable,
        Exit::Inconclusive,
        Exit::Missed,
        Exit::Interrupted,
        Exit::Terminated,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl Failure {
    /// Something went wrong while running (exit 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed.code(),
            message: message.into(),
        }
    }

    /// The command line makes no sense (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage.code(),
            message: message.into(),
        }
    }

    /// This host cannot run any part of what was asked (exit 3).
    pub fn preflight(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Preflight.code(),
            message: message.into(),
        }
    }
}

/// How alike two words must be for one to be taken for the other misspelt: clap's own bound.
const ALIKE: f64 = 0.7;

/// "; did you mean `epoll`?", or nothing where no candidate is like the word.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let scored = candidates.into_iter().map(|candidate| {
        let likeness = strsim::jaro_winkler(word, candidate);
        (likeness, candidate)
    });
    let near = scored
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    near.map_or(String::new(), |(_, near)| {
        format!("; did you mean `{near}`?")
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_alike_is_suggested() {
        let near = |word| did_you_mean(word, ["conns", "rate", "requests-per-conn"]);
        assert_eq!(near("conn"), "; did you mean `conns`?");
        assert_eq!(
            near("requests_per_conn"),
            "; did you mean `requests-per-conn`?"
        );
        assert_eq!(near("\u{0}"), "");
    }
}
