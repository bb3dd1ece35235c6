//! The command line of `tenk history`.

use crate::cli::rate::{Rate, parse_common};
use crate::cli::{AskedFlags, PlaceFlags, ServerFlags};
use crate::model::metrics::Gated;
use clap::{Args, Subcommand};
use loadgen::base::units::{parse_count, parse_duration};
use loadgen::load::flags::LoadFlags;
use std::path::PathBuf;
use std::time::Duration;

/// The file that a history is kept in where nothing else is said.
const FILE: &str = "tenk-history.jsonl";

/// What to do with a history.
#[derive(Args, Debug, Clone)]
pub struct HistoryFlags {
    /// What to do.
    #[command(subcommand)]
    pub what: HistoryCommand,
}

/// What can be done with a history.
#[derive(Subcommand, Debug, Clone)]
pub enum HistoryCommand {
    /// Add saved runs or gates to a history, a line each (of a gate one per side)
    Add(AddFlags),
    /// Draw a history as a page, commit by commit, and say where a figure changed
    Plot(PlotFlags),
    /// Find the commit that changed a figure: gates along a range of commits, halved each time
    Find(Box<FindFlags>),
}

/// Where a history is.
#[derive(Args, Debug, Clone)]
pub struct PlaceOfHistory {
    /// The file [default: tenk-history.jsonl]
    #[arg(long, value_name = "FILE", alias = "from", conflicts_with = "branch")]
    pub into: Option<PathBuf>,
    /// A branch of its own in the repository one is in, as history.jsonl; neither index nor worktree is touched
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
}

impl PlaceOfHistory {
    /// The file, where no branch was named.
    pub fn file(&self) -> PathBuf {
        self.into.clone().unwrap_or_else(|| FILE.into())
    }
}

/// Which runs are added to which history.
#[derive(Args, Debug, Clone)]
pub struct AddFlags {
    /// Folders of runs or gates
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,
    /// The commit that was measured; a gate knows its own [default: HEAD]
    #[arg(long, value_name = "REV")]
    pub commit: Option<String>,
    /// Where the history is.
    #[command(flatten)]
    pub place: PlaceOfHistory,
}

/// Which history is drawn.
#[derive(Args, Debug, Clone)]
pub struct PlotFlags {
    /// Where the history is.
    #[command(flatten)]
    pub place: PlaceOfHistory,
    /// The page that is written
    #[arg(long, value_name = "FILE", default_value = "history.html")]
    pub page: PathBuf,
    /// Draw only these, such as server_cpu_us_per_request
    #[arg(long, value_name = "METRIC,…", value_delimiter = ',')]
    pub metric: Vec<Gated>,
}

/// Which change is looked for, and under which load.
#[derive(Args, Debug, Clone)]
pub struct FindFlags {
    /// The figure that changed, such as server_cpu_us_per_request, and the least change that matters: METRIC or
    /// METRIC:MARGIN
    #[arg(value_name = "METRIC")]
    pub metric: Gated,
    /// A commit before the change
    #[arg(long, value_name = "REV", help_heading = "Range")]
    pub good: String,
    /// A commit that has it
    #[arg(
        long,
        value_name = "REV",
        default_value = "HEAD",
        help_heading = "Range"
    )]
    pub bad: String,
    /// Time for all gates together; building a commit for the first time is not in it
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = parse_duration, help_heading = "Range")]
    pub budget: Duration,
    /// Any server program instead of a model, of each commit's own sources; {addr} {host} {port} and {dir} are filled in
    #[arg(
        long,
        value_name = "CMD",
        conflicts_with = "model",
        help_heading = "What to compare"
    )]
    pub server: Option<String>,
    /// Build each commit with this, run in its folder, which is also {dir}
    #[arg(
        long,
        value_name = "CMD",
        requires = "server",
        help_heading = "What to compare"
    )]
    pub build: Option<String>,
    /// The model to compare: NAME[:key=value,…] [default: epoll]
    #[arg(long, value_name = "NAME", help_heading = "What to compare")]
    pub model: Option<String>,
    /// Requests per second, the same for all; absent: a quarter of what the slower side can do, found out in the first
    /// gate
    #[arg(long, value_name = "PER_S|auto", value_parser = parse_common, help_heading = "What to compare")]
    pub rate: Option<Rate>,
    /// What is asked of the servers.
    #[command(flatten)]
    pub asked: AskedFlags,
    /// How servers are started and waited for.
    #[command(flatten)]
    pub servers: ServerFlags,
    /// All other settings of the load.
    #[command(flatten)]
    pub load: LoadFlags,
    /// Blocks per gate, at most
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = parse_count, help_heading = "Decision")]
    pub blocks: u64,
    /// Load before the window of every trial, not reported
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = parse_duration, help_heading = "Decision")]
    pub warmup: Duration,
    /// The measured window of every trial
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration, help_heading = "Decision")]
    pub duration: Duration,
    /// Seed of the order of trials; absent: drawn, and recorded
    #[arg(long, value_name = "NUMBER", help_heading = "Decision")]
    pub seed: Option<u64>,
    /// Where trials run.
    #[command(flatten)]
    pub place: PlaceFlags,
    /// Where the folder of every gate is made
    #[arg(
        long,
        value_name = "DIR",
        default_value = "results",
        help_heading = "Output"
    )]
    pub results: PathBuf,
    /// No progress and no notices on stderr; errors are still said
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use clap::Parser;

    #[test]
    fn a_history_is_a_file_or_a_branch_and_a_metric_is_known() {
        let parse = |words: &str| Cli::try_parse_from(words.split(' '));
        let cli = parse("tenk history add results/x --branch perf").unwrap();
        assert!(matches!(cli.command, Some(Command::History(_))));
        let both = parse("tenk history plot --into a --branch b").unwrap_err();
        assert!(both.to_string().contains("cannot be used with"));
        let near = parse("tenk history find server_cpu --good HEAD~9").unwrap_err();
        assert!(
            near.to_string()
                .contains("did you mean `server_cpu_us_per_request`"),
            "{near}"
        );
        assert!(parse("tenk history find requests_per_s --good HEAD~9 --server x").is_ok());
    }
}
