//! `latency.hlog`: the response times of all trials as an HdrHistogram interval log. It is made of the packed
//! histograms as they are; older versions kept them nowhere else.

use super::run::Run;
use super::saved::{CUT_OFF, Fault};
use crate::base::text::file_name;
use crate::model::histograms::{Histograms, Recorded, Window};
use crate::model::row::Row;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Nanoseconds in a millisecond, the log's unit.
const MS: f64 = 1e6;

/// The name of a trial in files: `epoll-c50-t7`.
pub fn trial_name(row: &Row) -> String {
    format!("{}-c{}-t{}", row.arm, row.conns, row.trial)
}

/// The log of a run (format 1.3).
pub fn text(run: &Run) -> String {
    let starts = run.histograms.iter().map(|(_, r)| r.window.start_unix_ns);
    let start_ns = starts.min().unwrap_or(0);
    let start_s = (start_ns / 1_000_000) as f64 / 1e3;
    let mut text = format!(
        "#[Histogram log format version 1.3]\n\
         #[StartTime: {start_s:.3} (seconds since epoch)]\n\
         #[BaseTime: {start_s:.3} (seconds since epoch)]\n\
         #[MaxValueDivisor: {MS:.3}]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
    );
    let recorded = |row: &Row| run.histograms.recorded(row.trial);
    for (row, recorded) in run
        .rows
        .iter()
        .filter_map(|row| Some((row, recorded(row)?)))
    {
        // What a tag may not hold.
        let tag = trial_name(row).replace(
            |c: char| c == ',' || c.is_whitespace() || c.is_control(),
            "_",
        );
        let from_s = (recorded.window.start_unix_ns - start_ns) as f64 / 1e9;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "Tag={tag},{from_s:.3},{:.3},{:.3},{}",
            recorded.window.length_s,
            recorded.buckets.max() as f64 / MS,
            recorded.packed
        );
    }
    text
}

/// The histograms of an interval log: `Tag=ARM-cCONNS-tTRIAL,START,LENGTH,MAX,PAYLOAD`; comments begin with `#`.
pub(super) fn histograms(bytes: &[u8], trials: &BTreeMap<u32, &Row>) -> Result<Histograms, Fault> {
    if !bytes.ends_with(b"\n") {
        let line = bytes.iter().filter(|b| **b == b'\n').count() as u64 + 1;
        return Err((Some(line), CUT_OFF.to_string()).into());
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Fault::from((None, format!("not UTF-8 text: {e}"))).caused_by(e))?;
    let mut histograms = Histograms::default();
    let mut base_s = 0.0;
    for (number, line) in text.lines().enumerate() {
        let at = |what: String| (Some(number as u64 + 1), what);
        if let Some(seconds) = line.strip_prefix("#[BaseTime: ") {
            base_s = figure(seconds.split(' ').next().unwrap_or_default()).map_err(at)?;
        }
        if line.is_empty() || line.starts_with('#') || line.starts_with('"') {
            continue;
        }
        let line_number = Some(number as u64 + 1);
        let recorded = interval(line, base_s, trials);
        let (trial, recorded) = recorded.map_err(|fault| fault.at_line(line_number))?;
        histograms.insert(trial, recorded).map_err(at)?;
    }
    Ok(histograms)
}

fn figure(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(figure) if f64::is_finite(figure) => Ok(figure),
        _ => Err(format!("`{}` is no figure", text.escape_debug())),
    }
}

fn interval(
    line: &str,
    base_s: f64,
    trials: &BTreeMap<u32, &Row>,
) -> Result<(u32, Recorded), Fault> {
    let fields: Vec<&str> = line.split(',').collect();
    let [tag, start, length, max, payload] = fields[..] else {
        return Err(format!("{} fields where there should be 5", fields.len()).into());
    };
    let tag = tag.strip_prefix("Tag=").ok_or("no tag".to_string())?;
    figure(max)?;
    let window = Window {
        start_unix_ns: ((base_s + figure(start)?) * 1e9) as u64,
        length_s: figure(length)?,
    };
    let trial = tag
        .rsplit_once("-t")
        .and_then(|(_, number)| number.parse().ok());
    let row = trial.and_then(|trial| trials.get(&trial));
    let (Some(trial), Some(row)) = (trial, row) else {
        return Err(format!("the tag `{}` names no trial of the run", tag.escape_debug()).into());
    };
    let expected = file_name(&format!("{}-c{}-t{trial}", row.arm, row.conns));
    if file_name(tag) != expected {
        return Err(format!(
            "the tag is `{}`, but trial {trial} is {expected}",
            tag.escape_debug()
        )
        .into());
    }
    let recorded = Recorded::of(payload, window, None);
    Ok((trial, recorded.map_err(Fault::from_error)?))
}
