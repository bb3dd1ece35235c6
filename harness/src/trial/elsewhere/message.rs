//! What the head of a run and the part of an agent that starts servers say to each other, inside the agent's protocol.

use crate::model::server_host::ServerHostFacts;
use crate::model::service::Service;
use crate::model::took::Took;
use crate::trial::evidence::{Evidence, Launched, Window};
use crate::trial::out_of_memory::OutOfMemory;
use crate::trial::owner::Owner;
use crate::trial::procfs::NetCounters;
use crate::trial::server::StartError;
use loadgen::base::address::Address;
use loadgen::load::Load;
use serde::{Deserialize, Serialize};
use servers::ledger::Tally;
use std::net::IpAddr;

/// What the head says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerOrder {
    /// What one iteration of the servers' work loop takes there is to be found out.
    Calibrate,
    /// A server is to be started, and measured through a load's phases.
    Trial(Box<ServerTrial>),
    /// The load has come to a phase and waits.
    Phase {
        /// Its name.
        name: String,
    },
    /// The load has gone.
    Gone {
        /// Connections that were established, if that is known: what the server's own counts are held against.
        established: Option<u64>,
    },
}

/// What the part says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerSaid {
    /// What one iteration of the work loop takes.
    Calibrated {
        /// Nanoseconds; none where no model is asked to work.
        ns: f64,
    },
    /// The server listens and has answered once.
    Listening {
        /// Where.
        addr: Address,
    },
    /// What is read at this phase has been read.
    Go,
    /// What was seen; the last word of a trial.
    Seen(Box<Seen>),
    /// Its own means failed, or what is asked for is not done here.
    Failed {
        /// Why, in a sentence.
        why: String,
    },
}

/// The server's side of a trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTrial {
    /// What is started.
    pub subject: Started,
    /// Where it listens.
    pub ip: IpAddr,
    /// What a model does with bytes.
    pub service: Service,
    /// Workers of models that have any.
    pub workers: Option<u64>,
    /// CPU work for every request, in iterations of the loop.
    pub work_iterations: Option<u64>,
    /// A blocking call for every request, in nanoseconds.
    pub block_ns: Option<u64>,
    /// The CPUs it may use; none: all of them.
    pub cpus: Option<Vec<usize>>,
    /// How long it may take until it answers.
    pub start_timeout_ms: u64,
    /// How long it may take, once the load has gone, to answer once more.
    pub settle_timeout_ms: u64,
    /// The load that it is going to have, the first exchange of which is made over there.
    pub load: Load,
}

/// What is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Started {
    /// A model, by its name and its variant's words.
    Model(String),
    /// A command, where the host's policy permits any.
    Command {
        /// What a shell is given.
        line: String,
        /// Its variables.
        variables: Vec<(String, String)>,
    },
}

/// Evidence of a server's side, as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    start_error: Option<StartError>,
    server_ended: Option<String>,
    answers_afterwards: bool,
    probes: u64,
    probe_bytes: u64,
    error: Option<String>,
    wrong_answer: bool,
    launched: Launched,
    window: Option<Window>,
    net: Option<NetCounters>,
    ledger: Option<Counted>,
    workers: Vec<Counted>,
    queued: u64,
    memory_method: Option<String>,
    cpu_method: Option<String>,
    owner: Owner,
    addr: Option<Address>,
    left_behind: Option<Owner>,
    took: Took,
    out_of_memory: Option<OutOfMemory>,
    cpus: usize,
    host: ServerHostFacts,
}

impl Seen {
    /// What of the evidence is the server's side, on so many CPUs of this host.
    pub fn of(evidence: Evidence, cpus: usize, host: ServerHostFacts) -> Seen {
        Seen {
            start_error: evidence.start_error,
            server_ended: evidence.server_ended,
            answers_afterwards: evidence.answers_afterwards,
            probes: evidence.probes,
            probe_bytes: evidence.probe_bytes,
            error: evidence.generator_error,
            wrong_answer: evidence.wrong_answer,
            launched: evidence.launched,
            window: evidence.window,
            net: evidence.net,
            ledger: evidence.ledger.map(Counted),
            workers: evidence.workers.into_iter().map(Counted).collect(),
            queued: evidence.queued,
            memory_method: evidence.memory_method,
            cpu_method: evidence.cpu_method,
            owner: evidence.owner,
            addr: evidence.addr,
            left_behind: evidence.left_behind,
            took: evidence.took,
            out_of_memory: evidence.out_of_memory,
            cpus,
            host,
        }
    }
}

impl From<Seen> for Evidence {
    fn from(seen: Seen) -> Evidence {
        Evidence {
            start_error: seen.start_error,
            server_ended: seen.server_ended,
            answers_afterwards: seen.answers_afterwards,
            probes: seen.probes,
            probe_bytes: seen.probe_bytes,
            generator_error: seen.error,
            wrong_answer: seen.wrong_answer,
            launched: seen.launched,
            window: seen.window,
            net: seen.net,
            ledger: seen.ledger.map(|counted| counted.0),
            workers: seen.workers.into_iter().map(|counted| counted.0).collect(),
            queued: seen.queued,
            memory_method: seen.memory_method,
            cpu_method: seen.cpu_method,
            owner: seen.owner,
            addr: seen.addr,
            left_behind: seen.left_behind,
            took: seen.took,
            out_of_memory: seen.out_of_memory,
            server_elsewhere: Some(seen.cpus),
            server_host: Some(seen.host),
            ..Evidence::default()
        }
    }
}

/// A ledger's counts, which the servers' own crate does not serialise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counted(#[serde(with = "Written")] Tally);

/// How a [`Tally`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Tally", deny_unknown_fields)]
struct Written {
    accepted: u64,
    shed: u64,
    closed: u64,
    bytes_in: u64,
    bytes_out: u64,
    wakeups: u64,
    accept_errors: u64,
    by_shortage: [u64; servers::ledger::Shortage::ALL.len()],
}
