//! What figures depend on of a server's host that is not the one of the run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The server's host, as its agent reads it: the same that is recorded of the machine of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerHostFacts {
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
    /// What else of that machine figures depend on.
    pub settings: BTreeMap<String, String>,
    /// SHA-256 of the servers that were measured.
    pub sha256: BTreeMap<String, String>,
}
