//! What a run saved beside its rows, read back: histograms, seconds and workers. Every line is read or the reading
//! fails, with file and line; a file that is not there is said, and its charts are left out.

use crate::base::text::file_name;
use crate::model::histograms::Histograms;
use crate::model::row::Row;
use crate::model::timeline::{self, TimelineRow};
use crate::model::workers::{self, WorkerRow};
use crate::store::load_rows::{self, LoadError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use loadgen::blob;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// A file larger than this is none of ours.
const MOST_BYTES: u64 = 1 << 30;
/// The longest histogram that is unpacked, bytes: beyond what [`blob`] accepts, so that it is the one to refuse.
const MOST_UNPACKED: u64 = 512 * 1024;
/// Header of a packed histogram: cookie and length of what follows (HdrHistogram V2, big-endian).
const PACKED_COOKIE: u32 = 0x1c84_9304 | 0x10;

/// What stood beside the rows.
#[derive(Debug)]
pub struct Beside {
    /// Response times by trial.
    pub histograms: Histograms,
    /// The seconds of the trials.
    pub timeline: Vec<TimelineRow>,
    /// The servers' workers.
    pub workers: Vec<WorkerRow>,
    /// The files that are not there.
    pub missing: Vec<&'static str>,
}

/// What is wrong with a line, counted from 1.
type Fault = (Option<u64>, String);

/// Reads everything beside the rows of the run in this folder; `saved` is how much that was.
pub fn read(
    folder: &Path,
    rows: &[Row],
    saved: Option<load_rows::Beside>,
) -> Result<Beside, LoadError> {
    let trials: BTreeMap<u32, &Row> = rows.iter().map(|row| (row.trial, row)).collect();
    let mut missing = Vec::new();
    let timeline = part(folder, "timeline.csv", &mut missing, |bytes| {
        let known = |line: &TimelineRow| belongs(&trials, line.trial, &line.run_id, &line.arm);
        lines(bytes, &timeline::COLUMNS, known)
    })?;
    let workers = part(folder, "workers.csv", &mut missing, |bytes| {
        let known = |line: &WorkerRow| belongs(&trials, line.trial, &line.run_id, &line.arm);
        lines(bytes, &workers::COLUMNS, known)
    })?;
    let histograms = part(folder, "latency.hlog", &mut missing, |bytes| {
        histograms(bytes, &trials)
    })?;
    if let Some(saved) = saved {
        for (name, found, expected) in [
            ("timeline.csv", timeline.len(), saved.seconds),
            ("workers.csv", workers.len(), saved.workers),
            ("latency.hlog", histograms.len(), saved.histograms),
        ] {
            if found != expected && !missing.contains(&name) {
                let what = format!(
                    "{found} entries where the run saved {expected} (run.json): some were lost or added"
                );
                return Err(LoadError {
                    file: folder.join(name),
                    line: None,
                    what,
                });
            }
        }
    }
    Ok(Beside {
        histograms,
        timeline,
        workers,
        missing,
    })
}

/// One file: what is in it, or nothing if it is not there.
fn part<T: Default>(
    folder: &Path,
    name: &'static str,
    missing: &mut Vec<&'static str>,
    parse: impl FnOnce(&[u8]) -> Result<T, Fault>,
) -> Result<T, LoadError> {
    let file = folder.join(name);
    let parsed = match contents(&file) {
        Ok(Some(bytes)) => parse(&bytes),
        Ok(None) => {
            missing.push(name);
            Ok(T::default())
        }
        Err(what) => Err((None, what)),
    };
    parsed.map_err(|(line, what)| LoadError { file, line, what })
}

/// The bytes of a file; none if it is not there.
fn contents(file: &Path) -> Result<Option<Vec<u8>>, String> {
    let bytes = match fs::metadata(file) {
        Ok(metadata) if metadata.len() > MOST_BYTES => {
            return Err(format!(
                "{} bytes are too many for a file of a run",
                metadata.len()
            ));
        }
        Ok(_) => fs::read(file),
        Err(e) => Err(e),
    };
    match bytes {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

fn belongs(
    trials: &BTreeMap<u32, &Row>,
    trial: u32,
    run_id: &str,
    arm: &str,
) -> Result<(), String> {
    match trials.get(&trial) {
        Some(row) if row.run_id == run_id && row.arm == arm => Ok(()),
        Some(row) => Err(format!(
            "trial {trial} of {arm:?} in run {run_id:?}, but trials.csv has it as {:?} of {:?}",
            row.arm, row.run_id
        )),
        None => Err(format!("trial {trial} is not in trials.csv")),
    }
}

/// The lines of a CSV with exactly these columns.
fn lines<T: DeserializeOwned>(
    bytes: &[u8],
    columns: &[&str],
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<Vec<T>, Fault> {
    whole(bytes)?;
    let mut reader = csv::Reader::from_reader(bytes);
    let at = |e: csv::Error| (e.position().map(csv::Position::line), e.to_string());
    let headers = reader.headers().map_err(at)?.clone();
    if headers.iter().ne(columns.iter().copied()) {
        let what = format!(
            "the columns are not {}: another version's file, or another program's",
            columns.join(",")
        );
        return Err((Some(1), what));
    }
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(at)?;
        let number = record.position().map(csv::Position::line);
        let line: T = record
            .deserialize(Some(&headers))
            .map_err(|e| (number, e.to_string()))?;
        check(&line).map_err(|what| (number, what))?;
        lines.push(line);
    }
    Ok(lines)
}

/// A figure that was cut short would pass for a smaller one.
fn whole(bytes: &[u8]) -> Result<(), Fault> {
    if bytes.ends_with(b"\n") {
        return Ok(());
    }
    let line = bytes.iter().filter(|b| **b == b'\n').count() as u64 + 1;
    Err((
        Some(line),
        "the file ends inside this line: it was cut off".into(),
    ))
}

/// The histograms of an interval log: `Tag=ARM-cCONNS-tTRIAL,START,LENGTH,MAX,PAYLOAD`; comments begin with `#`.
fn histograms(bytes: &[u8], trials: &BTreeMap<u32, &Row>) -> Result<Histograms, Fault> {
    whole(bytes)?;
    let text = std::str::from_utf8(bytes).map_err(|e| (None, format!("not UTF-8 text: {e}")))?;
    let mut histograms = Histograms::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') || line.starts_with('"') {
            continue;
        }
        let at = |what: String| (Some(number as u64 + 1), what);
        let (trial, histogram) = interval(line, trials).map_err(at)?;
        if histograms.insert(trial, histogram).is_some() {
            return Err(at(format!("trial {trial} is there twice")));
        }
    }
    Ok(histograms)
}

fn interval(line: &str, trials: &BTreeMap<u32, &Row>) -> Result<(u32, Histogram<u64>), String> {
    let fields: Vec<&str> = line.split(',').collect();
    let [tag, start, length, max, payload] = fields[..] else {
        return Err(format!("{} fields where there should be 5", fields.len()));
    };
    let tag = tag.strip_prefix("Tag=").ok_or("no tag")?;
    for figure in [start, length, max] {
        let parsed: Result<f64, _> = figure.parse();
        if !parsed.is_ok_and(f64::is_finite) {
            return Err(format!("`{}` is no figure", figure.escape_debug()));
        }
    }
    let trial = tag
        .rsplit_once("-t")
        .and_then(|(_, number)| number.parse().ok());
    let row = trial.and_then(|trial| trials.get(&trial));
    let (Some(trial), Some(row)) = (trial, row) else {
        return Err(format!(
            "the tag `{}` names no trial of trials.csv",
            tag.escape_debug()
        ));
    };
    let expected = file_name(&format!("{}-c{}-t{trial}", row.arm, row.conns));
    if file_name(tag) != expected {
        return Err(format!(
            "the tag is `{}`, but trial {trial} is {expected}",
            tag.escape_debug()
        ));
    }
    Ok((trial, unpacked(payload)?))
}

/// Decodes base64 and V2 deflate, never to more than a histogram of ours can take, and has [`blob`] check the rest:
/// the decoder of the hdrhistogram crate believes what the header says.
fn unpacked(payload: &str) -> Result<Histogram<u64>, String> {
    let packed = STANDARD
        .decode(payload)
        .map_err(|e| format!("not base64: {e}"))?;
    let (Some(header), Some(body)) = (packed.first_chunk::<8>(), packed.get(8..)) else {
        return Err(format!("{} bytes are no histogram", packed.len()));
    };
    let [a, b, c, d, e, f, g, h] = *header;
    let (cookie, length) = (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    );
    if cookie != PACKED_COOKIE || length as usize != body.len() {
        return Err("no packed histogram (V2 deflate), or one that was cut".into());
    }
    let mut bytes = Vec::new();
    let mut reader = ZlibDecoder::new(body).take(MOST_UNPACKED);
    reader
        .read_to_end(&mut bytes)
        .map_err(|e| format!("damaged histogram: {e}"))?;
    blob::decode(&STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::csv_of;
    use loadgen::files::{Interval, interval_log};
    use proptest::prelude::*;
    use std::io::Write;
    use std::time::Duration;
    use tempfile::TempDir;

    fn rows() -> Vec<Row> {
        let row = |trial, arm: &str| Row {
            run_id: "r".into(),
            trial,
            arm: arm.into(),
            conns: 50,
            ..Row::blank()
        };
        vec![
            row(1, "epoll"),
            row(2, "prefork:accept=mutex,workers=4 \u{1b}"),
        ]
    }

    fn histogram() -> Histogram<u64> {
        let mut histogram =
            Histogram::new_with_bounds(1, loadgen::tally::LATENCY_MAX_NS, loadgen::tally::DIGITS)
                .unwrap();
        (1..2000u64).for_each(|i| histogram.record(i * i).unwrap());
        histogram
    }

    fn log(rows: &[Row]) -> Vec<u8> {
        let tags: Vec<String> = rows
            .iter()
            .map(|row| format!("{}-c{}-t{}", row.arm, row.conns, row.trial))
            .collect();
        let intervals: Vec<Interval> = tags
            .iter()
            .map(|tag| Interval {
                start: Duration::from_secs(1_700_000_000),
                length: Duration::from_secs(1),
                tag,
                histogram: histogram(),
            })
            .collect();
        interval_log(&intervals).unwrap()
    }

    fn folder(log: &[u8]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let seconds: Vec<TimelineRow> = Vec::new();
        let workers = workers::of(&rows()[1], &[Default::default(), Default::default()]);
        fs::write(
            folder.path().join("timeline.csv"),
            csv_of(&timeline::COLUMNS, &seconds).unwrap(),
        )
        .unwrap();
        fs::write(
            folder.path().join("workers.csv"),
            csv_of(&workers::COLUMNS, &workers).unwrap(),
        )
        .unwrap();
        fs::write(folder.path().join("latency.hlog"), log).unwrap();
        folder
    }

    fn fault(log: &str) -> String {
        read(folder(log.as_bytes()).path(), &rows(), None)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_was_saved_is_read_back() {
        let folder_of_log = folder(&log(&rows()));
        let saved = load_rows::Beside {
            seconds: 0,
            workers: 2,
            histograms: 9,
        };
        let lost = read(folder_of_log.path(), &rows(), Some(saved));
        let message = lost.unwrap_err().to_string();
        assert!(
            message.contains("entries where the run saved 9"),
            "{message}"
        );
        let beside = read(folder_of_log.path(), &rows(), None).unwrap();
        assert_eq!(beside.histograms[&1], histogram());
        assert_eq!(beside.histograms.len(), 2);
        assert_eq!(beside.workers.len(), 2);
        assert!(beside.missing.is_empty());
    }

    #[test]
    fn missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let beside = read(folder.path(), &rows(), None).unwrap();
        assert_eq!(
            beside.missing,
            ["timeline.csv", "workers.csv", "latency.hlog"]
        );
    }

    #[test]
    fn faults_have_their_line() {
        let text = String::from_utf8(log(&rows())).unwrap();
        let first = text
            .lines()
            .position(|line| line.starts_with("Tag="))
            .unwrap()
            + 1;
        let begins = format!("latency.hlog:{first}: ");
        for (broken, expected) in [
            (text.replace("-t1,", "-t9,"), "names no trial"),
            (
                text.replace("Tag=epoll", "Tag=poll"),
                "but trial 1 is epoll-c50-t1",
            ),
            (text.replace("HISTFAAA", "HISTFAAB"), "cut"),
            (text.replace("HISTFAAA", "HIST!AAA"), "not base64"),
            (text.replacen(",0.000,", ",NaN,", 1), "is no figure"),
        ] {
            let message = fault(&broken);
            assert!(
                message.contains(&begins) && message.contains(expected),
                "{message}"
            );
        }
        assert!(fault(text.trim_end()).contains("cut off"));
        let twice = text.lines().last().unwrap();
        assert!(fault(&format!("{text}{twice}\n")).contains("trial 2 is there twice"));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&vec![0; 50 << 20]).unwrap();
        let body = packer.finish().unwrap();
        let mut packed = PACKED_COOKIE.to_be_bytes().to_vec();
        packed.extend((body.len() as u32).to_be_bytes());
        packed.extend(body);
        assert!(
            unpacked(&STANDARD.encode(packed))
                .unwrap_err()
                .contains("longer than")
        );
    }

    #[test]
    fn a_worker_of_another_run_is_refused() {
        let folder = folder(&log(&rows()));
        let mut others = rows();
        others[1].run_id = "other".into();
        let message = read(folder.path(), &others, None).unwrap_err().to_string();
        assert!(message.contains("workers.csv:2: "), "{message}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), payload in "HISTFAAA[A-Za-z0-9+/]{0,80}=?=?") {
            let rows = rows();
            let trials: BTreeMap<u32, &Row> = rows.iter().map(|row| (row.trial, row)).collect();
            let _ = histograms(&bytes, &trials);
            prop_assert!(unpacked(&payload).is_err());
        }
    }
}
