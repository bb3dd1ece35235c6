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
/// Exit code: the one model asked for cannot run on this host.
pub const UNAVAILABLE: u8 = 4;

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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
