//! Which rule a response head breaks, and with which bytes: the parser says only of what kind the error is.

use httparse::Error;

use super::MAX_HEADERS;

/// A broken rule and the bytes that broke it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault<'a> {
    pub rule: &'static str,
    pub bytes: &'a [u8],
}

/// What is wrong with a head that the parser refused.
pub(super) fn fault_of(head: &[u8], error: Error) -> Fault<'_> {
    let mut lines = lines(without_empty_lines(head));
    let status_line = lines.next().unwrap_or_default();
    let of_status = |rule| Fault {
        rule,
        bytes: status_line,
    };
    match error {
        Error::Version => of_status("an answer that does not begin with HTTP/1.1 or HTTP/1.0"),
        Error::Status => of_status("a status line without a status of three digits"),
        Error::TooManyHeaders => Fault {
            rule: "more than 256 header lines; the 257th",
            bytes: lines.nth(MAX_HEADERS).unwrap_or_default(),
        },
        _ if !is_text(status_line) => of_status("a status line with a control character"),
        _ => lines.find_map(fault_of_field).unwrap_or(Fault {
            rule: "a line that does not end with CR LF",
            bytes: status_line,
        }),
    }
}

/// What is wrong with a header line, if anything is (RFC 9112 §5).
fn fault_of_field(line: &[u8]) -> Option<Fault<'_>> {
    let rule = match line.first()? {
        b' ' | b'\t' => "a header folded over two lines, which RFC 9112 §5.2 forbids",
        _ => {
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(colon.unwrap_or(line.len()));
            if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
                "a header name with a character that none may have"
            } else if colon.is_none() {
                "a header line without a colon"
            } else if !is_text(value) {
                "a header value with a control character"
            } else {
                return None;
            }
        }
    };
    Some(Fault { rule, bytes: line })
}

/// The head without the empty lines before it, which the parser skips (RFC 9112 §2.2).
pub(super) fn without_empty_lines(head: &[u8]) -> &[u8] {
    let is_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    &head[head.iter().take_while(is_end).count()..]
}

/// The line that the byte at `at` belongs to, without its end.
pub(super) fn line_at(head: &[u8], at: usize) -> &[u8] {
    let at = at.min(head.len());
    let start = head[..at].iter().rposition(|byte| *byte == b'\n');
    lines(&head[start.map_or(0, |before| before + 1)..])
        .next()
        .unwrap_or_default()
}

/// The lines of a head, without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = head.split(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| !byte.is_ascii_control() || *byte == b'\t')
}

/// Characters of a field name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
