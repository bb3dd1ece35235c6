//! `--rate`.

use loadgen::base::units::parse_rate;
use std::str::FromStr;

/// The shares of a capacity that may be asked for: beyond twice of it nothing new is seen.
const SHARES: std::ops::RangeInclusive<f64> = 0.01..=2.0;

/// A rate as it is typed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// One for all arms of a workload, to be found out.
    Auto,
    /// Requests per second.
    PerS(f64),
    /// A share of what each arm can do, which is to be found out: 0.5 for 50 %.
    Share(f64),
}

impl Rate {
    /// The requests per second, where they are known beforehand.
    pub fn per_s(self) -> Option<f64> {
        match self {
            Rate::PerS(per_s) => Some(per_s),
            Rate::Auto | Rate::Share(_) => None,
        }
    }

    /// The share of each arm's capacity, where it is one.
    pub fn share(self) -> Option<f64> {
        match self {
            Rate::Share(share) => Some(share),
            Rate::Auto | Rate::PerS(_) => None,
        }
    }
}

/// A rate that several arms share: `auto` or requests per second.
pub fn parse_common(text: &str) -> Result<Rate, String> {
    match text.parse()? {
        Rate::Share(_) => Err(format!(
            "`{text}`: both sides are compared at one rate; give it per second, or `auto`"
        )),
        rate => Ok(rate),
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        if text == "auto" {
            return Ok(Rate::Auto);
        }
        if let Some(percent) = text.strip_suffix('%') {
            let share = percent.trim_end().parse::<f64>().ok().map(|p| p / 100.0);
            let share = share.filter(|share| SHARES.contains(share));
            return share.map(Rate::Share).ok_or_else(|| {
                format!("`{text}`: a share of each arm's capacity lies between 1% and 200%")
            });
        }
        parse_rate(text)
            .map(Rate::PerS)
            .map_err(|e| format!("{e}, a share such as 50%, or `auto`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_a_share_or_auto() {
        assert_eq!("auto".parse(), Ok(Rate::Auto));
        assert_eq!("2k".parse(), Ok(Rate::PerS(2000.0)));
        assert_eq!("95%".parse(), Ok(Rate::Share(0.95)));
        assert!("fast".parse::<Rate>().unwrap_err().contains("or `auto`"));
        for bad in ["0%", "-5%", "900%", "NaN%", "%", "x%"] {
            let why = bad.parse::<Rate>().unwrap_err();
            assert!(why.contains("between 1% and 200%"), "{why}");
        }
    }
}
