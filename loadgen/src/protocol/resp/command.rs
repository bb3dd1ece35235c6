//! Commands as they are sent: each is built once for each size of its values, with room for the numbers that differ
//! from request to request.

use super::digits::digits;
use super::keys::Keys;
use super::value::{Value, Values};
use super::{CRLF, copy_from};
use crate::base::hash::mix;
use crate::load::choice::Order;
use crate::load::choice::{Choice, random};
use crate::load::commands::{Commands, DIGITS, Piece, Word, is_verified};
use crate::protocol::RequestId;

/// Draws from a seed differ by what they are for.
const KEYS: u64 = 0x6b65_7973;
const SIZES: u64 = 0x7369_7a65;
const VALUES: u64 = 0x7661_6c75;

/// The commands of one load.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Each command with its sizes in a row.
    commands: Vec<Vec<Ready>>,
    choice: Choice,
    sizes: Choice,
    keys: Keys,
    seed: u64,
    /// What is known of values; `None` where they do not depend on their keys.
    verified: Option<Verified>,
}

/// Values that are determined by their keys.
#[derive(Clone, Debug)]
struct Verified {
    values: Values,
    /// Of each command: whether it is a GET whose answer is compared.
    is_get: Vec<bool>,
}

/// A command with one size of values.
#[derive(Clone, Debug)]
struct Ready {
    bytes: Vec<u8>,
    /// Where numbers of [`DIGITS`] digits stand.
    numbers: Vec<usize>,
    /// Where its last value stands, if it has one.
    value: Option<usize>,
}

impl Sent {
    /// The commands that a load of `population` connections asks for.
    ///
    /// # Panics
    /// Where a command cannot be read, which [`crate::load::Load::new`] has checked.
    #[must_use]
    pub fn new(asked: &Commands, seed: u64, population: u64) -> Self {
        let words = asked
            .words()
            .expect("commands were read when the load was made");
        let value = values_of(asked.value_sizes.sizes().max().unwrap_or(0) as usize, seed);
        let ready = |words: &Vec<Word>| {
            let has_value = words.iter().flatten().any(|piece| *piece == Piece::Value);
            let sizes = asked
                .value_sizes
                .sizes()
                .take(if has_value { usize::MAX } else { 1 });
            sizes
                .map(|size| Ready::new(words, &asked.key_prefix, &value[..size as usize]))
                .collect()
        };
        Self {
            commands: words.iter().map(ready).collect(),
            choice: Choice::new(&asked.ratios, asked.order, seed, population),
            sizes: Choice::new(
                &asked.value_sizes.weights(),
                Order::Random,
                seed ^ SIZES,
                population,
            ),
            keys: Keys::new(asked.keys, asked.key_distribution),
            seed: mix(seed ^ KEYS),
            verified: asked.verify_values.then(|| Verified {
                values: Values::new(asked, seed, |length| values_of(length, seed)),
                is_get: words.iter().map(|words| is_verified(words)).collect(),
            }),
        }
    }

    /// Which of the commands a request is.
    fn which(&self, id: RequestId) -> usize {
        match self.commands.len() {
            1 => 0,
            _ => self.choice.pick(id.connection, id.sequence),
        }
    }

    fn ready(&self, id: RequestId) -> &Ready {
        match self.commands[self.which(id)].as_slice() {
            [only] => only,
            sizes => match &self.verified {
                None => &sizes[self.sizes.pick(id.connection, id.sequence)],
                Some(verified) => &sizes[verified.values.size_of(self.key(id))],
            },
        }
    }

    /// The number at a place of a request.
    fn number(&self, id: RequestId, place: u64) -> u64 {
        let base = random(self.seed, id.connection, id.sequence);
        self.keys.draw(mix(base ^ place))
    }

    /// The key of a request that has but one.
    fn key(&self, id: RequestId) -> u64 {
        self.number(id, 0)
    }

    /// What a request's answer has to be if the key is there; `None` where any answer will do.
    #[inline]
    pub(super) fn expected(&self, id: RequestId) -> Option<Value<'_>> {
        let verified = self.verified.as_ref()?;
        verified.is_get[self.which(id)].then(|| verified.values.of(self.key(id)))
    }

    /// Length of a request in bytes.
    #[must_use]
    pub fn request_len(&self, id: RequestId) -> u32 {
        self.ready(id).bytes.len() as u32
    }

    /// Writes the bytes of a request from `offset` on into `out`.
    pub fn fill(&self, id: RequestId, offset: u32, out: &mut [u8]) -> usize {
        let ready = self.ready(id);
        let filled = copy_from(&ready.bytes, offset, out);
        let (start, out) = (offset as usize, &mut out[..filled]);
        for (place, at) in (0..).zip(&ready.numbers) {
            lay_over(out, start, *at, &digits(self.number(id, place)));
        }
        if let (Some(verified), Some(at)) = (&self.verified, ready.value) {
            let value = verified.values.of(self.key(id));
            let [digits, letters] = value.content();
            lay_over(out, start, at, digits);
            lay_over(out, start, at + digits.len(), letters);
        }
        filled
    }
}

/// Puts what stands at `at` of a request into `out`, which is the request from `start` on, as far as it is there.
fn lay_over(out: &mut [u8], start: usize, at: usize, bytes: &[u8]) {
    let (from, to) = (at.max(start), (at + bytes.len()).min(start + out.len()));
    if from < to {
        out[from - start..to - start].copy_from_slice(&bytes[from - at..to - at]);
    }
}

impl Ready {
    fn new(words: &[Word], prefix: &str, value: &[u8]) -> Self {
        let (mut bytes, mut numbers) = (format!("*{}\r\n", words.len()).into_bytes(), Vec::new());
        let mut at_value = None;
        for word in words {
            let (mut text, mut places, mut values) = (Vec::new(), Vec::new(), Vec::new());
            for piece in word {
                match piece {
                    Piece::Text(piece) => text.extend_from_slice(piece),
                    Piece::Value => {
                        values.push(text.len());
                        text.extend_from_slice(value);
                    }
                    Piece::Key | Piece::Number => {
                        let prefix = if *piece == Piece::Key { prefix } else { "" };
                        text.extend_from_slice(prefix.as_bytes());
                        places.push(text.len());
                        text.extend_from_slice(&[b'0'; DIGITS]);
                    }
                }
            }
            bytes.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            numbers.extend(places.iter().map(|place| bytes.len() + place));
            at_value = values.last().map(|place| bytes.len() + place).or(at_value);
            bytes.extend_from_slice(&text);
            bytes.extend_from_slice(CRLF);
        }
        Self {
            bytes,
            numbers,
            value: at_value,
        }
    }
}

/// Letters and digits that look random, so that neither side can make them smaller.
fn values_of(length: usize, seed: u64) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = (0..length as u64).map(|at| mix(seed ^ VALUES ^ (at << 32)));
    bits.map(|bits| LETTERS[(bits >> 58) as usize]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::commands::KeyDistribution;

    fn asked(commands: &[&str], ratios: &[u64]) -> Commands {
        Commands {
            commands: commands.iter().map(|text| (*text).to_owned()).collect(),
            ratios: ratios.to_vec(),
            order: Order::Sequential,
            keys: 1000,
            key_distribution: KeyDistribution::Uniform,
            key_prefix: "key:".into(),
            value_sizes: "3:1,5:1".parse().expect("sizes"),
            verify_values: false,
        }
    }

    fn id(connection: u32, sequence: u64) -> RequestId {
        RequestId {
            connection,
            sequence,
            last: false,
        }
    }

    fn whole(sent: &Sent, id: RequestId) -> Vec<u8> {
        let mut bytes = vec![0; sent.request_len(id) as usize];
        assert_eq!(sent.fill(id, 0, &mut bytes), bytes.len());
        bytes
    }

    #[test]
    fn commands_are_written_as_redis_reads_them() {
        let sent = Sent::new(
            &asked(
                &[
                    "SET __key__ x__value__",
                    "GET __key__",
                    "INCRBY n __rand_int__",
                ],
                &[1, 2, 1],
            ),
            7,
            1,
        );
        let text = |sequence| String::from_utf8(whole(&sent, id(0, sequence))).expect("text");
        let kinds: Vec<_> = (0..5)
            .map(|n| text(n).lines().nth(2).expect("a name").to_owned())
            .collect();
        assert_eq!(kinds, ["SET", "GET", "GET", "INCRBY", "SET"]);
        let set = text(0);
        let lines: Vec<&str> = set.split("\r\n").collect();
        assert_eq!((lines[0], lines[1], lines[3]), ("*3", "$3", "$16"));
        assert!(
            lines[4].starts_with("key:000000000") && lines[4].len() == 16,
            "{}",
            lines[4]
        );
        let size = lines[6].len();
        assert!(
            lines[5] == format!("${size}") && (size == 4 || size == 6),
            "{}",
            lines[5]
        );
        assert!(text(3).starts_with("*3\r\n$6\r\nINCRBY\r\n$1\r\nn\r\n$12\r\n000000000"));
        let lengths = (0..400)
            .step_by(4)
            .map(|n| text(n).split("\r\n").nth(6).map(str::len));
        let large = lengths.filter(|length| *length == Some(6)).count();
        assert!((25..75).contains(&large), "{large}");
    }

    #[test]
    fn which_key_a_request_has_depends_on_seed_connection_number_and_place() {
        let sent = Sent::new(&asked(&["MGET __key__ __key__"], &[1]), 7, 1);
        let other = Sent::new(&asked(&["MGET __key__ __key__"], &[1]), 8, 1);
        let one = whole(&sent, id(3, 5));
        assert_eq!(one, whole(&sent, id(3, 5)));
        assert!(
            [
                whole(&sent, id(3, 6)),
                whole(&sent, id(4, 5)),
                whole(&other, id(3, 5))
            ]
            .iter()
            .all(|b| *b != one)
        );
        let text = String::from_utf8(one).expect("text");
        let keys: Vec<&str> = text
            .split("\r\n")
            .filter(|line| line.starts_with("key:"))
            .collect();
        assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");
    }

    #[test]
    fn what_is_set_is_what_a_get_of_the_same_key_expects_whoever_asks() {
        let verified = |commands: &[&str], ratios: &[u64]| Commands {
            keys: 20,
            value_sizes: "0:1,5:1,30:1".parse().expect("sizes"),
            verify_values: true,
            ..asked(commands, ratios)
        };
        let set = Sent::new(
            &verified(&["SET __key__ __value__", "GET __key__"], &[1, 1]),
            7,
            1,
        );
        let get = Sent::new(&verified(&["GET __key__"], &[1]), 7, 1);
        let mut values = std::collections::BTreeMap::new();
        for sequence in (0..400).step_by(2) {
            let bytes = whole(&set, id(0, sequence));
            assert!(set.expected(id(0, sequence)).is_none());
            let words: Vec<Vec<u8>> = bytes
                .split(|byte| *byte == b'\n')
                .map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec())
                .collect();
            let before = values.insert(words[4].clone(), words[6].clone());
            assert!(before.is_none_or(|value| value == words[6]));
        }
        assert_eq!(values.len(), 20);
        for sequence in 0..100 {
            let bytes = whole(&get, id(3, sequence));
            let key = bytes.split(|byte| *byte == b'\n').nth(4).expect("a key");
            let expected = get.expected(id(3, sequence)).expect("a value");
            assert_eq!(
                values[key.strip_suffix(b"\r").expect("an end")],
                expected.content().concat()
            );
        }
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_they_are_formatted(number in 0u64..1_000_000_000_000) {
            prop_assert_eq!(digits(number).to_vec(), format!("{number:012}").into_bytes());
        }

        #[test]
        fn pieces_sent_from_any_offset_make_the_whole(
            cuts in proptest::collection::vec(1usize..20, 1..9), sequence in 0u64..9, verify_values in any::<bool>(),
        ) {
            let commands = match verify_values {
                true => ["SET __key__ __value__ EX 5", "GET __key__"],
                false => ["SET __key__ __value__ EX __rand_int__", "GET __key__"],
            };
            let asked = Commands { verify_values, value_sizes: "3:1,40:1".parse().expect("sizes"), ..asked(&commands, &[1, 1]) };
            let sent = Sent::new(&asked, 7, 10);
            let expected = whole(&sent, id(2, sequence));
            let mut bytes = Vec::new();
            for cut in cuts.iter().cycle() {
                let mut out = vec![0; *cut];
                let filled = sent.fill(id(2, sequence), bytes.len() as u32, &mut out);
                bytes.extend_from_slice(&out[..filled]);
                if bytes.len() == expected.len() {
                    break;
                }
            }
            prop_assert_eq!(bytes, expected);
        }
    }
}
