//! What was counted, beside what the settings lead one to expect.

use super::closing::Closed;
use super::{Evidence, LENGTH_S, MANY, PORTS};
use crate::lab::{Finding, Line, Settings};

/// The table, and what it says.
pub fn judge(settings: &Settings, evidence: &Evidence) -> Finding {
    let mut lines = closed_first(evidence);
    lines.push(reuse(settings, evidence));
    lines.extend(length(evidence));
    let ceiling = PORTS as f64 / LENGTH_S;
    lines.push(Line::shown(
        "so at most, without tcp_tw_reuse",
        "",
        format!("{ceiling:.1} connections/s"),
    ));
    Finding::of(
        lines,
        "See tcp_max_tw_buckets: TIME_WAITs beyond it are dropped at once. A client that is not alone in its \
                        namespace has fewer ports.",
    )
}

/// How many connections there were, and who was left with TIME_WAITs, by who closes first.
fn closed_first(evidence: &Evidence) -> Vec<Line> {
    let Evidence {
        by_client,
        by_server,
        by_reset,
        ..
    } = evidence;
    let made = |closed: &Closed| match closed.ports_ran_out {
        true => format!("{}, then EADDRNOTAVAIL", closed.connections),
        false => closed.connections.to_string(),
    };
    let left_by_reset = by_reset.time_wait_of_clients + by_reset.time_wait_of_server;
    vec![
        Line::judged(
            "connections, the client closes first",
            format!("{PORTS}, then EADDRNOTAVAIL"),
            made(by_client),
            by_client.connections == PORTS && by_client.ports_ran_out,
        ),
        Line::equal(
            "TIME_WAIT of the clients then",
            &PORTS,
            &by_client.time_wait_of_clients,
        ),
        Line::judged(
            "connections, the server closes first",
            format!("all of {MANY}"),
            made(by_server),
            by_server.connections == MANY,
        ),
        Line::judged(
            "TIME_WAIT of clients and server then",
            format!("0, {PORTS} at most"),
            format!(
                "{}, {}",
                by_server.time_wait_of_clients, by_server.time_wait_of_server
            ),
            by_server.time_wait_of_clients == 0
                && (1..=PORTS).contains(&by_server.time_wait_of_server),
        ),
        Line::judged(
            "connections closed by a reset, and TIME_WAIT then",
            format!("all of {MANY}, 0"),
            format!("{}, {left_by_reset}", made(by_reset)),
            by_reset.connections == MANY && left_by_reset == 0,
        ),
    ]
}

/// What a TIME_WAIT is for, and how long it lasts.
fn length(evidence: &Evidence) -> Vec<Line> {
    let (fins, acks) = evidence.last_ack_lost;
    let lasted = evidence.lasted_s;
    vec![
        Line::judged(
            "the last ACK is lost",
            "2 FINs or more, and as many ACKs",
            format!("{fins} FINs, {acks} ACKs"),
            fins >= 2 && acks >= 2,
        ),
        Line::judged(
            "how long a TIME_WAIT lasts",
            format!("{LENGTH_S:.0} s, and up to an eighth more"),
            lasted.map_or("still there at the end".into(), |s| format!("{s:.1} s")),
            lasted.is_some_and(|s| (LENGTH_S - 1.0..=LENGTH_S * 1.125 + 1.0).contains(&s)),
        ),
    ]
}

/// Where ports come back after the delay, each can be had once in that time, and once at the beginning.
fn reuse(settings: &Settings, evidence: &Evidence) -> Line {
    let delay_s = settings
        .number("net/ipv4/tcp_tw_reuse_delay")
        .unwrap_or(1000) as f64
        / 1000.0;
    let (connections, seconds) = evidence.reuse;
    let most = (PORTS as f64 * (seconds / delay_s.max(0.001) + 1.0)) as usize;
    let stamped = settings.number("net/ipv4/tcp_timestamps") != Some(0);
    Line {
        holds: (stamped && delay_s >= 0.5).then_some(connections > PORTS && connections <= most),
        ..Line::shown(
            format!("connections with tcp_tw_reuse 1, in {seconds:.1} s"),
            format!("more than {PORTS}, and {most} at most: a port comes back after {delay_s} s"),
            connections.to_string(),
        )
    }
}
