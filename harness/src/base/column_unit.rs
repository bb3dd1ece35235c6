//! The unit that a column's name ends with, and figures in it for people.

use super::unit::Unit;
use loadgen::base::units::{format_bytes, format_count, format_ns};

/// What a column counts in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ColumnUnit {
    /// So many nanoseconds.
    Time(f64),
    /// So many bytes.
    Bytes(f64),
    /// Bytes per second.
    BytesPerS,
    /// Something per second.
    PerS,
    /// A share of one.
    Fraction,
    /// A number of things.
    None,
}

impl ColumnUnit {
    /// The unit of a column of the rows.
    pub fn of(column: &str) -> ColumnUnit {
        match column {
            "bytes_per_s" => ColumnUnit::BytesPerS,
            c if c.ends_with("_per_s") => ColumnUnit::PerS,
            c if c.ends_with("_ns") => ColumnUnit::Time(1.0),
            c if c.ends_with("_us_per_request") => ColumnUnit::Time(1e3),
            c if c.ends_with("_s") => ColumnUnit::Time(1e9),
            c if c.ends_with("_bytes") => ColumnUnit::Bytes(1.0),
            c if c.ends_with("_kib") => ColumnUnit::Bytes(1024.0),
            c if c.ends_with("_fraction")
                || c.ends_with("_utilisation")
                || matches!(c, "jain" | "window_drift") =>
            {
                ColumnUnit::Fraction
            }
            _ => ColumnUnit::None,
        }
    }

    /// How an axis counts, and how many of its units make one of the column's.
    pub fn axis(self) -> (Unit, f64) {
        match self {
            ColumnUnit::Time(ns) => (Unit::Duration, ns),
            ColumnUnit::Bytes(bytes) => (Unit::Bytes, bytes),
            ColumnUnit::BytesPerS => (Unit::Bytes, 1.0),
            ColumnUnit::Fraction => (Unit::Percent, 100.0),
            ColumnUnit::PerS | ColumnUnit::None => (Unit::Count, 1.0),
        }
    }

    /// A figure of such a column: `3.09 ms`, `1.60 KiB`, `2.1 %`, `90 221`.
    pub fn in_words(self, value: f64) -> String {
        match self {
            ColumnUnit::Time(ns) => format_ns((value * ns).round() as u64),
            ColumnUnit::Bytes(bytes) => format_bytes(value * bytes),
            ColumnUnit::BytesPerS => format!("{}/s", format_bytes(value)),
            ColumnUnit::Fraction => format!("{:.1} %", value * 100.0),
            ColumnUnit::PerS => format_count(value.round() as u64),
            ColumnUnit::None if value.fract() == 0.0 => format_count(value as u64),
            ColumnUnit::None => format!("{value:.4}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_in_the_unit_of_their_column() {
        for (column, value, words) in [
            ("response_p99_ns", 3_090_000.4, "3.09 ms"),
            ("server_cpu_us_per_request", 9.21, "9.21 µs"),
            ("server_user_s", 1.5, "1.50 s"),
            ("server_memory_per_conn_bytes", 1638.4, "1.60 KiB"),
            ("server_memory_kib", 2048.0, "2.00 MiB"),
            ("bytes_per_s", 1024.0, "1.00 KiB/s"),
            ("requests_per_s", 90_221.3, "90 221"),
            ("steal_fraction", 0.021, "2.1 %"),
            ("errors", 12.0, "12"),
            ("wakeups_per_request", 0.25, "0.2500"),
        ] {
            assert_eq!(ColumnUnit::of(column).in_words(value), words, "{column}");
        }
    }
}
