//! Protocols that this program does not know: what is sent (`--send`), and what an answer is (`--expect`, `--greeting`).

mod bytes;
mod integer;
mod message;
mod rule;

use crate::base::hash::mix;

pub use integer::Integer;
pub use message::{Counter, Form, Message, Piece};
pub use rule::{LengthField, MOST_BYTES, Pattern, Rule};

/// The longest words that are said in full.
const TOLD: usize = 200;

/// What is said in an own protocol, in words that end in a digest where they are long.
pub(super) fn in_words(send: Option<&Message>, expect: &Rule, greeting: Option<&Rule>) -> String {
    let parts = [
        greeting.map(|greeting| format!("greeting {greeting}")),
        send.map(|send| format!("send {send}")),
        Some(format!("expect {expect}")),
    ];
    let words = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if words.len() <= TOLD {
        return words;
    }
    let digest = words
        .bytes()
        .fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    let beginning: String = words.chars().take(TOLD / 2).collect();
    format!("{beginning}…, digest {digest:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_differ_where_what_is_said_does() {
        let words = |send: &str| {
            let (send, rule) = (send.parse().expect("a message"), "line:^250 ".parse());
            in_words(Some(&send), &rule.expect("a rule"), None)
        };
        assert_eq!(words("NOOP\\r\\n"), "send NOOP\\r\\n, expect line:^250 ");
        let (one, other) = ("x".repeat(1000), "x".repeat(1001));
        assert!(words(&one).contains("…, digest ") && words(&one).len() < 150);
        assert_ne!(words(&one), words(&other));
    }
}
