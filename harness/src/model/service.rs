//! What a server does with bytes.

use serde::{Deserialize, Serialize};

/// What a server does with the bytes it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, Default)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Sends them back.
    #[default]
    Echo,
    /// Reads and never answers.
    Discard,
    /// Answers HTTP/1.1 requests.
    Http,
}

impl Service {
    /// The name in flags and rows.
    pub fn name(self) -> &'static str {
        match self {
            Service::Echo => "echo",
            Service::Discard => "discard",
            Service::Http => "http",
        }
    }
}
