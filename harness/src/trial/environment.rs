//! Where a run was made: what decides whether its figures can be compared with another's.

use crate::base::limits;
use crate::base::settings::{self, network_sysctls};
use crate::model::rate::Found;
use crate::model::server_host::ServerHostFacts;
use crate::plan::Plan;
use crate::plan::estimate;
use crate::trial::binaries::Binaries;
use crate::trial::evidence::Launched;
use loadgen::base::machine::MachineFacts;
use loadgen::tally::outcome::Floor;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// The machine, its settings, and the programs that were measured.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Environment {
    /// Version of this program.
    pub version: &'static str,
    /// The command line, with what the environment, the configuration and the scenario added to it.
    pub command: Vec<String>,
    /// The scenario's name.
    pub scenario: Option<String>,
    /// Kernel name, release and machine.
    pub kernel: String,
    /// The CPUs' model name.
    pub cpu_model: Option<String>,
    /// CPUs online.
    pub cpus: usize,
    /// Memory, KiB.
    pub memory_kib: Option<u64>,
    /// Which boot of which machine it is: equal for hosts that share its CPUs.
    pub boot_id: Option<String>,
    /// Open descriptors that one process of a server gets.
    pub nofile_hard: Option<u64>,
    /// CPUs of the server.
    pub server_cpus: String,
    /// CPUs of the generator.
    pub client_cpus: String,
    /// Seed of the run.
    pub seed: u64,
    /// The host's network settings.
    pub host_sysctls: BTreeMap<String, String>,
    /// What was in force in the trials' network: filled in after the first server was ready.
    pub trial_network: Option<TrialNetwork>,
    /// `cgroup` (kernel memory included) or `pss`.
    pub memory_method: Option<String>,
    /// `cgroup`, or `clock`: the clocks of the server's processes and of those that were waited for.
    pub cpu_method: Option<String>,
    /// What else of this machine figures depend on: its clock, its governor, its mitigations, the limits of control
    /// groups at every level.
    pub settings: BTreeMap<String, String>,
    /// The server's host, where that is another: filled in after the first server was ready.
    pub server_host: Option<ServerHostFacts>,
    /// The hosts that the load came from, by their names, where those are others: filled in after the first trial.
    pub load_hosts: BTreeMap<String, MachineFacts>,
    /// SHA-256 of the measured programs.
    pub sha256: BTreeMap<String, String>,
    /// The harness's own CPU time inside the windows, as a share of one CPU.
    pub harness_cpu_fraction: Option<f64>,
    /// What the generator itself can do on this machine, if `loadgen floor` was run here.
    pub generator_floor: Option<Floor>,
    /// Blocks that something else disturbed (W07) and that were run again.
    pub blocks_redone: usize,
    /// The capacities that rates were found from (`--rate auto` or shares), a workload each.
    pub rate_search: Vec<Found>,
    /// The promises that rates are held against.
    pub slo: Vec<String>,
    /// How long the programs were built, checked and calibrated before the first trial, s.
    pub prepare_s: Option<f64>,
    /// How long the trials were expected to take, s.
    pub estimated_s: f64,
    /// How long they took, s; none before their end.
    pub took_s: Option<f64>,
}

/// The network that the trials ran in.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TrialNetwork {
    /// Whether each trial had a private namespace.
    pub private: bool,
    /// Why not, if it was wanted.
    pub fallback: Option<String>,
    /// The settings in force.
    pub sysctls: BTreeMap<String, String>,
}

impl From<Launched> for TrialNetwork {
    fn from(launched: Launched) -> Self {
        Self {
            private: launched.private_network,
            fallback: launched.fallback,
            sysctls: launched.sysctls.into_iter().collect(),
        }
    }
}

impl Environment {
    /// Reads what is known before the first trial.
    pub fn read(plan: &Plan, binaries: &Binaries) -> Environment {
        let ServerHostFacts {
            kernel,
            cpu_model,
            cpus,
            memory_kib,
            boot_id,
            nofile_hard,
            settings,
            sha256,
        } = of_server_host(binaries);
        Environment {
            version: crate::base::version::VERSION,
            command: match plan.command.is_empty() {
                true => std::env::args().collect(),
                false => plan.command.clone(),
            },
            scenario: plan.scenario.clone(),
            kernel,
            cpu_model,
            cpus,
            memory_kib,
            boot_id,
            nofile_hard,
            server_cpus: plan.server_cpus_in_words(),
            client_cpus: plan.client_cpus_in_words(),
            seed: plan.seed,
            host_sysctls: network_sysctls().into_iter().collect(),
            trial_network: None,
            memory_method: None,
            cpu_method: None,
            settings,
            server_host: None,
            load_hosts: BTreeMap::new(),
            sha256,
            harness_cpu_fraction: None,
            generator_floor: plan
                .is_on_loopback()
                .then(loadgen::cmd::floor::kept)
                .flatten(),
            blocks_redone: 0,
            rate_search: plan.rates.clone(),
            slo: plan.slo.iter().map(ToString::to_string).collect(),
            prepare_s: None,
            estimated_s: estimate::all_trials(plan).as_secs_f64(),
            took_s: None,
        }
    }
}

/// What is known of this host, where servers are started.
pub fn of_server_host(binaries: &Binaries) -> ServerHostFacts {
    let machine = MachineFacts::read();
    ServerHostFacts {
        kernel: machine.kernel,
        cpu_model: machine.cpu_model,
        cpus: machine.cpus as usize,
        memory_kib: machine.memory_kib,
        boot_id: machine.boot_id,
        nofile_hard: limits::descriptors(),
        settings: settings::machine(),
        sha256: binaries.sha256.clone(),
    }
}
