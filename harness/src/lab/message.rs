//! What the process that measures says to the one that waits for it.

use super::settings::Settings;
use super::trouble::Trouble;
use crate::base::error::{Exit, Failure};
use crate::base::terminal::say;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// What was read before anything was measured.
    Settings(Settings),
    /// What is being done.
    Progress(String),
    /// What was measured.
    Evidence(Value),
    /// Why nothing was.
    Trouble(Trouble),
}

impl Message {
    /// Says it.
    pub fn say(&self) -> Result<(), Failure> {
        let line = serde_json::to_string(self).map_err(|e| Failure::from_error(Exit::Failed, e))?;
        say(&(line + "\n"))
    }
}
