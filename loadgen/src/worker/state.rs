//! What a worker keeps beside its connections, by what it is for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::mpsc::Sender;

use super::control::Edges;
use super::pacer::ConnectPacer;
use super::plan::{Plan, Share};
use crate::base::clock::{NEVER, now_ns};
use crate::tally::live::Counted;
use crate::tally::series::Interval;

/// Slots by the instant at which something is to happen to them, the earliest first.
pub(super) type Timetable = BinaryHeap<Reverse<(u64, u32)>>;

/// The earliest instant of a timetable.
pub(super) fn earliest(timetable: &Timetable) -> u64 {
    timetable.peek().map_or(NEVER, |Reverse((at_ns, _))| *at_ns)
}

/// What the time is, and what happens when.
pub(super) struct Clock {
    /// The time as last read.
    pub(super) now_ns: u64,
    /// The instants at which phases change, as last read.
    pub(super) edges: Edges,
    /// Whether the ramp is over.
    pub(super) running: bool,
    pub(super) next_tick_ns: u64,
    pub(super) next_interval_ns: u64,
    pub(super) next_rotation_ns: u64,
}

impl Clock {
    pub(super) fn new(edges: Edges) -> Self {
        Self {
            now_ns: now_ns(),
            edges,
            running: false,
            next_tick_ns: 0,
            next_interval_ns: NEVER,
            next_rotation_ns: NEVER,
        }
    }
}

/// Connections on their way.
pub(super) struct Opening {
    /// When `--connect-rate` lets connections be opened; `None`: at any time.
    pub(super) pacer: Option<ConnectPacer>,
    /// Slots to be opened, in order.
    pub(super) waiting: VecDeque<u32>,
    /// Slots whose connect(2) found the listen queue of a Unix socket full, each with its generation.
    pub(super) redials: VecDeque<(u32, u32)>,
    /// When they are tried again.
    pub(super) next_redial_ns: u64,
    /// Slots that closed during the ramp, to be opened when the load starts.
    pub(super) parked: Vec<u32>,
    /// When the pauses of slots end whose connections had answered nothing.
    pub(super) retries: Timetable,
    /// When the requests are due for which slots are opened.
    pub(super) scheduled: Timetable,
    /// Slots that hold a place of `--connect-inflight`.
    pub(super) places: u32,
    /// Slots whose connect(2) is under way.
    pub(super) connecting: u32,
    /// Sockets asked for so far.
    pub(super) attempts: u64,
    /// Slots whose first attempt has ended.
    pub(super) settled: u64,
    /// Of those, served.
    pub(super) settled_served: u64,
}

impl Opening {
    pub(super) fn new(plan: &Plan, share: Share) -> Self {
        Self {
            pacer: ConnectPacer::of(&plan.load, share),
            waiting: (0..share.slots.min(share.descriptors)).collect(),
            redials: VecDeque::new(),
            next_redial_ns: 0,
            parked: Vec::new(),
            retries: BinaryHeap::new(),
            scheduled: BinaryHeap::new(),
            places: 0,
            connecting: 0,
            attempts: 0,
            settled: 0,
            settled_served: 0,
        }
    }
}

/// Slots that have something to do.
pub(super) struct Queues {
    /// When slots send next.
    pub(super) due: Timetable,
    /// Connections with more to read or write than one turn allows, each with its generation.
    pub(super) again: VecDeque<(u32, u32)>,
}

impl Queues {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            due: BinaryHeap::with_capacity(slots as usize),
            again: VecDeque::new(),
        }
    }
}

/// Size of the read and write buffers.
const BUFFER: usize = 64 * 1024;

/// Size of the buffer of what was said in TLS: a record holds as much (RFC 8446 §5.1).
pub(super) const PLAIN: usize = 16 * 1024;

/// What is read and written passes through these, shared by all connections of a worker.
pub(super) struct Buffers {
    pub(super) read: Vec<u8>,
    pub(super) write: Vec<u8>,
    /// What was said in TLS; empty where nobody speaks it.
    pub(super) plain: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            read: vec![0; BUFFER],
            write: vec![0; BUFFER],
            plain: Vec::new(),
        }
    }
}

/// Where walks over all slots have come to.
#[derive(Default)]
pub(super) struct Cursors {
    pub(super) rotation: u32,
    pub(super) sweep: u32,
}

/// What is handed in for each second of the window.
pub(super) struct Window {
    pub(super) intervals: Sender<Interval>,
    /// Errors at the end of the last second.
    pub(super) errors_before: u64,
    /// What else was counted by then.
    pub(super) counted_before: Counted,
    /// User and system time of this thread when the window opened.
    pub(super) usage_at_start: Option<[u64; 2]>,
}

impl Window {
    pub(super) fn new(intervals: Sender<Interval>) -> Self {
        Self {
            intervals,
            errors_before: 0,
            counted_before: Counted::default(),
            usage_at_start: None,
        }
    }
}
