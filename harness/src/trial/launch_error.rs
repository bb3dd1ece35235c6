//! How a launched process tells the harness that it ends without having done what it was for: an exit code that none of
//! the programs it becomes uses, and a sentence.

use std::io;

/// The exit code of a probe that was answered, and not rightly.
pub const WRONG_ANSWER: u8 = 5;
/// The exit code of a launch that did not get as far as what it was for.
pub const NOT_STARTED: u8 = 6;
/// The exit code of a probe that was answered with a no.
pub const REFUSED: u8 = 7;

/// Why a launched process did not do what it was for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LaunchError {
    /// The process's exit code.
    pub code: u8,
    /// The sentence, its cause included.
    pub message: String,
    /// The error behind it, where there is one.
    pub source: Option<io::Error>,
}

impl LaunchError {
    /// It did not get as far.
    pub fn not_started(cause: io::Error) -> Self {
        Self {
            code: NOT_STARTED,
            message: cause.to_string(),
            source: Some(cause),
        }
    }
}
