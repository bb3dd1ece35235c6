//! The command line of `tenk compare`.

use super::Format;
use clap::Args;
use std::path::PathBuf;

/// Which runs.
#[derive(Args, Debug, Clone)]
pub struct CompareFlags {
    /// The earlier run's folder
    #[arg(value_name = "DIR_A")]
    pub a: PathBuf,
    /// The later run's folder
    #[arg(value_name = "DIR_B")]
    pub b: PathBuf,
    /// What stdout carries
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
