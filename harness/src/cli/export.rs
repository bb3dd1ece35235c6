//! `--export FORMAT=PATH`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A format that other tools read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// All of them.
    pub const ALL: [ExportFormat; 6] = [
        ExportFormat::Json,
        ExportFormat::Csv,
        ExportFormat::Md,
        ExportFormat::Bmf,
        ExportFormat::Gha,
        ExportFormat::Benchfmt,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::Json => "json",
            ExportFormat::Csv => "csv",
            ExportFormat::Md => "md",
            ExportFormat::Bmf => "bmf",
            ExportFormat::Gha => "gha",
            ExportFormat::Benchfmt => "benchfmt",
        }
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
        let names = ExportFormat::ALL.map(ExportFormat::name).join(", ");
        let (name, path) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not FORMAT=PATH; the formats are {names}"))?;
        let format = ExportFormat::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| format!("`{name}` is no format; the formats are {names}"))?;
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
