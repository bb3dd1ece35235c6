//! An outcome for people: what was asked and not given comes first.

use comfy_table::{CellAlignment, Table, presets};

use super::search::climb::Found;
use crate::base::units::{format_bytes, format_count, format_ns, format_rate};
use crate::load::Segment;
use crate::tally::live::Live;
use crate::tally::outcome::{Floor, HostFigures, Outcome, Quantiles, Requests};
use crate::tally::stage::Stage;
use crate::worker::control::Sum;

/// The outcome as text.
#[must_use]
pub fn table(outcome: &Outcome) -> String {
    let mut lines = vec![headline(outcome), load_line(outcome)];
    lines.extend(label_line(outcome));
    lines.push(String::new());
    lines.extend(request_lines(outcome));
    lines.push(String::new());
    lines.push(latencies(outcome));
    lines.extend(queueing(outcome));
    lines.extend(stages(outcome));
    lines.push(connection_line(outcome));
    lines.push(generator_line(outcome));
    lines.extend(host_lines(outcome));
    lines.extend(floor_line(outcome));
    lines.extend(failure_lines(outcome));
    lines.push(verdict_line(outcome));
    lines.extend(
        outcome
            .reasons
            .iter()
            .map(|reason| format!("  {} {}", reason.code, reason.text)),
    );
    lines.join("\n") + "\n"
}

/// One second of a run that is under way.
#[must_use]
pub fn live_line(live: &Live, sum: Sum) -> String {
    let second = &live.second;
    let show = |ns: Option<u64>| ns.map_or_else(|| "n/a".into(), format_ns);
    format!(
        "{:>4} s  {:>12}  p50 {:>8}  p99 {:>8}  {} connections  {} errors",
        second.second + 1,
        format_rate(second.completed as f64),
        show(second.response_p50_ns),
        show(second.response_p99_ns),
        format_count(sum.open),
        format_count(sum.errors)
    )
}

/// What a search found, with the curve it followed, rates ascending.
#[must_use]
pub fn search_table(found: &Found) -> String {
    let promise: Vec<String> = found.slo.iter().map(ToString::to_string).collect();
    let promise = promise.join(" and ");
    let answer = match (found.held_per_s, found.broken_per_s) {
        (Some(held), Some(broken)) => {
            format!(
                "{promise} held up to {}, broken at {}",
                format_rate(held),
                format_rate(broken)
            )
        }
        (Some(held), None) => format!(
            "{promise} held at {}, the highest rate tried",
            format_rate(held)
        ),
        (None, _) => format!("{promise} held at no rate tried"),
    };
    let mut steps: Vec<_> = found.steps.iter().collect();
    steps.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    let show = |ns: Option<u64>| ns.map_or_else(|| "n/a".into(), format_ns);
    let rows = steps.iter().map(|step| {
        let held = step.held.map_or(
            "too few samples",
            |held| if held { "held" } else { "broken" },
        );
        vec![
            format_rate(step.rate_per_s),
            format_rate(step.achieved_per_s),
            show(step.response_p50_ns),
            show(step.response_p99_ns),
            format_count(step.errors),
            held.into(),
        ]
    });
    format!(
        "{answer}\n\n{}\n",
        grid(&["offered", "achieved", "p50", "p99", "errors", ""], rows)
    )
}

/// A floor on its own.
#[must_use]
pub fn floor_text(floor: &Floor) -> String {
    format!("{}\n", describe_floor(floor))
}

/// A table without lines, all columns but the first aligned to the right.
fn grid(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    rows.for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn headline(outcome: &Outcome) -> String {
    let (served, requested) = (
        outcome.connections.served_at_barrier,
        outcome.connections.requested,
    );
    let missing = if served < requested {
        format!(", {} MISSING", format_count(requested - served))
    } else {
        String::new()
    };
    let segment = outcome.load.segment;
    let part = if segment == Segment::WHOLE {
        String::new()
    } else {
        format!(" (segment {segment} of the load)")
    };
    let partial = match (outcome.complete, &outcome.aborted) {
        (true, _) => "",
        (false, None) => " (INTERRUPTED: partial figures)",
        (false, Some(_)) => " (ENDED EARLY, as --abort-on asks)",
    };
    format!(
        "{} of {} connections served by {} in {}{missing}{part}{partial}",
        format_count(served),
        format_count(requested),
        outcome.load.target_in_words(),
        format_ns((outcome.ramp_s * 1e9) as u64)
    )
}

fn load_line(outcome: &Outcome) -> String {
    let load = &outcome.load;
    let mode = match (load.rate_per_s, &load.stages, &load.conn_stages) {
        (Some(rate), _, _) => format!("open loop at {}", format_rate(rate)),
        (None, Some(stages), _) => format!("open loop in {} stages", stages.0.len()),
        (None, None, Some(stages)) => format!("closed loop in {} stages", stages.0.len()),
        (None, None, None) => "closed loop".into(),
    };
    let life = match load.requests_per_conn {
        Some(count) => format!("{count} requests per connection"),
        None => "long-lived connections".into(),
    };
    let payload = load
        .payload
        .map_or_else(String::new, |payload| format!(", {payload} bytes"));
    let protocol = format!("{:?}", load.protocol).to_lowercase();
    let said = load.requests_in_words();
    let said = said.map_or_else(String::new, |said| format!(" ({said})"));
    format!(
        "{mode}, {life}, {protocol}{said}{payload}, window {}, seed {}",
        format_ns((outcome.window_s * 1e9) as u64),
        load.seed
    )
}

fn label_line(outcome: &Outcome) -> Option<String> {
    let labels = outcome.load.labels.iter();
    let pairs: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    (!pairs.is_empty()).then(|| format!("labels: {}", pairs.join(", ")))
}

fn request_lines(outcome: &Outcome) -> Vec<String> {
    let requests = &outcome.requests;
    let mut lines = vec![format!(
        "{} requests answered, {}{}",
        format_count(requests.completed),
        format_rate(requests.per_s),
        directions(requests)
    )];
    let failed: u64 = requests.failed.values().sum();
    let missing = [
        ("dropped", requests.dropped),
        ("timed out", requests.timed_out),
        ("failed", failed),
        ("answered wrongly", requests.mismatched),
        ("unanswered at the end", requests.unanswered_at_end),
    ];
    let said: Vec<String> = missing
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(what, n)| format!("{} {what}", format_count(*n)))
        .collect();
    if requests.resent > 0 {
        lines.push(format!(
            "{} sent again on a new connection: the one before was closed with no byte of their answers",
            format_count(requests.resent)
        ));
    }
    if !said.is_empty() {
        lines.push(format!(
            "of {} offered: {}",
            format_count(requests.offered),
            said.join(", ")
        ));
    }
    lines.extend(status_line(requests));
    lines
}

/// The answers by status, unless all of them had the usual one.
fn status_line(requests: &Requests) -> Option<String> {
    let usual = |name: &String| name == "200" || name == "ok";
    let statuses = &requests.by_status;
    if statuses.len() == statuses.keys().filter(|name| usual(name)).count() {
        return None;
    }
    let counts = statuses.iter();
    let counts: Vec<String> = counts
        .map(|(name, count)| format!("{name} {}", format_count(*count)))
        .collect();
    let counts = counts.join(", ");
    Some(match hit_ratio(requests) {
        Some(ratio) => format!(
            "answers by status: {counts}; hit ratio {:.2} %",
            ratio * 100.0
        ),
        None => format!("answers by status: {counts}"),
    })
}

/// Of the verified GETs that were answered, those whose key was there.
fn hit_ratio(requests: &Requests) -> Option<f64> {
    let of = |name: &str| requests.by_status.get(name).copied().unwrap_or(0);
    let (hits, misses) = (of("hit"), of("miss"));
    (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64)
}

/// The bytes of both directions; of an older outcome, those of the requests.
fn directions(requests: &Requests) -> String {
    match (requests.bytes_sent_per_s, requests.bytes_received_per_s) {
        (Some(sent), Some(received)) => format!(
            ", {}/s sent, {}/s received",
            format_bytes(sent),
            format_bytes(received)
        ),
        _ => format!(", {}/s of requests", format_bytes(requests.bytes_per_s)),
    }
}

fn latencies(outcome: &Outcome) -> String {
    let latency = &outcome.latency_ns;
    let mut rows = vec![
        ("response", &latency.response),
        ("service", &latency.service),
    ];
    rows.push(("connect", &latency.connect));
    if outcome.tls.is_some() {
        rows.push(("TLS handshake", &latency.handshake));
    }
    rows.push(("first byte", &latency.first_byte));
    if outcome.load.is_open_loop() {
        rows.push(("schedule slip", &outcome.schedule_slip_ns));
    }
    let rows = rows
        .into_iter()
        .map(|(name, quantiles)| latency_row(name, quantiles));
    grid(
        &["", "count", "p50", "p90", "p99", "p99.9", "max", "mean"],
        rows,
    )
}

fn latency_row(name: &str, q: &Quantiles) -> Vec<String> {
    let values = [q.p50, q.p90, q.p99, q.p999, q.max, q.mean].map(|value| q.show(value));
    [
        vec![name.to_owned(), format_count(q.count)],
        values.to_vec(),
    ]
    .concat()
}

/// The stages of a load that changes by plan, a line each.
fn stages(outcome: &Outcome) -> Option<String> {
    let row = |(index, stage): (usize, &Stage)| {
        let requests = &stage.requests;
        let course = |show: fn(f64) -> String, [from, to]: [f64; 2]| match from == to {
            true => show(from),
            false => format!("{} .. {}", show(from), show(to)),
        };
        let rate = stage.rate_per_s.map(|rate| course(format_rate, rate));
        let conns = stage
            .conns
            .map(|conns| course(|n| format_count(n as u64), conns));
        let unanswered = requests.offered.saturating_sub(requests.completed);
        vec![
            format!("stage {}", index + 1),
            format_ns((stage.from_s * 1e9) as u64),
            format_ns((stage.length_s * 1e9) as u64),
            rate.or(conns).unwrap_or_default(),
            format_rate(requests.per_s),
            stage.response_ns.show(stage.response_ns.p50),
            stage.response_ns.show(stage.response_ns.p99),
            stage.response_ns.show(stage.response_ns.max),
            format_count(unanswered),
        ]
    };
    let asked = match outcome.load.stages {
        Some(_) => "asked",
        None => "connections",
    };
    let header = [
        "",
        "from",
        "for",
        asked,
        "answered",
        "p50",
        "p99",
        "max",
        "not answered",
    ];
    let rows = outcome.stages.iter().enumerate().map(row);
    (!outcome.stages.is_empty()).then(|| format!("\n{}\n", grid(&header, rows)))
}

/// What readers of open-loop figures most often take for a bug.
fn queueing(outcome: &Outcome) -> Option<String> {
    let (response, service) = (
        outcome.latency_ns.response.p99?,
        outcome.latency_ns.service.p99?,
    );
    (outcome.load.is_open_loop() && response > 2 * service).then(|| {
        "response ≫ service: requests queued, the server could not keep up with the rate at all times; \
         a user who arrives on schedule waits for `response`"
            .into()
    })
}

fn connection_line(outcome: &Outcome) -> String {
    let c = &outcome.connections;
    let mut parts = vec![format!(
        "{} attempts, {} established",
        format_count(c.attempts),
        format_count(c.established)
    )];
    let local: u64 = c.local_failures.values().sum();
    let failed: u64 = c.connect_failed.values().sum();
    let rest = [
        ("refused", c.refused),
        ("timed out", c.timed_out),
        ("failed", failed),
        ("failed on this machine", local),
        ("pending", c.pending),
        ("closed by the server", c.closed_by_peer),
        ("of them unasked", c.closed_unasked),
        ("silent ones ended by the server", c.idle_lost),
        ("reset later", c.reset_later),
        ("closed for answers to no request", c.unasked),
        ("not replaced in time", c.reconnects_missed),
    ];
    parts.extend(
        rest.iter()
            .filter(|(_, n)| *n > 0)
            .map(|(what, n)| format!("{} {what}", format_count(*n))),
    );
    if c.per_s > 0.0 {
        parts.push(format!("{} served", format_rate(c.per_s)));
    }
    if !c.sources_used.is_empty() {
        parts.push(format!("from {}", c.sources_used.join(" and ")));
    }
    format!("connections: {}", parts.join(", "))
}

fn generator_line(outcome: &Outcome) -> String {
    let g = &outcome.generator;
    let each = g
        .cpu_us_per_request
        .map_or_else(|| "n/a".into(), |us| format!("{us:.2} µs"));
    format!(
        "generator: {each} CPU per request, {:.0} % of its CPUs, {} thread(s), {} process(es)",
        g.cpu_utilisation * 100.0,
        g.threads,
        g.processes
    )
}

/// A row for each load host: one that differs from its neighbours is seen.
fn host_lines(outcome: &Outcome) -> Option<String> {
    if outcome.hosts.is_empty() {
        return None;
    }
    let show = |ns: Option<u64>| ns.map_or_else(|| "n/a".into(), format_ns);
    let rows = outcome.hosts.iter().map(|host| {
        vec![
            host.name.clone(),
            format_count(host.served_at_barrier),
            format_rate(host.requests_per_s),
            show(host.response_p50_ns),
            show(host.response_p99_ns),
            format_count(host.errors),
            format!("{:.0} % of {}", host.cpu_utilisation * 100.0, host.cpus),
            show(host.started_late_ns),
            ahead(host.clock_ahead_before_ns),
            ahead(host.clock_ahead_after_ns),
        ]
    });
    let header = [
        "host",
        "served",
        "answered",
        "p50",
        "p99",
        "errors",
        "CPU",
        "began late",
        "clock ahead",
        "at the end",
    ];
    let lost = outcome.hosts.iter().filter_map(|host| {
        let why = host.lost.as_ref()?;
        Some(format!("\n{} was lost: {why}", host.name))
    });
    let lost: String = lost.collect();
    let skew = HostFigures::start_skew_ns(&outcome.hosts).map_or_else(String::new, |ns| {
        format!(
            "\nall hosts began within {} of each other, the error of their clocks included",
            format_ns(ns)
        )
    });
    let machines: String = HostFigures::machines(&outcome.hosts)
        .iter()
        .map(|(machine, names)| format!("\n{}: {machine}", names.join(", ")))
        .collect();
    Some(format!("\n{}{lost}{skew}{machines}\n", grid(&header, rows)))
}

fn ahead(ns: Option<i64>) -> String {
    match ns {
        None => "n/a".into(),
        Some(ns) if ns < 0 => format!("-{}", format_ns(ns.unsigned_abs())),
        Some(ns) => format_ns(ns.unsigned_abs()),
    }
}

fn floor_line(outcome: &Outcome) -> Option<String> {
    outcome.floor.as_ref().map(describe_floor)
}

fn describe_floor(floor: &Floor) -> String {
    format!(
        "this machine against a null server: floor p50 {}, p99 {}, one connection; ceiling {}, 50 connections",
        format_ns(floor.response_p50_ns),
        format_ns(floor.response_p99_ns),
        format_rate(floor.requests_per_s)
    )
}

fn failure_lines(outcome: &Outcome) -> Vec<String> {
    let line = |f: &crate::tally::outcome::Failure| {
        format!(
            "{} {} in {}: {} (first: {})",
            f.stage,
            f.kind,
            f.phase,
            format_count(f.count),
            f.first
        )
    };
    outcome.failures.iter().map(line).collect()
}

fn verdict_line(outcome: &Outcome) -> String {
    let degraded = if outcome.degraded { ", degraded" } else { "" };
    format!("verdict: {}{degraded}", outcome.verdict)
}
