//! What is sent of an own protocol: bytes, with the numbers of the connection and of the request where they are named.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::bytes::{escape, escaped, in_hex, of_hex};
use super::integer::{Integer, NAMES};

/// Bytes, some of which count connections and requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Message {
    pieces: Vec<Piece>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A number that differs from one request to another.
    Number(Counter, Form),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The connection's number within the whole load, from 0.
    Connection,
    /// The request's number on its connection, from 0.
    Sequence,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Decimal digits, as many as it has.
    Decimal,
    /// This many decimal digits, with zeros in front; higher digits are cut off.
    Padded(u8),
    /// Binary.
    Binary(Integer),
}

/// The most decimal digits of a number.
const MOST_DIGITS: u8 = 20;

impl Message {
    /// The longest message, in bytes: it has to fit into one argument of a command line, as hexadecimal digits too.
    pub const LIMIT: usize = 32 * 1024;

    /// Its parts in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether nothing is sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Reads a message that was written down: text with escapes and placeholders, `text:…` or `hex:…`.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn read(text: &str) -> Result<Self, String> {
        let message = match text.strip_prefix("hex:") {
            Some(digits) => Self::of_bytes(of_hex(digits)?),
            None => Self::of_text(text.strip_prefix("text:").unwrap_or(text))?,
        };
        message.within_limit()
    }

    fn of_bytes(bytes: Vec<u8>) -> Self {
        let pieces = match bytes.is_empty() {
            true => Vec::new(),
            false => vec![Piece::Bytes(bytes)],
        };
        Self { pieces }
    }

    fn of_file(path: &str) -> Result<Self, String> {
        let said = |error: std::io::Error| format!("@{path}: {error}");
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(said)?;
        file.take(Self::LIMIT as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(said)?;
        Self::of_bytes(bytes).within_limit()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let (mut pieces, mut bytes) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some(at) = rest.find(['\\', '{']) {
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            rest = &rest[at..];
            let length = match placeholder(rest)? {
                _ if rest.starts_with('\\') => {
                    let (byte, length) = escape(rest)?;
                    bytes.push(byte);
                    length
                }
                Some((counter, form, length)) => {
                    let before = std::mem::take(&mut bytes);
                    pieces.extend((!before.is_empty()).then_some(Piece::Bytes(before)));
                    pieces.push(Piece::Number(counter, form));
                    length
                }
                None => {
                    bytes.push(b'{');
                    1 + usize::from(rest.starts_with("{{"))
                }
            };
            rest = &rest[length..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        pieces.extend((!bytes.is_empty()).then_some(Piece::Bytes(bytes)));
        Ok(Self { pieces })
    }

    fn within_limit(self) -> Result<Self, String> {
        let length = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Number(..) => usize::from(MOST_DIGITS),
        };
        match self.pieces.iter().map(length).sum::<usize>() {
            0..=Self::LIMIT => Ok(self),
            _ => Err(format!("a message has at most {} bytes", Self::LIMIT)),
        }
    }
}

/// The placeholder at the beginning of a text, and its length. `{{` is a brace, and so is one before anything but a
/// small letter, as in JSON.
fn placeholder(text: &str) -> Result<Option<(Counter, Form, usize)>, String> {
    let Some(inner) = text.strip_prefix('{') else {
        return Ok(None);
    };
    if !inner.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(None);
    }
    let end = inner.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == ':'));
    let word = &inner[..end.unwrap_or(inner.len())];
    let (name, form) = word.split_once(':').unwrap_or((word, ""));
    let counter = match name {
        "conn" => Counter::Connection,
        "seq" => Counter::Sequence,
        _ => return Err(unknown(word)),
    };
    if !inner[word.len()..].starts_with('}') {
        return Err(unknown(word));
    }
    Ok(Some((counter, form_of(form)?, word.len() + 2)))
}

fn unknown(word: &str) -> String {
    format!(
        "`{{{word}`: {{conn}} and {{seq}} are filled in, with a width ({{seq:8}}) or in binary ({{seq:u32be}}); \
         `{{{{{word}` sends it as it is"
    )
}

fn form_of(text: &str) -> Result<Form, String> {
    match text.parse::<u8>() {
        _ if text.is_empty() => Ok(Form::Decimal),
        Ok(width @ 1..=MOST_DIGITS) => Ok(Form::Padded(width)),
        _ => text.parse().map(Form::Binary).map_err(|_| {
            format!(
                "`:{text}` is no width: give 1 to {MOST_DIGITS} digits, as in {{seq:8}}, or {NAMES}"
            )
        }),
    }
}

impl FromStr for Message {
    type Err = String;

    /// Reads what is typed, which may also be `@FILE`: that file's bytes, as they are.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some(path) => Self::of_file(path),
            None => Self::read(text),
        }
    }
}

impl TryFrom<String> for Message {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text)
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        message.to_string()
    }
}

impl fmt::Display for Message {
    /// As [`Message::read`] reads it: as text, or in hexadecimal digits where that is shorter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.pieces.iter().map(Piece::in_text).collect();
        if let [Piece::Bytes(bytes)] = self.pieces.as_slice()
            && text.len() > 2 * bytes.len() + 4
        {
            return write!(f, "hex:{}", in_hex(bytes));
        }
        if text.starts_with('@') || text.starts_with("text:") || text.starts_with("hex:") {
            f.write_str("text:")?;
        }
        f.write_str(&text)
    }
}

impl Piece {
    fn in_text(&self) -> String {
        match self {
            Self::Bytes(bytes) => text_of(bytes),
            Self::Number(counter, form) => {
                let name = match counter {
                    Counter::Connection => "conn",
                    Counter::Sequence => "seq",
                };
                match form {
                    Form::Decimal => format!("{{{name}}}"),
                    Form::Padded(width) => format!("{{{name}:{width}}}"),
                    Form::Binary(integer) => format!("{{{name}:{integer}}}"),
                }
            }
        }
    }
}

/// Bytes as text, with every brace doubled that could be taken for the beginning of something.
fn text_of(bytes: &[u8]) -> String {
    let follows = |at: usize| bytes.get(at + 1).copied();
    let word = |(at, byte): (usize, &u8)| match (byte, follows(at)) {
        (b'{', None | Some(b'{' | b'a'..=b'z')) => "{{".into(),
        (byte, _) => escaped(*byte),
    };
    bytes.iter().enumerate().map(word).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_are_found_and_other_braces_stay() {
        let message: Message = "get k{conn}-{seq:8}\\r\\n".parse().expect("valid");
        let number = |counter, form| Piece::Number(counter, form);
        assert_eq!(
            message.pieces(),
            [
                Piece::Bytes(b"get k".to_vec()),
                number(Counter::Connection, Form::Decimal),
                Piece::Bytes(b"-".to_vec()),
                number(Counter::Sequence, Form::Padded(8)),
                Piece::Bytes(b"\r\n".to_vec()),
            ]
        );
        let json = r#"{"a":{"b":[{}]}} {{conn} { {"#;
        let bytes: Message = json.parse().expect("valid");
        let sent = r#"{"a":{"b":[{}]}} {conn} { {"#;
        assert_eq!(bytes.pieces(), [Piece::Bytes(sent.as_bytes().to_vec())]);
        assert_eq!(
            "hex:00 ff".parse(),
            Ok(Message::of_bytes(vec![0, 255])),
            "hexadecimal"
        );
        assert!(Message::default().is_empty());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        let refused = |text: &str| text.parse::<Message>().expect_err(text);
        assert!(refused("{sequence}").contains("`{{sequence` sends it"));
        assert!(refused("{seq").contains("`{seq`: {conn} and"));
        for bad in ["{seq:0}", "{seq:21}", "{conn:u7be}", "{seq:-1}"] {
            refused(bad);
        }
        assert!(refused("\\q").contains("no escape"));
        assert!(refused("@/nowhere/at/all").contains("/nowhere/at/all: No such file"));
        assert!(refused(&"x".repeat(Message::LIMIT + 1)).contains("at most 32768 bytes"));
        assert!(refused("@/dev/zero").contains("at most 32768 bytes"));
    }

    #[test]
    fn a_file_is_sent_as_it_is_and_recorded_by_its_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("request");
        std::fs::write(&path, b"{seq}\\n\x00\xff").expect("written");
        let typed = format!("@{}", path.display());
        let message: Message = typed.parse().expect("valid");
        assert_eq!(
            message.pieces(),
            [Piece::Bytes(b"{seq}\\n\x00\xff".to_vec())]
        );
        drop(folder);
        assert_eq!(Message::read(&message.to_string()), Ok(message));
        // A record names no files.
        assert_eq!(
            Message::read("@file").expect("text").pieces(),
            [Piece::Bytes(b"@file".to_vec())]
        );
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let bytes = prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..20),
            "[{}a-z:@\\\\]{1,20}".prop_map(String::into_bytes),
        ];
        let form = prop_oneof![
            Just(Form::Decimal),
            (1..=MOST_DIGITS).prop_map(Form::Padded),
            Just(Form::Binary("u24le".parse().expect("valid"))),
        ];
        let counter = prop_oneof![Just(Counter::Connection), Just(Counter::Sequence)];
        let number = (counter, form).prop_map(|(counter, form)| Piece::Number(counter, form));
        // Bytes next to bytes would be one piece.
        let pair = (proptest::option::of(bytes), number);
        proptest::collection::vec(pair, 0..4).prop_flat_map(|pairs| {
            let head: Vec<Piece> = pairs
                .into_iter()
                .flat_map(|(bytes, number)| bytes.map(Piece::Bytes).into_iter().chain([number]))
                .collect();
            let tail = proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20));
            tail.prop_map(move |tail| {
                let mut all = head.clone();
                all.extend(tail.map(Piece::Bytes));
                all
            })
        })
    }

    proptest! {
        #[test]
        fn a_message_survives_being_written(pieces in pieces()) {
            let message = Message { pieces };
            let text = message.to_string();
            prop_assert_eq!(text.parse::<Message>(), Ok(message.clone()), "{}", text);
            prop_assert_eq!(Message::read(&text), Ok(message));
        }
    }
}
