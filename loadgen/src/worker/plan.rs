//! What workers are to do: the plan they share, and the share of each.

use super::control::Control;
use crate::load::Load;
use crate::load::schedule::Schedule;
use crate::load::sources::SourcePool;
use crate::load::stages::{Course, Stages};
use crate::protocol::Protocol;
use crate::protocol::tls::Client;

/// What all workers of a process have in common.
#[derive(Debug)]
pub struct Plan {
    /// The settings.
    pub load: Load,
    /// The protocol.
    pub protocol: Protocol,
    /// Who speaks TLS beneath it; `None`: nobody does.
    pub tls: Option<Client>,
    /// The requests' schedule; `None`: closed loop.
    pub schedule: Option<Schedule>,
    /// When connections have a part in the load, if that changes.
    pub population: Option<Course>,
    /// When each stage of the window ends, in nanoseconds from the start of the warm-up; empty without stages.
    pub stage_ends_ns: Vec<u64>,
    /// The connections' schedule of `--reconnect-rate`.
    pub reconnects: Option<Schedule>,
    /// Source addresses.
    pub sources: SourcePool,
    /// Orders from the main thread.
    pub control: Control,
}

impl Plan {
    /// The requests' schedule of a load, if it has one.
    #[must_use]
    pub fn schedule_of(load: &Load) -> Option<Schedule> {
        match &load.stages {
            Some(stages) => {
                let course = stages.course(load.warmup_ns);
                Some(Schedule::along(course, load.arrival, load.conns, load.seed))
            }
            None => load
                .rate_per_s
                .map(|rate| Schedule::new(load.arrival, load.conns, rate, load.seed)),
        }
    }

    /// When each stage of a load's window ends.
    #[must_use]
    pub fn stage_ends_of(load: &Load) -> Vec<u64> {
        let ends = load.any_stages().into_iter().flat_map(Stages::ends_ns);
        ends.map(|end_ns| load.warmup_ns + end_ns).collect()
    }

    /// The stage that an instant of the load belongs to, nanoseconds from the start of the warm-up. What the window has
    /// behind the last stage belongs to that.
    #[must_use]
    pub fn stage_at(&self, load_ns: u64) -> Option<usize> {
        let last = self.stage_ends_ns.len().checked_sub(1)?;
        let stage = self
            .stage_ends_ns
            .partition_point(|end_ns| *end_ns <= load_ns);
        Some(stage.min(last))
    }

    /// The instants between which the events of the window and of each of its stages are, all nanoseconds from the start
    /// of the warm-up: the window's beginning, the stages' ends but the last one's, and the end.
    #[must_use]
    pub fn edges_within(&self, window_ns: u64, end_ns: u64) -> Vec<u64> {
        let within = |edge_ns: &u64| (*edge_ns).clamp(window_ns, end_ns);
        let inner = self
            .stage_ends_ns
            .split_last()
            .map_or(&[][..], |(_, ends)| ends);
        let inner = inner.iter().map(within);
        [window_ns]
            .into_iter()
            .chain(inner)
            .chain([end_ns])
            .collect()
    }

    /// When a connection of a closed loop next has a part in the load, from an instant on, both from the start of the
    /// warm-up.
    #[must_use]
    pub fn next_part_ns(&self, number: u64, load_ns: u64) -> u64 {
        let course = self.population.as_ref();
        course.map_or(load_ns, |course| course.next_active_ns(number, load_ns))
    }
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
