//! The command line of `tenk calibrate`.

use clap::Args;
use loadgen::base::units::{parse_count, parse_duration};
use std::path::PathBuf;
use std::time::Duration;

/// What to measure twice, and how often.
#[derive(Args, Debug, Clone)]
pub struct CalibrateFlags {
    /// The model that is measured against itself
    #[arg(long, value_name = "NAME", default_value = servers::models::REFERENCE)]
    pub model: String,
    /// Connections
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = parse_count)]
    pub conns: u64,
    /// Blocks of two trials
    #[arg(long, value_name = "COUNT", default_value = "24", value_parser = parse_count)]
    pub blocks: u64,
    /// Load before the window of every trial
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = parse_duration)]
    pub warmup: Duration,
    /// The measured window of every trial
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Where the trials are kept
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// No progress and no notices on stderr; errors are still said
    #[arg(long, short)]
    pub quiet: bool,
}
