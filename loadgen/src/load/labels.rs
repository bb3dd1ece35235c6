//! Labels of a run: what its figures are found again by.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::LoadError;
use crate::base::text::visible;

/// The most labels a run may have.
pub const MAX_LABELS: usize = 16;

/// The longest key, in characters.
const MAX_KEY: usize = 32;

/// The longest value, in bytes.
const MAX_VALUE: usize = 128;

/// One label, as it is typed: `key=value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// Lower-case letters, digits and `_`, the first a letter.
    pub key: String,
    /// Text without control characters and without the `;` that divides labels in a cell.
    pub value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not KEY=VALUE, such as commit=3f2a"))?;
        let is_named = key.len() <= MAX_KEY
            && key.starts_with(|c: char| c.is_ascii_lowercase())
            && key
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
        if !is_named {
            return Err(format!(
                "`{key}` is no key: a letter, then letters, digits and _, all lower-case, at most {MAX_KEY}"
            ));
        }
        if value.is_empty()
            || value.len() > MAX_VALUE
            || value.contains(';')
            || visible(value) != value
        {
            return Err(format!(
                "the value of `{key}` has from 1 to {MAX_VALUE} bytes, and neither `;` nor control characters"
            ));
        }
        Ok(Self {
            key: key.into(),
            value: value.into(),
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// The labels by their keys.
///
/// # Errors
/// When a key is given twice, or there are too many.
pub fn by_key(labels: &[Label]) -> Result<BTreeMap<String, String>, LoadError> {
    let mut all = BTreeMap::new();
    for Label { key, value } in labels {
        if all.insert(key.clone(), value.clone()).is_some() {
            let text = format!("--label {key} is given twice: a run has one value of it");
            return Err(LoadError::Conflict(text));
        }
    }
    if all.len() > MAX_LABELS {
        let text = format!("--label: {} of them, at most {MAX_LABELS}", all.len());
        return Err(LoadError::Range(text));
    }
    Ok(all)
}

/// All labels in one cell of text, `key=value;key=value`; empty without any.
#[must_use]
pub fn in_one_cell(labels: &BTreeMap<String, String>) -> String {
    let labels = labels.iter();
    let pairs: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(";")
}

/// The labels of [`in_one_cell`]; what is none of ours is left out.
pub fn of_cell(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    cell.split(';').filter_map(|pair| pair.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_and_values_fit_into_a_cell() {
        for bad in [
            "",
            "a",
            "=b",
            "A=b",
            "a-b=c",
            "1a=b",
            "_a=b",
            "a=",
            "a=b;c=d",
            "a=b\n",
            "a=\u{202e}b",
        ] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
        let long = format!("{}=b", "a".repeat(MAX_KEY + 1));
        assert!(long.parse::<Label>().is_err());
        assert!(
            format!("a={}", "b".repeat(MAX_VALUE))
                .parse::<Label>()
                .is_ok()
        );
        let label: Label = "commit=a=b c".parse().expect("a label");
        assert_eq!(
            (label.key.as_str(), label.value.as_str()),
            ("commit", "a=b c")
        );
        assert_eq!(label.to_string(), "commit=a=b c");
    }

    #[test]
    fn a_cell_gives_the_labels_back() {
        let labels = ["b=2", "a=x=y"].map(|text| text.parse::<Label>().expect("a label"));
        let all = by_key(&labels).expect("two");
        let cell = in_one_cell(&all);
        assert_eq!(cell, "a=x=y;b=2");
        let read: BTreeMap<String, String> =
            of_cell(&cell).map(|(k, v)| (k.into(), v.into())).collect();
        assert_eq!(read, all);
        assert_eq!(of_cell("").count(), 0);
        let twice = [labels[0].clone(), labels[0].clone()];
        assert!(
            by_key(&twice)
                .expect_err("twice")
                .to_string()
                .contains("twice")
        );
        let many: Vec<Label> = (0..=MAX_LABELS)
            .map(|n| format!("k{n}=v").parse().expect("a label"))
            .collect();
        assert!(by_key(&many).is_err());
    }
}
