//! The command line, in parts that other programs can reuse.
//!
//! [`ShapeFlags`] are the settings a comparison varies (the harness replaces them
//! by lists); [`LoadFlags`] are all others that make sense for any run;
//! [`RunFlags`] say when and where the load runs. Raw text becomes meaning in [`crate::load::Load::new`], once.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

use super::abort::Condition;
use super::commands::CommandFlags;
use super::http::HttpFlags;
use super::labels::Label;
use super::own::{Message, Rule};
use super::stages::{Conns, Rates, TypedStages};
use super::tls::TlsFlags;
use super::{
    Arrival, Close, CpuList, PayloadSize, Poll, Processes, ProtocolName, Segment, Sources,
};
use crate::base::units::{as_ns, parse_count, parse_duration, parse_rate};

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
    /// Host field for --protocol http [default: what is typed as --target]
    #[arg(long, value_name = "NAME", help_heading = "Requests")]
    pub host: Option<String>,
    /// What HTTP requests say.
    #[command(flatten)]
    pub http: HttpFlags,
    /// Which commands are sent.
    #[command(flatten)]
    pub commands: CommandFlags,
    /// TLS beneath the protocol.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// A request of your own: text with \r \n \t \0 \\ \xNN, hex:0aff, or @FILE; {conn} and {seq} are the numbers of
    /// the connection and of its request, {seq:8} in 8 digits, {seq:u32be} in binary; {{ is a brace
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        help_heading = "Requests"
    )]
    pub send: Option<Message>,
    /// What an answer to --send is: delimiter:\r\n (ends so), line:REGEX (a line that matches), text:… or hex:… (exactly
    /// that), bytes:N, length:TYPE or length:TYPE@OFFSET, with +N or -N behind it (says how many bytes follow: u8, u16be, u32le, …), close (all until the server closes), or none
    #[arg(long, value_name = "RULE", help_heading = "Requests")]
    pub expect: Option<Rule>,
    /// What the server says before it is sent anything, such as line:^220; the first request waits for it
    #[arg(long, value_name = "RULE", help_heading = "Requests")]
    pub greeting: Option<Rule>,
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
    /// Source addresses: auto, IP,IP,… or CIDR; auto is the kernel's choice, and 127.0.0.0/8 once its ports run short
    #[arg(
        long,
        value_name = "LIST",
        default_value = "auto",
        help_heading = "Connections"
    )]
    pub sources: Sources,
    /// The rate's course through the window, in place of --rate and --duration: stages of TIME@RATE, a ramp TIME@RATE..RATE,
    /// a staircase TIME@RATE..RATE/STEPS, such as '10s@1k, 30s@1k..20k, 1m@20k'; each has figures of its own
    #[arg(
        long,
        value_name = "STAGES",
        conflicts_with = "duration",
        help_heading = "Requests"
    )]
    pub stages: Option<TypedStages<Rates>>,
    /// The same of the number of active connections, in place of --conns and --duration (closed loop): all are opened
    /// before, each has its part in the load while it is one of so many
    #[arg(long, value_name = "STAGES", conflicts_with_all = ["duration", "conns"], help_heading = "Connections")]
    pub conn_stages: Option<TypedStages<Conns>>,
    /// Take the steps of every ramp in random order, ten where it does not say how many: what rises with the load is then
    /// not what rises with time
    #[arg(long, help_heading = "Requests")]
    pub shuffle: bool,
    /// End early, with exit code 99, when this was so over the last seconds of the window: 'errors>1% over 5s', 'TIMEOUT>0
    /// over 1s', 'response_p99_ns>50ms over 10s', 'rate<90% over 5s' of what --rate asks for; may be repeated
    #[arg(long, value_name = "CONDITION", help_heading = "Requests")]
    pub abort_on: Vec<Condition>,
    /// Record this with the figures, such as commit=3f2a; may be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Output")]
    pub label: Vec<Label>,
}

impl Default for LoadFlags {
    fn default() -> Self {
        Self {
            protocol: ProtocolName::Echo,
            path: None,
            host: None,
            http: HttpFlags::default(),
            commands: CommandFlags::default(),
            tls: TlsFlags::default(),
            send: None,
            expect: None,
            greeting: None,
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
            stages: None,
            conn_stages: None,
            shuffle: false,
            abort_on: Vec::new(),
            label: Vec::new(),
        }
    }
}

impl LoadFlags {
    /// What is spoken: the user's own protocol as soon as a part of one is given.
    #[must_use]
    pub fn protocol_in_force(&self) -> ProtocolName {
        let is_own = self.send.is_some() || self.expect.is_some() || self.greeting.is_some();
        match self.protocol {
            ProtocolName::Echo if is_own => ProtocolName::Own,
            other => other,
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
    /// Connections that the server is known to serve at a time, such as the workers of a pool; once so many are served
    /// and none was for half a second more, the others are left waiting: the ramp ends, and the drain does not wait for
    /// them; absent: nothing is known
    #[arg(long, value_name = "COUNT", value_parser = parse_count, help_heading = "Connections")]
    pub served_at_once: Option<u64>,
    /// Permit targets in this network; without it only loopback is
    #[arg(long, value_name = "CIDR", help_heading = "Time and place")]
    pub allow_target: Vec<IpNet>,
    /// The address that the target came to: how a process of a fleet is spared a second resolution
    #[arg(long, value_name = "IP:PORT", hide = true)]
    pub connect_to: Option<SocketAddr>,
    /// The plan that this is a segment of: how a process of a fleet knows
    #[arg(long, value_name = "DIGEST", hide = true)]
    pub plan_digest: Option<String>,
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
            served_at_once: None,
            allow_target: Vec::new(),
            connect_to: None,
            plan_digest: None,
        }
    }
}

/// Reads an RFC 3339 instant in UTC as nanoseconds since the epoch.
///
/// # Errors
/// A sentence for the user when the text is none.
pub fn parse_instant(text: &str) -> Result<u64, String> {
    let instant = humantime::parse_rfc3339_weak(text).map_err(|error| {
        format!("`{text}` is not an instant such as 2026-11-23T12:00:00Z: {error}")
    })?;
    let since_epoch = instant
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| format!("`{text}` lies before 1970"))?;
    Ok(as_ns(since_epoch))
}
