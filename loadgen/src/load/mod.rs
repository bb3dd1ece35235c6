//! The load, validated once: after [`Load::new`] nobody asks what the user typed.
//!
//! A [`Load`] is part of every outcome, and [`Load::to_args`] turns it back into
//! the command line that produces it.

pub mod abort;
mod arguments;
mod check;
pub mod choice;
pub mod commands;
pub mod cpus;
mod error;
pub mod flags;
pub mod http;
pub mod labels;
pub mod own;
mod phase;
pub mod schedule;
mod settings;
pub mod sources;
pub mod stages;
mod target;
pub mod tls;

use std::collections::BTreeMap;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::address::Address;
use crate::base::units::{SECOND_NS, as_ns};
use abort::Condition;
use check::{check_combinations, check_run, check_shape, check_sources};
use commands::Commands;
use flags::{LoadFlags, RunFlags, ShapeFlags};
use http::{Contents, HttpLoad, are_lines};
use own::{Message, Rule};
use stages::{Course, Stages};
use target::{check_target, host_field, resolve};
use tls::{Tls, is_pem};

pub use error::{LoadError, TargetError};
pub use phase::Phase;
pub use settings::{
    Arrival, Close, CpuList, MAX_SEGMENTS, PayloadSize, Poll, Processes, ProtocolName, Segment,
    Sources,
};
pub use target::{Target, permitted_target};

/// Whether the address of a load may be loaded, by what its own settings permit.
///
/// # Errors
/// Why not, with what would permit it.
pub fn check_permitted(load: &Load) -> Result<(), LoadError> {
    let ip = load.target.ip();
    ip.map_or(Ok(()), |ip| check_target(ip, &load.allow_target))
}

/// What of a load is a file of one host's, by its flag: a load for others has to say everything itself.
#[must_use]
pub fn names_a_file(load: &Load) -> Option<&'static str> {
    let http = load.http.as_ref();
    let is_file = |http: &HttpLoad| {
        let typed = http.requests_file.as_deref();
        typed.is_some_and(|typed| !are_lines(typed))
    };
    let is_ca = |tls: &Tls| tls.ca.as_deref().is_some_and(|ca| !is_pem(ca));
    let is_body = |http: &HttpLoad| http.body.as_ref().is_some_and(|body| body.starts_with('@'));
    let flags = [
        (load.target.is_unix(), "--target unix:PATH"),
        (http.is_some_and(is_file), "--requests FILE"),
        (http.is_some_and(is_body), "--body @FILE"),
        (load.tls.as_ref().is_some_and(is_ca), "--ca FILE"),
    ];
    flags
        .into_iter()
        .find(|(is_file, _)| *is_file)
        .map(|(_, flag)| flag)
}

/// The most connections one load may ask for, active and idle together.
pub const MAX_CONNECTIONS: u64 = 16_000_000;

/// What each connection adds to the time-outs of the whole: at 10 000 a second
/// even a slow server has served it.
pub const PER_CONNECTION_NS: u64 = 100_000;

/// The most requests in flight on one connection.
pub const MAX_PIPELINE: u64 = 1024;

/// Every setting in force. Built by [`Load::new`], which checks it; one read
/// from a file is a record of what was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The digest of the plan that this is a segment of, if it is one; absent in older outcomes.
    #[serde(default)]
    pub plan_digest: Option<String>,
    /// What the run's figures are found again by (`--label`); absent in older outcomes.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The server's address, `unix:` and a path of a Unix socket; a name was resolved once, and this is the first of its
    /// addresses that answered.
    #[schemars(with = "String")]
    pub target: Address,
    /// What was typed as the target, where that was not the address.
    pub target_name: Option<String>,
    /// What HTTP requests say in their Host field, where it is not what was typed as the target.
    pub host: Option<String>,
    /// Networks that may be loaded besides loopback.
    #[schemars(with = "Vec<String>")]
    pub allow_target: Vec<IpNet>,
    /// What is spoken.
    pub protocol: ProtocolName,
    /// Request path (http only); absent where requests come from a file.
    pub path: Option<String>,
    /// What HTTP requests say besides (http only).
    #[serde(default)]
    pub http: Option<HttpLoad>,
    /// Which commands are sent (resp only); absent: PING.
    #[serde(default)]
    pub commands: Option<Commands>,
    /// The requests themselves.
    #[serde(skip)]
    pub contents: Contents,
    /// How TLS is spoken beneath it; absent: it is not.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Own protocol: what is sent; absent: nothing.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub send: Option<Message>,
    /// Own protocol: what an answer is.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub expect: Option<Rule>,
    /// Own protocol: what the server says before it is sent anything.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub greeting: Option<Rule>,
    /// Active connections, at least 1.
    pub conns: u64,
    /// Silent connections beside them.
    pub idle: u64,
    /// The active set moves this often, in nanoseconds.
    pub rotate_ns: Option<u64>,
    /// Requests before a connection is replaced; absent: long-lived.
    pub requests_per_conn: Option<u64>,
    /// Connections opened per second; absent: as fast as `connect_inflight` allows.
    pub connect_rate_per_s: Option<f64>,
    /// Spacing of connects under `connect_rate_per_s`.
    pub connect_arrival: Arrival,
    /// Connections opened and not yet served, at most.
    pub connect_inflight: u64,
    /// Longest wait for a connect, in nanoseconds.
    pub connect_timeout_ns: u64,
    /// Longest wait for all connections to be served, in nanoseconds.
    pub ramp_timeout_ns: u64,
    /// Connections that the server is known to serve at a time; absent: nothing is known.
    #[serde(default)]
    pub served_at_once: Option<u64>,
    /// Who closes, and how.
    pub close: Close,
    /// Age at which a connection is replaced, in nanoseconds.
    pub conn_lifetime_ns: Option<u64>,
    /// Connections replaced per second under long-lived load.
    pub reconnect_rate_per_s: Option<f64>,
    /// Source addresses.
    pub sources: Sources,
    /// Requests per second over all connections (open loop); absent: closed loop.
    pub rate_per_s: Option<f64>,
    /// The course of the requests' rate through the window (open loop), in place of one rate; absent in older outcomes.
    #[serde(default)]
    pub stages: Option<Stages>,
    /// The course of the number of active connections through the window (closed loop); `conns` is then the most of them.
    #[serde(default)]
    pub conn_stages: Option<Stages>,
    /// Spacing of requests under `rate_per_s`.
    pub arrival: Arrival,
    /// Pause between a response and the next request, in nanoseconds (closed loop).
    pub think_ns: u64,
    /// Requests in flight on each connection.
    pub pipeline: u64,
    /// Bytes per request; absent where the protocol has no payload.
    pub payload: Option<PayloadSize>,
    /// Longest wait for a response from its actual send, in nanoseconds.
    pub request_timeout_ns: u64,
    /// Load before the window, in nanoseconds.
    pub warmup_ns: u64,
    /// The window, in nanoseconds.
    pub duration_ns: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Worker threads; 0: one per CPU.
    pub threads: u64,
    /// Processes.
    pub processes: Processes,
    /// CPUs the threads are pinned to; absent: those of the process.
    pub cpus: Option<CpuList>,
    /// How a thread waits.
    pub poll: Poll,
    /// Conditions under which the run ends early; absent in older outcomes.
    #[serde(default)]
    pub abort_on: Vec<Condition>,
    /// The share of the load this outcome is about.
    pub segment: Segment,
    /// Start of the warm-up, nanoseconds since the Unix epoch; absent: when all are connected.
    pub start_at_unix_ns: Option<u64>,
}

impl Load {
    /// Checks all flags together and resolves the target once.
    ///
    /// # Errors
    /// [`LoadError`], each a sentence that says what to change.
    pub fn new(
        target: &str,
        shape: &ShapeFlags,
        flags: &LoadFlags,
        run: &RunFlags,
    ) -> Result<Self, LoadError> {
        let seed = run.seed.unwrap_or_else(|| fastrand::u64(..));
        let (stages, conn_stages) = stages_of(flags, seed)?;
        let shape = &with_conns_of(conn_stages.as_ref(), shape);
        let duration_ns = match stages.as_ref().or(conn_stages.as_ref()) {
            Some(stages) => stages.total_ns(),
            None => as_ns(run.duration),
        };
        check_shape(shape)?;
        check_combinations(shape, flags)?;
        check_run(shape, flags, run)?;
        let (target, target_name) = aim(target, flags, run)?;
        check_sources(&flags.sources, &target)?;
        let protocol = flags.protocol_in_force();
        let (path, http, contents) = asked_of_http(protocol, flags)?;
        Ok(Self {
            plan_digest: run.plan_digest.clone(),
            labels: labels::by_key(&flags.label)?,
            target,
            target_name,
            host: flags.host.clone(),
            allow_target: run.allow_target.clone(),
            protocol,
            path,
            http,
            contents,
            commands: Commands::of(&flags.commands, flags.http.requests_order)?,
            tls: Tls::of(&flags.tls)?,
            send: flags.send.clone(),
            expect: flags.expect.clone(),
            greeting: flags.greeting.clone(),
            conns: shape.conns,
            idle: shape.idle,
            rotate_ns: flags.rotate.map(as_ns),
            requests_per_conn: shape.requests_per_conn,
            connect_rate_per_s: flags.connect_rate,
            connect_arrival: flags.connect_arrival.unwrap_or_default(),
            connect_inflight: flags.connect_inflight,
            connect_timeout_ns: as_ns(flags.connect_timeout),
            ramp_timeout_ns: as_ns(flags.ramp_timeout),
            served_at_once: run.served_at_once,
            close: flags.close,
            conn_lifetime_ns: flags.conn_lifetime.map(as_ns),
            reconnect_rate_per_s: flags.reconnect_rate,
            sources: flags.sources.clone(),
            rate_per_s: shape.rate,
            stages,
            conn_stages,
            arrival: flags.arrival.unwrap_or_default(),
            think_ns: as_ns(flags.think.unwrap_or_default()),
            pipeline: flags.pipeline,
            payload: payload_of(protocol, shape.payload),
            request_timeout_ns: as_ns(flags.request_timeout),
            warmup_ns: as_ns(run.warmup),
            duration_ns,
            seed,
            threads: run.threads,
            processes: run.processes,
            cpus: run.cpus.clone(),
            poll: run.poll,
            abort_on: flags.abort_on.clone(),
            segment: run.segment.unwrap_or(Segment::WHOLE),
            start_at_unix_ns: run.start_at,
        })
    }

    /// The value of the Host field of HTTP requests.
    #[must_use]
    pub fn host_field(&self) -> String {
        match (&self.host, &self.target_name) {
            (Some(host), _) => host.clone(),
            (None, Some(typed)) => host_field(typed),
            // A Unix socket has no host: this machine is meant (curl's --unix-socket takes it from the URL).
            (None, None) if self.target.is_unix() => "localhost".into(),
            (None, None) => host_field(&self.target.to_string()),
        }
    }

    /// A load that can be run from the record of one: what its files hold is read again, and has to be what it was.
    ///
    /// # Errors
    /// [`LoadError`], where a file is gone or has changed.
    pub fn reload(mut self) -> Result<Self, LoadError> {
        if let Some(http) = &self.http {
            self.contents = http::read_again(http, self.path.as_deref())?;
        }
        Ok(self)
    }

    /// What requests say, in words that two loads share only if their requests say the same; `None` where the
    /// protocol's name says it all.
    #[must_use]
    pub fn requests_in_words(&self) -> Option<String> {
        if let Some(commands) = &self.commands {
            return Some(commands.in_words());
        }
        if let Some(expect) = &self.expect {
            let send = self.send.as_ref();
            return Some(own::in_words(send, expect, self.greeting.as_ref()));
        }
        let path = self.path.as_deref().unwrap_or("/");
        self.http.as_ref()?.in_words(path, self.host.as_deref())
    }

    /// The target for people: what was typed, and the address that it came to.
    #[must_use]
    pub fn target_in_words(&self) -> String {
        match &self.target_name {
            Some(name) => format!("{name} ({})", self.target),
            None => self.target.to_string(),
        }
    }

    /// Active and idle connections together.
    #[must_use]
    pub fn population(&self) -> u64 {
        self.conns + self.idle
    }

    /// Whether connections are replaced as part of the load.
    #[must_use]
    pub fn churns(&self) -> bool {
        self.requests_per_conn.is_some()
            || self.conn_lifetime_ns.is_some()
            || self.reconnect_rate_per_s.is_some()
    }

    /// How long the ramp may take: `--ramp-timeout`, and [`PER_CONNECTION_NS`] for
    /// each connection, since a million of them take more than half a minute.
    #[must_use]
    pub fn ramp_limit_ns(&self) -> u64 {
        self.ramp_timeout_ns
            .saturating_add(self.population() * PER_CONNECTION_NS)
    }

    /// How long a response may take: `--request-timeout`, and in a closed loop
    /// [`PER_CONNECTION_NS`] for each request in flight, since there each waits for
    /// all others and a million of them are answered one after the other.
    #[must_use]
    pub fn response_limit_ns(&self) -> u64 {
        let together = if self.is_open_loop() {
            0
        } else {
            self.conns * self.pipeline
        };
        self.request_timeout_ns
            .saturating_add(together * PER_CONNECTION_NS)
    }

    /// How many requests are due in a second of the window, counted from 0; nothing in a closed loop.
    #[must_use]
    pub fn asked_in_second(&self, second: u64) -> Option<f64> {
        let share = self.segment.share_of(self.conns) as f64 / self.conns as f64;
        let Some(stages) = &self.stages else {
            return self.rate_per_s.map(|rate| rate * share);
        };
        let from_ns = second.saturating_mul(SECOND_NS);
        let asked = stages
            .course(0)
            .events_between(from_ns, from_ns.saturating_add(SECOND_NS));
        Some(asked * share)
    }

    /// The stages that the window is divided into, of the rate or of the connections.
    #[must_use]
    pub fn any_stages(&self) -> Option<&Stages> {
        self.stages.as_ref().or(self.conn_stages.as_ref())
    }

    /// When connections have a part in the load, if that changes.
    #[must_use]
    pub fn population_course(&self) -> Option<Course> {
        let stages = self.conn_stages.as_ref();
        stages.map(|stages| stages.course(self.warmup_ns))
    }

    /// The server's name in TLS.
    #[must_use]
    pub fn server_name(&self) -> String {
        let sni = self.tls.as_ref().and_then(|tls| tls.sni.clone());
        match (sni, &self.target_name) {
            (Some(name), _) => name,
            (None, Some(typed)) => tls::host_of(typed).to_owned(),
            (None, None) if self.target.is_unix() => "localhost".into(),
            (None, None) => tls::host_of(&self.target.to_string()).to_owned(),
        }
    }

    /// Whether requests are answered at all.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        match self.protocol {
            ProtocolName::Discard => false,
            ProtocolName::Own => self.expect.as_ref().is_some_and(Rule::answers),
            _ => true,
        }
    }

    /// Whether requests follow a schedule of their own instead of the responses.
    #[must_use]
    pub fn is_open_loop(&self) -> bool {
        self.rate_per_s.is_some() || self.stages.is_some()
    }
}

/// The shape with as many connections as its stages have at the most.
fn with_conns_of(stages: Option<&Stages>, shape: &ShapeFlags) -> ShapeFlags {
    let largest = stages.map(|stages| stages.largest().ceil() as u64);
    ShapeFlags {
        conns: largest.unwrap_or(shape.conns),
        ..shape.clone()
    }
}

/// The path, all other words and the requests of a load that speaks HTTP.
fn asked_of_http(
    protocol: ProtocolName,
    flags: &LoadFlags,
) -> Result<(Option<String>, Option<HttpLoad>, Contents), LoadError> {
    if protocol != ProtocolName::Http {
        return Ok((None, None, Contents::default()));
    }
    let (http, contents) = http::read(&flags.http, flags.path.as_deref())?;
    let path = flags.path.clone().unwrap_or_else(|| "/".into());
    let path = flags.http.requests.is_none().then_some(path);
    Ok((path, Some(http), contents))
}

/// The stages of the rate and of the connections, steps drawn.
fn stages_of(flags: &LoadFlags, seed: u64) -> Result<(Option<Stages>, Option<Stages>), LoadError> {
    let range = |flag: &str, error: String| LoadError::Range(format!("{flag}: {error}"));
    let rates = flags.stages.as_ref();
    let rates = rates
        .map(|typed| typed.expand(flags.shuffle, seed))
        .transpose();
    let conns = flags.conn_stages.as_ref();
    let conns = conns
        .map(|typed| typed.expand(flags.shuffle, seed))
        .transpose();
    Ok((
        rates.map_err(|error| range("--stages", error))?,
        conns.map_err(|error| range("--conn-stages", error))?,
    ))
}

fn payload_of(protocol: ProtocolName, asked: Option<PayloadSize>) -> Option<PayloadSize> {
    match protocol {
        ProtocolName::Echo | ProtocolName::Discard => Some(asked.unwrap_or_default()),
        ProtocolName::Http | ProtocolName::Resp | ProtocolName::Own => asked,
    }
}

/// The address to be loaded, and what was typed where that is something else.
fn aim(
    typed: &str,
    flags: &LoadFlags,
    run: &RunFlags,
) -> Result<(Address, Option<String>), LoadError> {
    if let Some(address) = run.connect_to {
        check_target(address.ip(), &run.allow_target)?;
        return Ok((address.into(), Some(typed.to_owned())));
    }
    let mut target = resolve(typed)?.permitted(&run.allow_target)?;
    if let Some(is_ipv4) = flags.sources.is_ipv4() {
        target = target.of_family(is_ipv4);
    }
    let address = target.address(flags.connect_timeout);
    let name = target.name(&address);
    Ok((address, name))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use clap::Parser;
    use proptest::prelude::*;

    use super::check::MAX_IN_FLIGHT;
    use super::commands::{CommandFlags, KeyDistribution};
    use super::http::{HttpFlags, HttpVersion};
    use super::tls::TlsFlags;
    use super::*;

    /// A command line with all that a load is made of.
    #[derive(Parser)]
    struct Line {
        #[arg(long)]
        target: String,
        #[command(flatten)]
        shape: ShapeFlags,
        #[command(flatten)]
        load: LoadFlags,
        #[command(flatten)]
        run: RunFlags,
    }

    fn parse(args: &[&str]) -> Result<Load, String> {
        let words = ["loadgen", "--target", "127.0.0.1:9000"].iter().chain(args);
        let cli = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        load_of(&cli).map_err(|error| error.to_string())
    }

    fn parse_line(args: Vec<String>) -> Load {
        let args = std::iter::once("loadgen".to_owned()).chain(args);
        load_of(&Line::try_parse_from(args).expect("parses")).expect("valid")
    }

    fn load_of(line: &Line) -> Result<Load, LoadError> {
        Load::new(&line.target, &line.shape, &line.load, &line.run)
    }

    #[test]
    fn bad_flags_are_refused_with_a_sentence() {
        let table: &[(&[&str], &str)] = &[
            (&["--conns", "0"], "--conns 0: from 1 to"),
            (&["--conns", "NaN"], "not a whole number"),
            (&["--conns", "99999999999999999999"], "not a whole number"),
            (&["--conns", "20m"], "--conns 20000000: from 1 to"),
            (&["--idle", "16m"], "--idle 16000000: from 0 to"),
            (&["--duration", "0"], "longer than 0"),
            (&["--duration", "0s"], "longer than 0"),
            (&["--duration", "9999999999999h"], "longer than a week"),
            (&["--duration", "8days"], "longer than a week"),
            (&["--rate", "NaN"], "a rate lies between"),
            (&["--rate", "inf"], "a rate lies between"),
            (&["--rate", "0"], "a rate lies between"),
            (&["--payload", "0"], "a payload is"),
            (&["--pipeline", "0"], "--pipeline 0: from 1"),
            (
                &["--requests-per-conn", "0"],
                "--requests-per-conn 0: from 1",
            ),
            (&["--arrival", "poisson"], "needs --rate"),
            (&["--rate", "5", "--think", "1ms"], "closed loop"),
            (&["--think", "1ms", "--pipeline", "2"], "--pipeline 1"),
            (&["--rotate", "1s"], "needs --idle"),
            (&["--close", "server"], "needs --requests-per-conn"),
            (&["--path", "/x"], "--protocol http"),
            (&["--host", "a.test"], "--protocol http"),
            (&["--protocol", "http", "--host", "a b"], "no spaces"),
            (&["--protocol", "http", "--path", "x y"], "starts with /"),
            (&["--stages", "10s"], "no stage"),
            (&["--stages", "10s@5", "--rate", "5"], "drop it or --rate"),
            (
                &["--stages", "10s@5", "--duration", "5s"],
                "cannot be used with",
            ),
            (
                &["--conn-stages", "10s@5", "--conns", "5"],
                "cannot be used with",
            ),
            (
                &["--conn-stages", "10s@5", "--stages", "10s@5"],
                "closed loop",
            ),
            (&["--shuffle"], "needs --stages"),
            (&["--stages", "10s@5", "--think", "1ms"], "closed loop"),
            (&["--abort-on", "errors>1%"], "has no time"),
            (&["--abort-on", "rate<90% over 5s"], "needs --rate"),
            (&["--abort-on", "slip_p99_ns>1ms over 5s"], "needs --rate"),
            (&["--label", "A=b"], "is no key"),
            (&["--label", "a=1", "--label", "a=2"], "twice"),
            (&["--protocol", "http", "--payload", "5"], "--body says"),
            (&["-X", "POST"], "--method means something only with"),
            (&["-d", "x"], "--body means something only with"),
            (
                &["--requests-order", "random"],
                "--requests-order needs --requests or --command",
            ),
            (&["--command", "GET a"], "--protocol resp"),
            (
                &["--protocol", "resp", "--keys", "5"],
                "--keys needs --command",
            ),
            (
                &["--protocol", "resp", "--command", "GET a", "--payload", "5"],
                "--value-sizes",
            ),
            (&["--protocol", "http", "-H", "x"], "is no header"),
            (&["--protocol", "http", "-X", "A B"], "is no method"),
            (
                &["--protocol", "http", "--expect-status", "ok"],
                "no list of statuses",
            ),
            (
                &["--protocol", "http", "--host", "a", "-H", "Host: b"],
                "--host and a Host header",
            ),
            (&["--send", "x"], "--send needs --expect"),
            (&["--protocol", "own"], "needs --send and --expect"),
            (&["--expect", "line:x"], "add --requests-per-conn 1"),
            (&["--expect", "none"], "nothing to send"),
            (
                &["--greeting", "none", "--send", "x", "--expect", "bytes:1"],
                "--greeting none",
            ),
            (
                &["--protocol", "http", "--send", "x", "--expect", "bytes:1"],
                "drop --protocol",
            ),
            (
                &["--send", "x", "--expect", "bytes:1", "--payload", "5"],
                "--payload means nothing",
            ),
            (&["--send", "x", "--expect", "x"], "is no rule"),
            (&["--sources", "nowhere"], "not auto"),
            (&["--sources", "::1"], "another family"),
            (&["--sources", "127.0.0.2,224.0.0.1"], "no address of one"),
            (&["--sources", "224.0.0.0/24"], "no address of one"),
        ];
        for (args, expected) in table {
            let error = parse(args).expect_err(&format!("{args:?} was accepted"));
            assert!(error.contains(expected), "{args:?}: {error}");
        }
    }

    #[test]
    fn time_outs_grow_with_what_waits_for_each_other() {
        let closed = parse(&["--conns", "1m"]).expect("valid");
        assert_eq!(closed.response_limit_ns(), as_ns(Duration::from_secs(105)));
        assert_eq!(closed.ramp_limit_ns(), as_ns(Duration::from_secs(130)));
        let open = parse(&["--conns", "1m", "--rate", "10k"]).expect("valid");
        assert_eq!(open.response_limit_ns(), as_ns(Duration::from_secs(5)));
    }

    #[test]
    fn only_loopback_is_loaded_unless_allowed() {
        let (shape, flags) = (ShapeFlags::default(), LoadFlags::default());
        let with = |target: &str, allow: &[&str]| {
            let allow_target = allow
                .iter()
                .map(|text| text.parse().expect("a network"))
                .collect();
            Load::new(
                target,
                &shape,
                &flags,
                &RunFlags {
                    allow_target,
                    ..RunFlags::default()
                },
            )
        };
        assert!(with("127.9.9.9:1", &[]).is_ok());
        assert!(with("[::1]:1", &[]).is_ok());
        assert!(matches!(
            with("192.0.2.1:1", &[]),
            Err(LoadError::Refused(_))
        ));
        assert!(with("192.0.2.1:1", &["192.0.2.0/24"]).is_ok());
        assert!(matches!(
            with("192.0.3.1:1", &["192.0.2.0/24"]),
            Err(LoadError::Refused(_))
        ));
        for never in [
            "255.255.255.255:1",
            "224.0.0.1:1",
            "[ff02::1]:1",
            "0.0.0.0:1",
        ] {
            assert!(
                matches!(
                    with(never, &["0.0.0.0/0", "::/0"]),
                    Err(LoadError::Refused(_))
                ),
                "{never}"
            );
        }
        assert!(matches!(
            with("127.0.0.1", &[]),
            Err(LoadError::Resolve { .. })
        ));
        assert!(matches!(
            with("127.0.0.1:0", &[]),
            Err(LoadError::Resolve { .. })
        ));
    }

    #[test]
    fn a_name_survives_the_command_line_beside_the_address_it_came_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let name = format!("localhost:{}", listener.local_addr().expect("bound").port());
        let line = ["loadgen", "--target", &name, "--protocol", "http"];
        let load = load_of(&Line::try_parse_from(line).expect("parses")).expect("valid");
        let address = listener.local_addr().expect("bound");
        assert_eq!(load.target, Address::Ip(address));
        assert_eq!(load.host_field(), name);
        assert_eq!(load.target_in_words(), format!("{name} ({})", load.target));
        // The name need not be resolved again, nor exist any more.
        drop(listener);
        let args = std::iter::once("loadgen".to_owned()).chain(load.to_args());
        let again = load_of(&Line::try_parse_from(args).expect("parses")).expect("valid");
        assert_eq!(again, load);
        let other = [
            "loadgen",
            "--target",
            "127.0.0.1:1",
            "--protocol",
            "http",
            "--host",
            "a.test",
        ];
        let other = load_of(&Line::try_parse_from(other).expect("parses")).expect("valid");
        assert_eq!(
            (other.host_field().as_str(), other.target_name),
            ("a.test", None)
        );
    }

    fn durations() -> impl Strategy<Value = Duration> {
        (1..=as_ns(crate::base::units::MAX_DURATION)).prop_map(Duration::from_nanos)
    }

    fn rates() -> impl Strategy<Value = f64> {
        (1e-6..1e7f64).prop_filter("in range", |rate| *rate > 0.0)
    }

    prop_compose! {
        fn shapes()(
            conns in 1u64..8_000_000, rate in proptest::option::of(rates()), idle in 1u64..8_000_000,
            sizes in proptest::option::of((1u32..=1 << 20, 0u32..=1 << 20)),
            requests_per_conn in proptest::option::of(1u64..1 << 32),
        ) -> ShapeFlags {
            let payload = sizes.map(|(min, more)| PayloadSize { min, max: min + more });
            ShapeFlags { conns, rate, idle, payload, requests_per_conn }
        }
    }

    prop_compose! {
        fn http_flags()(
            method in proptest::option::of("[A-Z]{3,6}"), header in proptest::collection::vec("X-[a-z]{1,5}: [ -~]{0,9}", 0..3),
            body in proptest::option::of("[ -?A-~é]{0,20}"), old in any::<bool>(),
            statuses in proptest::option::of(prop_oneof![Just("2xx,304"), Just("200-204")]),
        ) -> HttpFlags {
            HttpFlags {
                method, header, body,
                http_version: old.then_some(HttpVersion::V1_0),
                expect_status: statuses.map(|text| text.parse().expect("statuses")),
                requests: None, requests_order: None,
            }
        }
    }

    prop_compose! {
        fn command_flags()(
            command in proptest::collection::vec("[A-Z]{1,5} __key__[a-z \"]?", 0..3), keys in proptest::option::of(1u64..1 << 30),
            zipf in proptest::option::of(0.01..10.0f64), sizes in proptest::option::of("[1-9][0-9]{0,3}(:[1-9])?"),
            prefix in proptest::option::of("[ -~é]{0,9}"),
        ) -> CommandFlags {
            let closed: Vec<String> = command.into_iter().filter(|command| !command.contains('"')).collect();
            if closed.is_empty() {
                return CommandFlags::default();
            }
            CommandFlags {
                command_ratio: closed.iter().map(|command| command.len() as u64).collect(),
                command: closed, keys, key_prefix: prefix,
                key_distribution: zipf.map(KeyDistribution::Zipf),
                value_sizes: sizes.map(|text| text.parse().expect("sizes")),
                verify_values: false,
            }
        }
    }

    prop_compose! {
        fn flag_sets()(
            http in any::<bool>(), own in any::<bool>(), think in proptest::option::of(durations()), pipeline in 1u64..=MAX_PIPELINE,
            request_timeout in durations(), connect_rate in proptest::option::of(rates()), poisson in any::<bool>(),
            connect_inflight in 1u64..1000, connect_timeout in durations(), ramp_timeout in durations(),
            said in http_flags(), commands in command_flags(), reset in any::<bool>(), conn_lifetime in proptest::option::of(durations()),
            rotate in proptest::option::of(durations()), sources in prop_oneof![
                Just(Sources::Auto), Just(Sources::Network("127.0.4.0/22".parse().expect("a network"))),
                Just(Sources::List(vec![IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 3])])),
            ],
        ) -> LoadFlags {
            let arrival = if poisson { Arrival::Poisson } else { Arrival::Fixed };
            let is_own = own && !http;
            LoadFlags {
                protocol: match (http, own) {
                    (true, _) => ProtocolName::Http,
                    (false, true) => ProtocolName::Own,
                    (false, false) => ProtocolName::Resp,
                },
                tls: TlsFlags {
                    tls: tls::IS_BUILT_IN && reset,
                    insecure: tls::IS_BUILT_IN && reset && own,
                    sni: (tls::IS_BUILT_IN && reset).then(|| "a.test".into()),
                    ..TlsFlags::default()
                },
                send: is_own.then(|| "-{seq}\\x00\\r\\n".parse().expect("a message")),
                expect: is_own.then(|| "text:{conn}\\n".parse().expect("a rule")),
                greeting: is_own.then(|| "line:^220 \\d".parse().expect("a rule")),
                host: http.then(|| "example.test".to_owned()),
                path: http.then(|| "/a?b=c".to_owned()),
                http: if http { said } else { HttpFlags::default() },
                commands: if http || own { CommandFlags::default() } else { commands },
                arrival: Some(arrival), think, pipeline, request_timeout, connect_rate,
                connect_arrival: connect_rate.map(|_| arrival), connect_inflight, connect_timeout, ramp_timeout,
                close: if reset { Close::Reset } else { Close::Client },
                conn_lifetime, reconnect_rate: None, rotate, sources,
                abort_on: Vec::new(), stages: None, conn_stages: None, shuffle: false,
                label: http.then(|| "commit=a b".parse().expect("a label")).into_iter().collect(),
            }
        }
    }

    prop_compose! {
        fn run_flags()(
            warmup in durations(), duration in durations(), seed in any::<u64>(), threads in 0u64..=1024,
            processes in proptest::option::of(1u32..=1024), cpus in proptest::option::of(proptest::collection::vec(0u32..4096, 1..5)),
            spin in any::<bool>(), count in 1u32..100, index in 0u32..100,
            start_at in proptest::option::of(0u64..1 << 62),
        ) -> RunFlags {
            RunFlags {
                warmup, duration, seed: Some(seed), threads,
                processes: processes.map_or(Processes::Auto, Processes::Count),
                cpus: cpus.map(CpuList), poll: if spin { Poll::Spin } else { Poll::Sleep },
                segment: Some(Segment { index: index % count, count }), start_at, connect_to: None,
                served_at_once: (threads > 0).then_some(threads),
                plan_digest: spin.then(|| "0123abcd".to_owned()),
                allow_target: vec!["10.0.0.0/8".parse().expect("a network")],
            }
        }
    }

    #[test]
    fn verified_values_survive_the_command_line() {
        let commands = [
            "--command",
            "SET __key__ __value__",
            "--command",
            "GET __key__",
        ];
        let load = parse(&[&["--protocol", "resp", "--verify-values"], &commands[..]].concat());
        let load = load.expect("valid");
        assert!(
            load.commands
                .as_ref()
                .is_some_and(|commands| commands.verify_values)
        );
        assert_eq!(parse_line(load.to_args()), load);
    }

    #[test]
    fn stages_are_the_window_and_survive_the_command_line() {
        let load = parse(&[
            "--stages",
            "2s@100..900/3, 1s@5",
            "--conns",
            "4",
            "--shuffle",
            "--seed",
            "3",
        ])
        .expect("valid");
        assert_eq!((load.duration_ns, load.rate_per_s), (3_000_000_000, None));
        assert!(load.is_open_loop());
        let again = parse_line(load.to_args());
        assert_eq!(again, load);
        assert_eq!(load.stages.as_ref().map(|stages| stages.0.len()), Some(4));
        assert_eq!(load.asked_in_second(2), Some(5.0));
        let load = parse(&["--conn-stages", "2s@1..20, 1s@5"]).expect("valid");
        assert_eq!((load.conns, load.is_open_loop()), (20, false));
        assert_eq!(parse_line(load.to_args()), load);
    }

    proptest! {
        #[test]
        fn a_load_survives_its_own_command_line(shape in shapes(), mut flags in flag_sets(), run in run_flags()) {
            let mut shape = shape;
            if run.threads > 0 {
                flags.abort_on = vec!["errors>2.5% over 5s".parse().expect("a condition")];
            }
            match shape.rate {
                Some(_) => flags.think = None,
                None => flags.arrival = None,
            }
            if flags.think.is_some() {
                flags.pipeline = 1;
            }
            flags.pipeline = flags.pipeline.min(MAX_IN_FLIGHT / (shape.conns + shape.idle));
            if flags.protocol != ProtocolName::Resp || !flags.commands.command.is_empty() {
                shape.payload = None;
            }
            let load = Load::new("127.0.0.1:9000", &shape, &flags, &run).expect("a valid load");
            let args = load.to_args();
            let cli = Line::try_parse_from(std::iter::once("loadgen".to_owned()).chain(args)).expect("parses");
            prop_assert_eq!(load_of(&cli).expect("valid"), load.clone());
            let json = serde_json::to_string(&load).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<Load>(&json).expect("deserialises"), load);
        }
    }
}
