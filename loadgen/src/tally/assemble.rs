//! From what workers counted to an [`Outcome`], and the laws their counts obey.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Tally;
use super::abort::Aborted;
use super::blob;
use super::outcome::{Connections, Generator, Latencies, Outcome, Requests, Second, WholeRun};
use super::stage::stages;
use super::verdict;
use crate::base::limits::ConnectTrouble;
use crate::base::syn::SynTimeouts;
use crate::load::{Load, Phase};

/// What an outcome is made of.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The settings.
    pub load: &'a Load,
    /// What all workers counted.
    pub tally: Tally,
    /// The window second by second.
    pub seconds: Vec<Second>,
    /// Whether the run came to its end.
    pub complete: bool,
    /// The condition that ended it early, if one did.
    pub aborted: Option<Aborted>,
    /// Whether somebody else judges what needs both sides' figures.
    pub supervised: bool,
    /// Length of the ramp.
    pub ramp_ns: u64,
    /// Slots served at its end.
    pub served_at_barrier: u64,
    /// Start of the window.
    pub window_start_unix_ns: Option<u64>,
    /// Its length.
    pub window_ns: u64,
    /// How much later it began than the warm-up was planned to end.
    pub window_late_ns: u64,
    /// How much later than it was agreed with others the load was begun, by what this process was told when.
    pub told_late_ns: u64,
    /// Worker threads.
    pub threads: u64,
    /// CPUs they share.
    pub cpus: u64,
    /// What the kernel counted of trouble with connects meanwhile.
    pub connect_trouble: ConnectTrouble,
    /// Where connections came from, if not from the kernel's choice alone.
    pub sources_used: Vec<String>,
    /// When a SYN is sent again here.
    pub syn_timeouts: SynTimeouts,
}

/// Makes the outcome and judges it.
#[must_use]
pub fn assemble(facts: Facts<'_>) -> Outcome {
    let window_s = facts.window_ns as f64 / 1e9;
    let Facts { load, tally, .. } = &facts;
    let service = if load.is_open_loop() {
        &tally.service
    } else {
        &tally.response
    };
    let latencies = [
        ("response", &tally.response),
        ("service", service),
        ("connect", &tally.connect),
        ("first_byte", &tally.first_byte),
        ("handshake", &tally.handshake),
        ("slip", &tally.slip),
    ];
    let encoded = latencies
        .iter()
        .filter(|(_, latency)| !latency.histogram.is_empty());
    let histograms: BTreeMap<_, _> = encoded
        .map(|(name, latency)| ((*name).to_owned(), blob::encode(&latency.histogram)))
        .collect();
    let mut fairness = tally.fairness.clone();
    fairness.set_index();
    let mut outcome = Outcome {
        complete: facts.complete,
        aborted: facts.aborted.clone(),
        window_start_unix_ns: facts.window_start_unix_ns,
        window_s,
        ramp_s: facts.ramp_ns as f64 / 1e9,
        connections: connections(&facts, window_s),
        requests: requests(tally, window_s),
        whole_run: whole_run(tally),
        latency_ns: Latencies {
            response: tally.response.quantiles(),
            service: service.quantiles(),
            connect: tally.connect.quantiles(),
            first_byte: tally.first_byte.quantiles(),
            handshake: tally.handshake.quantiles(),
        },
        tls: load.tls.as_ref().map(|_| tally.tls.clone()),
        schedule_slip_ns: tally.slip.quantiles(),
        generator: generator(&facts, window_s),
        fairness,
        stages: stages(load, &tally.stages, facts.window_ns, facts.window_late_ns),
        failures: tally.failures.clone(),
        histograms,
        ..Outcome::of_nothing((*load).clone())
    };
    outcome.reasons = verdict::judge(&outcome, facts.supervised);
    outcome.verdict = verdict::of_reasons(&outcome.reasons);
    outcome.series = facts.seconds;
    outcome
}

fn connections(facts: &Facts<'_>, window_s: f64) -> Connections {
    let segment = facts.load.segment;
    let mut connections = Connections {
        requested: segment.share_of(facts.load.population()),
        served_at_barrier: facts.served_at_barrier,
        sources_used: facts.sources_used.clone(),
        ..facts.tally.connections.clone()
    };
    if !facts.load.target.is_unix() {
        connections.listen_overflows = facts.connect_trouble.listen_overflows;
        connections.syn_retransmits = facts.connect_trouble.syn_retransmits;
        connections.syn_retries.get_or_insert(0);
        connections.retransmits.get_or_insert(0);
        let patience = Duration::from_nanos(facts.load.connect_timeout_ns);
        connections.syn_sent_again_after_s = facts.syn_timeouts.sent_again_after_s(patience);
    }
    connections.set_rate(window_s);
    connections
}

fn requests(tally: &Tally, window_s: f64) -> Requests {
    let mut requests = Requests {
        bytes_sent: Some(tally.window_bytes_sent),
        bytes_received: Some(tally.window_bytes_received),
        ..tally.phases[Phase::Window as usize].clone()
    };
    requests.set_rates(window_s);
    requests
}

fn whole_run(tally: &Tally) -> WholeRun {
    WholeRun {
        sent: tally.phases.iter().map(|phase| phase.sent).sum(),
        resent: tally.phases.iter().map(|phase| phase.resent).sum(),
        completed: tally.phases.iter().map(|phase| phase.completed).sum(),
        bytes_sent: tally.bytes_sent,
        bytes_received: tally.bytes_received,
    }
}

fn generator(facts: &Facts<'_>, window_s: f64) -> Generator {
    let tally = &facts.tally;
    let [user_s, system_s] = tally.cpu_ns.map(|ns| ns as f64 / 1e9);
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let mut generator = Generator {
        cpu_user_s: user_s,
        cpu_system_s: system_s,
        spin_s: (tally.spin_ns as f64 / 1e9).min(user_s + system_s),
        backoff_s: tally.backoff_ns as f64 / 1e9,
        stalled_s: tally.stalled_ns as f64 / 1e9,
        longest_stall_ns: tally.longest_stall_ns,
        started_late_ns: tally
            .started_late_ns
            .map(|late_ns| late_ns.saturating_add(facts.told_late_ns)),
        max_rss_kib: usage.map_or(0, |usage| usage.max_rss() as u64),
        cpus: facts.cpus,
        threads: facts.threads,
        processes: 1,
        poll: facts.load.poll,
        ..Generator::default()
    };
    let completed = tally.phases[Phase::Window as usize]
        .completed_halves
        .iter()
        .sum();
    generator.set_ratios(completed, window_s);
    generator
}

/// The conservation laws that do not hold, each with its figures.
#[must_use]
pub fn broken_laws(tally: &Tally) -> Vec<String> {
    let phases = Phase::ALL.iter().zip(&tally.phases);
    let broken = phases.flat_map(|(phase, requests)| requests.broken_laws(phase.name()));
    let stages = tally.stages.iter().enumerate();
    let of_stages =
        stages.flat_map(|(n, stage)| stage.requests.broken_laws(&format!("stage {}", n + 1)));
    tally
        .connections
        .broken_laws()
        .into_iter()
        .chain(broken)
        .chain(of_stages)
        .collect()
}
