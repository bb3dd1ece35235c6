//! A history as it is kept: lines of JSON, appended and never touched again. Lines that cannot be read, whoever wrote
//! them, are passed over and said.

use crate::base::lock::{Kind, Locked};
use crate::base::text::visible;
use crate::model::history::{HistoryLine, SCHEMA};
use crate::model::metrics::METRICS;
use loadgen::base::file::synced;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// More than this is no history of ours: a line takes a few KiB.
pub const MOST_BYTES: u64 = 256 << 20;
/// A longer line is none of ours.
const MOST_LINE: usize = 4 << 20;
/// How many lines that were passed over are told one by one.
const MOST_TOLD: usize = 8;

/// What was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The lines of this version.
    pub lines: Vec<HistoryLine>,
    /// What was passed over, a sentence each.
    pub notes: Vec<String>,
}

/// Reads the lines of a history; `of` is what people call it.
pub fn parse(bytes: &[u8], of: &str) -> History {
    let mut history = History::default();
    let mut passed = Vec::new();
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        match read(line) {
            Ok(line) => history.lines.push(line),
            Err(why) => passed.push(format!("{of}:{}: {why}", number + 1)),
        }
    }
    let more = passed.len().saturating_sub(MOST_TOLD);
    passed.truncate(MOST_TOLD);
    history.notes = passed
        .iter()
        .map(|why| visible(&format!("passed over {why}")))
        .collect();
    if more > 0 {
        history
            .notes
            .push(format!("passed over {more} more lines of {}", visible(of)));
    }
    history
}

fn read(line: &[u8]) -> Result<HistoryLine, String> {
    if line.len() > MOST_LINE {
        return Err(format!("{} bytes are too many for a line", line.len()));
    }
    let value: Value =
        serde_json::from_slice(line).map_err(|e| format!("no line of a history: {e}"))?;
    match value["schema"].as_str() {
        Some(SCHEMA) => {}
        Some(other) => {
            return Err(format!(
                "it is {other}, of another version of tenk; this one reads {SCHEMA}"
            ));
        }
        None => return Err("no line of a history: it has no schema".into()),
    }
    let mut line: HistoryLine = serde_json::from_value(value).map_err(|e| e.to_string())?;
    if !is_commit(&line.commit) {
        return Err("its commit is none".into());
    }
    for figures in &mut line.figures {
        figures.metrics.retain(|column, figure| {
            let is_known = METRICS.iter().any(|metric| metric.column == column);
            let ends = [figure.low, figure.median, figure.high];
            let is_sound = ends.iter().all(|v| v.is_finite() && *v > 0.0) && ends.is_sorted();
            is_known && is_sound
        });
    }
    Ok(line)
}

/// Whether a text is the name of a commit.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The lines as they are kept.
pub fn to_text(lines: &[HistoryLine]) -> serde_json::Result<String> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    Ok(text)
}

/// What is added to these bytes: on a line of its own, also behind one that was cut off.
pub fn added(before: &[u8], text: &str) -> String {
    match before.last() {
        None | Some(b'\n') => text.to_string(),
        Some(_) => format!("\n{text}"),
    }
}

/// The bytes of a history in a file; none where there is no file.
///
/// # Errors
/// What the system refused.
pub fn contents(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let opened = match File::open(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    opened.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST_BYTES {
        true => Err(io::Error::other(format!(
            "more than {MOST_BYTES} bytes are too many for a history"
        ))),
        false => Ok(Some(bytes)),
    }
}

/// Appends what `lines` makes of what is there, while nobody else does; a disk that is full leaves the file as it was.
///
/// # Errors
/// What the system refused.
pub fn append<T>(file: &Path, lines: impl FnOnce(&[u8]) -> (String, T)) -> io::Result<T> {
    let opened = File::options()
        .append(true)
        .create(true)
        .read(true)
        .open(file)?;
    // Where the file system knows no locks, two that append at once still append whole lines.
    let mut locked = Locked::wait(opened, Kind::Exclusive).map_err(|(_, error)| error)?;
    let before = contents(file)?.unwrap_or_default();
    let (text, result) = lines(&before);
    let text = added(&before, &text);
    let written = locked
        .write_all(text.as_bytes())
        .and_then(|()| synced(locked.sync_data()));
    if let Err(error) = written {
        // Half a line would be passed over, and said; none is better.
        let _ = locked.set_len(before.len() as u64);
        return Err(error);
    }
    Ok(result)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::history::{HistoryFigure, HistoryFigures, HistoryMachine};

    /// A line with one figure.
    pub fn line(commit: u64, machine: &str, median: f64) -> HistoryLine {
        let figure = HistoryFigure {
            median,
            low: median * 0.99,
            high: median * 1.01,
            trials: 8,
            change: None,
        };
        HistoryLine {
            schema: SCHEMA.into(),
            run_id: format!("run-{commit}"),
            commit: format!("{commit:040x}"),
            title: format!("change {commit}"),
            committed_s: 1_700_000_000 + commit as i64,
            against: None,
            machine: HistoryMachine {
                id: machine.into(),
                what: format!("machine {machine}"),
                facts: Default::default(),
            },
            figures: vec![HistoryFigures {
                arm: "epoll".into(),
                model: "epoll".into(),
                workload: "c50/echo64".into(),
                metrics: [("server_cpu_us_per_request".to_string(), figure)].into(),
            }],
        }
    }

    #[test]
    fn what_was_kept_is_read_and_what_is_hostile_or_newer_is_passed_over_and_said() {
        let good = to_text(&[line(1, "a", 3.0), line(2, "a", 3.1)]).unwrap();
        let newer = good
            .lines()
            .next()
            .unwrap()
            .replace("history/1", "history/2");
        let negative = good
            .lines()
            .next()
            .unwrap()
            .replace("\"median\":3.0", "\"median\":-3.0");
        let no_commit = good
            .lines()
            .next()
            .unwrap()
            .replace(&format!("{:040x}", 1), "../../etc");
        let text = format!(
            "{good}{newer}\nnot json\n\n{no_commit}\n{{}}\n[[[[\n{negative}\n{}",
            &good[..40]
        );
        let history = parse(text.as_bytes(), "h");
        assert_eq!(history.lines.len(), 3);
        assert!(
            history.lines[2].figures[0].metrics.is_empty(),
            "a figure that cannot be"
        );
        let told = history.notes.join("\n");
        for words in [
            "h:3: it is tenk.history/2, of another version",
            "h:4: no line",
            "its commit is none",
            "no schema",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert_eq!(history.notes.len(), 6);
        let many = "x\n".repeat(1000) + "\u{1b}[31m\n";
        assert_eq!(parse(many.as_bytes(), "h").notes.len(), MOST_TOLD + 1);
        assert!(parse(b"\xff\xfe\n", "h").lines.is_empty());
    }

    #[test]
    fn lines_are_appended_whole_also_behind_half_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("h.jsonl");
        let add = |n: u64| {
            let text = to_text(&[line(n, "a", 3.0)]).unwrap();
            append(&file, |before| (text, before.len())).unwrap()
        };
        assert_eq!(add(1), 0);
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, [&whole[..], b"{\"half"].concat()).unwrap();
        assert!(add(2) > 0);
        let history = parse(&contents(&file).unwrap().unwrap(), "h");
        assert_eq!((history.lines.len(), history.notes.len()), (2, 1));
        assert_eq!(contents(&folder.path().join("none")).unwrap(), None);
    }
}
