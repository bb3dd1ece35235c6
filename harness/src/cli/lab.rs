//! The command line of `tenk lab`.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// The labs, in alphabetical order; a test holds this against the registry.
pub const NAMES: &[&str] = &[
    "accept-balance",
    "active-ratio",
    "backlog",
    "coordinated-omission",
    "dead-peer",
    "edge-vs-level",
    "fd-wall",
    "half-close",
    "handshake",
    "head-of-line",
    "idle-cpu",
    "idle-policy",
    "idle-scaling",
    "long-vs-short",
    "memory-per-connection",
    "nagle",
    "pool-queue",
    "process-cost",
    "resets",
    "reuseaddr",
    "slow-start",
    "syn-queue",
    "syscalls-per-request",
    "time-wait",
];

/// All of them.
pub const ALL: &str = "all";

/// Which labs to run, and where their results go.
#[derive(Args, Debug, Clone)]
pub struct LabFlags {
    /// The labs to run, or all; without a name they are listed
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(NAMES.iter().copied().chain([ALL])), hide_possible_values = true)]
    pub names: Vec<String>,
    /// Where the folder of the results is made: labs.jsonl, labs.html, and a chart each
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// What stdout carries
    #[arg(long, value_enum, default_value_t)]
    pub format: LabFormat,
    /// No progress on stderr; errors are still said
    #[arg(long, short)]
    pub quiet: bool,
}

/// What stdout carries of labs.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LabFormat {
    /// Questions, tables and outcomes, for people.
    #[default]
    Table,
    /// One JSON object.
    Json,
}
