//! What workers are to do: the plan they share, and the share of each.

use super::control::Control;
use crate::load::Load;
use crate::load::schedule::Schedule;
use crate::load::sources::SourcePool;
use crate::protocol::Protocol;

/// What all workers of a process have in common.
#[derive(Debug)]
pub struct Plan {
    /// The settings.
    pub load: Load,
    /// The protocol.
    pub protocol: Protocol,
    /// The requests' schedule; `None`: closed loop.
    pub schedule: Option<Schedule>,
    /// The connections' schedule of `--reconnect-rate`.
    pub reconnects: Option<Schedule>,
    /// Source addresses.
    pub sources: SourcePool,
    /// Orders from the main thread.
    pub control: Control,
}

/// One worker's part of the plan.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Its first connection's number within the whole load.
    pub first: u64,
    /// Distance to its next.
    pub stride: u64,
    /// How many slots it has.
    pub slots: u32,
    /// How many of them may have a descriptor.
    pub descriptors: u32,
    /// Its part of `--connect-inflight`, at least 1.
    pub inflight: u32,
    /// CPU to be pinned to.
    pub cpu: Option<usize>,
}

impl Share {
    /// The number of a slot's connection within the whole load.
    pub(super) fn number(&self, slot: u32) -> u64 {
        self.first + u64::from(slot) * self.stride
    }
}
