//! Reading an outcome that somebody else wrote.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Outcome, SCHEMA};
use crate::load::MAX_SEGMENTS;

/// Reads an outcome that somebody wrote, and refuses one whose counts are none: they are going to be added up.
///
/// # Errors
/// A sentence that says what is wrong with it, and where.
pub fn read(text: &[u8]) -> Result<Outcome, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match value.get("schema").and_then(Value::as_str) {
        Some(SCHEMA) => {}
        other => {
            return Err(format!(
                "the schema is {}, not {SCHEMA:?}",
                other.unwrap_or("missing")
            ));
        }
    }
    check_numbers(&value, "")?;
    let outcome: Outcome = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let segment = outcome.load.segment;
    if segment.index >= segment.count || segment.count > MAX_SEGMENTS {
        return Err(format!("there is no segment {segment}"));
    }
    if outcome.target.parse::<SocketAddr>().is_err() {
        return Err("the target is no address".into());
    }
    Ok(outcome)
}

/// Larger than any count; the sum over thousands of segments still fits in 64 bits.
const MOST: u64 = 1 << 50;

/// Larger than any time since 1970, in nanoseconds.
const MOST_NS: u64 = 1 << 62;

fn check_numbers(value: &Value, name: &str) -> Result<(), String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .try_for_each(|(name, v)| check_numbers(v, name)),
        Value::Array(items) => items.iter().try_for_each(|v| check_numbers(v, name)),
        Value::Number(number) if name != "seed" => {
            let most = if name.ends_with("_ns") { MOST_NS } else { MOST };
            let fits = match number.as_u64() {
                Some(whole) => whole <= most,
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
