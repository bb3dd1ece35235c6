//! How a fleet starts one more process of this program.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// A program that runs the load which its flags describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// What stands on its command line before the flags, such as a sub-command.
    pub words: Vec<OsString>,
}

impl Program {
    /// The program that is running, even where its file was replaced meanwhile (`/proc/self/exe`, proc(5)).
    #[must_use]
    pub fn this(words: &[&str]) -> Self {
        Self {
            path: "/proc/self/exe".into(),
            words: words.iter().map(OsString::from).collect(),
        }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.words);
        command
    }
}
