//! What ends the program early: a sentence for a person and the exit code of DESIGN §4.

use std::fmt;

/// A failure that ends the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The process's exit code.
    pub exit: u8,
    /// What failed, what was found against what was needed, and what mends it.
    pub message: String,
}

/// Exit code: something failed while running.
pub const FAILED: u8 = 1;
/// Exit code: the command line or the configuration makes no sense.
pub const USAGE: u8 = 2;
/// Exit code: no part of the run could have been made here.
pub const PREFLIGHT: u8 = 3;
/// Exit code: nothing was shown either way, and that was to fail.
pub const INCONCLUSIVE: u8 = 98;
/// Exit code: a threshold was missed, or a gate found a regression.
pub const MISSED: u8 = 99;
/// Exit code: the one model asked for cannot run on this host.
pub const UNAVAILABLE: u8 = 4;

/// Exit code of a run that SIGINT ended: 128 + its number.
pub const INTERRUPTED: u8 = 130;
/// Exit code of a run that SIGTERM ended: 128 + its number.
pub const TERMINATED: u8 = 143;

impl Failure {
    /// Something went wrong while running (exit 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: FAILED,
            message: message.into(),
        }
    }

    /// The command line makes no sense (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: USAGE,
            message: message.into(),
        }
    }

    /// This host cannot run any part of what was asked (exit 3).
    pub fn preflight(message: impl Into<String>) -> Self {
        Self {
            exit: PREFLIGHT,
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
