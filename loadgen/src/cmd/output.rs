//! Where results go: stdout, files, and notices on stderr.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use serde::Serialize;

use super::cli::Format;
use super::{Failure, report};
use crate::base::error::in_a_sentence;
use crate::base::file::write_atomically;
use crate::fleet::run::Listener;
use crate::tally::live::Live;
use crate::worker::control::Sum;

/// Writes a result to the file that was asked for, if one was.
pub(super) fn save(result: &impl Serialize, path: Option<&Path>) -> Result<(), Failure> {
    match path {
        Some(path) => Ok(write_atomically(path, json(result)?.as_bytes())?),
        None => Ok(()),
    }
}

/// Prints a result on stdout.
pub(super) fn show<T: Serialize>(
    result: &T,
    format: Format,
    table: fn(&T) -> String,
) -> Result<(), Failure> {
    let text = match format {
        Format::Table => table(result),
        Format::Json => json(result)? + "\n",
    };
    print(&text)
}

/// Prints text on stdout.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    // A reader that closed stdout early (`| head`) has what it wanted.
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let sentence = format!("stdout: {error}");
            Err(Failure::run(in_a_sentence(error, sentence)))
        }
        _ => Ok(()),
    }
}

fn json(result: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(result).map_err(Failure::run)
}

/// Notices on stderr unless `--quiet`, and the live view if it is a terminal.
pub(super) struct Stderr {
    quiet: bool,
    live: bool,
}

impl Stderr {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            live: !quiet && io::stderr().is_terminal(),
        }
    }
}

impl Listener for Stderr {
    fn notice(&mut self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "loadgen: {text}");
        }
    }

    fn wants_seconds(&self) -> bool {
        self.live
    }

    fn second(&mut self, live: &Live, sum: Sum) {
        if self.live {
            let _ = writeln!(io::stderr(), "{}", report::live_line(live, sum));
        }
    }
}
