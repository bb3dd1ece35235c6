//! What the values along an axis are, and how people read them.

use serde::Serialize;

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A number of things, or of things per second: `2.5k`.
    Count,
    /// Nanoseconds: `4.5 µs`.
    Duration,
    /// Bytes: `1.5 KiB`.
    Bytes,
    /// Hundredths: `25 %`.
    Percent,
    /// Seconds on a clock: `3 s`.
    Seconds,
    /// How many times a reference: `0.97`.
    Ratio,
}

impl Unit {
    /// Round steps: multiples of powers of a base.
    pub fn steps(self) -> (f64, &'static [f64]) {
        match self {
            Unit::Bytes => (
                1024.0,
                &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
            ),
            _ => (10.0, &[1.0, 2.0, 2.5, 5.0]),
        }
    }

    /// A value in words.
    pub fn words(self, value: f64) -> String {
        match self {
            Unit::Count => count(value),
            Unit::Duration => duration(value),
            Unit::Bytes => bytes(value),
            Unit::Percent => format!("{value:.0} %"),
            Unit::Seconds => format!("{value} s"),
            Unit::Ratio => ratio(value),
        }
    }
}

/// `50`, `1k`, `2.5M`.
pub fn count(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 999_950.0 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    format!("{}{unit}", shortened(scaled))
}

/// `120 ns`, `4.5 µs`, `3 ms`, `1 s`.
pub fn duration(ns: f64) -> String {
    let (scaled, unit) = match ns {
        v if v >= 999_950_000.0 => (v / 1e9, "s"),
        v if v >= 999_950.0 => (v / 1e6, "ms"),
        v if v >= 999.95 => (v / 1e3, "µs"),
        v => (v, "ns"),
    };
    format!("{} {unit}", shortened(scaled))
}

/// `600 B`, `1.5 KiB`, `16 MiB`.
fn bytes(value: f64) -> String {
    const KIB: f64 = 1024.0;
    let (scaled, unit) = match value {
        v if v >= KIB * KIB * KIB => (v / KIB / KIB / KIB, "GiB"),
        v if v >= KIB * KIB => (v / KIB / KIB, "MiB"),
        v if v >= KIB => (v / KIB, "KiB"),
        v => (v, "B"),
    };
    format!("{} {unit}", shortened(scaled))
}

/// Two figures at least: `0.97`, `0.045`, `12`.
fn ratio(value: f64) -> String {
    let digits = match value {
        v if v >= 9.95 => 0,
        v if v >= 1.995 => 1,
        v if v >= 0.0995 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// One decimal where it says something.
fn shortened(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    let digits = usize::from(rounded.fract() != 0.0 && value < 100.0);
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_for_people() {
        for (unit, value, words) in [
            (Unit::Count, 50.0, "50"),
            (Unit::Count, 2500.0, "2.5k"),
            (Unit::Count, 999_990.0, "1M"),
            (Unit::Count, 1e6, "1M"),
            (Unit::Duration, 900.0, "900 ns"),
            (Unit::Duration, 4500.0, "4.5 µs"),
            (Unit::Duration, 3e9, "3 s"),
            (Unit::Bytes, 600.0, "600 B"),
            (Unit::Bytes, 1536.0, "1.5 KiB"),
            (Unit::Percent, 25.0, "25 %"),
            (Unit::Seconds, 2.5, "2.5 s"),
            (Unit::Ratio, 0.974, "0.97"),
            (Unit::Ratio, 0.0451, "0.045"),
            (Unit::Ratio, 3.17, "3.2"),
        ] {
            assert_eq!(unit.words(value), words);
        }
    }
}
