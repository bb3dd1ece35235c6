//! Values that are determined by their keys, and the answers to GET that have to be one of them.

use super::digits::digits;
use super::{CRLF, HIT, MISS, NIL, answer};
use crate::base::hash::mix;
use crate::load::choice::{Choice, Order};
use crate::load::commands::{Commands, DIGITS, ValueSizes};
use crate::protocol::{Framing, Received, match_piece};

/// Draws from a seed differ by what they are for.
const SIZES: u64 = 0x6b_7369_7a65;
const LETTERS: u64 = 0x6c65_7474_6572;

/// Letters of a value begin at one of so many places.
const PLACES: usize = 1024;

/// What the value of every key is.
#[derive(Clone, Debug)]
pub(super) struct Values {
    /// Letters and digits that look random.
    letters: Vec<u8>,
    /// The sizes in bytes, each with what stands before a string of this size.
    sizes: Vec<(usize, Vec<u8>)>,
    /// Which of the sizes a key's value has.
    choice: Choice,
    seed: u64,
}

impl Values {
    /// `letters(length)` makes letters that look random.
    pub(super) fn new(asked: &Commands, seed: u64, letters: impl Fn(usize) -> Vec<u8>) -> Self {
        let sizes: &ValueSizes = &asked.value_sizes;
        let largest = sizes.sizes().max().unwrap_or(0) as usize;
        let with_head = |size: u32| (size as usize, format!("${size}\r\n").into_bytes());
        Self {
            letters: letters(largest + PLACES),
            sizes: sizes.sizes().map(with_head).collect(),
            // By key alone, whoever asks.
            choice: Choice::new(&sizes.weights(), Order::Random, seed ^ SIZES, 1),
            seed: mix(seed ^ LETTERS),
        }
    }

    /// Which of the sizes a key's value has.
    pub(super) fn size_of(&self, key: u64) -> usize {
        self.choice.pick(0, key)
    }

    /// The value of a key: the last digits of its number, as many as there is room for, and letters from a place on that
    /// depends on the key.
    pub(super) fn of(&self, key: u64) -> Value<'_> {
        let (size, head) = &self.sizes[self.size_of(key)];
        let stamp = DIGITS.min(*size);
        let from = mix(self.seed ^ key) as usize % PLACES;
        Value {
            head,
            digits: digits(key),
            stamp,
            letters: &self.letters[from..from + size - stamp],
        }
    }
}

/// One value.
pub(super) struct Value<'a> {
    head: &'a [u8],
    digits: [u8; DIGITS],
    /// How many of the digits belong to it.
    stamp: usize,
    letters: &'a [u8],
}

impl Value<'_> {
    /// Its bytes, in two parts.
    pub(super) fn content(&self) -> [&[u8]; 2] {
        [&self.digits[DIGITS - self.stamp..], self.letters]
    }

    /// The answer that it is, in parts.
    fn answer(&self) -> [&[u8]; 4] {
        let [digits, letters] = self.content();
        [self.head, digits, letters, CRLF]
    }
}

/// Reads a piece of the answer to a GET whose key has this value, if it is there.
pub(super) fn receive(framing: &mut Framing, value: &Value<'_>, input: &[u8]) -> Received {
    let begins = framing.is_untouched();
    let goes_on = !begins && framing.status() == HIT && framing.matched > 0;
    let is_negative = match framing.matched {
        0 => input.starts_with(b"$-"),
        _ => framing.matched == 1 && input.starts_with(b"-"),
    };
    if !is_negative && (goes_on || (begins && input.starts_with(b"$"))) {
        framing.set_status(HIT);
        return compare(framing, value, input);
    }
    if goes_on {
        // Its first byte was one of a string that is there, too.
        (framing.matched, framing.left) = (0, 1);
        framing.held = b"$".to_vec();
        framing.set_status(0);
    }
    match answer::receive(framing, input) {
        Received::Done { ok: true, .. } if framing.status() != NIL => {
            framing.say("an answer that is neither a string nor nil".into());
            Received::Mismatch
        }
        done @ Received::Done { ok: true, .. } => {
            framing.set_status(MISS);
            done
        }
        other => other,
    }
}

fn compare(framing: &mut Framing, value: &Value<'_>, input: &[u8]) -> Received {
    let parts = value.answer();
    let total = parts.iter().map(|part| part.len()).sum();
    match_piece(
        framing,
        total,
        input,
        |from, piece| is_within(parts, from, piece),
        |from, out| copy_within(parts, from, out),
    )
}

/// Whether the parts together have this piece at `from`.
fn is_within(parts: [&[u8]; 4], mut from: usize, mut piece: &[u8]) -> bool {
    for part in parts {
        let rest = &part[from.min(part.len())..];
        from = from.saturating_sub(part.len());
        let (here, after) = piece.split_at(rest.len().min(piece.len()));
        if *here != rest[..here.len()] {
            return false;
        }
        piece = after;
    }
    piece.is_empty()
}

/// Copies what the parts together have from `from` on; returns how much that was.
fn copy_within(parts: [&[u8]; 4], mut from: usize, out: &mut [u8]) -> usize {
    let mut filled = 0;
    for part in parts {
        let rest = &part[from.min(part.len())..];
        from = from.saturating_sub(part.len());
        let length = rest.len().min(out.len() - filled);
        out[filled..filled + length].copy_from_slice(&rest[..length]);
        filled += length;
    }
    filled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::commands::KeyDistribution;

    fn values(sizes: &str, seed: u64) -> Values {
        let asked = Commands {
            commands: vec!["GET __key__".into()],
            ratios: vec![1],
            order: Order::Sequential,
            keys: 1000,
            key_distribution: KeyDistribution::Uniform,
            key_prefix: "key:".into(),
            value_sizes: sizes.parse().expect("sizes"),
            verify_values: true,
        };
        let letters = |length| {
            (0..length)
                .map(|at| b'a' + (mix(at as u64) % 26) as u8)
                .collect()
        };
        Values::new(&asked, seed, letters)
    }

    fn answer_of(values: &Values, key: u64) -> Vec<u8> {
        values.of(key).answer().concat()
    }

    /// The last result, and how much was consumed in all.
    fn feed(values: &Values, key: u64, answer: &[u8], cut: usize) -> (Received, usize, Framing) {
        let mut framing = Framing::default();
        let cut = cut.clamp(1, answer.len());
        match receive(&mut framing, &values.of(key), &answer[..cut]) {
            Received::More => {
                let received = receive(&mut framing, &values.of(key), &answer[cut..]);
                let more = match received {
                    Received::Done { consumed, .. } => consumed,
                    _ => 0,
                };
                (received, cut + more, framing)
            }
            done @ Received::Done { consumed, .. } => (done, consumed, framing),
            other => (other, 0, framing),
        }
    }

    #[test]
    fn an_answer_is_a_hit_a_miss_an_error_or_wrong_over_every_split() {
        let values = values("0:1,5:1,12:1,64:1", 7);
        for key in 0..40 {
            let own = answer_of(&values, key);
            let other = answer_of(&values, key + 1);
            let table: [(&[u8], Option<u16>); 8] = [
                (&own, Some(HIT)),
                (b"$-1\r\n", Some(MISS)),
                (b"_\r\n", Some(MISS)),
                (b"-ERR no\r\n", Some(0)),
                (b"!5\r\nERR a\r\n", Some(0)),
                (b"+OK\r\n", None),
                (b":5\r\n", None),
                (b"*1\r\n$1\r\na\r\n", None),
            ];
            for (answer, status) in table {
                for cut in 1..=answer.len() {
                    let (received, consumed, mut framing) = feed(&values, key, answer, cut);
                    let text = String::from_utf8_lossy(answer);
                    match status {
                        Some(status) => {
                            let ok = status != 0;
                            assert!(
                                matches!(received, Received::Done { ok: said, .. } if said == ok),
                                "{text} {cut}: {received:?}"
                            );
                            assert_eq!((consumed, framing.status()), (answer.len(), status));
                            let _ = framing.take_words();
                            assert!(framing.is_untouched());
                        }
                        None => {
                            assert_eq!(received, Received::Mismatch, "{text} {cut}");
                            assert!(!framing.take_words().is_empty());
                        }
                    }
                }
            }
            // Another key's value is wrong, unless both are empty.
            if own != other {
                assert_eq!(
                    feed(&values, key, &other, other.len()).0,
                    Received::Mismatch
                );
            }
        }
    }

    #[test]
    fn values_of_twelve_bytes_and_more_are_each_keys_own() {
        for sizes in ["12", "13:1,100:1"] {
            let values = values(sizes, 3);
            let all: std::collections::BTreeSet<_> = (0..5000)
                .map(|key| values.of(key).content().concat())
                .collect();
            assert_eq!(all.len(), 5000, "{sizes}");
        }
        let (one, other) = (values("64", 3), values("64", 4));
        assert_ne!(answer_of(&one, 5), answer_of(&other, 5));
        assert_eq!(answer_of(&one, 5), answer_of(&values("64", 3), 5));
    }

    proptest! {
        #[test]
        fn a_byte_that_differs_is_seen(key in 0u64..1000, at in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), flip in 1u8..) {
            let values = values("5:1,64:1,300:1", 7);
            let mut answer = answer_of(&values, key);
            let at = at.index(answer.len() - 1) + 1;
            answer[at] ^= flip;
            let nil = answer.starts_with(b"$-1\r\n");
            let (received, _, _) = feed(&values, key, &answer, cut.index(answer.len()));
            prop_assert!(nil || matches!(received, Received::Mismatch | Received::Garbage | Received::More), "{received:?}");
            prop_assert!(answer.starts_with(b"$-") || received == Received::Mismatch);
        }
    }
}
