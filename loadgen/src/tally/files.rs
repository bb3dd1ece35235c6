//! Files: written whole or not at all, in formats that other tools read.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::blob;
use super::buckets::Buckets;
use super::latency::{DIGITS, LATENCY_MAX_NS};
use super::outcome::{Outcome, Second};
use crate::base::units::SECOND_NS;

/// Milliseconds, the unit of both text formats, in nanoseconds.
const MS: f64 = 1e6;

/// Lines per halving of the distance to the end, as the Java tools print.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Response times in nanoseconds as the `.hgrm` text that HdrHistogram's plotter
/// reads: four columns, values in milliseconds. (The crate's own example prints
/// a fifth column, which the plotter takes for a comment.) Values from `censored_from_ns` on are lower bounds, which a
/// comment at the end says.
#[must_use]
pub fn hgrm(buckets: &Buckets, censored_from_ns: Option<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for (value_ns, quantile, total) in buckets.by_quantile(TICKS_PER_HALF_DISTANCE) {
        let value = value_ns as f64 / MS;
        // Writing to a String cannot fail.
        let _ = write!(text, "{value:>12.3} {quantile:.12} {total:>10}");
        let _ = if quantile < 1.0 {
            writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(text)
        };
    }
    let (mean_ns, deviation_ns) = buckets.mean_and_deviation();
    let (mean, deviation) = (mean_ns / MS, deviation_ns / MS);
    let (max, count) = (buckets.max() as f64 / MS, buckets.len());
    let (buckets, sub_buckets) = layout();
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
    if let Some(from_ns) = censored_from_ns {
        let from = from_ns as f64 / MS;
        let _ = writeln!(
            text,
            "#[Values of {from:.3} and more are lower bounds: requests were unanswered when they had waited so long]"
        );
    }
    text
}

/// Buckets and sub-buckets of our layout (HdrHistogram's own terms): the second
/// is the power of two that resolves the digits, each bucket doubles the range.
fn layout() -> (u32, u64) {
    let sub_buckets = (2 * 10u64.pow(u32::from(DIGITS))).next_power_of_two();
    let mut buckets = 1;
    let mut reach = sub_buckets;
    while reach <= LATENCY_MAX_NS {
        reach *= 2;
        buckets += 1;
    }
    (buckets, sub_buckets)
}

/// One line of an interval log.
#[derive(Clone, Debug)]
pub struct Interval<'a> {
    /// Start, since the Unix epoch.
    pub start: Duration,
    /// How long it lasted.
    pub length: Duration,
    /// Whose it is; what a tag may not hold (commas, white space) becomes `_`.
    pub tag: &'a str,
    /// Nanoseconds.
    pub histogram: Histogram<u64>,
}

/// An interval log (`.hlog`, version 1.3), values in nanoseconds shown in
/// milliseconds, payloads V2 deflate as the Java reader expects.
///
/// # Errors
/// When a histogram cannot be encoded.
pub fn interval_log(intervals: &[Interval]) -> io::Result<Vec<u8>> {
    let start = intervals.iter().map(|i| i.start).min().unwrap_or_default();
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(UNIX_EPOCH + start)
        .with_base_time(UNIX_EPOCH + start)
        .with_max_value_divisor(MS)
        .begin_log_with(&mut bytes, &mut serializer)?;
    for interval in intervals {
        let tag = interval.tag.replace(
            |c: char| c == ',' || c.is_whitespace() || c.is_control(),
            "_",
        );
        let from = interval.start - start;
        writer
            .write_histogram(&interval.histogram, from, interval.length, Tag::new(&tag))
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    Ok(bytes)
}

/// The window second by second as an interval log.
///
/// # Errors
/// When a blob of the series is damaged.
pub fn hlog(outcome: &Outcome, tag: &str) -> io::Result<Vec<u8>> {
    let start = Duration::from_nanos(outcome.window_start_unix_ns.unwrap_or(0));
    let interval = |second: &Second| {
        let gone_ns = second.second * SECOND_NS;
        let left_ns = ((outcome.window_s * 1e9) as u64).saturating_sub(gone_ns);
        Ok(Interval {
            start: start + Duration::from_nanos(gone_ns),
            length: Duration::from_nanos(left_ns.min(second.length_s * SECOND_NS)),
            tag,
            histogram: blob::decode(&second.histogram).map_err(io::Error::other)?,
        })
    };
    let intervals: io::Result<Vec<Interval>> = outcome.series.iter().map(interval).collect();
    interval_log(&intervals?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::latency::new_histogram;

    #[test]
    fn hgrm_lines_have_four_columns_but_for_the_last() {
        let mut histogram = new_histogram();
        (1..=100_000u64).for_each(|i| histogram.saturating_record(i * 1000));
        let buckets = Buckets::of(&histogram);
        let text = hgrm(&buckets, None);
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
        assert!(!text.contains("inf") && !text.contains('∞') && !text.contains("lower bounds"));
        let censored = hgrm(&buckets, Some(50_000_000));
        let comment = censored
            .strip_prefix(text.as_str())
            .expect("the same figures");
        assert!(comment.starts_with("#[Values of 50.000 and more are lower bounds"));
    }

    #[test]
    fn an_interval_log_is_read_back_with_its_tags() {
        use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
        let mut histogram = new_histogram();
        histogram.saturating_record(5_000_000);
        let interval = |start_s, tag| Interval {
            start: Duration::from_secs(start_s),
            length: Duration::from_secs(3),
            tag,
            histogram: histogram.clone(),
        };
        let log = interval_log(&[
            interval(100, "epoll"),
            interval(107, "prefork:a=b,workers=4"),
        ]);
        let log = log.expect("written");
        let entries: Vec<LogEntry> = IntervalLogIterator::new(&log)
            .collect::<Result<_, _>>()
            .expect("valid");
        let found: Vec<(Option<String>, Duration)> = entries
            .iter()
            .filter_map(|entry| match entry {
                LogEntry::Interval(i) => {
                    let tag = i.tag().map(|tag| tag.as_str().to_string());
                    Some((tag, i.start_timestamp()))
                }
                _ => None,
            })
            .collect();
        let expected = [
            (Some("epoll".into()), Duration::ZERO),
            (Some("prefork:a=b_workers=4".into()), Duration::from_secs(7)),
        ];
        assert_eq!(found, expected);
        assert!(log.windows(8).any(|bytes| bytes == b"HISTFAAA"));
        assert!(interval_log(&[]).is_ok());
    }
}
