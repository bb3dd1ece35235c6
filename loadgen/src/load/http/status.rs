//! The statuses that count as success.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Statuses of HTTP, as a list of single ones, of classes such as `2xx` and of ranges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct StatusSet(Vec<(u16, u16)>);

/// Every status that HTTP may have (RFC 9110 §15).
const ALL: RangeInclusive<u16> = 100..=599;

impl StatusSet {
    /// Whether the set has this status.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&status))
    }
}

impl Default for StatusSet {
    fn default() -> Self {
        Self(vec![(200, 299), (300, 399)])
    }
}

impl FromStr for StatusSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ranges: Option<Vec<_>> = text.split(',').map(|item| range(item.trim())).collect();
        ranges
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no list of statuses such as 2xx,304 or 200-299"))
    }
}

fn range(item: &str) -> Option<(u16, u16)> {
    let (first, last) = match item.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => match item.strip_suffix("xx").or_else(|| item.strip_suffix("XX")) {
            Some(class) if class.len() == 1 => {
                let first = number(class)? * 100;
                (first, first + 99)
            }
            _ => (number(item)?, number(item)?),
        },
    };
    (ALL.contains(&first) && ALL.contains(&last) && first <= last).then_some((first, last))
}

fn number(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = |(first, last): &(u16, u16)| match (*first, *last) {
            (first, last) if first == last => first.to_string(),
            (first, last) if first % 100 == 0 && last == first + 99 => format!("{}xx", first / 100),
            (first, last) => format!("{first}-{last}"),
        };
        let items: Vec<String> = self.0.iter().map(item).collect();
        f.write_str(&items.join(","))
    }
}

crate::base::text::kept_as_text!(StatusSet);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_statuses_is_what_it_says_and_says_what_it_is() {
        let set: StatusSet = "2xx, 304,400-404".parse().expect("a list");
        assert_eq!(set.to_string(), "2xx,304,400-404");
        let has = |status| set.contains(status);
        assert!(has(200) && has(299) && has(304) && has(402));
        assert!(!has(199) && !has(300) && !has(405) && !has(0));
        assert_eq!(StatusSet::default().to_string(), "2xx,3xx");
        for bad in [
            "", "2x", "xx", "99", "600", "6xx", "20x", "304-200", "+20", "200,", "-",
        ] {
            assert!(bad.parse::<StatusSet>().is_err(), "{bad}");
        }
    }
}
