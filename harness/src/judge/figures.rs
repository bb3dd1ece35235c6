//! The figures of a row: what the generator counted, and what was read of the server.

use super::total;
use crate::model::row::{Bottleneck, Row};
use crate::plan::Plan;
use crate::trial::evidence::{Evidence, Window};
use loadgen::tally::outcome::{Connections, Outcome, Quantiles, Requests};

/// A side whose CPUs are used at least this much has run out of them.
pub const USED_UP: f64 = 0.90;

/// What the generator counted.
pub fn of_generator(row: &mut Row, outcome: &Outcome) {
    let (c, r) = (&outcome.connections, &outcome.requests);
    row.duration_s = outcome.window_s;
    row.aborted = outcome
        .aborted
        .as_ref()
        .map(|aborted| aborted.condition.clone());
    row.conns_established = Some(c.established);
    row.conns_served = Some(match outcome.load.requests_per_conn {
        None => c.served_at_barrier,
        Some(_) => c.served,
    });
    row.conns_refused = Some(c.refused);
    row.conns_timed_out = Some(c.timed_out);
    row.conns_reset = Some(c.reset_later);
    row.conns_closed_unasked = Some(c.closed_unasked);
    row.conns_idle_lost = Some(c.idle_lost);
    row.local_failures = Some(total(&c.local_failures));
    row.conns_per_s = match outcome.load.churns() {
        true => Some(c.per_s),
        false => (outcome.ramp_s > 0.0).then(|| c.served_at_barrier as f64 / outcome.ramp_s),
    };
    row.requests_offered = Some(r.offered);
    row.requests_completed = Some(r.completed);
    row.requests_dropped = Some(r.dropped);
    row.requests_resent = Some(r.resent);
    row.requests_timed_out = Some(r.timed_out);
    row.requests_failed = Some(total(&r.failed));
    row.requests_mismatched = Some(r.mismatched);
    row.errors = Some(errors(c, r));
    row.requests_per_s = Some(r.per_s);
    row.bytes_per_s = Some(r.bytes_per_s);
    row.bytes_sent_per_s = r.bytes_sent_per_s;
    row.bytes_received_per_s = r.bytes_received_per_s;
    row.sources_used = Some(c.sources_used.join(" and ")).filter(|words| !words.is_empty());
    row.syns_sent_again = c.syn_retries;
    let latency = &outcome.latency_ns;
    row.response_p50_ns = known(&latency.response, latency.response.p50);
    row.response_p90_ns = known(&latency.response, latency.response.p90);
    row.response_p99_ns = known(&latency.response, latency.response.p99);
    row.response_p999_ns = known(&latency.response, latency.response.p999);
    row.response_max_ns = known(&latency.response, latency.response.max);
    row.service_p50_ns = known(&latency.service, latency.service.p50);
    row.service_p99_ns = known(&latency.service, latency.service.p99);
    row.connect_p50_ns = known(&latency.connect, latency.connect.p50);
    row.connect_p99_ns = known(&latency.connect, latency.connect.p99);
    row.slip_p99_ns = known(&outcome.schedule_slip_ns, outcome.schedule_slip_ns.p99);
    row.jain = outcome.fairness.jain;
    let [first, second] = r.completed_halves.map(|n| n as f64);
    // A load that changes by plan is not meant to be steady.
    let is_known =
        first > 0.0 && !outcome.load.is_open_loop() && outcome.load.conn_stages.is_none();
    row.window_drift = is_known.then(|| second / first - 1.0);
    row.generator_cpu_us_per_request = outcome.generator.cpu_us_per_request;
    row.generator_utilisation = Some(outcome.generator.cpu_utilisation);
}

/// A quantile, unless it is only a lower bound: a cell of a row has no room for `≥`, and the bound taken for the
/// figure would mislead. The reasons say how many requests had no answer.
fn known(quantiles: &Quantiles, value_ns: Option<u64>) -> Option<u64> {
    value_ns.filter(|&ns| !quantiles.is_lower_bound(ns))
}

/// Everything asked for and not given: connections missing at the barrier or failed later, whichever is more, those
/// given up because of answers to nothing, silent ones that the server ended, and requests without their answer.
fn errors(c: &Connections, r: &Requests) -> u64 {
    let missing = c.requested.saturating_sub(c.served_at_barrier);
    let failed = c.refused + c.timed_out + total(&c.connect_failed) + total(&c.local_failures);
    let unanswered =
        r.dropped + r.timed_out + total(&r.failed) + r.mismatched + r.unanswered_at_end;
    missing.max(failed) + c.unasked + c.idle_lost + unanswered
}

/// What was read of the server; nothing of that where the processes that were read are not the ones that served.
pub fn of_server(row: &mut Row, plan: &Plan, evidence: &Evidence) {
    row.conns_shed = evidence.ledger.map(|tally| tally.shed);
    row.server_oom_kills = evidence.out_of_memory.as_ref().map(|why| why.killed);
    if let Some(net) = evidence.net {
        row.listen_overflows = Some(net.listen_overflows);
        row.listen_drops = Some(net.listen_drops);
        row.tcp_retransmits = Some(net.retransmits);
    }
    let (Some(window), Some(outcome)) = (&evidence.window, &evidence.outcome) else {
        return;
    };
    row.throttled_s = Some(
        window
            .throttled
            .as_ref()
            .map_or(0.0, |throttled| throttled.total_s),
    );
    let requests = outcome.requests.completed as f64;
    let per_request = |amount: f64| (requests > 0.0).then(|| amount / requests);
    // What was counted was counted for the requests between the two readings, which are not those of the window alone.
    let received = received(window.received_bytes, outcome).unwrap_or(requests);
    let per_received = |count: u64| (received > 0.0).then(|| count as f64 / received);
    row.wakeups_per_request = window.wakeups.and_then(per_received);
    let is_known = window.processes > 0 && evidence.is_of_the_server();
    if is_known {
        row.server_memory_kib = Some(window.memory_kib);
        row.server_threads = Some(window.threads);
        row.server_processes = Some(window.processes);
        row.ctx_switches_per_request = window.ctx_switches.and_then(per_received);
        row.server_memory_per_conn_bytes = memory_per_connection(row, window, outcome);
    }
    let used = window.server_cpu.as_ref().ok().filter(|_| is_known);
    if let Some(used) = used {
        // The readings lie a handshake further apart than the window's ends; the server's pace is the same.
        let share = outcome.window_s / window.between_s.max(f64::MIN_POSITIVE);
        row.server_cpu_us_per_request = per_request(used.total_s * share * 1e6);
        row.server_user_s = Some(used.user_s * share);
        row.server_system_s = Some(used.system_s * share);
        let cpus = evidence.server_elsewhere.unwrap_or(plan.server_cpus.len());
        let server = used.total_s * share / (outcome.window_s * cpus as f64);
        row.bottleneck = Some(bottleneck(server, outcome.generator.cpu_utilisation));
    }
    let used_s = used.map(|used| used.total_s);
    let generator_s = evidence.generator_beside_server_s();
    machine(row, window, outcome, used_s, generator_s);
}

/// How many requests so many bytes are: none where nothing was sent.
pub fn received(bytes: Option<u64>, outcome: &Outcome) -> Option<f64> {
    let whole = &outcome.whole_run;
    let is_known = whole.sent > 0 && whole.bytes_sent > 0;
    bytes
        .filter(|_| is_known)
        .map(|bytes| bytes as f64 * whole.sent as f64 / whole.bytes_sent as f64)
}

/// Growth below the resolution of the reading is no measurement of zero.
fn memory_per_connection(row: &Row, window: &Window, outcome: &Outcome) -> Option<f64> {
    let held = outcome.connections.served_at_barrier;
    let measurable = held > 0 && window.memory_kib > 0 && row.requests_per_conn.is_none();
    measurable.then(|| window.memory_kib as f64 * 1024.0 / held as f64)
}

/// What of the machine was somebody else's.
fn machine(
    row: &mut Row,
    window: &Window,
    outcome: &Outcome,
    server_s: Option<f64>,
    generator_s: f64,
) {
    let Some(machine) = window.machine else {
        return;
    };
    row.steal_fraction = Some(machine.steal_s / machine.all_s);
    // A server of which nothing is known would be taken for an unrelated process.
    let Some(server_s) = server_s else {
        return;
    };
    // The generator reads its own clock at the window's edges, we a little outside of them; between the two it
    // goes on as before (a generator that spins for a second, 100 ms of it unseen, is no neighbour).
    let generator_s = generator_s * (window.between_s / outcome.window_s).max(1.0);
    let own_s = server_s + generator_s + window.harness_s;
    // What nobody is charged with may also be the kernel's work between two processes: an open loop at 20 000/s left
    // a tenth of a CPU to interrupts of idle CPUs. Where every process can be seen, so can those who are foreign.
    let unclaimed_s = machine.busy_s - machine.kernel_s - own_s;
    let foreign_s = machine
        .unrelated_s
        .map_or(unclaimed_s, |seen_s| seen_s.min(unclaimed_s));
    row.foreign_cpu_fraction = Some((foreign_s / machine.all_s).max(0.0));
}

fn bottleneck(server: f64, generator: f64) -> Bottleneck {
    match (server >= USED_UP, generator >= USED_UP) {
        (true, true) => Bottleneck::Both,
        (true, false) => Bottleneck::Server,
        (false, true) => Bottleneck::Generator,
        (false, false) => Bottleneck::Neither,
    }
}
