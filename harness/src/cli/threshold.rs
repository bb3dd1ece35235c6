//! `--threshold 'response_p99_ns<5ms'`: what the median over trials of every cell must reach.
//!
//! Grammar: COLUMN OP VALUE, spaces anywhere; OP is one of `< <= > >= == != === !==` (k6's words); VALUE is a number,
//! with a unit where the column has one: `5ms` for times, `64KiB` for `_bytes` and `_kib`, `2%` for fractions, `10k`.

use crate::base::column_unit::ColumnUnit;
use crate::base::error::did_you_mean;
use crate::model::row::{COLUMNS, is_text};
use loadgen::base::units::{parse_count, parse_duration};
use std::str::FromStr;

/// A comparison of two figures.
pub type Comparison = fn(f64, f64) -> bool;

/// The comparisons, longer signs before those they begin with.
const OPERATORS: [(&str, Comparison); 8] = [
    ("===", |a, b| a == b),
    ("!==", |a, b| a != b),
    ("<=", |a, b| a <= b),
    (">=", |a, b| a >= b),
    ("==", |a, b| a == b),
    ("!=", |a, b| a != b),
    ("<", |a, b| a < b),
    (">", |a, b| a > b),
];

/// One threshold.
#[derive(Debug, Clone)]
pub struct Threshold {
    /// As it was typed.
    pub text: String,
    pub column: &'static str,
    pub holds: Comparison,
    pub value: f64,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>', '=', '!']);
        let (name, rest) = text.split_at(at.unwrap_or(text.len()));
        let column = column(name.trim())?;
        let (sign, holds) = OPERATORS
            .iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| {
                format!("`{text}` has no comparison (try `{column}<5`; < <= > >= == !=)")
            })?;
        Ok(Threshold {
            text: text.trim().to_string(),
            column,
            holds: *holds,
            value: value(column, rest[sign.len()..].trim())?,
        })
    }
}

/// The column of this name, or the nearest right one.
fn column(name: &str) -> Result<&'static str, String> {
    let numbers = || COLUMNS.iter().copied().filter(|column| !is_text(column));
    if let Some(column) = numbers().find(|column| *column == name) {
        return Ok(column);
    }
    if is_text(name) {
        return Err(format!(
            "`{name}` is text, and a threshold compares numbers"
        ));
    }
    let near = did_you_mean(name, numbers());
    Err(format!("`{name}` is no column of a row{near}"))
}

/// The value in the column's own unit.
fn value(column: &str, text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    let in_unit = match ColumnUnit::of(column) {
        ColumnUnit::Time(unit_ns) => parse_duration(text)
            .ok()
            .map(|d| d.as_nanos() as f64 / unit_ns),
        ColumnUnit::Bytes(unit) => bytes(text).map(|bytes| bytes / unit),
        ColumnUnit::BytesPerS => bytes(text),
        ColumnUnit::Fraction => text
            .strip_suffix('%')
            .and_then(|p| Some(p.trim().parse::<f64>().ok()? / 100.0)),
        ColumnUnit::None | ColumnUnit::PerS => parse_count(text).ok().map(|n| n as f64),
    };
    number.or(in_unit).filter(|v| v.is_finite()).ok_or_else(|| {
        let example = match ColumnUnit::of(column) {
            ColumnUnit::Time(_) => "5ms",
            ColumnUnit::Bytes(_) | ColumnUnit::BytesPerS => "64KiB",
            ColumnUnit::Fraction => "2%",
            ColumnUnit::None | ColumnUnit::PerS => "10k",
        };
        format!("`{text}` is no value for {column} (try 5 or {example})")
    })
}

fn bytes(text: &str) -> Option<f64> {
    let units = [
        ("KiB", 1024.0),
        ("MiB", 1048576.0),
        ("GiB", 1073741824.0),
        ("B", 1.0),
    ];
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.trim().parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn threshold(text: &str) -> Threshold {
        text.parse().unwrap()
    }

    #[test]
    fn values_have_the_units_of_their_column() {
        for (text, value) in [
            ("response_p99_ns<5ms", 5e6),
            ("response_p99_ns <= 1.5", 1.5),
            (" slip_p99_ns > 50us ", 50e3),
            ("server_memory_per_conn_bytes<64KiB", 65536.0),
            ("server_memory_kib<1MiB", 1024.0),
            ("bytes_per_s>=2MiB", 2097152.0),
            ("steal_fraction<2%", 0.02),
            ("requests_per_s>10k", 10_000.0),
            ("server_cpu_us_per_request<20us", 20.0),
            ("server_user_s<1500ms", 1.5),
            ("errors==0", 0.0),
            ("errors===0", 0.0),
            ("errors!==1", 1.0),
        ] {
            assert_eq!(threshold(text).value, value, "{text}");
        }
    }

    #[test]
    fn mistakes_are_answered_with_the_nearest_right_word() {
        let error = |text: &str| text.parse::<Threshold>().unwrap_err();
        assert!(error("response_p99<5ms").contains("did you mean `response_p99_ns`"));
        assert!(error("erors==0").contains("did you mean `errors`"));
        assert!(error("status==1").contains("is text"));
        assert!(error("errors").contains("no comparison"));
        assert!(error("errors=0").contains("no comparison"));
        assert!(error("errors<").contains("no value"));
        assert!(error("response_p99_ns<5 parsecs").contains("try 5 or 5ms"));
        assert!(error("errors<inf").contains("no value"));
        assert!(error("errors<NaN").contains("no value"));
        assert!(error("").contains("no column"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,24}", column in 0..COLUMNS.len(), op in 0..OPERATORS.len()) {
            let _ = text.parse::<Threshold>();
            let _ = format!("{}{}{text}", COLUMNS[column], OPERATORS[op].0).parse::<Threshold>();
        }
    }
}
