//! The rules by which the end of an answer is known, whatever pieces it comes in.

use memchr::memchr;

use super::super::{Framing, Received, RequestId, match_piece, words_of};
use super::delimiter::Delimiter;
use super::template::Template;
use crate::load::own::{LengthField, MOST_BYTES, Pattern, Rule};

/// The longest line that is read to its end, its end included.
const MAX_LINE: usize = 16 * 1024;

/// The room for lines in pieces that a connection keeps between two of them.
const KEPT: usize = 1024;

/// A rule, ready to be followed.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Nothing,
    Text(Template),
    Delimiter(Box<Delimiter>),
    Bytes(u32),
    Length(LengthField),
    Line(Pattern),
    UntilClose,
}

impl Answer {
    pub(super) fn of(rule: &Rule) -> Self {
        match rule {
            Rule::Nothing => Self::Nothing,
            Rule::Text(message) => Self::Text(Template::of(message)),
            Rule::Delimiter(bytes) => Self::Delimiter(Box::new(Delimiter::new(bytes))),
            Rule::Bytes(count) => Self::Bytes(*count),
            Rule::Length(field) => Self::Length(*field),
            Rule::Line(pattern) => Self::Line(pattern.clone()),
            Rule::UntilClose => Self::UntilClose,
        }
    }

    pub(super) fn receive(&self, framing: &mut Framing, id: RequestId, input: &[u8]) -> Received {
        match self {
            Self::Nothing => {
                framing.say_broken("a server that answers nothing (--expect none)", input);
                Received::Garbage
            }
            Self::Text(template) => match_piece(
                framing,
                template.len(id),
                input,
                |from, piece| template.is_at(id, from, piece),
                |from, out| template.fill(id, from, out),
            ),
            Self::Delimiter(delimiter) => until(framing, delimiter, input),
            Self::Bytes(count) => {
                let left = count - framing.matched;
                if input.len() < left as usize {
                    framing.matched += input.len() as u32;
                    return Received::More;
                }
                done(framing, left as usize)
            }
            Self::Length(field) => length(framing, *field, input),
            Self::Line(pattern) => line(framing, pattern, input),
            Self::UntilClose => {
                framing.left = 1;
                Received::More
            }
        }
    }

    /// Whether the end of the stream is the end of the answer that is being read.
    pub(super) fn ends_at_eof(&self, framing: &Framing) -> bool {
        matches!(self, Self::UntilClose) && framing.left > 0
    }
}

/// The answer ends after these bytes of the piece.
fn done(framing: &mut Framing, consumed: usize) -> Received {
    (framing.matched, framing.left) = (0, 0);
    Received::Done {
        consumed,
        ok: true,
        closes: false,
    }
}

fn until(framing: &mut Framing, delimiter: &Delimiter, input: &[u8]) -> Received {
    match delimiter.find(framing.matched, input) {
        Ok(end) => done(framing, end),
        Err(matched) => {
            framing.matched = matched;
            // It has begun, although nothing need be remembered of it.
            framing.left = 1;
            Received::More
        }
    }
}

/// An answer that says how long it is: `matched` counts what has come up to the end of that number, `left` holds as much
/// of the number as is known, and then how many bytes are to come.
fn length(framing: &mut Framing, field: LengthField, input: &[u8]) -> Received {
    let offset = u32::from(field.offset);
    let head = offset + u32::from(field.integer.width);
    let mut at = 0;
    while framing.matched < head {
        let Some(byte) = input.get(at) else {
            return Received::More;
        };
        if framing.matched >= offset {
            let Some(value) = widened(framing.left, field, framing.matched - offset, *byte) else {
                framing.say_broken("a length of more than 1 GiB", &input[..=at]);
                return Received::Garbage;
            };
            framing.left = value;
        }
        framing.matched += 1;
        at += 1;
        if framing.matched == head {
            let said = framing.left;
            match u32::try_from(i64::from(said) + field.extra) {
                Ok(rest @ 0..=MOST_BYTES) => framing.left = rest,
                _ => {
                    let words = format!("a length of {said}, with {:+}", field.extra);
                    framing.say_broken(&words, &input[..at]);
                    return Received::Garbage;
                }
            }
        }
    }
    let there = input.len() - at;
    if there < framing.left as usize {
        framing.left -= there as u32;
        return Received::More;
    }
    let left = framing.left as usize;
    done(framing, at + left)
}

/// The number so far with one more of its bytes; none beyond [`MOST_BYTES`].
fn widened(value: u32, field: LengthField, at: u32, byte: u8) -> Option<u32> {
    let wide = match field.integer.is_big_endian {
        true => u64::from(value) << 8 | u64::from(byte),
        // Its fifth byte and those after it may only be 0.
        false if at >= 4 => u64::from(value) + if byte == 0 { 0 } else { u64::MAX >> 1 },
        false => u64::from(value) | u64::from(byte) << (8 * at),
    };
    u32::try_from(wide).ok().filter(|wide| *wide <= MOST_BYTES)
}

fn line(framing: &mut Framing, pattern: &Pattern, input: &[u8]) -> Received {
    let end = memchr(b'\n', input);
    let piece = &input[..end.map_or(input.len(), |at| at + 1)];
    if framing.held.len() + piece.len() > MAX_LINE {
        let held = std::mem::take(&mut framing.held);
        let beginning = if held.is_empty() {
            piece
        } else {
            held.as_slice()
        };
        framing.say_broken("a line of more than 16384 bytes", beginning);
        return Received::Garbage;
    }
    if end.is_none() || !framing.held.is_empty() {
        framing.held.extend_from_slice(piece);
    }
    if end.is_none() {
        return Received::More;
    }
    let whole = match framing.held.is_empty() {
        true => piece,
        false => framing.held.as_slice(),
    };
    let text = whole.strip_suffix(b"\n").unwrap_or(whole);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if !pattern.is_match(text) {
        let words = format!(
            "received the line \"{}\", which does not match {}",
            words_of(text),
            pattern.as_str()
        );
        framing.say(words);
        return Received::Mismatch;
    }
    framing.held.clear();
    framing.held.shrink_to(KEPT);
    done(framing, piece.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: RequestId = RequestId {
        connection: 5,
        sequence: 9,
        last: false,
    };

    fn answer(rule: &str) -> Answer {
        Answer::of(&rule.parse().expect(rule))
    }

    /// What becomes of bytes that come in pieces that end at `cuts`: the last result, how many belonged to the answer,
    /// and the words.
    fn feed(answer: &Answer, bytes: &[u8], cuts: &[usize]) -> (Received, usize, String) {
        let (mut framing, mut fed) = (Framing::default(), 0);
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            let cut = cut.clamp(fed, bytes.len());
            if cut == fed {
                continue;
            }
            match answer.receive(&mut framing, ID, &bytes[fed..cut]) {
                Received::More => {
                    assert!(!framing.is_untouched(), "{fed} of {cut}");
                    fed = cut;
                }
                Received::Done { consumed, ok, .. } => {
                    assert!(ok && framing.is_untouched() && consumed <= cut - fed);
                    return (done(&mut framing, 0), fed + consumed, String::new());
                }
                other => return (other, 0, framing.take_words()),
            }
        }
        (Received::More, fed, String::new())
    }

    /// A rule, an answer by it, and what comes behind.
    const ANSWERS: [(&str, &[u8], &[u8]); 14] = [
        ("delimiter:\\r\\n", b"a\rb\n\r\r\n", b"\r\n"),
        ("delimiter:\\n", b"\n", b"x"),
        (
            "delimiter:END\\r\\n",
            b"VALUE k 0 3\r\nEEN\r\nENEND\r\n",
            b"",
        ),
        ("delimiter:aab", b"aaaab", b"aab"),
        ("bytes:1", b"x", b"y"),
        ("bytes:10", b"0123456789", b"0"),
        ("length:u8", b"\x03abc", b"\x00"),
        ("length:u16be@2", b"XX\x00\x02ab", b"cd"),
        ("length:u16le@2+1", b"XX\x02\x00abc", b"d"),
        ("length:u32be@1-4", b"R\x00\x00\x00\x05!", b"R"),
        ("length:u24be+6", b"\x00\x00\x02123456ab", b"\x00"),
        ("length:u64le", b"\x01\0\0\0\0\0\0\0x", b"\x01"),
        ("line:^OK [0-9]+$", b"OK 12\r\n", b"ERR\n"),
        ("text:k{conn} {seq:3}\\n", b"k5 009\n", b"k5"),
    ];

    #[test]
    fn answers_are_framed_over_every_split() {
        for (rule, bytes, behind) in ANSWERS {
            let answer = answer(rule);
            let all = [bytes, behind].concat();
            for first in 0..=all.len() {
                for second in first..=all.len() {
                    let (received, consumed, words) = feed(&answer, &all, &[first, second]);
                    assert!(matches!(received, Received::Done { .. }), "{rule}: {words}");
                    assert_eq!(consumed, bytes.len(), "{rule} cut at {first} and {second}");
                }
            }
            for length in 0..bytes.len() {
                let (received, ..) = feed(&answer, &bytes[..length], &[]);
                assert_eq!(
                    received,
                    Received::More,
                    "{rule}: {length} bytes are not all"
                );
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_told_with_its_bytes() {
        let table: [(&str, &[u8], Received, &str); 8] = [
            (
                "line:^OK",
                b"-ERR \x1bno\r\n",
                Received::Mismatch,
                "received the line \"-ERR \\x1bno\", which does not match ^OK",
            ),
            (
                "text:k{conn}",
                b"k6",
                Received::Mismatch,
                "from byte 1 of 2 on received \"6\", expected \"5\"",
            ),
            (
                "length:u32be",
                b"HTTP/1.1",
                Received::Garbage,
                "a length of more than 1 GiB: \"HTTP\"",
            ),
            (
                "length:u64le",
                b"\0\0\0\0\x01\0\0\0",
                Received::Garbage,
                "a length of more than 1 GiB: \"\\x00\\x00\\x00\\x00\\x01\"",
            ),
            (
                "length:u64be",
                b"\xff\xff\xff\xff\xff\xff\xff\xff",
                Received::Garbage,
                "a length of more than 1 GiB",
            ),
            (
                "length:u32be-4",
                b"\x00\x00\x00\x03abc",
                Received::Garbage,
                "a length of 3, with -4",
            ),
            (
                "length:u32be+1073741824",
                b"\x00\x00\x00\x01",
                Received::Garbage,
                "a length of 1, with +1073741824",
            ),
            (
                "none",
                b"hello",
                Received::Garbage,
                "a server that answers nothing (--expect none): \"hello\"",
            ),
        ];
        for (rule, bytes, expected, words) in table {
            for cut in 0..bytes.len() {
                let (received, _, said) = feed(&answer(rule), bytes, &[cut]);
                assert_eq!(received, expected, "{rule}");
                let whole = cut == 0;
                assert!(!whole || said.starts_with(words), "{rule}: {said}");
            }
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_and_leaves_no_room_behind() {
        let rule = answer("line:x");
        let mut framing = Framing::default();
        let mut received = Received::More;
        for _ in 0..MAX_LINE {
            received = rule.receive(&mut framing, ID, b"xx");
            if received != Received::More {
                break;
            }
        }
        assert_eq!(received, Received::Garbage);
        assert!(
            framing
                .take_words()
                .starts_with("a line of more than 16384")
        );
        let long = [vec![b'x'; MAX_LINE - 1], b"\n".to_vec()].concat();
        for piece in long.chunks(1000) {
            received = rule.receive(&mut framing, ID, piece);
        }
        assert!(matches!(received, Received::Done { .. }), "{received:?}");
        assert!(framing.held.capacity() <= KEPT);
    }

    proptest! {
        #[test]
        fn pieces_mean_what_the_whole_means(
            rule in prop::sample::select(ANSWERS.map(|(rule, ..)| rule).to_vec()),
            bytes in proptest::collection::vec(prop_oneof![
                any::<u8>(), Just(b'\n'), Just(b'\r'), Just(0), Just(b'E'), Just(b'a'),
            ], 1..60),
            cuts in proptest::collection::vec(0usize..60, 0..8),
        ) {
            let answer = answer(rule);
            let mut cuts = cuts;
            cuts.sort_unstable();
            let (whole, length, _) = feed(&answer, &bytes, &[]);
            let (pieces, cut_length, _) = feed(&answer, &bytes, &cuts);
            prop_assert_eq!((whole, length), (pieces, cut_length), "{}", rule);
        }
    }
}
