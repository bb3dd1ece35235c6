//! `--rate`.

use loadgen::base::units::parse_rate;
use std::str::FromStr;

/// A rate as it is typed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// To be found out.
    Auto,
    /// Requests per second.
    PerS(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        match text {
            "auto" => Ok(Rate::Auto),
            _ => parse_rate(text)
                .map(Rate::PerS)
                .map_err(|e| format!("{e}, or `auto`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_or_auto() {
        assert_eq!("auto".parse(), Ok(Rate::Auto));
        assert_eq!("2k".parse(), Ok(Rate::PerS(2000.0)));
        assert!("fast".parse::<Rate>().unwrap_err().contains("or `auto`"));
    }
}
