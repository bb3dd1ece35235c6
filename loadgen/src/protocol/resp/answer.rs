//! Answers of any type: RESP2, and of RESP3 what has a length (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! An answer is one value, and a value that holds others only adds to how many are still to come; so no depth is
//! kept, and an answer may be as deep as it likes.

use super::{ERROR, NIL, OK};
use crate::protocol::{Framing, Received, words_of};

/// The longest line: a type with a length, a number, a short text or an error.
const MAX_LINE: usize = 4096;

/// The most values of one answer.
const MAX_VALUES: u32 = 1 << 30;

/// The longest string.
const MAX_STRING: u32 = 1 << 30;

/// How much of an error that comes as a string is kept for words about it.
const KEPT: usize = 200;

/// Bytes after a string.
const CRLF: &[u8; 2] = b"\r\n";

/// Reads a piece of an answer.
pub(super) fn receive(framing: &mut Framing, input: &[u8]) -> Received {
    if framing.is_untouched() {
        if let Some((consumed, status)) = at_once(input) {
            framing.set_status(status);
            return Received::Done {
                consumed,
                ok: true,
                closes: false,
            };
        }
        framing.left = 1;
        framing.set_status(0);
    }
    in_pieces(framing, input)
}

/// The length and the status of an answer that is there whole and made of what most are made of; `None` for any other.
fn at_once(input: &[u8]) -> Option<(usize, u16)> {
    const NOTHING: &[u8] = b"$-1\r\n";
    if input.starts_with(NOTHING) {
        return Some((NOTHING.len(), NIL));
    }
    let (mut at, mut left) = (0, 1);
    while left > 0 {
        let kind = input.get(at)?;
        at += 1;
        left -= 1;
        match kind {
            b'+' => at += short_line(&input[at..])?,
            b':' => at += short_number(&input[at..])?.1,
            b'$' => {
                let (length, taken) = short_number(&input[at..])?;
                at += taken + length + CRLF.len();
                if input.get(at - CRLF.len()..at)? != CRLF {
                    return None;
                }
            }
            b'*' => {
                let (values, taken) = short_number(&input[at..])?;
                (at, left) = (at + taken, left + values);
            }
            _ => return None,
        }
    }
    Some((at, OK))
}

/// The length of a line, its end included.
fn short_line(input: &[u8]) -> Option<usize> {
    const SHORT: usize = 64;
    let end = input.iter().take(SHORT).position(|byte| *byte == b'\n')?;
    input[..=end].ends_with(CRLF).then_some(end + 1)
}

/// The number that a line is, and the line's length, its end included.
fn short_number(input: &[u8]) -> Option<(usize, usize)> {
    /// Any number of so many digits is a length that a string may have.
    const SHORT: usize = 9;
    let mut number = 0;
    for (at, byte) in input.iter().enumerate().take(SHORT + 1) {
        match byte {
            b'0'..=b'9' => number = number * 10 + usize::from(byte - b'0'),
            b'\r' if at > 0 && input.get(at + 1) == Some(&b'\n') => return Some((number, at + 2)),
            _ => return None,
        }
    }
    None
}

/// Reads a piece of an answer that need not be whole.
fn in_pieces(framing: &mut Framing, input: &[u8]) -> Received {
    let mut consumed = 0;
    while consumed < input.len() {
        let rest = &input[consumed..];
        let taken = match framing.matched {
            0 => line(framing, rest),
            _ => string(framing, rest),
        };
        match taken {
            Ok(taken) => consumed += taken,
            Err(rule) => {
                framing.held.clear();
                framing.say_broken(rule, rest);
                return Received::Garbage;
            }
        }
        if framing.left == 0 && framing.matched == 0 {
            return done(framing, consumed);
        }
    }
    Received::More
}

/// The answer is complete.
fn done(framing: &mut Framing, consumed: usize) -> Received {
    let ok = framing.status() != ERROR;
    let held = std::mem::take(&mut framing.held);
    if !ok {
        framing.set_status(0); // Errors are counted by their names.
        let words = words_of(held.trim_ascii_end());
        framing.say(match words.is_empty() {
            true => "an error without words".into(),
            false => words,
        });
    }
    Received::Done {
        consumed,
        ok,
        closes: false,
    }
}

/// Bytes that were taken, or the rule that is broken.
type Taken = Result<usize, &'static str>;

/// Takes a line, or holds what has come of one.
fn line(framing: &mut Framing, input: &[u8]) -> Taken {
    let end = input.iter().position(|byte| *byte == b'\n');
    let piece = &input[..end.map_or(input.len(), |end| end + 1)];
    if framing.held.len() + piece.len() > MAX_LINE {
        return Err("a line of more than 4096 bytes");
    }
    let held = framing.held.len();
    match end {
        None => framing.held.extend_from_slice(piece),
        Some(_) if held == 0 => value(framing, piece)?,
        Some(_) => {
            let mut whole = std::mem::take(&mut framing.held);
            whole.extend_from_slice(piece);
            value(framing, &whole)?;
        }
    }
    Ok(piece.len())
}

/// Takes in what a line says: a whole value, the length of one, or how many follow.
fn value(framing: &mut Framing, line: &[u8]) -> Result<(), &'static str> {
    let Some(line) = line.strip_suffix(CRLF) else {
        return Err("a line that does not end with CR LF");
    };
    let Some((kind, said)) = line.split_first() else {
        return Err("a line without a type");
    };
    // What the answer is taken for, its first value says.
    let is_first = framing.status() == 0;
    let mut status = OK;
    match kind {
        b'+' => framing.left -= 1,
        b'-' => {
            (framing.left, status) = (framing.left - 1, ERROR);
            if is_first {
                framing.held = line.to_vec();
            }
        }
        b':' | b'(' => {
            number(said, "a number that is none")?;
            framing.left -= 1;
        }
        b',' | b'#' => framing.left -= 1,
        b'_' => (framing.left, status) = (framing.left - 1, NIL),
        b'$' | b'*' if said == b"-1" => (framing.left, status) = (framing.left - 1, NIL),
        b'$' | b'=' => string_of(framing, said)?,
        b'!' => {
            string_of(framing, said)?;
            status = ERROR;
        }
        b'*' | b'~' => hold(framing, said, 1, true)?,
        b'%' => hold(framing, said, 2, true)?,
        // What comes beside an answer, and before it.
        b'>' => hold(framing, said, 1, false)?,
        b'|' => hold(framing, said, 2, false)?,
        _ => return Err("a type that is none of RESP's"),
    }
    if is_first {
        framing.set_status(status);
    }
    Ok(())
}

/// A string of this length follows, which is one value.
fn string_of(framing: &mut Framing, said: &[u8]) -> Result<(), &'static str> {
    const RULE: &str = "a string's length that is none, or of more than 1 GiB";
    let length = count(said, RULE)?;
    let length = u32::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_STRING);
    framing.matched = length.ok_or(RULE)? + CRLF.len() as u32;
    framing.left -= 1;
    Ok(())
}

/// A number of times `each` values follow; whether what holds them is a value itself.
fn hold(framing: &mut Framing, said: &[u8], each: u32, is_value: bool) -> Result<(), &'static str> {
    const RULE: &str = "a number of values that is none, or of more than 1073741824";
    let count = count(said, RULE)?;
    let values = u32::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(each));
    let left = values.and_then(|values| values.checked_add(framing.left));
    framing.left = left.filter(|left| *left <= MAX_VALUES).ok_or(RULE)?;
    framing.left -= u32::from(is_value);
    Ok(())
}

/// A number without a sign.
fn count(said: &[u8], rule: &'static str) -> Result<i64, &'static str> {
    match said.first() {
        Some(b'-' | b'+') => Err(rule),
        _ => number(said, rule),
    }
}

fn number(said: &[u8], rule: &'static str) -> Result<i64, &'static str> {
    let digits = said
        .strip_prefix(b"-")
        .or(said.strip_prefix(b"+"))
        .unwrap_or(said);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(rule);
    }
    // A number of more than 64 bits is one, if no length.
    let parsed = std::str::from_utf8(said)
        .ok()
        .and_then(|text| text.parse().ok());
    Ok(parsed.unwrap_or(i64::MAX))
}

/// Takes bytes of a string and of the CR LF after it.
fn string(framing: &mut Framing, input: &[u8]) -> Taken {
    let left = framing.matched as usize;
    let taken = left.min(input.len());
    let content = left.saturating_sub(CRLF.len()).min(taken);
    for (at, byte) in input[content..taken].iter().enumerate() {
        let of_end = at + content + CRLF.len() - left;
        if *byte != CRLF[of_end] {
            return Err("a string that does not end where its length says");
        }
    }
    // The answer is an error that comes as a string; one within another value is a value.
    if framing.status() == ERROR && framing.left == 0 {
        let room = KEPT.saturating_sub(framing.held.len());
        framing.held.extend_from_slice(&input[..content.min(room)]);
    }
    framing.matched = (left - taken) as u32;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Answers, whether they are no error, and what status or words they leave.
    const ANSWERS: &[(&[u8], Result<u16, &str>)] = &[
        (b"+OK\r\n", Ok(OK)),
        (b":-42\r\n", Ok(OK)),
        (b"$5\r\nhello\r\n", Ok(OK)),
        (b"$0\r\n\r\n", Ok(OK)),
        (b"$-1\r\n", Ok(NIL)),
        (b"*-1\r\n", Ok(NIL)),
        (b"_\r\n", Ok(NIL)),
        (b"*0\r\n", Ok(OK)),
        (b"*2\r\n$3\r\na\r\n\r\n:1\r\n", Ok(OK)),
        (b"*3\r\n*1\r\n*1\r\n+deep\r\n$-1\r\n-ERR inside\r\n", Ok(OK)),
        (b"-ERR unknown command\r\n", Err("-ERR unknown command")),
        (
            b"-MOVED 3999 127.0.0.1:6381\r\n",
            Err("-MOVED 3999 127.0.0.1:6381"),
        ),
        (
            b"!21\r\nSYNTAX invalid syntax\r\n",
            Err("SYNTAX invalid syntax"),
        ),
        (b"!0\r\n\r\n", Err("an error without words")),
        (b"%2\r\n+a\r\n:1\r\n+b\r\n,1.5e3\r\n", Ok(OK)),
        (
            b"~2\r\n#t\r\n(3492890328409238509324850943850943825024385\r\n",
            Ok(OK),
        ),
        (b"=8\r\ntxt:some\r\n", Ok(OK)),
        (b"|1\r\n+ttl\r\n:3600\r\n$2\r\nhi\r\n", Ok(OK)),
        (b">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n+OK\r\n", Ok(OK)),
    ];

    /// The last result, how much was consumed in all, and the words.
    fn feed(answer: &[u8], cuts: &[usize]) -> (Received, usize, Framing) {
        let (mut framing, mut fed) = (Framing::default(), 0);
        for cut in cuts.iter().copied().chain([answer.len()]) {
            let cut = cut.clamp(fed, answer.len());
            if cut == fed {
                continue;
            }
            match receive(&mut framing, &answer[fed..cut]) {
                Received::More => fed = cut,
                done @ Received::Done { consumed, .. } => return (done, fed + consumed, framing),
                other => return (other, fed, framing),
            }
        }
        (Received::More, fed, framing)
    }

    #[test]
    fn answers_of_every_type_are_framed_over_every_split() {
        for (answer, expected) in ANSWERS {
            for first in 0..=answer.len() {
                for second in first..=answer.len() {
                    let (received, consumed, mut framing) = feed(answer, &[first, second]);
                    let text = String::from_utf8_lossy(answer);
                    let Received::Done { ok, .. } = received else {
                        panic!("{text:?} {first} {second}: {received:?}");
                    };
                    assert_eq!((ok, consumed), (expected.is_ok(), answer.len()), "{text:?}");
                    match expected {
                        Ok(status) => assert_eq!(framing.status(), *status, "{text:?}"),
                        Err(words) => assert_eq!(framing.take_words(), *words),
                    }
                    assert!(framing.is_untouched());
                }
            }
        }
    }

    #[test]
    fn a_broken_rule_is_named_with_the_bytes_that_broke_it() {
        let long = [b"+", vec![b'a'; 5000].as_slice()].concat();
        let table: &[(&[u8], &str)] = &[
            (
                b"HTTP/1.1 400 Bad Request\r\n",
                "a type that is none of RESP's: \"HTTP/1.1 400",
            ),
            (b"\r\n", "a line without a type"),
            (b"+OK\n", "a line that does not end with CR LF"),
            (b":\r\n", "a number that is none"),
            (b":1a\r\n", "a number that is none"),
            (b"$a\r\n", "a string's length"),
            (b"$-2\r\n", "a string's length"),
            (b"$-0\r\n", "a string's length"),
            (b"*+1\r\n+OK\r\n", "a number of values"),
            (b"$4294967296\r\n", "a string's length"),
            (
                b"$1\r\nhello\r\n",
                "a string that does not end where its length says: \"hello",
            ),
            (b"*1073741825\r\n", "a number of values"),
            (b"*99999999999999999999\r\n", "a number of values"),
            (b"%-1\r\n", "a number of values"),
            (&long, "a line of more than 4096 bytes"),
        ];
        for (answer, expected) in table {
            for cut in [answer.len(), 1, answer.len() / 2] {
                let (received, _, mut framing) = feed(answer, &[cut]);
                assert_eq!(received, Received::Garbage, "{expected}");
                let words = framing.take_words();
                let expected = expected.split(": ").next().unwrap_or(expected);
                assert!(
                    words.starts_with(expected),
                    "{words}\ninstead of\n{expected}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_read_at_once_is_what_is_read_in_pieces(input in "([-+:$*_]([0-9]{1,10}|-1|[a-z]{0,3})(\r\n|\n)?|[a-z]{1,3}\r\n){0,6}") {
            let input = input.as_bytes();
            let Some((length, status)) = at_once(input) else { return Ok(()) };
            let mut framing = Framing { left: 1, ..Framing::default() };
            framing.set_status(0);
            let done = Received::Done { consumed: length, ok: true, closes: false };
            prop_assert_eq!(in_pieces(&mut framing, input), done);
            prop_assert_eq!(framing.status(), status);
        }

        #[test]
        fn pipelined_answers_end_where_they_end(first in 0..ANSWERS.len(), second in 0..ANSWERS.len(), at in any::<prop::sample::Index>()) {
            let both = [ANSWERS[first].0, ANSWERS[second].0].concat();
            let (_, consumed, _) = feed(&both, &[at.index(both.len())]);
            prop_assert_eq!(consumed, ANSWERS[first].0.len());
        }

        #[test]
        fn no_input_breaks_the_parser(input in "[-+:$*~%>|!_,#=(0-9a-z\r\n]{0,200}", size in 1usize..20) {
            let mut framing = Framing::default();
            for piece in input.as_bytes().chunks(size) {
                match receive(&mut framing, piece) {
                    Received::Done { consumed, ok, .. } => {
                        prop_assert!(consumed <= piece.len());
                        prop_assert!(ok || !framing.take_words().is_empty());
                        framing = Framing::default();
                    }
                    Received::Garbage => {
                        prop_assert!(!framing.take_words().is_empty());
                        break;
                    }
                    Received::More => prop_assert!(framing.held.len() <= MAX_LINE),
                    Received::Mismatch => prop_assert!(false),
                }
            }
        }
    }
}
