//! The network that a measured process lives in.

use serde::{Deserialize, Serialize};
use std::net::Ipv6Addr;

/// The network a launched process lives in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The host's own.
    Host,
    /// A new private namespace; without `required`, the host's where the kernel refuses.
    Private {
        /// Fail rather than fall back.
        required: bool,
        /// (path below /proc/sys, value) to copy in.
        sysctls: Vec<(String, String)>,
        /// Addresses of its loopback besides ::1, which has no more ports than one address has.
        ipv6_addresses: Vec<Ipv6Addr>,
    },
    /// The namespace of a process that is already running.
    Of {
        /// Its process id.
        pid: u32,
    },
}
