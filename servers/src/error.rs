//! Errors in sentences that keep what caused them.

use std::io;

#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
struct InASentence {
    sentence: String,
    source: io::Error,
}

/// An error of the same kind that prints as this sentence, which has the words
/// of `cause` already; `cause` is its source.
pub fn in_a_sentence(cause: io::Error, sentence: String) -> io::Error {
    of_kind(cause.kind(), cause, sentence)
}

/// The same with a kind of its own.
pub fn of_kind(kind: io::ErrorKind, cause: io::Error, sentence: String) -> io::Error {
    let source = cause;
    io::Error::new(kind, InASentence { sentence, source })
}
