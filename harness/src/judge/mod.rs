//! From what was seen in a trial to its row: what the server did, and whether the figures are to be believed.
//! Pure: everything here is computed from [`Evidence`] alone.

use crate::base::machine::cpu_list;
use crate::base::machine::machine_cpus;
use crate::model::disturbance::Limits;
use crate::model::row::{Bottleneck, Reason, Reasons, Row, Status, Verdict};
use crate::plan::{Plan, TrialPlan};
use crate::trial::Evidence;
use crate::trial::server::StartError;
use loadgen::base::syn::listen_queue_in_words;
use loadgen::outcome::{Connections, Outcome, Quantiles, Requests};
use loadgen::units::as_ns;
use loadgen::verdict::of_reasons;
use std::collections::{BTreeMap, BTreeSet};

/// A side whose CPUs are used at least this much has run out of them (DESIGN §4).
const USED_UP: f64 = 0.90;
/// W01: the generator's useful share above which it is the bottleneck.
const GENERATOR_USED_UP: f64 = 0.95;

/// Makes the row of a trial.
pub fn judge(run_id: &str, plan: &Plan, trial: &TrialPlan, evidence: &Evidence) -> Row {
    let mut row = settings(run_id, plan, trial);
    if let Some(outcome) = &evidence.outcome {
        generator_figures(&mut row, outcome);
    }
    server_figures(&mut row, plan, evidence);
    let (status, explanation) = status(trial, evidence);
    row.status = status;
    let doubts = doubts(&row, evidence, plan.disturbed);
    row.verdict = match evidence.outcome {
        Some(_) => of_reasons(&doubts),
        None => Verdict::Invalid,
    };
    let failures = evidence.outcome.as_ref().and_then(what_failed);
    let explanation = explanation.or(failures.filter(|_| row.errors.is_some_and(|n| n > 0)));
    let explanation = explanation.map(|text| reason("", text));
    row.reasons = Reasons(explanation.into_iter().chain(doubts).collect());
    unrank_latency(&mut row, trial, evidence);
    row
}

fn reason(code: &str, text: impl Into<String>) -> Reason {
    Reason {
        code: code.into(),
        text: text.into(),
    }
}

/// The kinds of failures that the server's column of errors counts; how many of each, the outcome knows.
fn what_failed(outcome: &Outcome) -> Option<String> {
    let kinds: BTreeSet<String> = outcome
        .failures
        .iter()
        .map(|failure| {
            let words = failure
                .first
                .split_once(": ")
                .map_or("", |(_, words)| words);
            format!("{} {} ({words})", failure.stage, failure.kind)
        })
        .collect();
    let kinds: Vec<String> = kinds.into_iter().collect();
    (!kinds.is_empty()).then(|| format!("what failed: {}", kinds.join(", ")))
}

fn settings(run_id: &str, plan: &Plan, trial: &TrialPlan) -> Row {
    let load = &trial.load;
    let arm = &trial.arm;
    Row {
        run_id: run_id.into(),
        block: trial.block,
        trial: trial.trial,
        seed: load.seed,
        arm: arm.label.clone(),
        model: arm.subject.kind().into(),
        variant: arm.variant.clone(),
        service: plan.service.name().into(),
        protocol: serialised(&load.protocol),
        conns: load.conns,
        idle: load.idle,
        payload_bytes: load.payload.map_or(0, |p| u64::from(p.max)),
        requests_per_conn: load.requests_per_conn,
        rate_per_s: load.rate_per_s,
        arrival: match load.is_open_loop() {
            true => serialised(&load.arrival),
            false => "closed".into(),
        },
        think_ns: load.think_ns,
        pipeline: load.pipeline,
        work_ns: trial.cost.work.map(as_ns),
        block_ns: trial.cost.block.map(as_ns),
        workers: plan.workers.filter(|_| arm.subject.takes("workers")),
        server_cpus: cpu_list(&plan.server_cpus),
        client_cpus: cpu_list(&plan.client_cpus),
        duration_s: load.duration_ns as f64 / 1e9,
        ..Row::blank()
    }
}

/// A unit variant as its serialised word.
fn serialised(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn total(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

fn generator_figures(row: &mut Row, outcome: &Outcome) {
    let (c, r) = (&outcome.connections, &outcome.requests);
    row.duration_s = outcome.window_s;
    row.conns_established = Some(c.established);
    row.conns_served = Some(match outcome.load.requests_per_conn {
        None => c.served_at_barrier,
        Some(_) => c.served,
    });
    row.conns_refused = Some(c.refused);
    row.conns_timed_out = Some(c.timed_out);
    row.conns_reset = Some(c.reset_later);
    row.local_failures = Some(total(&c.local_failures));
    row.conns_per_s = match outcome.load.churns() {
        true => Some(c.per_s),
        false => (outcome.ramp_s > 0.0).then(|| c.served_at_barrier as f64 / outcome.ramp_s),
    };
    row.requests_offered = Some(r.offered);
    row.requests_completed = Some(r.completed);
    row.requests_dropped = Some(r.dropped);
    row.requests_timed_out = Some(r.timed_out);
    row.requests_failed = Some(total(&r.failed));
    row.requests_mismatched = Some(r.mismatched);
    row.errors = Some(errors(c, r));
    row.requests_per_s = Some(r.per_s);
    row.bytes_per_s = Some(r.bytes_per_s);
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

fn server_figures(row: &mut Row, plan: &Plan, evidence: &Evidence) {
    row.conns_shed = evidence.ledger.map(|tally| tally.shed);
    if let Some(net) = evidence.net {
        row.listen_overflows = Some(net.listen_overflows);
        row.listen_drops = Some(net.listen_drops);
        row.tcp_retransmits = Some(net.retransmits);
    }
    let (Some(window), Some(outcome)) = (&evidence.window, &evidence.outcome) else {
        return;
    };
    // The readings lie a handshake further apart than the window's ends; the server's pace is the same.
    let share = outcome.window_s / window.between_s.max(f64::MIN_POSITIVE);
    let cpu_s = window.server_cpu.total_s * share;
    let requests = outcome.requests.completed as f64;
    let per_request = |amount: f64| (requests > 0.0).then(|| amount / requests);
    if window.processes > 0 {
        row.server_cpu_us_per_request = per_request(cpu_s * 1e6);
        row.server_user_s = Some(window.server_cpu.user_s * share);
        row.server_system_s = Some(window.server_cpu.system_s * share);
        row.server_memory_kib = Some(window.memory_kib);
        row.server_threads = Some(window.threads);
        row.server_processes = Some(window.processes);
    }
    let held = outcome.connections.served_at_barrier;
    // Growth below the resolution of the reading is no measurement of zero.
    let measurable = held > 0 && window.memory_kib > 0 && row.requests_per_conn.is_none();
    row.server_memory_per_conn_bytes =
        measurable.then(|| window.memory_kib as f64 * 1024.0 / held as f64);
    row.ctx_switches_per_request = window.ctx_switches.and_then(|n| per_request(n as f64));
    row.wakeups_per_request = window.wakeups.and_then(|n| per_request(n as f64));
    row.bottleneck = (window.processes > 0).then(|| {
        let server = cpu_s / (outcome.window_s * plan.server_cpus.len() as f64);
        bottleneck(server, outcome.generator.cpu_utilisation)
    });
    if let Some(machine) = window.machine {
        // The generator reads its own clock at the window's edges, we a little outside of them; between the two it
        // goes on as before (a generator that spins for a second, 100 ms of it unseen, is no neighbour).
        let generator_s = (outcome.generator.cpu_user_s + outcome.generator.cpu_system_s)
            * (window.between_s / outcome.window_s).max(1.0);
        let own_s = window.server_cpu.total_s + generator_s + window.harness_s;
        row.steal_fraction = Some(machine.steal_s / machine.all_s);
        // What nobody is charged with may also be the kernel's work between two processes: an open loop at 20 000/s left
        // a tenth of a CPU to interrupts of idle CPUs. Where every process can be seen, so can those who are foreign.
        let unclaimed_s = machine.busy_s - machine.kernel_s - own_s;
        let foreign_s = machine
            .strangers_s
            .map_or(unclaimed_s, |seen_s| seen_s.min(unclaimed_s));
        // A server of unknown process would be taken for a stranger.
        row.foreign_cpu_fraction =
            (window.processes > 0).then(|| (foreign_s / machine.all_s).max(0.0));
    }
}

fn bottleneck(server: f64, generator: f64) -> Bottleneck {
    match (server >= USED_UP, generator >= USED_UP) {
        (true, true) => Bottleneck::Both,
        (true, false) => Bottleneck::Server,
        (false, true) => Bottleneck::Generator,
        (false, false) => Bottleneck::Neither,
    }
}

/// What the server said that it should not have said.
fn wrong(outcome: &Outcome) -> Option<String> {
    let senseless = outcome.requests.failed.get("PROTOCOL").copied();
    let kinds = [
        (outcome.requests.mismatched, "replies had wrong bytes"),
        (
            senseless.unwrap_or(0),
            "replies made no sense in this protocol",
        ),
        (
            outcome.connections.unasked,
            "times a connection was sent what nobody had asked for",
        ),
    ];
    let (count, what) = kinds.into_iter().find(|(count, _)| *count > 0)?;
    Some(format!("{count} {what}"))
}

/// What the server did, and the sentence that explains it when it is not `ok`.
fn status(trial: &TrialPlan, evidence: &Evidence) -> (Status, Option<String>) {
    match &evidence.start_error {
        Some(StartError::Unavailable(why)) => return (Status::Skipped, Some(why.clone())),
        Some(StartError::Ended(why)) => {
            return (
                Status::Crashed,
                Some(format!("ended before it was ready: {why}")),
            );
        }
        Some(StartError::Silent(why)) => return (Status::Hung, Some(why.clone())),
        None => {}
    }
    if let Some(end) = &evidence.server_ended {
        return (
            Status::Crashed,
            Some(format!("the server ended by itself: {end}")),
        );
    }
    let Some(outcome) = &evidence.outcome else {
        let why = evidence.generator_error.clone().unwrap_or_default();
        let status = match (evidence.answers_afterwards, evidence.wrong_answer) {
            (true, _) => Status::Ok,
            (false, true) => Status::Wrong,
            (false, false) => Status::Hung,
        };
        return (status, Some(format!("no outcome: {why}")));
    };
    if let Some(why) = wrong(outcome) {
        return (Status::Wrong, Some(why));
    }
    if evidence.wrong_answer {
        return (
            Status::Wrong,
            Some("wrong bytes came back after the load had gone".into()),
        );
    }
    if !evidence.answers_afterwards {
        return (
            Status::Hung,
            Some("no answer even after the load had gone".into()),
        );
    }
    limits(trial, evidence, outcome)
}

/// `limited`, `starved` or `ok`: whose fault the missing connections are.
fn limits(trial: &TrialPlan, evidence: &Evidence, outcome: &Outcome) -> (Status, Option<String>) {
    let c = &outcome.connections;
    let missing = c.requested.saturating_sub(c.served_at_barrier);
    let local = total(&c.local_failures);
    let tally = evidence.ledger.unwrap_or_default();
    // The errno that the server was told, if it was told one; else its model's wall.
    let shortage = tally.main_shortage();
    let cause = shortage.map(|shortage| format!("{} ({shortage})", shortage.limit()));
    if tally.shed > 0 || (cause.is_some() && missing > local) {
        let model = trial.arm.subject.model();
        let wall = model.map_or("a limit", |model| model.wall.name);
        let wall = cause.unwrap_or_else(|| wall.to_owned());
        let text = format!("{wall} at {} of {}", c.served_at_barrier, c.requested);
        return (Status::Limited, Some(text));
    }
    if missing > local {
        let text = format!(
            "served {} of {} connections in time",
            c.served_at_barrier, c.requested
        );
        return (Status::Starved, Some(text));
    }
    match starved(outcome) {
        0 => (Status::Ok, None),
        n => {
            let text = format!(
                "{n} of {} connections had no request served in the window",
                trial.load.conns
            );
            (Status::Starved, Some(text))
        }
    }
}

/// Connections that had no request answered in the window although each could expect several: with fewer than
/// ten on average, the one without may just have been slow (of a Poisson count of mean 10, e⁻¹⁰ are zero).
fn starved(outcome: &Outcome) -> u64 {
    const EXPECTED: u64 = 10;
    let fairness = &outcome.fairness;
    match fairness.sum >= EXPECTED * fairness.connections {
        true => fairness.starved_connections,
        false => 0,
    }
}

/// Reasons not to believe the figures, by the codes of DESIGN §4: the generator's own, and those that need both sides.
fn doubts(row: &Row, evidence: &Evidence, limits: Limits) -> Vec<Reason> {
    let Some(outcome) = &evidence.outcome else {
        return Vec::new();
    };
    let ours = [
        generator_bound(row, outcome),
        disturbed(row, limits),
        listen_queue(row, outcome),
        ledgers(row, evidence, outcome),
        other_server(evidence, outcome),
    ];
    let mut reasons = outcome.reasons.clone();
    for reason in ours.into_iter().flatten() {
        // Of two reasons with one code ours saw both sides.
        reasons.retain(|other| other.code != reason.code);
        reasons.push(reason);
    }
    reasons.sort_by(|a, b| a.code.cmp(&b.code));
    reasons
}

/// What /proc/stat can tell from nothing, s.
const THREE_TICKS_S: f64 = 0.03;

/// Something else used the CPUs: the hypervisor's other guests, or other processes here.
fn disturbed(row: &Row, limits: Limits) -> Option<Reason> {
    let steal = row.steal_fraction.unwrap_or(0.0);
    // A share of the whole machine, and wanted as one of a single CPU.
    let foreign = row.foreign_cpu_fraction.unwrap_or(0.0) * machine_cpus();
    // /proc/stat counts in ticks of 10 ms, of which a short window holds few.
    let is_seen = |cpus: f64| cpus * row.duration_s > THREE_TICKS_S;
    let stolen = steal > limits.steal && is_seen(steal * machine_cpus());
    let used = foreign > limits.foreign_cpus && is_seen(foreign);
    let stolen = stolen.then(|| {
        let percent = steal * 100.0;
        format!("the hypervisor gave {percent:.1} % of the CPU time away")
    });
    let used = used.then(|| {
        let percent = foreign * 100.0;
        format!("something else used {percent:.0} % of a CPU (a build, a browser, another run?)")
    });
    let said: Vec<String> = stolen.into_iter().chain(used).collect();
    (!said.is_empty()).then(|| reason("W07", said.join("; ")))
}

fn generator_bound(row: &Row, outcome: &Outcome) -> Option<Reason> {
    let generator = outcome.generator.cpu_utilisation;
    let server_is_not = matches!(
        row.bottleneck,
        Some(Bottleneck::Generator | Bottleneck::Neither)
    );
    let bound = !outcome.load.is_open_loop() && generator >= GENERATOR_USED_UP && server_is_not;
    bound.then(|| {
        reason(
            "W01",
            format!(
                "the generator used {:.0} % of its CPUs and the server less than {:.0} %: throughput is a lower bound",
                generator * 100.0,
                USED_UP * 100.0
            ),
        )
    })
}

fn listen_queue(row: &Row, outcome: &Outcome) -> Option<Reason> {
    let overflows = row.listen_overflows.unwrap_or(0);
    let retries = outcome.connections.syn_retries;
    (overflows + retries > 0).then(|| {
        reason(
            "W08",
            format!(
                "the listen queue overflowed: {overflows} overflows, {retries} SYNs sent again; {}",
                listen_queue_in_words(&outcome.connections.syn_sent_again_after_s)
            ),
        )
    })
}

/// Both ledgers: every connection that was established was accepted or still waits, and every byte arrived.
fn ledgers(row: &Row, evidence: &Evidence, outcome: &Outcome) -> Option<Reason> {
    let tally = evidence.ledger.filter(|_| evidence.answers_afterwards)?;
    let established = outcome.connections.established + evidence.probes;
    let accounted = tally.accepted + evidence.queued;
    // A final ACK dropped at a full queue leaves a connection that only the client knows of.
    let overflows = row.listen_overflows.unwrap_or(0);
    if accounted < established && established - accounted > overflows {
        return Some(reason(
            "W09",
            format!("{established} connections were established, the server knows of {accounted}"),
        ));
    }
    // What was sent again had been sent in vain before: whether the server read it then, nobody knows.
    let once = outcome.whole_run.resent == 0;
    let settled = once && row.errors == Some(0) && row.conns_reset == Some(0) && tally.shed == 0;
    let echoes = matches!(row.protocol.as_str(), "echo" | "discard");
    if !settled || !echoes || !outcome.complete {
        return None;
    }
    let sent = outcome.whole_run.bytes_sent
        + evidence.probes * crate::trial::probe::PROBE_BYTES.len() as u64;
    (sent != tally.bytes_in).then(|| {
        reason(
            "W09",
            format!(
                "{sent} bytes were sent, the server received {}",
                tally.bytes_in
            ),
        )
    })
}

fn other_server(evidence: &Evidence, outcome: &Outcome) -> Option<Reason> {
    let tally = evidence.ledger.filter(|_| evidence.answers_afterwards)?;
    let served = outcome.connections.served + evidence.probes;
    (tally.accepted < served).then(|| {
        reason(
            "W10",
            format!(
                "{served} connections were served and ours accepted {}: another server answered",
                tally.accepted
            ),
        )
    })
}

/// In a closed loop with starved connections only the lucky ones' latency is known, so none is shown.
fn unrank_latency(row: &mut Row, trial: &TrialPlan, evidence: &Evidence) {
    let starved = evidence.outcome.as_ref().is_some_and(|o| {
        starved(o) > 0 || o.connections.served_at_barrier < o.connections.requested
    });
    if !trial.load.is_open_loop() && starved {
        for latency in [
            &mut row.response_p50_ns,
            &mut row.response_p90_ns,
            &mut row.response_p99_ns,
            &mut row.response_p999_ns,
            &mut row.response_max_ns,
            &mut row.service_p50_ns,
            &mut row.service_p99_ns,
        ] {
            *latency = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::trial::Window;
    use crate::trial::cgroup::CpuTime;
    use crate::trial::procfs::MachineTime;
    use clap::Parser;
    use loadgen::load::Load;
    use loadgen::outcome::{Failure, Fairness, Generator, Latencies, WholeRun};
    use servers::ledger::{Shortage, Tally};

    fn plan(words: &str) -> Plan {
        let words = format!("tenk --server-cpus 0 --client-cpus 0 {words}");
        Plan::new(&Cli::try_parse_from(words.split(' ')).unwrap().run).unwrap()
    }

    /// 100 connections, 100 000 requests/s for 2 s at 1 ms: a trial with nothing wrong.
    fn sound_outcome(load: &Load) -> Outcome {
        let latency = Quantiles {
            count: 200_000,
            p50: Some(900_000),
            mean: Some(1_000_000),
            max: Some(2_000_000),
            ..Quantiles::default()
        };
        Outcome {
            complete: true,
            window_start_unix_ns: Some(0),
            window_s: 2.0,
            ramp_s: 0.1,
            connections: Connections {
                requested: 100,
                served_at_barrier: 100,
                attempts: 100,
                established: 100,
                served: 100,
                closed_by_us: 100,
                ..Connections::default()
            },
            requests: Requests {
                offered: 200_000,
                sent: 200_000,
                completed: 200_000,
                per_s: 100_000.0,
                ..Requests::default()
            },
            whole_run: WholeRun {
                resent: 0,
                sent: 300_000,
                completed: 300_000,
                bytes_sent: 300_000 * 64,
                bytes_received: 300_000 * 64,
            },
            latency_ns: Latencies {
                response: latency.clone(),
                service: latency,
                ..Latencies::default()
            },
            generator: Generator {
                cpu_utilisation: 0.7,
                ..Generator::default()
            },
            fairness: Fairness {
                jain: Some(1.0),
                connections: 100,
                sum: 200_000,
                ..Fairness::default()
            },
            ..Outcome::of_nothing(load.clone())
        }
    }

    fn sound(load: &Load) -> Evidence {
        let outcome = sound_outcome(load);
        let probes = 2;
        let bytes_in = 300_000 * 64 + probes * crate::trial::probe::PROBE_BYTES.len() as u64;
        Evidence {
            answers_afterwards: true,
            probes,
            outcome: Some(outcome),
            window: Some(Window {
                server_cpu: CpuTime {
                    total_s: 2.02,
                    user_s: 0.5,
                    system_s: 1.52,
                },
                between_s: 2.02,
                memory_kib: 100,
                processes: 1,
                ctx_switches: Some(400_000),
                ..Window::default()
            }),
            net: Some(Default::default()),
            ledger: Some(Tally {
                accepted: 102,
                closed: 102,
                bytes_in,
                ..Tally::default()
            }),
            ..Evidence::default()
        }
    }

    fn judged(words: &str, change: impl FnOnce(&mut Evidence)) -> Row {
        judged_within(Limits::default(), words, change)
    }

    fn judged_within(limits: Limits, words: &str, change: impl FnOnce(&mut Evidence)) -> Row {
        let mut plan = plan(&format!("--conns 100 {words}"));
        plan.disturbed = limits;
        let trial = &plan.trials()[0];
        let mut evidence = sound(&trial.load);
        change(&mut evidence);
        if let Some(outcome) = &mut evidence.outcome {
            let own = loadgen::verdict::judge(outcome, true);
            outcome.reasons.extend(own);
        }
        judge("run", &plan, trial, &evidence)
    }

    fn outcome(evidence: &mut Evidence) -> &mut Outcome {
        evidence.outcome.as_mut().unwrap()
    }

    fn codes(row: &Row) -> Vec<&str> {
        row.reasons.0.iter().map(|r| r.code.as_str()).collect()
    }

    #[test]
    fn a_sound_trial_is_ok_and_valid() {
        let row = judged("--model epoll", |_| {});
        assert_eq!(
            (row.status, row.verdict),
            (Status::Ok, Verdict::Valid),
            "{row:?}"
        );
        assert_eq!((row.errors, row.conns_served), (Some(0), Some(100)));
        // 2.02 s in 2.02 s: the window's 2 s, over 200 000 requests.
        assert!((row.server_cpu_us_per_request.unwrap() - 10.0).abs() < 1e-9);
        assert_eq!(row.ctx_switches_per_request, Some(2.0));
        assert_eq!(row.server_memory_per_conn_bytes, Some(1024.0));
        assert_eq!(row.bottleneck, Some(Bottleneck::Server));
    }

    #[test]
    fn statuses_follow_what_the_server_did() {
        let status = |change: fn(&mut Evidence)| judged("--model select", change).status;
        assert_eq!(
            status(|e| e.start_error = Some(StartError::Unavailable("no".into()))),
            Status::Skipped
        );
        assert_eq!(
            status(|e| e.start_error = Some(StartError::Silent("no".into()))),
            Status::Hung
        );
        assert_eq!(
            status(|e| e.server_ended = Some("signal 9".into())),
            Status::Crashed
        );
        assert_eq!(
            status(|e| outcome(e).requests.mismatched = 1),
            Status::Wrong
        );
        assert_eq!(
            status(|e| outcome(e).connections.unasked = 1),
            Status::Wrong
        );
        assert_eq!(
            status(|e| {
                outcome(e).requests.failed.insert("PROTOCOL".into(), 1);
            }),
            Status::Wrong
        );
        assert_eq!(status(|e| e.answers_afterwards = false), Status::Hung);
        assert_eq!(
            status(|e| outcome(e).fairness.starved_connections = 3),
            Status::Starved
        );
        assert_eq!(
            status(|e| outcome(e).connections.served_at_barrier = 9),
            Status::Starved
        );
    }

    #[test]
    fn what_failed_is_named_where_nothing_else_explains_it() {
        let row = judged("--model epoll", |e| {
            let outcome = outcome(e);
            outcome.requests.failed.insert("EOF".into(), 7);
            outcome.failures.push(Failure {
                stage: "request".into(),
                phase: "window".into(),
                kind: "EOF".into(),
                count: 7,
                first: "connection 3, request 1: closed by the server".into(),
            });
        });
        assert_eq!((row.status, row.errors), (Status::Ok, Some(7)));
        let text = &row.reasons.0[0].text;
        assert_eq!(text, "what failed: request EOF (closed by the server)");
        let unasked = judged("--model epoll", |e| outcome(e).connections.unasked = 4);
        assert_eq!(unasked.errors, Some(4));
        let lost = judged("--model epoll", |e| outcome(e).connections.idle_lost = 20);
        assert_eq!(lost.errors, Some(20));
    }

    #[test]
    fn a_wall_is_named_with_its_place() {
        let row = judged("--model select", |e| {
            outcome(e).connections.served_at_barrier = 60;
            e.ledger.as_mut().unwrap().shed = 40;
        });
        assert_eq!(row.status, Status::Limited);
        assert_eq!(row.reasons.0[0].text, "FD_SETSIZE at 60 of 100");
        assert_eq!((row.errors, row.response_p50_ns), (Some(40), None));
    }

    #[test]
    fn a_shortage_is_called_by_the_errno_that_the_server_was_told() {
        let limited_by = |shortage: Shortage, shed: u64| {
            let row = judged("--model process", |e| {
                outcome(e).connections.served_at_barrier = 60;
                let tally = e.ledger.as_mut().unwrap();
                tally.shed = shed;
                tally.accept_errors = 3;
                tally.by_shortage[shortage as usize] = 3;
            });
            assert_eq!(row.status, Status::Limited);
            row.reasons.0[0].text.clone()
        };
        let text = limited_by(Shortage::Emfile, 0);
        assert_eq!(text, "RLIMIT_NOFILE of the server (EMFILE) at 60 of 100");
        for (shortage, shed) in [
            (Shortage::Enfile, 0),
            (Shortage::Enomem, 3),
            (Shortage::Eagain, 3),
        ] {
            let text = limited_by(shortage, shed);
            assert!(text.contains(&shortage.to_string()), "{text}");
            assert!(!text.contains("RLIMIT_NOFILE"), "{text}");
        }
    }

    #[test]
    fn our_own_shortage_is_not_the_servers_fault() {
        let row = judged("--model epoll", |e| {
            let c = &mut outcome(e).connections;
            c.served_at_barrier = 60;
            c.local_failures.insert("EMFILE".into(), 40);
        });
        assert_eq!((row.status, row.verdict), (Status::Ok, Verdict::Invalid));
        assert_eq!(codes(&row), ["W05"]);
    }

    #[test]
    fn each_doubt_has_its_code() {
        let row = judged("--model epoll", |e| {
            outcome(e).generator.cpu_utilisation = 0.99;
            e.window.as_mut().unwrap().server_cpu.total_s = 1.0;
        });
        assert_eq!((codes(&row), row.verdict), (vec!["W01"], Verdict::Suspect));
        assert_eq!(row.bottleneck, Some(Bottleneck::Generator));
        let row = judged("--model epoll", |e| {
            outcome(e).latency_ns.service.mean = Some(800_000)
        });
        assert_eq!((codes(&row), row.verdict), (vec!["W04"], Verdict::Invalid));
        let row = judged("--model epoll", |e| {
            e.net.as_mut().unwrap().listen_overflows = 5
        });
        assert_eq!((codes(&row), row.verdict), (vec!["W08"], Verdict::Suspect));
        let row = judged("--model epoll", |e| {
            e.ledger.as_mut().unwrap().bytes_in += 1
        });
        assert_eq!((codes(&row), row.verdict), (vec!["W09"], Verdict::Invalid));
        let row = judged("--model epoll", |e| {
            e.ledger.as_mut().unwrap().accepted = 50
        });
        assert_eq!(
            (codes(&row), row.verdict),
            (vec!["W09", "W10"], Verdict::Invalid)
        );
    }

    #[test]
    fn what_else_used_the_machine_is_a_doubt() {
        let within = |limits, busy_s: f64, kernel_s, steal_s, strangers_s| {
            judged_within(limits, "--model epoll", |e| {
                let window = e.window.as_mut().unwrap();
                window.between_s = 10.0;
                let own_s = window.server_cpu.total_s + window.harness_s;
                window.machine = Some(MachineTime {
                    all_s: 10.0 * machine_cpus(),
                    busy_s: busy_s + own_s,
                    kernel_s,
                    strangers_s,
                    steal_s,
                });
                let generator = &mut outcome(e).generator;
                (generator.cpu_user_s, generator.cpu_system_s) = (0.0, 0.0);
            })
        };
        let in_codes = |limits, busy_s, kernel_s, steal_s| {
            codes(&within(limits, busy_s, kernel_s, steal_s, None)).join(" ")
        };
        let of = |busy_s, kernel_s, steal_s| in_codes(Limits::default(), busy_s, kernel_s, steal_s);
        // A tenth of one CPU for ten seconds is one second.
        assert_eq!(of(0.9, 0.0, 0.0), "");
        assert_eq!(of(1.1, 0.0, 0.0), "W07");
        assert_eq!(of(1.1, 0.5, 0.0), "");
        let all_s = 10.0 * machine_cpus();
        assert_eq!(of(0.0, 0.0, 0.019 * all_s), "");
        assert_eq!(of(0.0, 0.0, 0.021 * all_s), "W07");
        let seen = |strangers_s| within(Limits::default(), 2.0, 0.0, 0.0, Some(strangers_s));
        assert_eq!(codes(&seen(0.9)).join(" "), "");
        assert_eq!(codes(&seen(1.1)).join(" "), "W07");
        let row = seen(5.0);
        let used_s = row.foreign_cpu_fraction.unwrap() * all_s;
        assert!((used_s - 2.0).abs() < 1e-9, "no more than the CPUs did");
        let unknown = judged("--model epoll", |e| {
            let window = e.window.as_mut().unwrap();
            window.processes = 0;
            window.machine = Some(MachineTime {
                all_s,
                busy_s: all_s,
                ..MachineTime::default()
            });
        });
        assert_eq!(unknown.foreign_cpu_fraction, None);
        assert!(!codes(&unknown).contains(&"W07"));
        // While it is being found out what is ordinary, everything is.
        assert_eq!(in_codes(Limits::NONE, 0.5 * all_s, 0.0, 0.5 * all_s), "");
    }

    #[test]
    fn connections_lost_to_a_full_queue_are_explained_by_it() {
        let row = judged("--model epoll", |e| {
            e.net.as_mut().unwrap().listen_overflows = 2;
            e.ledger.as_mut().unwrap().accepted = 101;
            outcome(e).connections.served = 99;
        });
        assert!(!codes(&row).contains(&"W09"), "{row:?}");
    }

    #[test]
    fn no_outcome_is_invalid_and_says_why() {
        let row = judged("--model epoll", |e| {
            e.outcome = None;
            e.generator_error = Some("exit code 1: a law is broken".into());
        });
        assert_eq!(row.verdict, Verdict::Invalid);
        assert!(row.reasons.0[0].text.contains("a law is broken"));
        assert_eq!(row.requests_completed, None);
    }

    #[test]
    fn a_lower_bound_is_not_given_for_a_figure() {
        let row = judged("--model epoll", |e| {
            let response = &mut outcome(e).latency_ns.response;
            response.p99 = Some(5_000_000_000);
            response.censored = 7_000;
            response.censored_from = Some(5_000_000_000);
        });
        assert_eq!(
            (row.response_p50_ns, row.response_p99_ns),
            (Some(900_000), None)
        );
    }

    #[test]
    fn the_generators_own_doubts_are_kept() {
        let row = judged("--model epoll", |e| {
            outcome(e).reasons = vec![reason("W06", "not steady")];
            e.net.as_mut().unwrap().listen_overflows = 5;
            outcome(e).connections.syn_retries = 1;
        });
        // Both sides saw the queue overflow; it is said once.
        assert_eq!(
            (codes(&row), row.verdict),
            (vec!["W06", "W08"], Verdict::Suspect)
        );
    }
}
