//! Counts, rates, durations and byte sizes as people write and read them.
//!
//! Parsing is used by every flag; formatting by every table. Files carry plain
//! numbers with the unit in the field's name instead.

use std::time::Duration;

/// The longest duration any flag accepts: a week. Every cap is finite.
pub const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 3600);

/// The highest rate any flag accepts, events per second.
pub const MAX_RATE_PER_S: f64 = 1e7;

/// The lowest rate: one event in a quarter of an hour.
pub const MIN_RATE_PER_S: f64 = 0.001;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// Reads a count such as `512`, `10k` (10 000) or `1m` (1 000 000), and as [`format_count`] writes it: `10 000`.
///
/// # Errors
/// A sentence for the user when the text is not a whole number or overflows.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let (digits, unit) = split_suffix(text);
    let number: u64 = without_gaps(digits)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("`{text}` is not a whole number (try 500, 10k or 1m)"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| format!("`{text}` does not fit in 64 bits"))
}

/// Reads a rate in events per second, such as `1500`, `0.5` or `60k`, and as [`format_rate`] writes it: `276 012/s`.
///
/// # Errors
/// A sentence for the user unless the rate is a number above 0 and at most
/// [`MAX_RATE_PER_S`]; `NaN` and `inf` are refused.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let (digits, unit) = split_suffix(text.strip_suffix("/s").unwrap_or(text));
    let number: f64 = without_gaps(digits)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("`{text}` is not a rate (try 1500, 0.5 or 60k, per second)"))?;
    let rate_per_s = number * unit as f64;
    if (MIN_RATE_PER_S..=MAX_RATE_PER_S).contains(&rate_per_s) {
        Ok(rate_per_s)
    } else {
        Err(format!(
            "`{text}`: a rate lies between {MIN_RATE_PER_S} and {MAX_RATE_PER_S:.0} per second"
        ))
    }
}

/// Reads a duration such as `5s`, `500ms`, `50us` or `400ns`; `0` needs no unit.
///
/// # Errors
/// A sentence for the user when the text is no duration or is longer than
/// [`MAX_DURATION`].
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration: {error} (try 5s, 500ms or 50us)"))?;
    if duration <= MAX_DURATION {
        Ok(duration)
    } else {
        Err(format!(
            "`{text}` is longer than a week, the longest duration accepted"
        ))
    }
}

/// A duration as whole nanoseconds, saturating; exact up to 584 years.
#[must_use]
pub fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds for people, three significant figures: `843 ns`, `84.3 µs`, `1.20 s`.
#[must_use]
pub fn format_ns(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => three_figures(value / 1e3, "µs"),
        1_000_000..1_000_000_000 => three_figures(value / 1e6, "ms"),
        _ => three_figures(value / 1e9, "s"),
    }
}

/// A count for people, its digits in groups of three: `10 000`.
#[must_use]
pub fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// A rate for people: `276 012/s`, or with decimals below 100.
#[must_use]
pub fn format_rate(per_s: f64) -> String {
    if per_s >= 100.0 {
        format!("{}/s", format_count(per_s.round() as u64))
    } else {
        format!("{per_s:.2}/s")
    }
}

/// Bytes for people, binary units: `600 B`, `1.50 KiB`, `16.0 MiB`.
#[must_use]
pub fn format_bytes(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{value:.0} B")
    } else {
        three_figures(value, units[unit])
    }
}

fn three_figures(value: f64, unit: &str) -> String {
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// The digits without the gaps of [`format_count`]; `None` where a gap stands elsewhere.
fn without_gaps(digits: &str) -> Option<String> {
    let mut groups = digits.split(' ');
    let first = groups.next()?;
    let regular = groups.all(|group| {
        let whole = group.split('.').next().unwrap_or(group);
        whole.len() == 3 && whole.bytes().all(|byte| byte.is_ascii_digit())
    });
    let has_gap = first.len() < digits.len();
    let fits = !has_gap || (1..=3).contains(&first.len());
    (regular && fits).then(|| digits.replace(' ', ""))
}

fn split_suffix(text: &str) -> (&str, u64) {
    match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1_000_000),
            None => (text, 1),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_take_suffixes_and_refuse_nonsense() {
        assert_eq!(parse_count("10k"), Ok(10_000));
        assert_eq!(parse_count("1m"), Ok(1_000_000));
        assert_eq!(parse_count("7"), Ok(7));
        assert_eq!(parse_count(&format_count(10_000)), Ok(10_000));
        for bad in [
            "",
            "k",
            "-1",
            "1.5",
            "NaN",
            "1e3",
            "10 00",
            "99999999999999999999",
            "18446744073709551615k",
        ] {
            assert!(parse_count(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn rates_are_finite_and_positive() {
        assert_eq!(parse_rate("60k"), Ok(60_000.0));
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        for bad in [
            "0", "-1", "NaN", "inf", "1e308", "1e8", "", "fast", "/s", "5/m", "1 0", "1 0000/s",
            "1000 000", " 200", "200 /s", "1/s/s",
        ] {
            assert!(parse_rate(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn a_rate_is_read_as_the_tables_print_it() {
        assert_eq!(parse_rate("200/s"), Ok(200.0));
        assert_eq!(parse_rate("60k/s"), Ok(60_000.0));
        for rate_per_s in [0.5, 3.0, 99.25, 201.0, 1000.0, 276_012.0, 9_999_999.0] {
            assert_eq!(parse_rate(&format_rate(rate_per_s)), Ok(rate_per_s));
        }
    }

    #[test]
    fn durations_are_finite() {
        assert_eq!(parse_duration("50us"), Ok(Duration::from_micros(50)));
        assert_eq!(parse_duration("400ns"), Ok(Duration::from_nanos(400)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for bad in ["", "5", "-1s", "9999999999999h", "8days", "NaNs"] {
            assert!(parse_duration(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(format_ns(843), "843 ns");
        assert_eq!(format_ns(84_340), "84.3 µs");
        assert_eq!(format_ns(999_600), "1000 µs");
        assert_eq!(format_ns(1_200_000_000), "1.20 s");
        assert_eq!(format_count(10_000), "10 000");
        assert_eq!(format_count(999), "999");
        assert_eq!(format_rate(276_012.4), "276 012/s");
        assert_eq!(format_rate(0.5), "0.50/s");
        assert_eq!(format_bytes(600.0), "600 B");
        assert_eq!(format_bytes(1536.0), "1.50 KiB");
    }
}
