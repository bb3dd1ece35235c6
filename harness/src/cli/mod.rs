//! The command line as it was typed. What it means is decided in [`crate::plan`], once.

pub mod agent;
mod asked;
pub mod calibrate;
pub mod compare;
pub mod config;
pub mod export;
pub mod gate;
pub mod generated;
pub mod history;
pub mod lab;
pub mod rate;
mod read;
pub mod start;
pub mod threshold;
pub mod variables;

use crate::base::version;
use crate::model::instrumented::Instruments;
use agent::AgentFlags;
pub use asked::AskedFlags;
use calibrate::CalibrateFlags;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use compare::CompareFlags;
use export::Export;
use gate::GateFlags;
use history::HistoryFlags;
use ipnet::IpNet;
use lab::LabFlags;
use loadgen::base::units::{parse_count, parse_duration};
use loadgen::cmd::place::Place;
use loadgen::fleet::hosts::flags::HostFlags;
use loadgen::load::CpuList;
use loadgen::load::Target;
use loadgen::load::flags::LoadFlags;
use loadgen::tally::slo::Slo;
use rate::Rate;
use start::{LoadWords, ServeFlags};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use threshold::Threshold;

const AFTER_HELP: &str = "\
Scenarios (`tenk list` says how long each takes, `tenk --scenario NAME --dry-run` shows all):
  quick         the main models at 50 and 1 000 connections
  idle-scaling  one active connection among 100 to 5 000 silent ones, at a rate that all can bear
  churn         a new connection for every request
  full          every model from 1 to 10 000 connections

Examples:
  tenk --model epoll --conns 10000
  tenk --model all --conns 50,1000 --repeat 6
  tenk --model process,thread,epoll --conns 50 --requests-per-conn 1
  tenk --model epoll,thread --rate 10%,30%,50%,70%,80%,90%,95% --slo 'response_p99_ns<5ms'
  tenk --server 'redis-server --port {port}' --protocol resp
  tenk --scenario quick --dry-run
  tenk --config tenk.toml --scenario mine --conns 500
  tenk list
  tenk lab all

Every flag of a run can also be set as an environment variable (--client-cpus as TENK_CLIENT_CPUS)
and as a key of the --config file (client-cpus = \"0\"). What is typed wins over the environment, that
over the scenario, that over the top level of the file. A switch is set by 1, yes, on or true; an empty
variable is not set. Sub-commands take no variables; `gate` takes --config, with a table [gate].";

/// Which TCP server concurrency model should I use on this machine, and how far does it go?
#[derive(Parser, Debug)]
#[command(
    name = "tenk",
    version = version::SHORT,
    long_version = version::long(),
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    after_help = AFTER_HELP
)]
pub struct Cli {
    /// What to do instead of a run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The run.
    #[command(flatten)]
    pub run: RunFlags,
}

/// Everything that is not a run.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the models and the scenarios
    List {
        /// Every model's axes, wall, variants and manual pages
        #[arg(long)]
        long: bool,
    },
    /// Say what this machine allows, what N connections need, and what mends the difference; changes nothing
    Doctor(DoctorFlags),
    /// Print a shell's completions, such as `tenk completions bash > ~/.local/share/bash-completion/completions/tenk`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a manual page, such as `tenk man gate | man -l -`
    Man {
        /// The command; none: this program
        #[arg(value_name = "COMMAND")]
        of: Option<String>,
        /// Write all pages into this folder instead: tenk.1, tenk-gate.1, …
        #[arg(long, value_name = "DIR", conflicts_with = "of")]
        into: Option<PathBuf>,
    },
    /// Make the charts and reports of a saved run again; print it, export it, check it against thresholds
    Report(ReportFlags),
    /// Hold two saved runs of this machine against each other
    Compare(CompareFlags),
    /// Did this change make the server slower? Two builds measured in pairs, for CI: exit code 99 if it did
    Gate(Box<GateFlags>),
    /// Figures by commit: keep those of runs and gates, draw them, find the commit that changed one
    History(HistoryFlags),
    /// Measure one server against itself: how far apart this machine's figures lie when nothing has changed
    Calibrate(CalibrateFlags),
    /// Measure a textbook's claim about TCP or servers on this machine, and judge it: exit code 99 if it does not hold
    Lab(LabFlags),
    /// Start one model's server, such as `tenk serve epoll --listen 127.0.0.1:9000`
    Serve(ServeFlags),
    /// Start the load generator, such as `tenk load --target 127.0.0.1:9000 --conns 100`
    Load(LoadWords),
    /// Show a plan of a load for many hosts, or make a batch engine's file of it, such as `tenk plan slurm plan.json`
    Plan(LoadWords),
    /// Serve a run elsewhere: what --load-hosts and --server-host start on each host; speaks over stdin and stdout
    Agent(AgentFlags),
    /// Measure a lab in a private network namespace
    #[command(hide = true)]
    Measure {
        /// What to measure, as JSON.
        spec: String,
    },
    /// Enter the namespace, groups and CPUs of a measured process and become it
    #[command(hide = true)]
    Launch {
        /// A `Launch` as JSON.
        spec: String,
    },
}

/// What to run, how often, where, and what to do with the result.
#[derive(Args, Debug, Clone)]
pub struct RunFlags {
    /// Read flags from this TOML file: each key is a long flag without the dashes in front (requests-per-conn = 1,
    /// conns = [50, 1000]), at the top level or in a table [scenario.NAME]
    #[arg(long, value_name = "FILE", help_heading = "What to compare")]
    pub config: Option<PathBuf>,
    /// Take the flags of a scenario: one of the file's, or one of those named below
    #[arg(long, value_name = "NAME", help_heading = "What to compare")]
    pub scenario: Option<String>,
    /// The command line with what the environment, the file and the scenario add, for whoever runs it again.
    #[arg(skip)]
    pub command: Vec<String>,
    /// Whether somebody else looks at the servers' commands, as a gate does once its sides are built.
    #[arg(skip)]
    pub commands_are_checked: bool,
    /// Models to run: NAME[:key=value,…],… or all (see `tenk list`)
    #[arg(long, value_name = "LIST", help_heading = "What to compare")]
    pub model: Vec<String>,
    /// Any server program beside them, started for every trial; {addr} {host} {port} {dir} are filled in
    #[arg(long, value_name = "CMD", help_heading = "What to compare")]
    pub server: Vec<String>,
    /// What rows call a --server, in their order; absent: after its program
    #[arg(long, value_name = "LABEL", help_heading = "What to compare")]
    pub name: Vec<String>,
    /// A server that is already running, HOST:PORT
    #[arg(long, value_name = "ADDR", help_heading = "What to compare")]
    pub target: Option<Target>,
    /// The running server's process, for its CPU time and memory
    #[arg(long, value_name = "PID", help_heading = "What to compare")]
    pub pid: Option<u32>,
    /// Requests per second over all connections (open loop): 1k,5k for all arms alike; 10%,50%,90% of what each arm can
    /// do, found out first; `auto`: 70 % of what the slowest can do, found out first; absent: closed loop
    #[arg(
        long,
        value_name = "PER_S,…|SHARE%,…|auto",
        value_delimiter = ',',
        help_heading = "What to compare"
    )]
    pub rate: Vec<Rate>,
    /// What is asked of the servers.
    #[command(flatten)]
    pub asked: AskedFlags,

    /// All settings of the load that are not compared.
    #[command(flatten)]
    pub load: LoadFlags,

    /// Trials of every model under every workload, each with a fresh server [default: 3]; beside --budget the fewest,
    /// which are made however long they take
    #[arg(long, value_name = "COUNT", value_parser = parse_count, help_heading = "Trials")]
    pub repeat: Option<u64>,
    /// Go on repeating until every difference is known well enough, at most for so long, such as 5m; whether it is known
    /// is looked at after 3, 4, 6 and 8 repeats and every fourth from there on. Absent: --repeat and no more
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Trials")]
    pub budget: Option<Duration>,
    /// Load before the window, not reported
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration, help_heading = "Trials")]
    pub warmup: Duration,
    /// The measured window of every trial
    #[arg(long, value_name = "TIME", default_value = "1500ms", value_parser = parse_duration, help_heading = "Trials")]
    pub duration: Duration,
    /// Seed of the order of trials and of everything random in them; absent: drawn, and recorded
    #[arg(long, value_name = "NUMBER", help_heading = "Trials")]
    pub seed: Option<u64>,

    /// What servers are looked into with.
    #[command(flatten)]
    pub looks: LookFlags,

    /// How servers are started and waited for.
    #[command(flatten)]
    pub servers: ServerFlags,

    /// Where trials run.
    #[command(flatten)]
    pub place: PlaceFlags,

    /// Permit a --target in this network; without it only loopback is
    #[arg(long, value_name = "CIDR", help_heading = "Place")]
    pub allow_target: Vec<IpNet>,

    /// The server's host.
    #[command(flatten)]
    pub elsewhere: ServerHostFlags,
    /// The load's hosts.
    #[command(flatten)]
    pub hosts: HostFlags,

    /// Where results go.
    #[command(flatten)]
    pub output: OutputFlags,
    /// What the median over trials must reach, such as 'response_p99_ns<5ms' or 'errors==0'; exit code 99 if it
    /// does not; may be repeated
    #[arg(long, value_name = "COLUMN<VALUE", help_heading = "Output")]
    pub threshold: Vec<Threshold>,
    /// A promise, such as 'response_p99_ns<5ms': the highest rate of --rate at which each arm keeps it in the median
    /// trial is told; may be repeated
    #[arg(long, value_name = "METRIC<LIMIT", help_heading = "Output")]
    pub slo: Vec<Slo>,
}

/// What servers are looked into with, in a trial of its own that is not ranked.
#[derive(Args, Debug, Clone, Copy)]
pub struct LookFlags {
    /// Count every server's system calls by name, in one more short trial of each model and workload that is not
    /// ranked; needs root or CAP_PERFMON
    #[arg(long, help_heading = "Trials")]
    pub syscalls: bool,
    /// Sample the servers with `perf` in such a trial and draw a flame graph of each; counts their system calls too
    #[arg(long, help_heading = "Trials")]
    pub profile: bool,
}

impl LookFlags {
    /// What they ask for: a profile without the calls that it is spent in would be half an answer.
    pub fn instruments(self) -> Instruments {
        Instruments {
            syscalls: self.syscalls || self.profile,
            profile: self.profile,
        }
    }
}

/// How servers are started and waited for.
#[derive(Args, Debug, Clone)]
pub struct ServerFlags {
    /// How long a server may take from its start until it answers; a --target that is not up yet is waited for as long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, help_heading = "Servers")]
    pub start_timeout: Duration,
    /// How long a server may take, once the load has gone, to answer once more and to close what its clients left
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, help_heading = "Servers")]
    pub settle_timeout: Duration,
    /// A variable for server programs that are no models, which have your environment; {port} and the others are
    /// filled in; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable, help_heading = "Servers")]
    pub env: Vec<(String, String)>,
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !text.contains('\0') => {
            Ok((name.into(), value.into()))
        }
        _ => Err("give NAME=VALUE, such as PORT={port}".into()),
    }
}

/// Where trials run.
#[derive(Args, Debug, Clone)]
pub struct PlaceFlags {
    /// CPUs of the server, such as 0 or 0,2-3 [default: the first half]
    #[arg(long, value_name = "LIST", help_heading = "Place")]
    pub server_cpus: Option<CpuList>,
    /// CPUs of the load generator [default: the other half]
    #[arg(long, value_name = "LIST", help_heading = "Place")]
    pub client_cpus: Option<CpuList>,
    /// A private network namespace for every trial: its own ports, TIME_WAITs and counters
    #[arg(long, value_enum, default_value_t, help_heading = "Place")]
    pub netns: Netns,
}

/// Where the server runs, if not here.
#[derive(Args, Debug, Clone)]
pub struct ServerHostFlags {
    /// Start the servers on this host, by its agent; its figures are read there
    #[arg(long, value_name = "HOST", help_heading = "Hosts")]
    pub server_host: Option<String>,
    /// Where servers listen that this run starts, and the load hosts reach them [default: what --server-host's name comes
    /// to; 127.0.0.1 without]
    #[arg(long, value_name = "IP", help_heading = "Hosts")]
    pub server_address: Option<IpAddr>,
}

/// Where results go, and what is said on the way.
#[derive(Args, Debug, Clone)]
pub struct OutputFlags {
    /// Where the run's folder is made
    #[arg(
        long,
        value_name = "DIR",
        default_value = "results",
        help_heading = "Output"
    )]
    pub results: PathBuf,
    /// What stdout carries
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    pub format: Format,
    /// Also write the result as FORMAT=PATH: json, csv, md, bmf (Bencher), gha (github-action-benchmark, two
    /// files) or benchfmt (benchstat); may be repeated
    #[arg(long, value_name = "FORMAT=PATH", help_heading = "Output")]
    pub export: Vec<Export>,
    /// While it is made, write where it is to this file or descriptor: one JSON object a line, when a trial begins and
    /// ends, and every second in between, with the second of the window that has just ended
    #[arg(long, value_name = "FILE|fd:N", help_heading = "Output")]
    pub progress_json: Option<Place>,
    /// While it is made, keep this file up to date with where it is, and with the counters and latencies of the trial that
    /// is made, as OpenMetrics text, for the textfile collector of Prometheus' node exporter (NAME.prom in its folder)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub metrics_file: Option<PathBuf>,
    /// Print what would be run and how long it would take; for a gate also how small a change it could find
    #[arg(long, help_heading = "Output")]
    pub dry_run: bool,
    /// No progress and no notices on stderr; errors are still said
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
    /// Say every reason of every status and verdict in full
    #[arg(long, help_heading = "Output")]
    pub verbose: bool,
}

/// What to look at, and how to say it.
#[derive(Args, Debug, Clone)]
pub struct DoctorFlags {
    /// Connections to look for room for (10k = 10 000); exit code 3 if there is none
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub conns: Option<u64>,
    /// Processes of the server that share them, each with descriptors of its own (`reuseport`)
    #[arg(long, value_name = "COUNT", value_parser = parse_count, requires = "conns")]
    pub workers: Option<u64>,
    /// What stdout carries
    #[arg(long, value_enum, default_value_t)]
    pub format: DoctorFormat,
}

/// What stdout carries of an examination.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DoctorFormat {
    /// A line per check, for people.
    #[default]
    Table,
    /// One JSON object.
    Json,
}

/// Which saved run to report, and how.
#[derive(Args, Debug, Clone)]
pub struct ReportFlags {
    /// The run's folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Make every file of the run again from its trials; without it only those that are not there are made, and what
    /// is there stays as it is
    #[arg(long, conflicts_with = "into")]
    pub write: bool,
    /// Make the files in another folder, and leave the run's own as it is
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// What stdout carries
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Say every reason of every status and verdict in full
    #[arg(long)]
    pub verbose: bool,
    /// Also write the result as FORMAT=PATH (see `tenk --help`); may be repeated
    #[arg(long, value_name = "FORMAT=PATH")]
    pub export: Vec<Export>,
    /// What the median over trials must reach, such as 'errors==0'; may be repeated
    #[arg(long, value_name = "COLUMN<VALUE")]
    pub threshold: Vec<Threshold>,
    /// Promises to hold its rates against, such as 'response_p99_ns<5ms', instead of those that it was made with; may
    /// be repeated
    #[arg(long, value_name = "METRIC<LIMIT")]
    pub slo: Vec<Slo>,
}

/// Whether trials get a private network namespace.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Netns {
    /// Where the kernel allows it.
    #[default]
    Auto,
    /// Fail where it does not.
    Require,
    /// Use the host's network.
    Off,
}

/// What stdout carries.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// Everything, as one JSON object.
    Json,
    /// The rows.
    Csv,
    /// The table as Markdown.
    Md,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_names_every_shipped_scenario() {
        for scenario in config::shipped() {
            let line = format!("  {:<13} {}\n", scenario.name, scenario.about);
            assert!(AFTER_HELP.contains(&line), "{line}");
        }
    }

    #[test]
    fn the_title_command_is_understood() {
        let words = ["tenk", "--model", "epoll", "--conns", "10000"];
        let cli = Cli::try_parse_from(words).unwrap();
        assert_eq!((cli.run.asked.conns, cli.run.repeat), (vec![10_000], None));
    }

    #[test]
    fn lists_and_units_are_understood() {
        let words = [
            "tenk",
            "--model",
            "all",
            "--conns",
            "50,1k",
            "--duration",
            "500ms",
        ];
        let cli = Cli::try_parse_from(words).unwrap();
        assert_eq!(cli.run.asked.conns, [50, 1000]);
        assert_eq!(cli.run.duration, Duration::from_millis(500));
        assert!(Cli::try_parse_from(["tenk", "list", "--long"]).is_ok());
    }
}
