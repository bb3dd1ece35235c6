//! Reading the CSV files that older versions kept.

use super::saved::{CUT_OFF, Columns, Fault};
use crate::model::row::{Row, Unknown, is_column};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;

/// The rows of `trials.csv` with the lines they begin in.
pub(super) fn rows(bytes: &[u8], columns: &mut Columns) -> Result<Vec<(u64, Row)>, Fault> {
    let (mut reader, headers) = open(bytes)?;
    let has = |column: &str| headers.iter().any(|name| name == column);
    columns.note(&has, headers.iter());
    let unknown: Vec<usize> = (0..headers.len())
        .filter(|&at| !is_column(&headers[at]))
        .collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| fault(e, &headers))?;
        let line = record.position().map_or(0, csv::Position::line);
        let row: Row = record
            .deserialize(Some(&headers))
            .map_err(|e| fault(e, &headers).at_line(Some(line)))?;
        check_finite(&headers, &record, &row).map_err(|what| (Some(line), what))?;
        let kept = unknown
            .iter()
            .map(|&at| (headers[at].into(), value(&record[at])));
        let unknown: Unknown = kept.collect();
        rows.push((line, Row { unknown, ..row }));
    }
    Ok(rows)
}

/// The lines of a CSV with these columns, each as `check` lets it pass; columns of other names are left out.
pub(super) fn lines<T: DeserializeOwned>(
    bytes: &[u8],
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<Vec<T>, Fault> {
    let (mut reader, headers) = open(bytes)?;
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| fault(e, &headers))?;
        let number = record.position().map(csv::Position::line);
        let line: T = record
            .deserialize(Some(&headers))
            .map_err(|e| fault(e, &headers).at_line(number))?;
        check(&line).map_err(|what| (number, what))?;
        lines.push(line);
    }
    Ok(lines)
}

/// A reader behind the header, and the header.
fn open(bytes: &[u8]) -> Result<(csv::Reader<&[u8]>, csv::StringRecord), Fault> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // A figure that was cut short would pass for a smaller one.
    if !bytes.ends_with(b"\n") {
        let line = bytes.iter().filter(|b| **b == b'\n').count() as u64 + 1;
        return Err((Some(line), CUT_OFF.to_string()).into());
    }
    let mut reader = csv::Reader::from_reader(bytes);
    let headers = reader
        .headers()
        .map_err(|e| fault(e, &csv::StringRecord::new()))?
        .clone();
    let mut seen = BTreeSet::new();
    match headers.iter().find(|name| !seen.insert(*name)) {
        None => Ok((reader, headers)),
        Some(double) => {
            let what = format!("column `{}` is there twice", double.escape_debug());
            Err((Some(1), what).into())
        }
    }
}

fn fault(error: csv::Error, headers: &csv::StringRecord) -> Fault {
    let line = error.position().map(csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => {
            let column = err
                .field()
                .and_then(|n| headers.get(n as usize))
                .unwrap_or("the row");
            format!("{}: {}", column.escape_debug(), err.kind())
        }
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("{len} cells where there should be {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "this is not UTF-8 text".into(),
        _ => error.to_string(),
    };
    Fault::from((line, what)).caused_by(error)
}

/// `NaN` and `inf` are read as numbers, and no trial measures them.
fn check_finite(
    headers: &csv::StringRecord,
    record: &csv::StringRecord,
    row: &Row,
) -> Result<(), String> {
    let json = serde_json::to_value(row).map_err(|e| e.to_string())?;
    let lost =
        |(name, cell): &(&str, &str)| is_column(name) && !cell.is_empty() && json[*name].is_null();
    match headers.iter().zip(record).find(lost) {
        Some((name, cell)) => Err(format!(
            "{name} is `{}`, which is no figure",
            cell.escape_debug()
        )),
        None => Ok(()),
    }
}

/// A cell of a column that is not known: a figure where it is written as one, so that it is written so again.
fn value(cell: &str) -> Value {
    if cell.is_empty() {
        return Value::Null;
    }
    match serde_json::from_str(cell) {
        Ok(Value::Number(number)) if number.to_string() == cell => Value::Number(number),
        _ => Value::String(cell.into()),
    }
}
