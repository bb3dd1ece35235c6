//! How the end of an answer is known, and what it has to be.

use std::fmt;
use std::str::FromStr;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use serde::{Deserialize, Serialize};

use super::bytes::{escaped, unescaped};
use super::integer::Integer;
use super::message::Message;
use crate::base::units::parse_count;

/// The longest answer that has a length, 1 GiB.
pub const MOST_BYTES: u32 = 1 << 30;

/// The longest delimiter.
const MOST_DELIMITER: usize = 256;

/// The longest exact answer: it is recorded beside the message.
const MOST_TEXT: usize = 8 * 1024;

/// The furthest that a length may stand from the beginning.
const MOST_OFFSET: u16 = 1024;

const RULES: &str = "delimiter:\\r\\n, line:^OK, text:pong\\n, hex:00ff, bytes:64, length:u32be, close (until the \
                     server closes), or none for a server that never answers";

/// What an answer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rule {
    /// There is none.
    Nothing,
    /// Exactly these bytes.
    Text(Message),
    /// Everything up to these bytes, and they.
    Delimiter(Vec<u8>),
    /// This many bytes.
    Bytes(u32),
    /// As many bytes as a number in it says.
    Length(LengthField),
    /// A line that matches.
    Line(Pattern),
    /// Everything until the server closes the connection.
    UntilClose,
}

/// Where an answer says how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthField {
    /// Bytes before the number.
    pub offset: u16,
    /// What the number is.
    pub integer: Integer,
    /// How many more bytes follow it than it says; fewer where it counts some that stand before its own end.
    pub extra: i64,
}

/// A regular expression (in the syntax of the `regex` crate, over bytes, with ASCII classes).
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Whether it is found in these bytes.
    #[must_use]
    pub fn is_match(&self, line: &[u8]) -> bool {
        self.regex.is_match(line)
    }

    /// As it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What servers say is bytes, and `\d` the ten digits of a protocol.
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let config = Regex::config().utf8_empty(false);
        let regex = Regex::builder()
            .syntax(syntax)
            .configure(config)
            .build(text);
        let regex = regex.map_err(|error| {
            let words = match error.syntax_error() {
                Some(error) => error.to_string(),
                None => error.to_string(),
            };
            let last = words.lines().last().unwrap_or_default().trim();
            let last = last.strip_prefix("error: ").unwrap_or(last);
            format!("`{text}` is no regular expression: {last}")
        })?;
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }
}

impl FromStr for LengthField {
    type Err = String;

    /// Reads `TYPE[@OFFSET][+N|-N]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "`length:{text}`: {what}; give TYPE[@OFFSET][+N|-N], such as length:u32be@4 (a number in 4 bytes \
                 after 4 others, which says how many follow it), -4 where it counts itself"
            )
        };
        let sign = text.find(['+', '-']).unwrap_or(text.len());
        let (place, extra) = text.split_at(sign);
        let (integer, offset) = place.split_once('@').unwrap_or((place, "0"));
        let integer = integer.parse().map_err(|why: String| wrong(&why))?;
        let offset: u16 = match offset.parse() {
            Ok(offset @ 0..=MOST_OFFSET) => offset,
            _ => {
                let what = format!("an offset is from 0 to {MOST_OFFSET}");
                return Err(wrong(&what));
            }
        };
        let extra: i64 = match extra {
            "" => 0,
            _ => extra
                .parse()
                .map_err(|_| wrong("what is added is a whole number"))?,
        };
        if extra.unsigned_abs() > u64::from(MOST_BYTES) {
            return Err(wrong("no answer is so long"));
        }
        Ok(Self {
            offset,
            integer,
            extra,
        })
    }
}

impl fmt::Display for LengthField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.integer, self.offset)?;
        match self.extra {
            0 => Ok(()),
            extra => write!(f, "{extra:+}"),
        }
    }
}

impl Rule {
    /// Whether there are answers at all.
    #[must_use]
    pub fn answers(&self) -> bool {
        *self != Self::Nothing
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::Nothing),
            "close" => return Ok(Self::UntilClose),
            _ => {}
        }
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(format!("`{text}` is no rule: give {RULES}"));
        };
        let non_empty = |length: usize, most: usize| match length {
            0 => Err(format!("`{text}`: nothing follows the colon")),
            _ if length > most => Err(format!("`{kind}:` takes at most {most} bytes")),
            _ => Ok(()),
        };
        match kind {
            "delimiter" => {
                let bytes = unescaped(rest)?;
                non_empty(bytes.len(), MOST_DELIMITER)?;
                Ok(Self::Delimiter(bytes))
            }
            "text" | "hex" => {
                non_empty(rest.trim().len(), 2 * MOST_TEXT)?;
                Message::read(text).map(Self::Text)
            }
            "bytes" => match parse_count(rest)? {
                count if (1..=u64::from(MOST_BYTES)).contains(&count) => {
                    Ok(Self::Bytes(count as u32))
                }
                _ => Err(format!("`{text}`: from 1 to {MOST_BYTES} bytes")),
            },
            "length" => rest.parse().map(Self::Length),
            "line" => {
                non_empty(rest.len(), MOST_TEXT)?;
                rest.parse().map(Self::Line)
            }
            _ => Err(format!("`{kind}:` is no rule: give {RULES}")),
        }
    }
}

crate::base::text::kept_as_text!(Rule);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::UntilClose => f.write_str("close"),
            Self::Text(message) => {
                let text = message.to_string();
                let has_kind = text.starts_with("text:") || text.starts_with("hex:");
                write!(f, "{}{text}", if has_kind { "" } else { "text:" })
            }
            Self::Delimiter(bytes) => {
                let text: String = bytes.iter().copied().map(escaped).collect();
                write!(f, "delimiter:{text}")
            }
            Self::Bytes(count) => write!(f, "bytes:{count}"),
            Self::Length(field) => write!(f, "length:{field}"),
            Self::Line(pattern) => write!(f, "line:{}", pattern.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_survive_being_written() {
        for (typed, written) in [
            ("none", "none"),
            ("close", "close"),
            ("delimiter:\\r\\n", "delimiter:\\r\\n"),
            ("delimiter:{end}", "delimiter:{end}"),
            ("delimiter:\\x00", "delimiter:\\x00"),
            ("bytes:1k", "bytes:1000"),
            ("length:u16be", "length:u16be@0"),
            ("length:u32le@4+2", "length:u32le@4+2"),
            ("length:u32be@1-4", "length:u32be@1-4"),
            ("line:^[23]\\d\\d ", "line:^[23]\\d\\d "),
            ("text:VALUE {conn} {seq:3}", "text:VALUE {conn} {seq:3}"),
            ("text:text:a", "text:text:a"),
            ("text:hex:a", "text:hex:a"),
            ("hex:00FF0102", "hex:00ff0102"),
        ] {
            let rule: Rule = typed.parse().expect(typed);
            let again = rule.to_string();
            assert_eq!(again.parse(), Ok(rule), "{again}");
            let json = serde_json::to_string(&again.parse::<Rule>().expect("valid"));
            let back: Rule = serde_json::from_str(&json.expect("written")).expect("read");
            assert_eq!(back.to_string(), again);
            assert_eq!(again, written);
        }
    }

    #[test]
    fn what_is_no_rule_is_answered_with_those_there_are() {
        let refused = |text: &str| text.parse::<Rule>().expect_err(text);
        assert!(refused("\\r\\n").contains("delimiter:\\r\\n, line:"));
        assert!(refused("delimeter:x").contains("`delimeter:` is no rule"));
        assert!(refused("line:(").contains("unclosed group"));
        for (bad, why) in [
            ("delimiter:", "nothing follows"),
            ("text:", "nothing follows"),
            ("bytes:0", "from 1 to"),
            ("bytes:2g", "not a whole number"),
            ("length:u32", "none of u8"),
            ("length:u32be@1025", "an offset is"),
            ("length:u32be@-1", "an offset is"),
            ("length:u32be+x", "a whole number"),
            ("length:u32be+9999999999", "no answer is so long"),
        ] {
            assert!(refused(bad).contains(why), "{bad}: {}", refused(bad));
        }
        assert!(refused(&format!("delimiter:{}", "x".repeat(257))).contains("at most 256"));
    }
}
