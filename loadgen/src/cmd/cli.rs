//! The command line of the program: what it runs, prints and writes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use super::place::Place;
use super::plan_flags::PlanCommand;
use crate::fleet::agent::POLICY_FILE;
use crate::fleet::hosts::flags::HostFlags;
use crate::load::flags::{LoadFlags, RunFlags, ShapeFlags};
use crate::tally::slo::Slo;

/// What the program writes, and where.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct OutputFlags {
    /// What stdout carries: a table for people, or the outcome as JSON
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    pub format: Format,
    /// Print the outcome as lines that survive a log, for `merge`
    #[arg(long, conflicts_with = "format", help_heading = "Output")]
    pub outcome_lines: bool,
    /// Write the outcome (JSON) to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub save: Option<PathBuf>,
    /// Write the response-time percentiles to this file (.hgrm, ms)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub hgrm: Option<PathBuf>,
    /// Write the response-time histogram of each second to this file (.hlog)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub hlog: Option<PathBuf>,
    /// While it runs, write each second of the window to this file or descriptor as one JSON object a line
    #[arg(long, value_name = "FILE|fd:N", help_heading = "Output")]
    pub progress_json: Option<Place>,
    /// While it runs, keep this file up to date with counters and latencies as OpenMetrics text, for the textfile collector
    /// of Prometheus' node exporter (NAME.prom in its folder)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub metrics_file: Option<PathBuf>,
    /// No live line and no notices on stderr; errors are still said
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
    /// Inherited socket on which phase changes are announced and awaited
    #[arg(long, value_name = "FD", hide = true)]
    pub phase_fd: Option<i32>,
    /// Tell of every second on that socket: how a process of a fleet is asked for its part of the live view
    #[arg(long, hide = true, requires = "phase_fd")]
    pub tell_seconds: bool,
}

/// Everything needed for one run.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct RunCommand {
    /// Server to load, HOST:PORT
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "plan")]
    pub target: Option<String>,
    /// Run one segment of the load that a plan describes (JSON; - is stdin): the one of --segment, or that Slurm or Kubernetes
    /// name in the environment
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "target",
        help_heading = "Time and place"
    )]
    pub plan: Option<PathBuf>,
    /// What a comparison would vary.
    #[command(flatten)]
    pub shape: ShapeFlags,
    /// All other settings of the load.
    #[command(flatten)]
    pub load: LoadFlags,
    /// When and where.
    #[command(flatten)]
    pub run: RunFlags,
    /// From which hosts.
    #[command(flatten)]
    pub hosts: HostFlags,
}

/// A TCP load generator that does not mislead.
#[derive(Parser, Clone, Debug, PartialEq)]
#[command(
    name = "loadgen",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Absent: run the load that the flags describe.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The load.
    #[command(flatten)]
    pub run: RunCommand,
    /// What to write.
    #[command(flatten)]
    pub output: OutputFlags,
}

/// Where the outcome of joining or repeating runs goes.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct PrintFlags {
    /// What stdout carries: a table for people, or JSON
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Write the result (JSON) to this file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// The other things the program can do.
#[derive(Subcommand, Clone, Debug, PartialEq)]
pub enum Command {
    /// Type a line, see the reply; `quit` ends
    Talk {
        /// Server to talk to, HOST:PORT
        target: String,
        /// Character set of the conversation, such as utf-8 or gbk
        #[arg(long, default_value = "utf-8")]
        encoding: String,
        /// Permit targets in this network; without it only loopback is
        #[arg(long, value_name = "CIDR")]
        allow_target: Vec<IpNet>,
    },
    /// Find the highest rate at which a promise about latency or errors is kept
    Search {
        /// The promise, such as 'response_p99_ns<5ms' or 'errors<1'; all of several must hold
        #[arg(long, value_name = "METRIC<LIMIT", required = true)]
        slo: Vec<Slo>,
        /// The load; --rate is where the search starts [default: 1000]
        #[command(flatten)]
        run: Box<RunCommand>,
        /// Where the result goes.
        #[command(flatten)]
        print: PrintFlags,
        /// No live line and no notices on stderr; errors are still said
        #[arg(long, short)]
        quiet: bool,
    },
    /// Join the outcomes of all segments of a load
    Merge {
        /// Files written with --save by runs of --segment, and logs with lines of --outcome-lines
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Of the segments of a plan, do without as many at most: the result is marked degraded
        #[arg(long, value_name = "COUNT", default_value_t = 0)]
        tolerate_loss: u32,
        /// Where the result goes.
        #[command(flatten)]
        print: PrintFlags,
    },
    /// Show a plan, or make of it what a batch engine runs on many hosts
    Plan(PlanCommand),
    /// Run a share of a load for a head elsewhere: what --load-hosts starts on each host; speaks over stdin and stdout
    Agent(AgentFlags),
    /// Measure this machine's floor and ceiling against a null server, and keep them
    Floor {
        /// Where the result goes.
        #[command(flatten)]
        print: PrintFlags,
        /// No live line and no notices on stderr; errors are still said
        #[arg(long, short)]
        quiet: bool,
    },
}

/// How an agent runs.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct AgentFlags {
    /// What this host permits (TOML: targets, rate, connections, duration, commands); there need be no such file
    #[arg(long, value_name = "FILE", default_value = POLICY_FILE)]
    pub policy: PathBuf,
    /// Be the guard of this process, an agent.
    #[arg(long, value_name = "PID", hide = true)]
    pub guard: Option<i32>,
}

/// What stdout carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// The outcome as one JSON object.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_in_code_are_the_defaults_on_the_command_line() {
        let cli = Cli::try_parse_from(["loadgen", "--target", "127.0.0.1:1"]).expect("parses");
        assert_eq!(cli.run.shape, ShapeFlags::default());
        assert_eq!(cli.run.load, LoadFlags::default());
        assert_eq!(cli.run.run, RunFlags::default());
        assert_eq!(cli.run.hosts, HostFlags::default());
        assert_eq!(cli.output, OutputFlags::default());
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
