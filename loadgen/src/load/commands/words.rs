//! A command's words, split as a shell or redis-cli would, and what is to be filled into them.

/// Digits of a number that is filled in, as redis-benchmark writes them.
pub const DIGITS: usize = 12;

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that are sent as they are.
    Text(Vec<u8>),
    /// A key: the prefix and its number.
    Key,
    /// A number alone.
    Number,
    /// A value.
    Value,
}

/// One word of a command.
pub type Word = Vec<Piece>;

/// What is filled in, by what stands for it: ours, memtier_benchmark's and redis-benchmark's.
const PLACEHOLDERS: [(&str, Piece); 4] = [
    ("__key__", Piece::Key),
    ("__value__", Piece::Value),
    ("__data__", Piece::Value),
    ("__rand_int__", Piece::Number),
];

/// Reads a command.
///
/// # Errors
/// The command, and what is wrong with it.
pub fn parse(command: &str) -> Result<Vec<Word>, String> {
    let said = |what: &str| format!("`{command}`: {what}");
    let words = split(command).map_err(said)?;
    match words.is_empty() {
        true => Err(said("a command has at least one word")),
        false => Ok(words.iter().map(|word| pieces(word)).collect()),
    }
}

/// The words, divided by blanks; within quotes blanks belong to them, and within double ones `\n`, `\r`, `\t`, `\xHH`,
/// `\\` and `\"` are what they stand for.
fn split(command: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<Vec<u8>>, None);
    let mut bytes = command.bytes();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), byte) if byte == open => quote = None,
            (Some(b'"'), b'\\') => {
                let escaped =
                    escaped(&mut bytes).ok_or("an escape is one of \\n \\r \\t \\xHH \\\\ \\\"")?;
                word.get_or_insert_default().push(escaped);
            }
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b' ' | b'\t' | b'\n' | b'\r') => words.extend(word.take()),
            (_, byte) => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

fn escaped(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    match bytes.next()? {
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        byte @ (b'\\' | b'"') => Some(byte),
        b'x' => {
            let high = digit(bytes.next())?;
            let low = digit(bytes.next())?;
            Some((high * 16 + low) as u8)
        }
        _ => None,
    }
}

fn pieces(word: &[u8]) -> Word {
    let (mut pieces, mut text, mut at) = (Vec::new(), Vec::new(), 0);
    while at < word.len() {
        let here = PLACEHOLDERS
            .iter()
            .find(|(name, _)| word[at..].starts_with(name.as_bytes()));
        match here {
            Some((name, piece)) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece.clone());
                at += name.len();
            }
            None => {
                text.push(word[at]);
                at += 1;
            }
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn words_are_split_and_placeholders_found() {
        let words =
            parse(r#" HSET  a:__key__:b __rand_int__ 'x y' "z\n\x41\"" __data____value__ """#)
                .expect("words");
        assert_eq!(
            words,
            [
                vec![text("HSET")],
                vec![text("a:"), Piece::Key, text(":b")],
                vec![Piece::Number],
                vec![text("x y")],
                vec![text("z\nA\"")],
                vec![Piece::Value, Piece::Value],
                vec![],
            ]
        );
        for bad in ["", "  ", "SET 'a", "SET \"a", r#"SET "\q""#, r#"SET "\x4""#] {
            assert!(parse(bad).expect_err(bad).starts_with('`'), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_splitting(command in "[ A-Za-z_'\"\\\\x4]{0,40}") {
            let _ = parse(&command);
        }
    }
}
