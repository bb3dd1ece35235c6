//! Programs of this workspace, as cargo builds them.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program of this workspace, built in release.
pub fn built(package: &str, [kind, name]: [&str; 2]) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "-p", package, kind, name])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    executable(&output.stdout, name)
}

fn executable(messages: &[u8], name: &str) -> PathBuf {
    BufReader::new(messages)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(&line.unwrap()).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap()
}
