//! What one worker counts, and how the counts of several are added up.
//!
//! Counters are added, histograms are added; nothing is ever averaged.

pub mod abort;
pub mod answers;
pub mod assemble;
pub mod blob;
pub mod buckets;
pub mod code;
pub mod files;
pub mod latency;
pub mod live;
pub mod lost;
pub mod merge;
pub mod outcome;
pub mod pieces;
pub mod second;
pub mod series;
pub mod slo;
pub mod stage;
pub mod stretch;
pub mod tls;
pub mod verdict;

use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::load::Phase;
use latency::Latency;
use live::Counted;
use outcome::{Connections, Failure, Fairness, Requests};
use stage::StageTally;
use tls::Handshakes;

pub use latency::{DIGITS, LATENCY_MAX_NS};

/// Everything one worker counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Connections, over the whole run.
    pub connections: Connections,
    /// Requests by the phase in which they were due.
    pub phases: [Requests; 4],
    /// The stages of the window, as far as something was counted in them.
    pub stages: Vec<StageTally>,
    /// Response times of the window (the last, unsent interval until the end of the run).
    pub response: Latency,
    /// Service times of the window, kept apart in an open loop only; like the response times, of the last interval.
    pub service: Latency,
    /// Connect times.
    pub connect: Latency,
    /// Times to the first byte.
    pub first_byte: Latency,
    /// Times of TLS handshakes.
    pub handshake: Latency,
    /// What they came to.
    pub tls: Handshakes,
    /// Slip of the window, of the last interval.
    pub slip: Latency,
    /// Bytes written, over the whole run.
    pub bytes_sent: u64,
    /// Bytes read, over the whole run.
    pub bytes_received: u64,
    /// Bytes written inside the window.
    pub window_bytes_sent: u64,
    /// Bytes read inside the window.
    pub window_bytes_received: u64,
    /// User and system CPU time inside the window, in nanoseconds.
    pub cpu_ns: [u64; 2],
    /// Time polled in vain inside the window, in nanoseconds.
    pub spin_ns: u64,
    /// Time inside the window in which a worker did not run, in nanoseconds.
    pub stalled_ns: u64,
    /// Time inside the window that slots with a request due waited, by this generator's own pauses, in nanoseconds.
    pub backoff_ns: u64,
    /// The longest such time.
    pub longest_stall_ns: u64,
    /// How much later than its instant a worker began with the load, in nanoseconds, if it began.
    pub started_late_ns: Option<u64>,
    /// Fairness of the window.
    pub fairness: Fairness,
    /// First failure of each kind.
    pub failures: Vec<Failure>,
}

impl Tally {
    /// Adds another worker's counts.
    pub fn merge(&mut self, other: &Self) {
        self.connections.merge(&other.connections);
        self.phases
            .iter_mut()
            .zip(&other.phases)
            .for_each(|(mine, theirs)| mine.merge(theirs));
        for (stage, counted) in other.stages.iter().enumerate() {
            self.stage(stage).merge(counted);
        }
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.connect.merge(&other.connect);
        self.first_byte.merge(&other.first_byte);
        self.handshake.merge(&other.handshake);
        self.tls.merge(&other.tls);
        self.slip.merge(&other.slip);
        self.cpu_ns[0] += other.cpu_ns[0];
        self.cpu_ns[1] += other.cpu_ns[1];
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.window_bytes_sent += other.window_bytes_sent;
        self.window_bytes_received += other.window_bytes_received;
        self.spin_ns += other.spin_ns;
        self.stalled_ns += other.stalled_ns;
        self.backoff_ns += other.backoff_ns;
        self.longest_stall_ns = self.longest_stall_ns.max(other.longest_stall_ns);
        self.started_late_ns = self.started_late_ns.max(other.started_late_ns);
        self.fairness.merge(&other.fairness);
        other
            .failures
            .iter()
            .for_each(|failure| merge_failure(&mut self.failures, failure));
    }

    /// What is counted of a stage of the window.
    pub fn stage(&mut self, stage: usize) -> &mut StageTally {
        if self.stages.len() <= stage {
            self.stages.resize_with(stage + 1, StageTally::default);
        }
        &mut self.stages[stage]
    }

    /// Notes a failure; `first` is asked for words only the first time.
    pub fn fail(&mut self, stage: &str, phase: Phase, kind: &str, first: impl FnOnce() -> String) {
        let known = self
            .failures
            .iter_mut()
            .find(|f| f.stage == stage && f.phase == phase.name() && f.kind == kind);
        match known {
            Some(failure) => failure.count += 1,
            None => self.failures.push(Failure {
                stage: stage.into(),
                phase: phase.name().into(),
                kind: kind.into(),
                count: 1,
                first: first(),
            }),
        }
    }

    /// What was counted until now, besides the times of responses.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let mut counted = Counted {
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            ..Counted::default()
        };
        for requests in &self.phases {
            counted.add_requests(requests);
        }
        for failure in self
            .failures
            .iter()
            .filter(|failure| failure.stage != "request")
        {
            *counted
                .connections_failed
                .entry(failure.kind.clone())
                .or_default() += failure.count;
        }
        counted
    }

    /// Errors of all phases together.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.phases.iter().map(Requests::errors).sum()
    }
}

/// Adds a failure of another worker or process to a list.
pub fn merge_failure(failures: &mut Vec<Failure>, other: &Failure) {
    let same =
        |f: &&mut Failure| f.stage == other.stage && f.phase == other.phase && f.kind == other.kind;
    match failures.iter_mut().find(same) {
        Some(failure) => failure.count += other.count,
        None => failures.push(other.clone()),
    }
}

/// Counts one event under a name.
pub fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// How many names that a peer chooses are kept apart.
const MOST_NAMES: usize = 64;

/// Counts one event under a name that a peer chose; beyond a number of them all others are one.
pub fn count_bounded(counts: &mut BTreeMap<String, u64>, name: &str) {
    let is_known = counts.contains_key(name) || counts.len() < MOST_NAMES;
    count(counts, if is_known { name } else { "OTHER" });
}

/// The name of an errno, such as `ECONNRESET`.
#[must_use]
pub fn errno_name(errno: Errno) -> String {
    format!("{errno:?}")
}
