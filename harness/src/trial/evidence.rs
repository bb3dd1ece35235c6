//! What was seen in a trial: plain values, judged afterwards by [`crate::judge`].

use super::machine::MachineTime;
use super::out_of_memory::OutOfMemory;
use super::owner::Owner;
use super::procfs::{CpuTime, NetCounters};
use super::ran::Ran;
use super::server::StartError;
use crate::base::error::Failure;
use crate::base::limits::Throttled;
use crate::model::instrumented::Shown;
use crate::model::server_host::ServerHostFacts;
use crate::model::took::Took;
use loadgen::base::address::Address;
use loadgen::tally::outcome::Outcome;
use serde::{Deserialize, Serialize};
use servers::ledger::Tally;

/// The network that a trial ran in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// Whether the namespace is private.
    pub private_network: bool,
    /// Why it is not, when it was asked for.
    pub fallback: Option<String>,
    /// The sysctls in force: (path below /proc/sys, value).
    pub sysctls: Vec<(String, String)>,
}

/// Everything seen in one trial.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Why there was no server, if there was none.
    pub start_error: Option<StartError>,
    /// How the server ended, if it ended by itself.
    pub server_ended: Option<String>,
    /// Whether the server still made an exchange after the load had gone.
    pub answers_afterwards: bool,
    /// Exchanges of our own that reached the server.
    pub probes: u64,
    /// What the generator said.
    pub outcome: Option<Outcome>,
    /// Why it said nothing.
    pub generator_error: Option<String>,
    /// Whether one of our own exchanges was answered, and wrongly.
    pub wrong_answer: bool,
    /// The network the trial ran in.
    pub launched: Launched,
    /// The readings around the window.
    pub window: Option<Window>,
    /// Trouble counted by the kernel during the trial.
    pub net: Option<NetCounters>,
    /// The server's ledger once it had settled.
    pub ledger: Option<Tally>,
    /// The same by worker.
    pub workers: Vec<Tally>,
    /// Connections still in the accept queue then.
    pub queued: u64,
    /// How the memory was measured: `cgroup` or `pss`; none where nothing is known of the server's processes.
    pub memory_method: Option<String>,
    /// How the CPU time was: `cgroup` or `clock`.
    pub cpu_method: Option<String>,
    /// The programs of a command, as the kernel names them.
    pub ran: Vec<Ran>,
    /// Whose socket it is that answers.
    pub owner: Owner,
    /// Where that is.
    pub addr: Option<Address>,
    /// What still listens there although everything that was started has been ended.
    pub left_behind: Option<Owner>,
    /// Where the trial's time went.
    pub took: Took,
    /// Bytes of our own exchanges that an echo or discard server received.
    pub probe_bytes: u64,
    /// What the kernel did because memory was short, if it ended any of the server's processes.
    pub out_of_memory: Option<OutOfMemory>,
    /// What instruments showed, where the trial had any.
    pub shown: Shown,
    /// How many CPUs the server had, where it was on another host: what was read is that host's.
    pub server_elsewhere: Option<usize>,
    /// What that host is, where it was another.
    pub server_host: Option<ServerHostFacts>,
    /// Which boot of which machine the server had, and this program: equal where they are one.
    pub boot_ids: BootIds,
    /// That a host of the trial was lost, and what mends it: the run ends with it.
    pub lost: Option<String>,
}

impl Evidence {
    /// Whether the generator ran on the machine that the server was on.
    pub fn is_of_one_machine(&self) -> bool {
        let is_from_hosts = |outcome: &Outcome| !outcome.hosts.is_empty();
        self.server_elsewhere.is_none() && !self.outcome.as_ref().is_some_and(is_from_hosts)
    }

    /// CPU time that the generator used in the window on the machine that the server was on, s.
    pub fn generator_beside_server_s(&self) -> f64 {
        let Some(outcome) = &self.outcome else {
            return 0.0;
        };
        let all_s = outcome.generator.cpu_user_s + outcome.generator.cpu_system_s;
        if self.is_of_one_machine() {
            return all_s;
        }
        // Several hosts may be namespaces or containers of one machine.
        let is_beside = |id: &Option<String>| id.is_some() && *id == self.boot_ids.server;
        if outcome.hosts.is_empty() {
            return if is_beside(&self.boot_ids.head) {
                all_s
            } else {
                0.0
            };
        }
        let hosts = outcome.hosts.iter().filter(|host| {
            let machine = host.machine.as_ref();
            machine.is_some_and(|machine| is_beside(&machine.boot_id))
        });
        hosts.filter_map(|host| host.cpu_s).sum()
    }

    /// How many connections the server was to know of, if that is known: not where the hosts that opened them are gone.
    pub fn established(&self) -> Option<u64> {
        let outcome = self.outcome.as_ref()?;
        let is_whole = outcome.hosts.iter().all(|host| host.lost.is_none());
        is_whole.then_some(outcome.connections.established)
    }

    /// That all hosts of the trial were there to its end.
    ///
    /// # Errors
    /// The host that was lost, and what mends it.
    pub fn check_hosts(&self) -> Result<(), Failure> {
        self.lost
            .as_ref()
            .map_or(Ok(()), |why| Err(Failure::failed(why)))
    }

    /// Whether the processes that were read are those that served, as far as is known.
    pub fn is_of_the_server(&self) -> bool {
        matches!(self.owner, Owner::Family | Owner::NotAsked)
    }
}

/// Which boots of which machines a trial had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootIds {
    /// The server's.
    pub server: Option<String>,
    /// This program's.
    pub head: Option<String>,
}

/// What was read at the edges of the window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Window {
    /// CPU time of the server's family; or why it is not known.
    pub server_cpu: Result<CpuTime, String>,
    /// From the first reading to the last, s. Longer than the window by the handshake.
    pub between_s: f64,
    /// Memory of the family at the end less the ready server's, KiB.
    pub memory_kib: u64,
    /// Threads at the end.
    pub threads: u64,
    /// Processes at the end.
    pub processes: u64,
    /// Context switches, where the same tasks lived through the whole window.
    pub ctx_switches: Option<u64>,
    /// Turns of the server's loop, by its ledger.
    pub wakeups: Option<u64>,
    /// Bytes that it received, by its ledger.
    pub received_bytes: Option<u64>,
    /// CPU time of the whole machine.
    pub machine: Option<MachineTime>,
    /// CPU time of the harness itself, s.
    pub harness_s: f64,
    /// What the server printed meanwhile, bytes: the harness reads it.
    pub printed_bytes: u64,
    /// The quota of CPU time that was felt most, by the server or by the generator.
    pub throttled: Option<Throttled>,
    /// Perf events that this program held open when the window began: none, unless the trial is an instrumented one.
    pub perf_events_open: u64,
}

impl Default for Window {
    fn default() -> Window {
        Window {
            server_cpu: Ok(CpuTime::default()),
            between_s: 0.0,
            memory_kib: 0,
            threads: 0,
            processes: 0,
            ctx_switches: None,
            wakeups: None,
            received_bytes: None,
            machine: None,
            harness_s: 0.0,
            printed_bytes: 0,
            throttled: None,
            perf_events_open: 0,
        }
    }
}
