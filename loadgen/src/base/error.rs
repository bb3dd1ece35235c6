//! Errors in sentences that keep what caused them.

use std::io;

#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
struct InASentence {
    sentence: String,
    source: io::Error,
}

/// An error of the same kind that prints as this sentence, which has the words of `cause` already; `cause` is its
/// source.
#[must_use]
pub fn in_a_sentence(cause: io::Error, sentence: String) -> io::Error {
    let kind = cause.kind();
    let source = cause;
    io::Error::new(kind, InASentence { sentence, source })
}
