//! Files: written whole or not at all, in formats that other tools read.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::blob;
use crate::outcome::Outcome;
use crate::units::SECOND_NS;

/// Milliseconds, the unit of both text formats, in nanoseconds.
const MS: f64 = 1e6;

/// Lines per halving of the distance to the end, as the Java tools print.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Replaces a file in one step: a temporary file beside it is written, synced
/// and renamed, then the directory is synced. On failure the old file stands.
///
/// # Errors
/// The step that failed, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let said =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut name = path
        .file_name()
        .ok_or_else(|| said(io::ErrorKind::IsADirectory.into()))?
        .to_owned();
    name.push(format!(".tmp{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_synced(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // What remains of the temporary file is useless; that it may not exist is no second error.
        let _ = fs::remove_file(&temporary);
        return Err(said(error));
    }
    File::open(directory_of(path))
        .and_then(|directory| directory.sync_all())
        .map_err(said)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A histogram of nanoseconds as the `.hgrm` text that HdrHistogram's plotter
/// reads: four columns, values in milliseconds. (The crate's own example prints
/// a fifth column, which the plotter takes for a comment.)
#[must_use]
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (
            step.value_iterated_to() as f64 / MS,
            step.quantile_iterated_to(),
        );
        // Writing to a String cannot fail.
        let _ = write!(text, "{value:>12.3} {quantile:.12} {total:>10}");
        let _ = if quantile < 1.0 {
            writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(text)
        };
    }
    let (mean, deviation) = (histogram.mean() / MS, histogram.stdev() / MS);
    let (max, count) = (histogram.max() as f64 / MS, histogram.len());
    let (buckets, sub_buckets) = layout(histogram);
    let _ = writeln!(
        text,
        "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]"
    );
    let _ = writeln!(
        text,
        "#[Max     = {max:>12.3}, Total count    = {count:>12}]"
    );
    let _ = writeln!(
        text,
        "#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]"
    );
    text
}

/// Buckets and sub-buckets of the layout (HdrHistogram's own terms): the second
/// is the power of two that resolves the digits, each bucket doubles the range.
fn layout(histogram: &Histogram<u64>) -> (u32, u64) {
    let sub_buckets = (2 * 10u64.pow(u32::from(histogram.sigfig()))).next_power_of_two();
    let mut buckets = 1;
    let mut reach = sub_buckets;
    while reach <= histogram.high() {
        reach *= 2;
        buckets += 1;
    }
    (buckets, sub_buckets)
}

/// The window second by second as an interval log (`.hlog`, version 1.3), values
/// in nanoseconds shown in milliseconds, payloads V2 deflate as the Java reader expects.
///
/// # Errors
/// When a blob of the series is damaged.
pub fn hlog(outcome: &Outcome, tag: &str) -> io::Result<Vec<u8>> {
    let start = Duration::from_nanos(outcome.window_start_unix_ns.unwrap_or(0));
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let tag = Tag::new(tag);
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(UNIX_EPOCH + start)
        .with_base_time(UNIX_EPOCH + start)
        .with_max_value_divisor(MS)
        .begin_log_with(&mut bytes, &mut serializer)?;
    for second in &outcome.series {
        let histogram = blob::decode(&second.histogram).map_err(io::Error::other)?;
        let from = Duration::from_secs(second.second);
        let length = Duration::from_nanos(
            (outcome
                .load
                .duration_ns
                .saturating_sub(second.second * SECOND_NS))
            .min(SECOND_NS),
        );
        writer
            .write_histogram(&histogram, from, length, tag)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::new_histogram;

    #[test]
    fn hgrm_lines_have_four_columns_but_for_the_last() {
        let mut histogram = new_histogram();
        (1..=100_000u64).for_each(|i| histogram.saturating_record(i * 1000));
        let text = hgrm(&histogram);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
        );
        let (last, body) = lines[1..].split_last().expect("values");
        assert!(
            body.len() > 20 && body.iter().all(|line| line.split_whitespace().count() == 4),
            "{text}"
        );
        assert_eq!(last.split_whitespace().count(), 3);
        assert!(text.contains("Total count    =       100000]"), "{text}");
        assert!(!text.contains("inf") && !text.contains('∞'));
    }

    #[test]
    fn a_file_is_replaced_whole_or_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.json");
        write_atomically(&path, b"old").expect("written");
        write_atomically(&path, b"new").expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
        let error = write_atomically(Path::new("/nonexistent/a.json"), b"x").expect_err("refused");
        assert!(error.to_string().contains("/nonexistent/a.json"), "{error}");
    }
}
