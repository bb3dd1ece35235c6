//! The head of a response: held until it is complete, parsed once, and what it says of the body.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig};

use super::fault::{Fault, fault_of, line_at, without_empty_lines};
use super::{Framing, MAX_HEAD, MAX_HEADERS, Place, Question, Stage, Step, broken};
use crate::base::text::SHOWN;

/// Parses the head once it is complete; most arrive in one piece and are never copied.
pub(super) fn head(framing: &mut Framing, question: Question<'_>, input: &[u8]) -> Step {
    let before = framing.held.len();
    if before == 0
        && let Some(step) = parse_head(framing, question, input)
    {
        return step;
    }
    let mut held = std::mem::take(&mut framing.held);
    held.extend_from_slice(&input[..input.len().min(MAX_HEAD + 1)]);
    let step = if before == 0 {
        None
    } else {
        parse_head(framing, question, &held)
    };
    match step {
        Some(Step::Take(length)) => Step::Take(length - before),
        Some(Step::End(length)) => Step::End(length - before),
        Some(other) => other,
        None if held.len() > MAX_HEAD => too_long(framing, &held),
        None => {
            framing.held = held;
            Step::Wait
        }
    }
}

fn too_long(framing: &mut Framing, head: &[u8]) -> Step {
    let line = line_at(head, MAX_HEAD);
    broken(
        framing,
        "a head of more than 16384 bytes, in the line",
        line,
    )
}

/// `None` while the head is incomplete.
fn parse_head(framing: &mut Framing, question: Question<'_>, bytes: &[u8]) -> Option<Step> {
    // Filling 2 KiB of empty headers first would cost as much as the parsing.
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parser = ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut response, bytes, &mut headers)
    {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Complete(_)) => return Some(too_long(framing, bytes)),
        Ok(httparse::Status::Partial) => return None,
        Err(error) => {
            let Fault { rule, bytes } = fault_of(bytes, error);
            return Some(broken(framing, rule, bytes));
        }
    };
    let status = response.code.unwrap_or(0);
    if status / 100 == 1 && status != 101 {
        return Some(Step::Take(length)); // An interim response: the real one follows.
    }
    let version_1_1 = response.version == Some(1);
    let stage = match stage_of(status, version_1_1, response.headers, question) {
        Ok(stage) => stage,
        Err(Fault { rule, bytes }) => return Some(broken(framing, rule, bytes)),
    };
    framing.http = stage;
    if !stage.ok {
        let line = line_at(without_empty_lines(bytes), 0);
        let kept = &line[..line.len().min(SHOWN)];
        framing.held = kept.to_vec();
        framing.http.kept = kept.len() as u8;
    }
    Some(if stage.place == Place::Fixed(0) {
        Step::End(length)
    } else {
        Step::Take(length)
    })
}

/// How the body is delimited (RFC 9112 §6.3).
fn stage_of<'a>(
    status: u16,
    version_1_1: bool,
    headers: &[Header<'a>],
    question: Question<'_>,
) -> Result<Stage, Fault<'a>> {
    let (mut length, mut chunked, mut closes) = (None, false, !version_1_1);
    for header in headers {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            length = Some(length_of(value, length)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            let last = items(value).last();
            chunked = last.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        } else if header.name.eq_ignore_ascii_case("connection") {
            let lists = |word: &[u8]| items(value).any(|item| item.eq_ignore_ascii_case(word));
            closes = lists(b"close") || (closes && !lists(b"keep-alive"));
        }
    }
    let place = match (chunked, length) {
        _ if question.is_head || matches!(status, 101 | 204 | 304) => Place::Fixed(0),
        (true, _) => Place::ChunkSize,
        (false, Some(length)) => Place::Fixed(length),
        (false, None) => Place::UntilClose,
    };
    Ok(Stage {
        place,
        status,
        ok: question.expected.contains(status),
        closes: closes || place == Place::UntilClose,
        kept: 0,
    })
}

/// The length that a Content-Length names; a field that was sent twice may have become one with a list
/// (RFC 9110 §8.6).
fn length_of(value: &[u8], earlier: Option<u64>) -> Result<u64, Fault<'_>> {
    let fault = |rule| Fault { rule, bytes: value };
    let mut length = earlier;
    for item in items(value) {
        let digits = item.iter().all(u8::is_ascii_digit).then_some(item);
        let parsed = digits
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
            .ok_or_else(|| fault("a Content-Length that is no number"))?;
        if length.is_some_and(|earlier| earlier != parsed) {
            return Err(fault("a Content-Length that contradicts the one before"));
        }
        length = Some(parsed);
    }
    length.ok_or_else(|| fault("a Content-Length that is no number"))
}

/// The elements of a list (RFC 9110 §5.6.1).
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}
