//! Why a load cannot be run as asked, in sentences that say what to change.

use std::io;

/// Why a load cannot be run as asked. Every message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A value lies outside its range.
    #[error("{0}")]
    Range(String),
    /// Two flags contradict each other, or one means nothing without another.
    #[error("{0}")]
    Conflict(String),
    /// The target cannot be resolved to an address.
    #[error("--target {target}: {source}")]
    Resolve {
        /// As it was written.
        target: String,
        /// What the resolver says.
        source: TargetError,
    },
    /// A file that a flag names cannot be read.
    #[error("--{flag} {file}: {source}")]
    File {
        /// The flag.
        flag: &'static str,
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The target may not be loaded.
    #[error("{0}")]
    Refused(String),
}

/// Why what was typed names no server.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is none, in a sentence.
    #[error("{0}")]
    Typed(String),
    /// The resolver does not know it.
    #[error("{source} ({hint})")]
    Resolver {
        /// What the resolver says.
        source: io::Error,
        /// What can be typed.
        hint: &'static str,
    },
}

impl TargetError {
    pub(super) fn said(sentence: impl Into<String>) -> Self {
        Self::Typed(sentence.into())
    }
}
