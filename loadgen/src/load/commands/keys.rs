//! How often each key is taken.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A distribution over the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub enum KeyDistribution {
    /// Each as often as any other.
    #[default]
    Uniform,
    /// The k-th as often as k to the power of minus this exponent says.
    Zipf(f64),
    /// Normal around the middle one, with a sixth of their number as standard deviation.
    Gaussian,
}

/// The exponent of the Yahoo! Cloud Serving Benchmark (Cooper et al., SoCC 2010).
const USUAL: f64 = 0.99;

impl FromStr for KeyDistribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let exponent = |text: &str| text.parse().ok().filter(|s| (0.01..=10.0).contains(s));
        match text {
            "uniform" => Ok(Self::Uniform),
            "gaussian" => Ok(Self::Gaussian),
            "zipf" => Ok(Self::Zipf(USUAL)),
            _ => text
                .strip_prefix("zipf:")
                .and_then(exponent)
                .map(Self::Zipf)
                .ok_or_else(|| {
                    format!(
                        "`{text}` is none of uniform, zipf, zipf:EXPONENT (0.01 to 10) and gaussian"
                    )
                }),
        }
    }
}

impl fmt::Display for KeyDistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
            Self::Gaussian => f.write_str("gaussian"),
        }
    }
}

crate::base::text::kept_as_text!(KeyDistribution);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_survive_their_own_words() {
        for text in ["uniform", "gaussian", "zipf:0.99", "zipf:1", "zipf:1.2"] {
            let parsed: KeyDistribution = text.parse().expect(text);
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!("zipf".parse(), Ok(KeyDistribution::Zipf(USUAL)));
        for bad in ["", "zipf:", "zipf:0", "zipf:nan", "zipf:11", "normal"] {
            assert!(bad.parse::<KeyDistribution>().is_err(), "{bad}");
        }
    }
}
