//! Text of other people, fit to be shown: from a peer, a command line or a file.

/// The text with everything written out that a reader would obey instead of showing: control characters, and those
/// that turn the direction of writing (Unicode UAX #9 §2), with which what is shown is not what is there.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || turns_direction(letter) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// What somebody printed, on one line: line feeds, carriage returns and tabs become blanks, and the rest is made
/// [`visible`].
#[must_use]
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split(['\n', '\r', '\t']).collect();
    visible(words.join(" ").trim())
}

/// Whether a character changes the direction of those around it, unseen.
fn turns_direction(letter: char) -> bool {
    matches!(
        letter,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// How many bytes of what a peer sent are shown.
pub const SHOWN: usize = 80;

/// The beginning of what a peer sent, fit to be printed.
#[must_use]
pub fn words_of(bytes: &[u8]) -> String {
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string();
    if bytes.len() > SHOWN {
        shown + "…"
    } else {
        shown
    }
}

/// Has records keep a type as the text that its `Display` writes and its `FromStr` reads: for
/// `#[serde(into = "String", try_from = "String")]`.
macro_rules! kept_as_text {
    ($name:ty) => {
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    };
}
pub(crate) use kept_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(visible("a\u{1b}[31m\n"), r"a\u{1b}[31m\u{a}");
        assert_eq!(
            visible("\u{202e}gpj.exe\u{2069}"),
            r"\u{202e}gpj.exe\u{2069}"
        );
        assert_eq!(visible("数据 ≥ 5 µs"), "数据 ≥ 5 µs");
        assert_eq!(one_line("\ta\r\n\u{1b}[31mb\n"), r"a  \u{1b}[31mb");
        assert_eq!(words_of(b"\x1b[2J\xff"), r"\x1b[2J\xff");
        assert_eq!(words_of(&[b'a'; 100]), "a".repeat(80) + "…");
        assert_eq!(words_of(&[b'a'; 80]), "a".repeat(80));
    }
}
