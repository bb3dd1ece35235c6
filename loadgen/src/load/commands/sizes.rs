//! Sizes of values, each with its weight.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::choice::MAX_WEIGHTS;
use crate::base::units::parse_count;

/// Bytes of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct ValueSizes(Vec<(u32, u64)>);

/// The largest value.
const MAX_SIZE: u64 = 16 << 20;

impl ValueSizes {
    /// The sizes, in bytes.
    pub fn sizes(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.0.iter().map(|(size, _)| *size)
    }

    /// Their weights.
    #[must_use]
    pub fn weights(&self) -> Vec<u64> {
        self.0.iter().map(|(_, weight)| *weight).collect()
    }
}

impl Default for ValueSizes {
    fn default() -> Self {
        Self(vec![(64, 1)])
    }
}

impl FromStr for ValueSizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut sizes = Vec::new();
        for item in text.split(',') {
            let (size, weight) = item.split_once(':').unwrap_or((item, "1"));
            let (size, weight) = (parse_count(size)?, parse_count(weight)?);
            if size > MAX_SIZE || weight == 0 {
                return Err(format!(
                    "`{item}`: a size is from 0 to {MAX_SIZE} bytes, its weight at least 1, such as 64:9,1024:1"
                ));
            }
            sizes.push((size as u32, weight));
        }
        // Of one size alone the weight says nothing.
        if let [(_, weight)] = sizes.as_mut_slice() {
            *weight = 1;
        }
        let total = sizes
            .iter()
            .try_fold(0u64, |sum, (_, weight)| sum.checked_add(*weight));
        match total.is_some_and(|total| total <= MAX_WEIGHTS) {
            true => Ok(Self(sizes)),
            false => Err(format!(
                "`{text}`: weights of more than {MAX_WEIGHTS} together"
            )),
        }
    }
}

impl fmt::Display for ValueSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<String> = match self.0.as_slice() {
            [(size, _)] => vec![size.to_string()],
            several => several
                .iter()
                .map(|(size, weight)| format!("{size}:{weight}"))
                .collect(),
        };
        f.write_str(&items.join(","))
    }
}

crate::base::text::kept_as_text!(ValueSizes);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_weights_are_read() {
        let sizes: ValueSizes = "64:9,1k:1,0".parse().expect("sizes");
        assert_eq!(sizes.to_string(), "64:9,1000:1,0:1");
        assert_eq!(sizes.weights(), [9, 1, 1]);
        assert_eq!(
            "5".parse::<ValueSizes>().map(|sizes| sizes.to_string()),
            Ok("5".into())
        );
        for bad in ["", "64:", "64:0", ":1", "20m", "64,", "64:9999999999,1"] {
            assert!(bad.parse::<ValueSizes>().is_err(), "{bad}");
        }
    }
}
