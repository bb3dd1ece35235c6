//! `--export FORMAT=PATH`.

use clap::ValueEnum;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A format that other tools read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// `run.json` as it is.
    Json,
    /// The rows for spreadsheets.
    Csv,
    /// The table as Markdown.
    Md,
    /// Bencher Metric Format.
    Bmf,
    /// github-action-benchmark.
    Gha,
    /// benchstat.
    Benchfmt,
}

impl ExportFormat {
    /// Its name on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The names of all of them.
    pub fn names() -> Vec<String> {
        let all = Self::value_variants().iter();
        all.map(|format| format.name()).collect()
    }
}

/// One `--export FORMAT=PATH`.
#[derive(Clone)]
pub struct Export {
    /// The format.
    pub format: ExportFormat,
    /// The file, or the first of them.
    pub path: PathBuf,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.format.name(), self.path.display())
    }
}

impl FromStr for Export {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = ExportFormat::names().join(", ");
        let (name, path) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not FORMAT=PATH; the formats are {names}"))?;
        let format = ExportFormat::from_str(name, false)
            .map_err(|_| format!("`{name}` is no format; the formats are {names}"))?;
        if path.is_empty() {
            return Err(format!("`{text}` names no file; write {name}=PATH"));
        }
        // Found out now, not when the run has been made.
        let folder = Path::new(path).parent();
        if let Some(folder) = folder.filter(|f| !f.as_os_str().is_empty() && !f.is_dir()) {
            return Err(format!("`{text}`: there is no folder {}", folder.display()));
        }
        Ok(Export {
            format,
            path: path.into(),
        })
    }
}
