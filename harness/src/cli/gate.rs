//! The command line of `tenk gate`.

use crate::base::error::{Exit, Failure};
use crate::cli::rate::{Rate, parse_common};
use crate::cli::{AskedFlags, Cli, Command, OutputFlags, PlaceFlags, ServerFlags};
use crate::model::metrics::Gated;
use clap::{Args, Parser, ValueEnum};
use loadgen::base::units::{parse_count, parse_duration};
use loadgen::load::flags::LoadFlags;
use std::path::PathBuf;
use std::time::Duration;

/// Two builds of a server, under which load, for how long, and what decides.
#[derive(Args, Debug, Clone)]
pub struct GateFlags {
    /// Read flags from this TOML file: those of its table [gate], and at its top level those that a run has as well
    #[arg(long, value_name = "FILE", help_heading = "Sides")]
    pub config: Option<PathBuf>,
    /// The old side: a revision, or a folder with a checkout
    #[arg(
        long,
        value_name = "REV|DIR",
        required_unless_present = "base_cmd",
        help_heading = "Sides"
    )]
    pub base: Option<String>,
    /// The new side: a revision, a folder, or `worktree` for the sources you are in, changes included
    /// [default: worktree]
    #[arg(long, value_name = "REV|DIR|worktree", help_heading = "Sides")]
    pub head: Option<String>,
    /// Any server program as the old side, instead of a model; {addr} {host} {port} and {dir} are filled in
    #[arg(
        long,
        value_name = "CMD",
        requires = "head_cmd",
        conflicts_with = "model",
        help_heading = "Sides"
    )]
    pub base_cmd: Option<String>,
    /// Any server program as the new side
    #[arg(
        long,
        value_name = "CMD",
        requires = "base_cmd",
        help_heading = "Sides"
    )]
    pub head_cmd: Option<String>,
    /// Build each side with this, run in its folder, which is also {dir}
    #[arg(
        long,
        value_name = "CMD",
        requires = "base_cmd",
        requires = "base",
        help_heading = "Sides"
    )]
    pub build: Option<String>,

    /// Models to compare in both builds: NAME[:key=value,…],… (see `tenk list`) [default: epoll]
    #[arg(long, value_name = "LIST", help_heading = "What to compare")]
    pub model: Vec<String>,
    /// Requests per second, the same for both sides; `auto` or absent: a quarter of what the slower one can do, found
    /// out first
    #[arg(
        long,
        value_name = "PER_S,…|auto",
        value_delimiter = ',',
        value_parser = parse_common,
        help_heading = "What to compare"
    )]
    pub rate: Vec<Rate>,
    /// What is asked of both sides.
    #[command(flatten)]
    pub asked: AskedFlags,

    /// How servers are started and waited for.
    #[command(flatten)]
    pub servers: ServerFlags,

    /// All other settings of the load.
    #[command(flatten)]
    pub load: LoadFlags,

    /// What decides, as METRIC:MARGIN, such as requests_per_s:5%; may be repeated
    /// [default: server_cpu_us_per_request:3%]
    #[arg(long, value_name = "METRIC:MARGIN", help_heading = "Decision")]
    pub gate: Vec<Gated>,
    /// Time for the blocks; they end earlier when every interval is narrow enough to decide
    #[arg(long, value_name = "TIME", default_value = "12m", value_parser = parse_duration, help_heading = "Decision")]
    pub budget: Duration,
    /// Blocks per cell, at most
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = parse_count, help_heading = "Decision")]
    pub blocks: u64,
    /// What fails the gate. A regression: exit code 99. `blind`: also (98) where nothing was shown and not even a
    /// regression of three margins is excluded, so that green always says something. `inconclusive`: also (98)
    /// wherever nothing was shown. `never`: the verdict is only said. What cannot be judged is 1 in any case
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value_t,
        help_heading = "Decision"
    )]
    pub fail_on: FailOn,
    /// Load before the window of every trial, not reported
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = parse_duration, help_heading = "Decision")]
    pub warmup: Duration,
    /// The measured window of every trial
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration, help_heading = "Decision")]
    pub duration: Duration,
    /// Seed of the order of trials and of everything random in them; absent: drawn, and recorded
    #[arg(long, value_name = "NUMBER", help_heading = "Decision")]
    pub seed: Option<u64>,

    /// After a regression, sample both sides with `perf` in trials of their own, and draw where their CPU time differs
    #[arg(long, help_heading = "Decision")]
    pub profile: bool,

    /// Also write a comment for the pull request, marked so that it is found again and kept up to date (docs/ci.md)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub comment_file: Option<PathBuf>,
    /// Mark the comment as not worth making where nothing changed and the gate passes; one that is there already is
    /// brought up to date all the same
    #[arg(long, requires = "comment_file", help_heading = "Output")]
    pub comment_only_on_change: bool,

    /// Where trials run.
    #[command(flatten)]
    pub place: PlaceFlags,

    /// Where results go.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl GateFlags {
    /// A gate against `base` about which nothing else was said.
    pub fn defaults(base: &str) -> Result<GateFlags, Failure> {
        let words = ["tenk", "gate", "--base", base];
        let cli = Cli::try_parse_from(words).map_err(|e| Failure::from_error(Exit::Failed, e))?;
        match cli.command {
            Some(Command::Gate(flags)) => Ok(*flags),
            _ => Err(Failure::failed("the gate's defaults are missing")),
        }
    }
}

/// What fails a gate.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailOn {
    /// Nothing that was judged.
    Never,
    /// A regression.
    Regression,
    /// Also a figure of which not even a regression of three margins is excluded.
    #[default]
    Blind,
    /// Also any figure of which nothing was shown.
    Inconclusive,
}
