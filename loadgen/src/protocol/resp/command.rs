//! Commands as they are sent: each is built once for each size of its values, with room for the numbers that differ
//! from request to request.

use super::keys::Keys;
use super::{CRLF, copy_from};
use crate::base::hash::mix;
use crate::load::choice::Order;
use crate::load::choice::{Choice, random};
use crate::load::commands::{Commands, DIGITS, Piece, Word};
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
}

/// A command with one size of values.
#[derive(Clone, Debug)]
struct Ready {
    bytes: Vec<u8>,
    /// Where numbers of [`DIGITS`] digits stand.
    numbers: Vec<usize>,
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
        let value = values_of(asked.value_sizes.sizes().max().unwrap_or(0), seed);
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
        }
    }

    fn ready(&self, id: RequestId) -> &Ready {
        let which = match self.commands.len() {
            1 => 0,
            _ => self.choice.pick(id.connection, id.sequence),
        };
        match self.commands[which].as_slice() {
            [only] => only,
            sizes => &sizes[self.sizes.pick(id.connection, id.sequence)],
        }
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
        let (start, end) = (offset as usize, offset as usize + filled);
        let base = random(self.seed, id.connection, id.sequence);
        for (place, at) in ready.numbers.iter().enumerate() {
            let (from, to) = ((*at).max(start), (at + DIGITS).min(end));
            if from < to {
                let number = self.keys.draw(mix(base ^ place as u64));
                out[from - start..to - start].copy_from_slice(&digits(number)[from - at..to - at]);
            }
        }
        filled
    }
}

impl Ready {
    fn new(words: &[Word], prefix: &str, value: &[u8]) -> Self {
        let (mut bytes, mut numbers) = (format!("*{}\r\n", words.len()).into_bytes(), Vec::new());
        for word in words {
            let (mut text, mut places) = (Vec::new(), Vec::new());
            for piece in word {
                match piece {
                    Piece::Text(piece) => text.extend_from_slice(piece),
                    Piece::Value => text.extend_from_slice(value),
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
            bytes.extend_from_slice(&text);
            bytes.extend_from_slice(CRLF);
        }
        Self { bytes, numbers }
    }
}

/// Letters and digits that look random, so that neither side can make them smaller.
fn values_of(length: u32, seed: u64) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = (0..u64::from(length)).map(|at| mix(seed ^ VALUES ^ (at << 32)));
    bits.map(|bits| LETTERS[(bits >> 58) as usize]).collect()
}

fn digits(mut number: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
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

    proptest! {
        #[test]
        fn pieces_sent_from_any_offset_make_the_whole(cuts in proptest::collection::vec(1usize..20, 1..9), sequence in 0u64..9) {
            let sent = Sent::new(&asked(&["SET __key__ __value__ EX __rand_int__", "GET __key__"], &[1, 1]), 7, 10);
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
