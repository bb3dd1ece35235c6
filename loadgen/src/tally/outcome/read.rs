//! Reading an outcome that somebody else wrote.

use serde_json::Value;

use super::{Outcome, SCHEMA};
use crate::base::address::Address;
use crate::load::{MAX_SEGMENTS, Segment};

/// Why what was read is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no JSON, or has other fields.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Its schema is another.
    #[error("the schema is {0}, not {SCHEMA:?}")]
    Schema(String),
    /// A figure that none of ours has, in a sentence.
    #[error("{0}")]
    Figure(String),
    /// A share of the load that there is not.
    #[error("there is no segment {0}")]
    Segment(Segment),
    /// The target is none.
    #[error("the target is no address")]
    Target,
}

/// Reads an outcome that somebody wrote, and refuses one whose counts are none: they are going to be added up.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read(text: &[u8]) -> Result<Outcome, ReadError> {
    let value: Value = serde_json::from_slice(text)?;
    match value.get("schema").and_then(Value::as_str) {
        Some(SCHEMA) => {}
        other => {
            let found = other.unwrap_or("missing").to_owned();
            return Err(ReadError::Schema(found));
        }
    }
    check_numbers(&value, "").map_err(ReadError::Figure)?;
    let outcome: Outcome = serde_json::from_value(value)?;
    let segment = outcome.load.segment;
    if segment.index >= segment.count || segment.count > MAX_SEGMENTS {
        return Err(ReadError::Segment(segment));
    }
    if outcome.target.parse::<Address>().is_err() {
        return Err(ReadError::Target);
    }
    Ok(outcome)
}

/// Larger than any count; the sum over thousands of segments still fits in 64 bits.
const MOST: u64 = 1 << 50;

/// Larger than any time since 1970, in nanoseconds.
const MOST_NS: u64 = 1 << 62;

/// Whether every number is one that can be added up.
///
/// # Errors
/// Which is not, in a sentence.
pub fn check_numbers(value: &Value, name: &str) -> Result<(), String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .try_for_each(|(name, v)| check_numbers(v, name)),
        Value::Array(items) => items.iter().try_for_each(|v| check_numbers(v, name)),
        Value::Number(number) if name != "seed" => {
            let most = if name.ends_with("_ns") { MOST_NS } else { MOST };
            let fits = match number.as_u64() {
                Some(whole) => whole <= most,
                // How far a clock is ahead of another may be less than nothing.
                None if name.starts_with("clock_ahead") => {
                    number.as_i64().is_some_and(|ns| ns.unsigned_abs() <= most)
                }
                None => number
                    .as_f64()
                    .is_some_and(|v| (0.0..=MOST as f64).contains(&v)),
            };
            match fits {
                true => Ok(()),
                false => Err(format!("{name} is {number}: no figure of ours")),
            }
        }
        _ => Ok(()),
    }
}
