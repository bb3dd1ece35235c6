//! From messages to lines and back.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest line, its end included.
const LINE: usize = 16 * 1024;

/// Text in one piece, in bytes: with every character escaped it still fits a line.
const PIECE: usize = 7 * 1024;

/// The largest message, but for an outcome: a second of the window with every value in use takes 80 KB.
pub const SMALL: usize = 256 * 1024;

/// The largest message with an outcome in it: its seconds are joined beyond 64 MiB.
pub const LARGE: usize = 96 << 20;

/// Values in one message at most, by the characters that stand between them: each takes some hundred bytes once it is
/// read, whatever it took in the text.
const VALUES: usize = 400_000;

/// Why what was read is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A line has no end where every line has one.
    #[error("a line of more than {LINE} bytes")]
    LongLine,
    /// More than a message may have.
    #[error("a message of more than {0} bytes")]
    LongMessage(usize),
    /// Pieces that do not follow each other.
    #[error("a piece out of turn")]
    Piece,
    /// More values than any message has.
    #[error("a message of more than {VALUES} values")]
    ManyValues,
    /// It is none of the messages there are.
    #[error("{0}")]
    Nonsense(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    piece: Part,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    number: u64,
    of: u64,
    text: String,
}

/// The lines of a message.
#[must_use]
pub fn lines_of(message: &impl Serialize) -> Vec<u8> {
    // Ours have no maps but of strings, and serialise.
    let text = serde_json::to_string(message).unwrap_or_default();
    if text.len() < PIECE {
        return (text + "\n").into_bytes();
    }
    let pieces = split(&text);
    let of = pieces.len() as u64;
    let mut lines = Vec::with_capacity(text.len() * 5 / 4);
    for (number, text) in (0..).zip(pieces) {
        let text = text.to_owned();
        let piece = Piece {
            piece: Part { number, of, text },
        };
        // Memory takes all that is written.
        let _ = serde_json::to_writer(&mut lines, &piece);
        lines.push(b'\n');
    }
    lines
}

fn split(text: &str) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let mut end = rest.len().min(PIECE);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Reads messages out of bytes as they come. After an error it reads nothing more.
#[derive(Debug)]
pub struct Reader {
    received: Vec<u8>,
    whole: String,
    next: u64,
    of: u64,
    most: usize,
    error: Option<WireError>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            received: Vec::new(),
            whole: String::new(),
            next: 0,
            of: 0,
            most: SMALL,
            error: None,
        }
    }
}

impl Reader {
    /// Expects messages of up to so many bytes from now on.
    pub fn expect(&mut self, most: usize) {
        self.most = most;
    }

    /// Takes in what was received. What is in it has to be taken out with [`Reader::take`] before more comes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.received.extend_from_slice(bytes);
        }
    }

    /// Whether nothing was begun that has not ended.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.received.is_empty() && self.of == 0
    }

    /// The next message; `None` before it is there whole.
    ///
    /// # Errors
    /// What is wrong, now and ever after.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        let read = match &self.error {
            Some(error) => Err(error.clone()),
            None => self.read(),
        };
        read.inspect_err(|error| {
            self.received = Vec::new();
            self.whole = String::new();
            self.error = Some(error.clone());
        })
    }

    fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        let mut from = 0;
        let mut found = Ok(None);
        while let Some(length) = self.received[from..].iter().position(|byte| *byte == b'\n') {
            let line = from..from + length;
            from += length + 1;
            if length >= LINE {
                return Err(WireError::LongLine);
            }
            let text = std::str::from_utf8(&self.received[line])
                .map_err(|_| WireError::Nonsense("not UTF-8".into()))?;
            found = match text.starts_with("{\"piece\":") {
                false if self.of > 0 => Err(WireError::Piece),
                false => parse(text).map(Some),
                true => {
                    let Piece { piece } = parse(text)?;
                    join(
                        &mut self.whole,
                        &mut self.next,
                        &mut self.of,
                        piece,
                        self.most,
                    )?
                    .map(|whole| parse(&whole))
                    .transpose()
                }
            };
            if !matches!(found, Ok(None)) {
                break;
            }
        }
        self.received.drain(..from);
        match found {
            Ok(None) if self.received.len() >= LINE => Err(WireError::LongLine),
            found => found,
        }
    }
}

/// Adds a piece; the whole once it is the last.
fn join(
    whole: &mut String,
    next: &mut u64,
    of: &mut u64,
    piece: Part,
    most: usize,
) -> Result<Option<String>, WireError> {
    let is_next =
        piece.number == *next && (*of == piece.of || *next == 0) && piece.number < piece.of;
    if !is_next {
        return Err(WireError::Piece);
    }
    if whole.len() + piece.text.len() > most {
        return Err(WireError::LongMessage(most));
    }
    whole.push_str(&piece.text);
    (*next, *of) = (piece.number + 1, piece.of);
    if *next < *of {
        return Ok(None);
    }
    (*next, *of) = (0, 0);
    Ok(Some(std::mem::take(whole)))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, WireError> {
    let separators = text.bytes().filter(|byte| b",:[{".contains(byte)).count();
    if separators > VALUES {
        return Err(WireError::ManyValues);
    }
    serde_json::from_str(text).map_err(|error| WireError::Nonsense(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::{Order, Said};
    use super::*;

    fn read_all(bytes: &[u8], step: usize) -> Result<Vec<String>, WireError> {
        let (mut reader, mut all) = (Reader::default(), Vec::new());
        for chunk in bytes.chunks(step.max(1)) {
            reader.push(chunk);
            while let Some(message) = reader.take::<String>()? {
                all.push(message);
            }
        }
        assert!(reader.received.len() < LINE);
        Ok(all)
    }

    fn lines(texts: &[String]) -> Vec<Vec<u8>> {
        let bytes: Vec<u8> = texts.iter().flat_map(lines_of).collect();
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn messages_survive_however_they_are_cut(texts in proptest::collection::vec("(\"|\\\\|é|[a-z\n]){0,30}", 0..5),
                                                 long in 0usize..40_000, step in 1usize..20_000) {
            let mut texts = texts;
            texts.push("\"é".repeat(long / 3));
            prop_assert_eq!(read_all(&lines(&texts).concat(), step), Ok(texts));
        }

        /// Whatever happens to the lines, nothing is read that was not said, and nothing that was begun is left out.
        #[test]
        fn lines_lost_doubled_or_exchanged_are_an_error_or_other_whole_messages(
            length in 1usize..60_000, short in 0usize..3, at in any::<prop::sample::Index>(),
            with in any::<prop::sample::Index>(), change in 0..3,
        ) {
            let mut said = vec!["x".repeat(length)];
            said.extend((0..short).map(|number| format!("short {number}")));
            let mut lines = lines(&said);
            let (at, with) = (at.index(lines.len()), with.index(lines.len()));
            match change {
                0 => drop(lines.remove(at)),
                1 => lines.insert(with, lines[at].clone()),
                _ => lines.swap(at, with),
            }
            if let Ok(read) = read_all(&lines.concat(), 4096) {
                prop_assert!(read.iter().all(|message| said.contains(message)));
            }
        }

        #[test]
        fn arbitrary_bytes_neither_crash_nor_fill_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..30_000), step in 1usize..9000) {
            let _ = read_all(&bytes, step);
            let mut reader = Reader::default();
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.take::<Said>() {}
            prop_assert!(reader.received.len() < LINE);
        }
    }

    #[test]
    fn sizes_have_ends() {
        let mut reader = Reader::default();
        reader.push(&vec![b' '; LINE]);
        assert_eq!(reader.take::<String>(), Err(WireError::LongLine));
        reader.push(b"\"ok\"\n");
        assert_eq!(reader.take::<String>(), Err(WireError::LongLine));
        let long = lines_of(&"x".repeat(SMALL + 1));
        assert_eq!(read_all(&long, 8000), Err(WireError::LongMessage(SMALL)));
        let mut patient = Reader::default();
        patient.expect(LARGE);
        patient.push(&long);
        assert!(matches!(patient.take::<String>(), Ok(Some(text)) if text.len() == SMALL + 1));
        let many = format!("[{}1]", "1,".repeat(VALUES));
        assert!(matches!(
            parse::<serde_json::Value>(&many),
            Err(WireError::ManyValues)
        ));
    }

    #[test]
    fn unknown_messages_and_unknown_keys_are_refused() {
        let bad = [
            r#"{"shell":"true"}"#,
            r#"{"go":{"at_ns":1,"command":"true"}}"#,
            r#"{"go":{"at_ns":-1}}"#,
            r#"{"hello":{"protocol":1}}"#,
            r#""quit""#,
            "phase ramp",
            "",
        ];
        for text in bad {
            let mut reader = Reader::default();
            reader.push(format!("{text}\n").as_bytes());
            let read = reader.take::<Order>();
            assert!(matches!(read, Err(WireError::Nonsense(_))), "{text}");
        }
        let mut reader = Reader::default();
        reader.push(b"\"alive\"\n{\"go\":{\"at_ns\":null}}\n");
        assert_eq!(reader.take(), Ok(Some(Order::Alive)));
        assert_eq!(reader.take(), Ok(Some(Order::Go { at_ns: None })));
        assert_eq!(reader.take::<Order>(), Ok(None));
        assert!(reader.is_between_messages());
    }
}
