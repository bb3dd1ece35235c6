//! Commands for Redis and whatever speaks its protocol: as flags and as the record of them.

mod keys;
mod sizes;
mod verify;
mod words;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choice::{MAX_WEIGHTS, Order};
use super::error::LoadError;
use crate::base::units::{format_count, parse_count};

pub use keys::KeyDistribution;
pub use sizes::ValueSizes;
pub use verify::is_verified;
pub use words::{DIGITS, Piece, Word, parse};

/// Which commands are sent; the names are memtier_benchmark's and redis-benchmark's where they have one.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct CommandFlags {
    /// Command for --protocol resp, such as 'SET __key__ __value__'; __key__, __value__ and __rand_int__ are filled
    /// in; may be repeated [default: PING]
    #[arg(long, value_name = "COMMAND", help_heading = "Requests")]
    pub command: Vec<String>,
    /// How often each --command is sent beside the others, one for each in their order [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = parse_count, help_heading = "Requests")]
    pub command_ratio: Vec<u64>,
    /// Keys that __key__ is one of, and numbers that __rand_int__ is one of [default: 10k]
    #[arg(long, value_name = "COUNT", value_parser = parse_count, help_heading = "Requests")]
    pub keys: Option<u64>,
    /// How often each of --keys is taken: uniform, zipf:EXPONENT (the first most often; zipf alone is zipf:0.99) or
    /// gaussian (those in the middle) [default: uniform]
    #[arg(long, value_name = "NAME", help_heading = "Requests")]
    pub key_distribution: Option<KeyDistribution>,
    /// What stands before the twelve digits of __key__ [default: key:]
    #[arg(long, value_name = "TEXT", help_heading = "Requests")]
    pub key_prefix: Option<String>,
    /// Bytes of __value__, SIZE:WEIGHT,… such as 64:9,1024:1 [default: 64]
    #[arg(long, value_name = "LIST", help_heading = "Requests")]
    pub value_sizes: Option<ValueSizes>,
    /// Let the key, --seed and --value-sizes alone say what __value__ is, and compare what each GET __key__
    /// returns: other bytes are an error, keys that are not there are counted as misses
    #[arg(long, help_heading = "Requests")]
    pub verify_values: bool,
}

impl CommandFlags {
    /// The first flag that was given and means something for commands alone.
    fn given(&self) -> Option<&'static str> {
        let given = [
            (!self.command_ratio.is_empty(), "command-ratio"),
            (self.keys.is_some(), "keys"),
            (self.key_distribution.is_some(), "key-distribution"),
            (self.key_prefix.is_some(), "key-prefix"),
            (self.value_sizes.is_some(), "value-sizes"),
            (self.verify_values, "verify-values"),
        ];
        given
            .iter()
            .find(|(given, _)| *given)
            .map(|(_, flag)| *flag)
    }
}

/// The record of which commands are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// The commands, as they were typed.
    pub commands: Vec<String>,
    /// How often each is sent beside the others.
    pub ratios: Vec<u64>,
    /// How they are taken in turn.
    pub order: Order,
    /// How many keys there are.
    pub keys: u64,
    /// How often each is taken.
    pub key_distribution: KeyDistribution,
    /// What stands before a key's digits.
    pub key_prefix: String,
    /// Bytes of values.
    pub value_sizes: ValueSizes,
    /// Whether a value is determined by its key, and what GET returns is compared with it; absent in older outcomes.
    #[serde(default)]
    pub verify_values: bool,
}

/// What a key begins with, as redis-benchmark's do.
const PREFIX: &str = "key:";

/// Keys are numbered with [`DIGITS`] digits.
const MAX_KEYS: u64 = 10u64.pow(DIGITS as u32);

impl Commands {
    /// What the flags ask for; `None` without a command.
    ///
    /// # Errors
    /// [`LoadError`], a sentence that says what to change.
    pub fn of(flags: &CommandFlags, order: Option<Order>) -> Result<Option<Self>, LoadError> {
        if flags.command.is_empty() {
            return match flags.given() {
                Some(flag) => Err(LoadError::Conflict(format!(
                    "--{flag} needs --command, such as 'SET __key__ __value__'"
                ))),
                None => Ok(None),
            };
        }
        let ratios = match flags.command_ratio.len() {
            0 => vec![1; flags.command.len()],
            _ => flags.command_ratio.clone(),
        };
        check_ratios(&ratios, flags.command.len())?;
        let keys = flags.keys.unwrap_or(10_000);
        if keys == 0 || keys > MAX_KEYS {
            return Err(LoadError::Range(format!(
                "--keys {keys}: from 1 to {MAX_KEYS}"
            )));
        }
        let commands = Self {
            commands: flags.command.clone(),
            ratios,
            order: order.unwrap_or_default(),
            keys,
            key_distribution: flags.key_distribution.unwrap_or_default(),
            key_prefix: flags.key_prefix.clone().unwrap_or_else(|| PREFIX.into()),
            value_sizes: flags.value_sizes.clone().unwrap_or_default(),
            verify_values: flags.verify_values,
        };
        commands.check_together()?;
        Ok(Some(commands))
    }

    /// The words of each command.
    ///
    /// # Errors
    /// A sentence that names the command and what is wrong with it.
    pub fn words(&self) -> Result<Vec<Vec<Word>>, String> {
        self.commands.iter().map(|command| parse(command)).collect()
    }

    fn check_together(&self) -> Result<(), LoadError> {
        let all = self
            .words()
            .map_err(|what| LoadError::Range(format!("--command {what}")))?;
        if self.verify_values {
            verify::check(&self.commands, &all).map_err(LoadError::Conflict)?;
        }
        let values = |words: &[Word]| {
            words
                .iter()
                .flatten()
                .filter(|piece| **piece == Piece::Value)
                .count() as u64
        };
        // Each command is built once for each size of its values.
        let sizes = self.value_sizes.sizes();
        let total = |words: &Vec<Word>| {
            sizes
                .clone()
                .map(|size| values(words) * u64::from(size))
                .sum::<u64>()
        };
        let bytes: u64 = all.iter().map(total).sum();
        match bytes > MAX_BYTES {
            true => Err(LoadError::Range(format!(
                "--value-sizes {}: all commands with all sizes are {bytes} bytes, more than {MAX_BYTES}: leave some out",
                self.value_sizes
            ))),
            false => Ok(()),
        }
    }

    /// What is sent, in words that two loads share only if they send the same.
    pub(super) fn in_words(&self) -> String {
        let pairs = self.commands.iter().zip(&self.ratios);
        let commands: Vec<String> = pairs
            .map(|(command, ratio)| match self.commands.len() {
                1 => command.clone(),
                _ => format!("{ratio} × {command}"),
            })
            .collect();
        let mut words = commands.join(" + ");
        let has = |piece: &Piece| {
            let all = self.words().unwrap_or_default();
            all.iter().flatten().flatten().any(|other| other == piece)
        };
        if self.order == Order::Random && self.commands.len() > 1 {
            words.push_str(", at random");
        }
        if has(&Piece::Key) || has(&Piece::Number) {
            let keys = format_count(self.keys);
            words.push_str(&format!(", {keys} keys, {}", self.key_distribution));
        }
        if has(&Piece::Key) && self.key_prefix != PREFIX {
            words.push_str(&format!(", prefix {:?}", self.key_prefix));
        }
        if has(&Piece::Value) {
            words.push_str(&format!(", values of {} B", self.value_sizes));
        }
        if self.verify_values {
            words.push_str(", what GET returns verified");
        }
        words
    }
}

/// What all commands with all sizes of values may take.
const MAX_BYTES: u64 = 256 << 20;

fn check_ratios(ratios: &[u64], commands: usize) -> Result<(), LoadError> {
    if ratios.len() != commands {
        return Err(LoadError::Conflict(format!(
            "--command-ratio is given {} times for {commands} commands: give it once for each, in their order",
            ratios.len()
        )));
    }
    let total = ratios
        .iter()
        .try_fold(0u64, |sum, ratio| sum.checked_add(*ratio));
    let is_sum = total.is_some_and(|total| total <= MAX_WEIGHTS);
    match is_sum && ratios.iter().all(|ratio| *ratio > 0) {
        true => Ok(()),
        false => Err(LoadError::Range(format!(
            "--command-ratio: each at least 1, all together at most {MAX_WEIGHTS}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(commands: &[&str]) -> CommandFlags {
        CommandFlags {
            command: commands.iter().map(|text| (*text).to_owned()).collect(),
            ..CommandFlags::default()
        }
    }

    fn words(flags: &CommandFlags) -> String {
        Commands::of(flags, None)
            .expect("valid")
            .expect("commands")
            .in_words()
    }

    #[test]
    fn words_say_what_is_sent() {
        assert_eq!(Commands::of(&flags(&[]), None).expect("valid"), None);
        assert_eq!(words(&flags(&["DBSIZE"])), "DBSIZE");
        let both = CommandFlags {
            command_ratio: vec![1, 9],
            key_distribution: "zipf".parse().ok(),
            value_sizes: "64:9,1024:1".parse().ok(),
            key_prefix: Some("a:".into()),
            ..flags(&["SET __key__ __value__", "GET __key__"])
        };
        assert_eq!(
            words(&both),
            "1 × SET __key__ __value__ + 9 × GET __key__, 10 000 keys, zipf:0.99, prefix \"a:\", values of 64:9,1024:1 B"
        );
        let verified = CommandFlags {
            verify_values: true,
            ..both
        };
        assert!(words(&verified).ends_with("B, what GET returns verified"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_a_sentence() {
        let error =
            |flags: &CommandFlags| Commands::of(flags, None).expect_err("refused").to_string();
        let keys = CommandFlags {
            keys: Some(5),
            ..flags(&[])
        };
        assert!(error(&keys).contains("--keys needs --command"));
        let verified = |commands: &[&str]| CommandFlags {
            verify_values: true,
            ..flags(commands)
        };
        assert!(error(&verified(&[])).contains("--verify-values needs --command"));
        assert!(error(&verified(&["SET a __value__"])).contains("not one __key__ says"));
        let none = CommandFlags {
            keys: Some(0),
            ..flags(&["GET __key__"])
        };
        assert!(error(&none).contains("--keys 0: from 1 to"));
        let few = CommandFlags {
            command_ratio: vec![1],
            ..flags(&["A", "B"])
        };
        assert!(error(&few).contains("once for each"));
        let zero = CommandFlags {
            command_ratio: vec![0],
            ..flags(&["A"])
        };
        assert!(error(&zero).contains("each at least 1"));
        assert!(error(&flags(&["SET 'a"])).starts_with("--command `SET 'a`: "));
        let large = CommandFlags {
            value_sizes: Some("16777216".parse().expect("a size")),
            ..flags(&["MSET __value__ __value__"; 9])
        };
        assert!(error(&large).contains("leave some out"));
    }
}
