//! The folder of labs that were run: `labs.jsonl`, a line per lab as it ends, and what is made of these at the end.

use super::machine::Machine;
use super::page;
use super::report::Report;
use crate::base::text::visible;
use crate::store::folder::RunFolder;
use crate::store::saved::ENVIRONMENT;
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The file that every other one is made from.
pub const REPORTS: &str = "labs.jsonl";

/// A folder of labs that were run.
pub struct Folder {
    folder: RunFolder,
    reports: Vec<Report>,
    machine: Machine,
    file: File,
}

impl Folder {
    /// Makes a folder of its own below `results`.
    pub fn create(results: &Path) -> io::Result<Folder> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let stamp: String = now
            .chars()
            .filter(|c| c.is_ascii_digit() || *c == 'T')
            .collect();
        let folder =
            RunFolder::create(results, &format!("labs-{stamp}-{:04x}", fastrand::u16(..)))?;
        let machine = Machine::read();
        folder.write(ENVIRONMENT, &serde_json::to_vec_pretty(&machine)?)?;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(folder.path().join(REPORTS))?;
        Ok(Folder {
            folder,
            reports: Vec::new(),
            machine,
            file,
        })
    }

    /// Whether there are labs in this folder.
    pub fn is_one(path: &Path) -> bool {
        path.join(REPORTS).is_file()
    }

    /// The labs that were saved in a folder, as far as the last whole line.
    pub fn open(path: &Path) -> io::Result<Folder> {
        let text = fs::read_to_string(path.join(REPORTS))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let reports = whole
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        let machine = serde_json::from_slice(&fs::read(path.join(ENVIRONMENT))?)?;
        Ok(Folder {
            folder: RunFolder::open(path),
            reports,
            machine,
            file: File::open(path.join(REPORTS))?,
        })
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// What was run so far.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Saves a lab that is over.
    pub fn add(&mut self, report: Report) -> Result<(), String> {
        let line = serde_json::to_string(&report).map_err(|e| e.to_string())? + "\n";
        self.reports.push(report);
        let saved = self
            .file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data());
        saved.map_err(|e| format!("{REPORTS}: {e}"))
    }

    /// Makes the charts, `labs.json` and `labs.html`.
    pub fn finish(&self, complete: bool) -> Result<(), String> {
        for report in &self.reports {
            if let Some(chart) = report.finding().chart {
                let name = format!("charts/{}.svg", report.lab);
                let svg = chart.svg().map_err(|e| format!("{name}: {e}"))?;
                self.write(&name, svg.as_bytes())?;
            }
        }
        self.write("labs.json", self.json(complete).as_bytes())?;
        let page = page::render(&self.reports, &self.machine)?;
        self.write("labs.html", page.as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.folder
            .write(name, bytes)
            .map_err(|e| format!("{name}: {e}"))
    }

    /// Everything as one JSON object.
    pub fn json(&self, complete: bool) -> String {
        let outcomes = |word: &str| {
            self.reports
                .iter()
                .filter(|r| r.finding().outcome.words() == word)
                .count()
        };
        let labs: Vec<Value> = self.reports.iter().map(as_json).collect();
        let all = json!({
            "schema": "tenk.labs/1",
            "folder": visible(&self.folder.path().display().to_string()),
            "complete": complete,
            "machine": self.machine,
            "as_expected": outcomes("as expected"),
            "not_as_expected": outcomes("not as expected"),
            "not_judged": outcomes("not judged"),
            "labs": labs,
        });
        format!("{all:#}\n")
    }
}

/// A lab with what it asks, what was found, and what came of it.
fn as_json(report: &Report) -> Value {
    let mut all = json!(report);
    all["finding"] = json!(report.finding());
    all["about"] = report.lab().map_or(Value::Null, |lab| {
        let about = lab.about;
        json!({ "question": about.question, "claim": about.claim, "sources": about.sources, "done": about.done,
                "answer": about.answer, "next": about.next })
    });
    all
}
