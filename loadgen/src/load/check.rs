//! What flags must hold to, alone and together.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::abort::{Condition, Kind, Limit, MAX_CONDITIONS, Metric};
use super::error::LoadError;
use super::flags::{LoadFlags, RunFlags, ShapeFlags};
use super::own::{Message, Rule};
use super::{Close, MAX_CONNECTIONS, MAX_PIPELINE, ProtocolName, Sources};
use crate::base::address::Address;

/// Requests in flight together at most: 24 bytes each.
pub(super) const MAX_IN_FLIGHT: u64 = 1 << 26;

pub(super) fn check_shape(shape: &ShapeFlags) -> Result<(), LoadError> {
    within("conns", shape.conns, 1, MAX_CONNECTIONS)?;
    within("idle", shape.idle, 0, MAX_CONNECTIONS - shape.conns)?;
    if let Some(requests) = shape.requests_per_conn {
        within("requests-per-conn", requests, 1, u64::from(u32::MAX))?;
    }
    Ok(())
}

pub(super) fn check_run(
    shape: &ShapeFlags,
    flags: &LoadFlags,
    run: &RunFlags,
) -> Result<(), LoadError> {
    within("pipeline", flags.pipeline, 1, MAX_PIPELINE)?;
    within(
        "connect-inflight",
        flags.connect_inflight,
        1,
        MAX_CONNECTIONS,
    )?;
    within("threads", run.threads, 0, 1024)?;
    let together = (shape.conns + shape.idle).saturating_mul(flags.pipeline);
    if flags.pipeline > 1 && together > MAX_IN_FLIGHT {
        return Err(LoadError::Range(format!(
            "--pipeline {} on {} connections: at most {MAX_IN_FLIGHT} requests may be in flight together",
            flags.pipeline,
            shape.conns + shape.idle
        )));
    }
    above_zero("request-timeout", Some(flags.request_timeout))?;
    above_zero("connect-timeout", Some(flags.connect_timeout))?;
    above_zero("ramp-timeout", Some(flags.ramp_timeout))?;
    above_zero("conn-lifetime", flags.conn_lifetime)?;
    above_zero("rotate", flags.rotate)?;
    above_zero("duration", Some(run.duration))?;
    match &flags.sources {
        Sources::List(list) if list.is_empty() => {
            Err(LoadError::Range("--sources names no address".into()))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_combinations(shape: &ShapeFlags, flags: &LoadFlags) -> Result<(), LoadError> {
    let is_open_loop = shape.rate.is_some() || flags.stages.is_some();
    check_what_is_sent(shape, flags)?;
    check_when_it_is_sent(shape, flags, is_open_loop)?;
    check_own(shape, flags)?;
    check_abort_on(&flags.abort_on, is_open_loop)?;
    check_http_alone(flags)?;
    check_host(flags.host.as_deref())
}

fn check_what_is_sent(shape: &ShapeFlags, flags: &LoadFlags) -> Result<(), LoadError> {
    let http = flags.protocol == ProtocolName::Http;
    first_broken(&[
        (
            flags.path.is_some() && !http,
            "--path means something only with --protocol http",
        ),
        (
            flags.host.is_some() && !http,
            "--host means something only with --protocol http",
        ),
        (
            shape.payload.is_some() && http,
            "--payload means nothing with --protocol http: a body is what --body says, or --requests",
        ),
        (
            flags.http.requests_order.is_some()
                && flags.http.requests.is_none()
                && flags.commands.command.is_empty(),
            "--requests-order needs --requests or --command: there is but one request",
        ),
        (
            !flags.commands.command.is_empty() && flags.protocol != ProtocolName::Resp,
            "--command means something only with --protocol resp",
        ),
        (
            !flags.commands.command.is_empty() && shape.payload.is_some(),
            "--payload is what PING says: with --command give --value-sizes",
        ),
        (
            flags.host.is_some() && flags.http.names_host(),
            "--host and a Host header say the same thing: give one of the two",
        ),
    ])
}

fn check_when_it_is_sent(
    shape: &ShapeFlags,
    flags: &LoadFlags,
    is_open_loop: bool,
) -> Result<(), LoadError> {
    let churns = shape.requests_per_conn.is_some();
    let thinks = flags.think.is_some_and(|pause| !pause.is_zero());
    first_broken(&[
        (
            flags.arrival.is_some() && !is_open_loop,
            "--arrival needs --rate or --stages: a closed loop has no schedule",
        ),
        (
            flags.connect_arrival.is_some() && flags.connect_rate.is_none(),
            "--connect-arrival needs --connect-rate",
        ),
        (
            thinks && is_open_loop,
            "--think belongs to the closed loop: drop it, or --rate and --stages",
        ),
        (
            flags.stages.is_some() && shape.rate.is_some(),
            "--stages say what the rate is at every time: drop it or --rate",
        ),
        (
            flags.conn_stages.is_some() && is_open_loop,
            "--conn-stages belong to the closed loop: an open loop sends at its rate, however many connections there are",
        ),
        (
            flags.conn_stages.is_some() && flags.rotate.is_some(),
            "--conn-stages say which connections are active when: drop --rotate",
        ),
        (
            flags.shuffle && flags.stages.is_none() && flags.conn_stages.is_none(),
            "--shuffle needs --stages or --conn-stages with a ramp",
        ),
        (
            thinks && flags.pipeline > 1,
            "--think needs --pipeline 1: a pause follows one answer",
        ),
        (
            flags.rotate.is_some() && shape.idle == 0,
            "--rotate needs --idle: there is nothing to move the active set to",
        ),
        (
            flags.close == Close::Server && !churns,
            "--close server needs --requests-per-conn: without it nobody closes",
        ),
        (
            flags.reconnect_rate.is_some() && churns,
            "--reconnect-rate is for long-lived connections: drop it or --requests-per-conn",
        ),
    ])
}

fn first_broken(conflicts: &[(bool, &str)]) -> Result<(), LoadError> {
    match conflicts.iter().find(|(broken, _)| *broken) {
        Some((_, text)) => Err(LoadError::Conflict((*text).into())),
        None => Ok(()),
    }
}

/// A closed loop has neither a rate to fall short of nor a schedule to be late for.
fn check_abort_on(conditions: &[Condition], is_open_loop: bool) -> Result<(), LoadError> {
    if conditions.len() > MAX_CONDITIONS {
        let text = format!(
            "--abort-on: {} conditions, at most {MAX_CONDITIONS}",
            conditions.len()
        );
        return Err(LoadError::Range(text));
    }
    let needs_rate = |condition: &&Condition| {
        let of_rate =
            condition.metric == Metric::Rate && matches!(condition.limit, Limit::Percent(_));
        of_rate || matches!(condition.metric, Metric::Latency(Kind::Slip, _))
    };
    match conditions.iter().find(needs_rate) {
        Some(condition) if !is_open_loop => Err(LoadError::Conflict(format!(
            "--abort-on '{condition}' needs --rate or --stages: a closed loop has no schedule"
        ))),
        _ => Ok(()),
    }
}

/// Flags of HTTP mean nothing to any other protocol.
fn check_http_alone(flags: &LoadFlags) -> Result<(), LoadError> {
    match flags.http.given() {
        Some(flag) if flags.protocol != ProtocolName::Http => Err(LoadError::Conflict(format!(
            "--{flag} means something only with --protocol http"
        ))),
        _ => Ok(()),
    }
}

/// What an own protocol is made of.
fn check_own(shape: &ShapeFlags, flags: &LoadFlags) -> Result<(), LoadError> {
    let is_own = flags.protocol_in_force() == ProtocolName::Own;
    let given = flags.send.is_some() || flags.expect.is_some() || flags.greeting.is_some();
    let sends = flags
        .send
        .as_ref()
        .is_some_and(|send: &Message| !send.is_empty());
    let answers = flags.expect.as_ref().is_some_and(Rule::answers);
    first_broken(&[
        (
            given && !is_own,
            "--send, --expect and --greeting are a protocol of your own: drop --protocol",
        ),
        (
            is_own && !given,
            "--protocol own needs --send and --expect (see docs/PROTOCOLS.md)",
        ),
        (
            is_own && flags.expect.is_none(),
            "--send needs --expect: what an answer is, such as --expect 'delimiter:\\n', or none where there is none",
        ),
        (
            is_own && !sends && !answers,
            "--expect none without --send: there is nothing to send and nothing to wait for",
        ),
        (
            is_own && !sends && shape.requests_per_conn != Some(1),
            "--expect without --send: the server speaks first, and once; add --requests-per-conn 1",
        ),
        (
            is_own && !sends && flags.greeting.is_some(),
            "--greeting without --send: nothing waits for it; give it as --expect, with --requests-per-conn 1",
        ),
        (
            flags.greeting == Some(Rule::Nothing),
            "--greeting none: leave it out where the server does not speak first",
        ),
        (
            flags.expect == Some(Rule::UntilClose) && shape.requests_per_conn != Some(1),
            "--expect close ends the connection with every answer: add --requests-per-conn 1",
        ),
        (
            matches!(flags.greeting, Some(Rule::UntilClose)),
            "--greeting close: nothing can be asked after it; give it as --expect",
        ),
        (
            is_own && shape.payload.is_some(),
            "--payload means nothing with --send: the message is the payload",
        ),
    ])
}

/// A Host field may be anything that is one word: servers are to be tried with those that they do not know, too.
fn check_host(host: Option<&str>) -> Result<(), LoadError> {
    match host {
        Some(host) if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(LoadError::Range(format!(
                "--host {host:?}: a host has at least one character, no spaces and no control characters"
            )))
        }
        _ => Ok(()),
    }
}

/// Addresses that sockets can be bound to and that lead to the target; whether they are this machine's, bind(2) says.
pub(super) fn check_sources(sources: &Sources, target: &Address) -> Result<(), LoadError> {
    let addresses = match sources {
        Sources::Auto => return Ok(()),
        Sources::List(list) => list.clone(),
        Sources::Network(network) => vec![network.network(), network.broadcast()],
    };
    let Some(target) = target.ip() else {
        return Err(LoadError::Conflict(
            "--sources are IP addresses: who comes to a Unix socket has none".into(),
        ));
    };
    for address in addresses {
        let wrong = if address.is_ipv4() != target.is_ipv4() {
            "is of another family than the target"
        } else if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            "is no address of one host"
        } else {
            continue;
        };
        return Err(LoadError::Range(format!(
            "--sources {sources}: {address} {wrong}"
        )));
    }
    Ok(())
}

fn within(flag: &str, value: u64, low: u64, high: u64) -> Result<(), LoadError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(LoadError::Range(format!(
        "--{flag} {value}: from {low} to {high}"
    )))
}

fn above_zero(flag: &str, value: Option<Duration>) -> Result<(), LoadError> {
    match value {
        Some(Duration::ZERO) => Err(LoadError::Range(format!(
            "--{flag} 0: has to be longer than 0"
        ))),
        _ => Ok(()),
    }
}
