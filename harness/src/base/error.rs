//! What ends the program early: a sentence for a person, an exit code, and the error that caused it.

use std::error::Error;
use std::fmt::Display;

/// A failure that ends the program.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The process's exit code.
    pub exit: Exit,
    /// What failed, what was found against what was needed, and what mends it: the whole sentence, its cause included.
    pub message: String,
    /// The error behind it, for who asks for its kind; its words are in the sentence.
    source: Option<Box<dyn Error + Send + Sync>>,
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
    /// A failure that ends with this code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            source: None,
        }
    }

    /// Something went wrong while running (exit 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The command line makes no sense (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// This host cannot run any part of what was asked (exit 3).
    pub fn preflight(message: impl Into<String>) -> Self {
        Self::new(Exit::Preflight, message)
    }

    /// An error whose own words are the sentence.
    pub fn from_error(exit: Exit, error: impl Error + Send + Sync + 'static) -> Self {
        Self::new(exit, error.to_string()).caused_by(error)
    }

    /// The same with its cause, whose words the sentence has already.
    pub fn caused_by(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(cause));
        self
    }
}

/// Makes a failure of an error: `what: error`, with the error as its source.
pub trait OrFail<T> {
    /// Something went wrong while running (exit 1).
    ///
    /// # Errors
    /// What was one before.
    fn or_failed(self, what: impl Display) -> Result<T, Failure>;

    /// What was asked for makes no sense (exit 2).
    ///
    /// # Errors
    /// What was one before.
    fn or_usage(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Error + Send + Sync + 'static> OrFail<T> for Result<T, E> {
    fn or_failed(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|e| Failure::failed(format!("{what}: {e}")).caused_by(e))
    }

    fn or_usage(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|e| Failure::usage(format!("{what}: {e}")).caused_by(e))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_failure_leads_to_the_error_that_caused_it() {
        let opened = std::fs::File::open("/no/such/file");
        let failure = opened.or_failed("cannot read the ledger").unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(
            failure.to_string(),
            "cannot read the ledger: No such file or directory (os error 2)"
        );
        let cause = failure.source().and_then(|e| e.downcast_ref::<io::Error>());
        let kind = cause.map(io::Error::kind);
        assert_eq!(kind, Some(io::ErrorKind::NotFound));
        assert!(Failure::usage("no cause").source().is_none());
    }

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
