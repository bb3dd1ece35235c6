//! Variants: a model's own flags, as words behind its name.

use std::fmt;

use super::{BROKEN_KEY, MAX_WORKERS, Model};

/// A flag of one model's own, usable as a variant word: `prefork:accept=mutex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The word before `=`, and the flag without its dashes.
    pub key: &'static str,
    /// What may follow `=`.
    pub values: Values,
    /// One line for `--help`.
    pub doc: &'static str,
}

/// What a variant's value may be. Displayed the way usage texts show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// One of these words; the first is the default.
    OneOf(&'static [&'static str]),
    /// A whole number from 1 to [`MAX_WORKERS`].
    Count,
    /// A number of bytes: `65536`, `64KiB`, `128MiB`, `1GiB`.
    Size,
    /// No value: the word alone switches it on.
    Switch,
}

impl Model {
    /// Turns variant words (`accept=mutex,workers=64`) into this model's
    /// server flags (`--accept mutex --workers 64`). No words, no flags.
    ///
    /// # Errors
    /// [`BadVariant`] for an unknown or repeated key, or a value the key does
    /// not take; its text names what is allowed.
    pub fn flags(&self, words: &str) -> Result<Vec<String>, BadVariant> {
        let mut flags = Vec::new();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (word, None),
            };
            let bad = |why: String| BadVariant {
                word: word.to_owned(),
                why,
            };
            if key == BROKEN_KEY {
                return Err(bad(self.broken_on_purpose(value)));
            }
            let variant = self
                .variants
                .iter()
                .find(|variant| variant.key == key)
                .ok_or_else(|| bad(self.keys_it_takes()))?;
            variant.values.check(value).map_err(bad)?;
            let flag = format!("--{key}");
            if flags.contains(&flag) {
                return Err(bad(format!("{key} is given twice")));
            }
            flags.push(flag);
            flags.extend(value.map(str::to_owned));
        }
        Ok(flags)
    }

    /// Whether the model has a flag of its own by this name.
    pub fn takes(&self, key: &str) -> bool {
        self.variants.iter().any(|variant| variant.key == key)
    }

    fn broken_on_purpose(&self, how: Option<&str>) -> String {
        let (name, how) = (self.name, how.unwrap_or("HOW"));
        format!(
            "a server that is broken on purpose is for labs to show and never compared; \
             `tenk serve {name} --{BROKEN_KEY} {how}` runs it, `tenk lab` lists the labs"
        )
    }

    fn keys_it_takes(&self) -> String {
        if self.variants.is_empty() {
            return format!("{} has no variants", self.name);
        }
        let keys: Vec<_> = self.variants.iter().map(Variant::to_string).collect();
        format!("{} takes {}", self.name, keys.join(", "))
    }
}

/// A variant word that the model does not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("variant '{word}': {why}")]
pub struct BadVariant {
    /// The word as it was written.
    pub word: String,
    /// What is wrong with it, and what is allowed.
    pub why: String,
}

impl Values {
    /// Whether `value` may follow the key.
    ///
    /// # Errors
    /// A sentence that says what may.
    pub fn check(&self, value: Option<&str>) -> Result<(), String> {
        let good = match (self, value) {
            (Values::Switch, given) => given.is_none(),
            (_, None) => false,
            (Values::OneOf(words), Some(word)) => words.contains(&word),
            (Values::Count, Some(word)) => parse_count(word).is_ok(),
            (Values::Size, Some(word)) => parse_size(word).is_ok(),
        };
        match self {
            _ if good => Ok(()),
            Values::Switch => Err("it takes no value".to_owned()),
            values => Err(format!("the value must be {values}")),
        }
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Values::OneOf(words) => f.write_str(&words.join("|")),
            Values::Count => f.write_str("N"),
            Values::Size => f.write_str("SIZE"),
            Values::Switch => Ok(()),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.values {
            Values::Switch => f.write_str(self.key),
            values => write!(f, "{}={values}", self.key),
        }
    }
}

/// A number of workers, 1 to [`MAX_WORKERS`].
///
/// # Errors
/// A sentence that names the range.
pub fn parse_count(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(count @ 1..=MAX_WORKERS) => Ok(count),
        _ => Err(format!("expected a number from 1 to {}", MAX_WORKERS)),
    }
}

/// A number of bytes with an optional unit: `4096`, `64KiB`, `128MiB`, `1GiB`
/// (powers of 1024; `k`, `m` and `g` mean the same).
///
/// # Errors
/// A sentence that shows the form.
pub fn parse_size(word: &str) -> Result<usize, String> {
    let unit_at = word
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(word.len());
    let (digits, unit) = word.split_at(unit_at);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(format!("'{unit}' is no unit of size: use KiB, MiB or GiB")),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected a size such as 65536, 64KiB or 128MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::MODELS;
    use super::*;

    const POOL: Model = Model {
        name: "pool",
        variants: &[
            Variant {
                key: "accept",
                values: Values::OneOf(&["shared", "mutex"]),
                doc: "",
            },
            Variant {
                key: "workers",
                values: Values::Count,
                doc: "",
            },
            Variant {
                key: "quiet",
                values: Values::Switch,
                doc: "",
            },
        ],
        ..MODELS[0]
    };

    #[test]
    fn variant_words_become_flags() {
        let flags = POOL.flags("accept=mutex,workers=64,quiet").unwrap();
        assert_eq!(flags, ["--accept", "mutex", "--workers", "64", "--quiet"]);
        assert_eq!(POOL.flags("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn bad_variant_words_name_what_is_allowed() {
        let why = |words| POOL.flags(words).unwrap_err().to_string();
        assert!(why("speed=9").contains("pool takes accept=shared|mutex, workers=N, quiet"));
        assert!(why("accept=flock").contains("shared|mutex"));
        assert!(why("accept").contains("shared|mutex"));
        assert!(why("workers=0").contains("must be N"));
        assert!(why("quiet=yes").contains("takes no value"));
        assert!(why("workers=2,workers=3").contains("given twice"));
        assert!(
            MODELS[0]
                .flags("a=b")
                .unwrap_err()
                .to_string()
                .contains("has no variants")
        );
    }

    #[test]
    fn sizes_have_units_and_do_not_overflow() {
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("2m"), Ok(2 << 20));
        assert_eq!(parse_size("7"), Ok(7));
        assert!(parse_size("99999999999GiB").is_err());
        assert!(parse_size("MiB").is_err());
        assert!(parse_size("5 parsecs").is_err());
        assert!(parse_size("-1").is_err());
    }
}
