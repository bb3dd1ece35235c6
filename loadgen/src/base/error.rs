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

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[test]
    fn a_sentence_leads_to_the_error_of_the_system() {
        let error = crate::base::file::write_atomically("/no/such/folder/file".as_ref(), b"");
        let error = error.expect_err("there is no such folder");
        assert!(error.to_string().starts_with("/no/such/folder/file: "));
        let cause = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        let errno = cause.and_then(io::Error::raw_os_error);
        assert_eq!(errno, Some(nix::errno::Errno::ENOENT as i32));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
