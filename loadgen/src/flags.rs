//! The command line, in parts that other programs can reuse.
//!
//! [`ShapeFlags`] are the settings a comparison varies (the harness replaces them
//! by lists); [`LoadFlags`] are all others that make sense for any run;
//! [`RunFlags`] say when and where this program runs; [`OutputFlags`] what it
//! writes. Raw text becomes meaning in [`crate::load::Load::new`], once.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::search::Slo;
use crate::units::{parse_count, parse_duration, parse_rate};

/// The settings that a comparison varies from one workload to the next.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct ShapeFlags {
    /// Active connections (10k = 10 000)
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = parse_count, help_heading = "Load")]
    pub conns: u64,
    /// Requests per second over all connections (open loop); absent: closed loop
    #[arg(long, value_name = "PER_S", value_parser = parse_rate, help_heading = "Load")]
    pub rate: Option<f64>,
    /// Silent connections beside the active ones: served once, then left alone
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = parse_count, help_heading = "Load")]
    pub idle: u64,
    /// Bytes per request, N or MIN-MAX [default: 64 for echo and discard]
    #[arg(long, value_name = "BYTES", help_heading = "Load")]
    pub payload: Option<PayloadSize>,
    /// Requests before a connection is closed and replaced; absent: long-lived, 1: short-lived
    #[arg(long, value_name = "COUNT", value_parser = parse_count, help_heading = "Load")]
    pub requests_per_conn: Option<u64>,
}

impl Default for ShapeFlags {
    fn default() -> Self {
        Self {
            conns: 1,
            rate: None,
            idle: 0,
            payload: None,
            requests_per_conn: None,
        }
    }
}

/// All other settings of the load.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct LoadFlags {
    /// What is spoken: echo verifies every byte, discard only writes
    #[arg(long, value_enum, default_value_t, help_heading = "Requests")]
    pub protocol: ProtocolName,
    /// Request path for --protocol http; a redirect is an answer and not followed [default: /]
    #[arg(long, value_name = "PATH", help_heading = "Requests")]
    pub path: Option<String>,
    /// Spacing of requests under --rate [default: fixed]
    #[arg(long, value_enum, help_heading = "Requests")]
    pub arrival: Option<Arrival>,
    /// Pause between a response and the next request (closed loop) [default: 0]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Requests")]
    pub think: Option<Duration>,
    /// Requests in flight on each connection
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = parse_count, help_heading = "Requests")]
    pub pipeline: u64,
    /// A request unanswered this long after it was sent is counted and its connection replaced; in a
    /// closed loop 100 us more for each request in flight
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration, help_heading = "Requests")]
    pub request_timeout: Duration,
    /// Connections opened per second; absent: as fast as --connect-inflight allows
    #[arg(long, value_name = "PER_S", value_parser = parse_rate, help_heading = "Connections")]
    pub connect_rate: Option<f64>,
    /// Spacing of connects under --connect-rate [default: fixed]
    #[arg(long, value_enum, help_heading = "Connections")]
    pub connect_arrival: Option<Arrival>,
    /// Connections opened but not yet served, at most
    #[arg(long, value_name = "COUNT", default_value = "256", value_parser = parse_count, help_heading = "Connections")]
    pub connect_inflight: u64,
    /// Longest wait for a connect to complete
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = parse_duration, help_heading = "Connections")]
    pub connect_timeout: Duration,
    /// Longest wait for all connections to be served, plus 100 us for each; then the run goes on with
    /// those there are, as it does when nothing more was served for 10 s
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, help_heading = "Connections")]
    pub ramp_timeout: Duration,
    /// Who ends a connection, and how: client (FIN), server (wait for its FIN), reset (RST)
    #[arg(long, value_enum, default_value_t, help_heading = "Connections")]
    pub close: Close,
    /// Close and replace every connection at this age; absent: never
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Connections")]
    pub conn_lifetime: Option<Duration>,
    /// Connections closed and replaced per second under long-lived load; absent: none
    #[arg(long, value_name = "PER_S", value_parser = parse_rate, help_heading = "Connections")]
    pub reconnect_rate: Option<f64>,
    /// Move the active set among the idle connections this often; absent: never
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Connections")]
    pub rotate: Option<Duration>,
    /// Source addresses: auto, IP,IP,… or CIDR; auto spreads over 127.0.0.0/8 when ports run short
    #[arg(
        long,
        value_name = "LIST",
        default_value = "auto",
        help_heading = "Connections"
    )]
    pub sources: Sources,
}

impl Default for LoadFlags {
    fn default() -> Self {
        Self {
            protocol: ProtocolName::Echo,
            path: None,
            arrival: None,
            think: None,
            pipeline: 1,
            request_timeout: Duration::from_secs(5),
            connect_rate: None,
            connect_arrival: None,
            connect_inflight: 256,
            connect_timeout: Duration::from_secs(3),
            ramp_timeout: Duration::from_secs(30),
            close: Close::Client,
            conn_lifetime: None,
            reconnect_rate: None,
            rotate: None,
            sources: Sources::Auto,
        }
    }
}

/// When and where the load runs.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct RunFlags {
    /// Load before the window, not reported
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration, help_heading = "Time and place")]
    pub warmup: Duration,
    /// The window that is reported
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration, help_heading = "Time and place")]
    pub duration: Duration,
    /// Seed of everything random; absent: drawn, and recorded in the outcome
    #[arg(long, value_name = "NUMBER", help_heading = "Time and place")]
    pub seed: Option<u64>,
    /// Worker threads, each with its own epoll; 0: one per CPU of --cpus or of this process
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = parse_count, help_heading = "Time and place")]
    pub threads: u64,
    /// Processes: auto takes as many as the descriptor limit makes necessary
    #[arg(
        long,
        value_name = "auto|COUNT",
        default_value = "auto",
        help_heading = "Time and place"
    )]
    pub processes: Processes,
    /// CPUs the threads are pinned to, such as 1 or 0,2-3; absent: those of this process
    #[arg(long, value_name = "LIST", help_heading = "Time and place")]
    pub cpus: Option<CpuList>,
    /// How a thread waits: auto spins where sleeping would show in the figures
    #[arg(long, value_enum, default_value_t, help_heading = "Time and place")]
    pub poll: Poll,
    /// Run one share of the load: segment I of N, counted from 0, such as 0/4
    #[arg(long, value_name = "I/N", help_heading = "Time and place")]
    pub segment: Option<Segment>,
    /// Start the warm-up at this instant (RFC 3339, UTC); connections are opened before
    #[arg(long, value_name = "TIME", value_parser = parse_instant, help_heading = "Time and place")]
    pub start_at: Option<u64>,
    /// Permit targets in this network; without it only loopback is
    #[arg(long, value_name = "CIDR", help_heading = "Time and place")]
    pub allow_target: Vec<IpNet>,
}

impl Default for RunFlags {
    fn default() -> Self {
        Self {
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(5),
            seed: None,
            threads: 0,
            processes: Processes::Auto,
            cpus: None,
            poll: Poll::Auto,
            segment: None,
            start_at: None,
            allow_target: Vec::new(),
        }
    }
}

/// What the program writes, and where.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct OutputFlags {
    /// What stdout carries: a table for people, or the outcome as JSON
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    pub format: Format,
    /// Write the outcome (JSON) to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub save: Option<PathBuf>,
    /// Write the response-time percentiles to this file (.hgrm, ms)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub hgrm: Option<PathBuf>,
    /// Write the response-time histogram of each second to this file (.hlog)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub hlog: Option<PathBuf>,
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
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub target: Option<String>,
    /// What a comparison would vary.
    #[command(flatten)]
    pub shape: ShapeFlags,
    /// All other settings of the load.
    #[command(flatten)]
    pub load: LoadFlags,
    /// When and where.
    #[command(flatten)]
    pub run: RunFlags,
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
        /// Files written with --save by runs of --segment
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Where the result goes.
        #[command(flatten)]
        print: PrintFlags,
    },
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

/// What is spoken over a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolName {
    /// The server returns every byte (RFC 862).
    #[default]
    Echo,
    /// The server reads and never answers (RFC 863): measured in bytes per second only.
    Discard,
    /// HTTP/1.1 GET requests.
    Http,
    /// Redis' protocol: PING.
    Resp,
}

/// How events are spaced in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// Equal gaps.
    #[default]
    Fixed,
    /// Exponential gaps: a Poisson process.
    Poisson,
}

/// Which side ends a connection, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Close {
    /// This side closes first, with FIN, and keeps the TIME_WAIT.
    #[default]
    Client,
    /// This side waits for the server's FIN.
    Server,
    /// This side sends RST (SO_LINGER 0): no TIME_WAIT on either side.
    Reset,
}

/// How a worker waits for events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Poll {
    /// Spin where a wake-up would show in the latencies, sleep elsewhere.
    #[default]
    Auto,
    /// Never sleep.
    Spin,
    /// Sleep whenever nothing is due.
    Sleep,
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

/// Bytes per request, one size or a uniform range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadSize {
    /// The smallest, in bytes, at least 1.
    pub min: u32,
    /// The largest, in bytes, at most [`PayloadSize::LIMIT`].
    pub max: u32,
}

impl PayloadSize {
    /// The largest request, 1 GiB.
    pub const LIMIT: u32 = 1 << 30;
}

impl Default for PayloadSize {
    fn default() -> Self {
        Self { min: 64, max: 64 }
    }
}

impl FromStr for PayloadSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (min, max) = (parse_count(low)?, parse_count(high)?);
        if min == 0 || min > max || max > u64::from(Self::LIMIT) {
            return Err(format!(
                "`{text}`: a payload is N or MIN-MAX bytes, from 1 to {}",
                Self::LIMIT
            ));
        }
        Ok(Self {
            min: min as u32,
            max: max as u32,
        })
    }
}

impl std::fmt::Display for PayloadSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{}-{}", self.min, self.max)
        }
    }
}

/// Where connections come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sources {
    /// The kernel's choice, or 127.0.0.0/8 for a loopback target when ports would run short.
    #[default]
    Auto,
    /// These addresses in turn.
    List(Vec<IpAddr>),
    /// The host addresses of a network in turn.
    Network(IpNet),
}

impl FromStr for Sources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if text.contains('/') {
            let network = text
                .parse()
                .map_err(|_| format!("`{text}` is not a network such as 127.0.1.0/24"))?;
            return Ok(Self::Network(network));
        }
        let list: Result<Vec<IpAddr>, _> = text.split(',').map(str::parse).collect();
        list.map(Self::List)
            .map_err(|_| format!("`{text}` is not auto, a network or a list of addresses"))
    }
}

impl std::fmt::Display for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Network(network) => write!(f, "{network}"),
            Self::List(list) => {
                let texts: Vec<String> = list.iter().map(IpAddr::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

/// How many processes share the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Processes {
    /// One, or as many as the descriptor limit makes necessary.
    #[default]
    Auto,
    /// This many, at least 1.
    Count(u32),
}

impl FromStr for Processes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => match parse_count(text)? {
                count @ 1..=1024 => Ok(Self::Count(count as u32)),
                _ => Err(format!("`{text}`: from 1 to 1024 processes, or auto")),
            },
        }
    }
}

impl std::fmt::Display for Processes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// CPU numbers, in the order in which threads are pinned to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuList(pub Vec<u32>);

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a list of CPUs such as 1 or 0,2-3");
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u32 = first.parse().map_err(|_| wrong())?;
            let last: u32 = last.parse().map_err(|_| wrong())?;
            if first > last || last >= 4096 {
                return Err(wrong());
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl std::fmt::Display for CpuList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

/// One share of a load: connection `c` belongs to segment `c mod count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Which share, from 0.
    pub index: u32,
    /// Of how many, at least 1.
    pub count: u32,
}

/// Shares that a load may be divided into.
pub const MAX_SEGMENTS: u32 = 65_536;

impl Segment {
    /// The whole load as its only share.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// How many of `total` connections are this segment's.
    #[must_use]
    pub fn share_of(self, total: u64) -> u64 {
        total
            .saturating_sub(u64::from(self.index))
            .div_ceil(u64::from(self.count))
    }
}

impl FromStr for Segment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parsed {
            Some((index, count)) if index < count && count <= MAX_SEGMENTS => {
                Ok(Self { index, count })
            }
            _ => Err(format!(
                "`{text}` is not a segment I/N with I from 0 to N-1, N at most {MAX_SEGMENTS}"
            )),
        }
    }
}

impl std::fmt::Display for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// Reads an RFC 3339 instant in UTC as nanoseconds since the epoch.
fn parse_instant(text: &str) -> Result<u64, String> {
    let instant = humantime::parse_rfc3339_weak(text).map_err(|error| {
        format!("`{text}` is not an instant such as 2026-11-23T12:00:00Z: {error}")
    })?;
    let since_epoch = instant
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| format!("`{text}` lies before 1970"))?;
    Ok(crate::units::as_ns(since_epoch))
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
        assert_eq!(cli.output, OutputFlags::default());
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn small_values_refuse_nonsense() {
        for bad in ["0", "5-4", "-", "1-", "2000000000"] {
            assert!(bad.parse::<PayloadSize>().is_err(), "{bad}");
        }
        for bad in ["", "1,", "3-1", "a", "0-99999"] {
            assert!(bad.parse::<CpuList>().is_err(), "{bad}");
        }
        for bad in ["1/1", "2", "-1/2", "0/0", "a/b"] {
            assert!(bad.parse::<Segment>().is_err(), "{bad}");
        }
        for bad in ["0", "-1", "many", "5000"] {
            assert!(bad.parse::<Processes>().is_err(), "{bad}");
        }
        for bad in ["127.0.0.1,x", "127.0.0.1/99", ""] {
            assert!(bad.parse::<Sources>().is_err(), "{bad}");
        }
        assert_eq!("0,2-3".parse(), Ok(CpuList(vec![0, 2, 3])));
        assert_eq!("16-1k".parse(), Ok(PayloadSize { min: 16, max: 1000 }));
    }
}
