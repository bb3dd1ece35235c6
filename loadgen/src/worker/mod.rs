//! One worker: one thread, one epoll, its own connections, its own tally.
//!
//! There is a single loop. What differs between loads is data: a closed loop is
//! a schedule whose next request is due when the last one was answered, a
//! short-lived connection one whose limit is 1. Sockets are registered once,
//! edge-triggered for reading and writing, so that the loop makes no epoll_ctl
//! call per request and the kernel re-polls nothing (epoll(7)).

mod clockwork;
mod close;
mod connection;
pub mod control;
mod exchange;
mod open;
mod pacer;
pub mod plan;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

use crate::base::clock::{NEVER, now_ns};
use crate::base::limits::{online_cpus, pin};
use crate::base::sys::prefetch;
use crate::load::{Phase, Poll};
use crate::tally::Tally;
use crate::tally::latency::Latency;
use crate::tally::series::Interval;

use connection::{Connection, InFlight, State};
use control::{Edges, Progress};
use pacer::ConnectPacer;
use plan::{Plan, Share};

/// Events taken from epoll at once. Larger batches delay what is due meanwhile.
const BATCH: usize = 64;

/// Requests sent or connections opened in one pass, at most, so that a backlog starves no reads.
const PASS: usize = 64;

/// How many events ahead a connection's state is fetched.
const PREFETCH: usize = 1;

/// Size of the read and write buffers, shared by all connections of a worker.
const BUFFER: usize = 64 * 1024;

/// The token of the timer; no slot has it.
const TIMER: u64 = u64::MAX;

/// See the module's description.
pub struct Worker {
    plan: Arc<Plan>,
    share: Share,
    progress: Arc<Progress>,
    intervals: Sender<Interval>,

    epoll: Epoll,
    timer: TimerFd,
    timer_at_ns: u64,
    connections: Vec<Connection>,
    /// The requests in flight of pipelines, a ring for each slot.
    rings: Vec<InFlight>,
    read_buffer: Vec<u8>,
    write_buffer: Vec<u8>,

    /// When `--connect-rate` lets connections be opened; `None`: at any time.
    pacer: Option<ConnectPacer>,
    /// Slots to be opened, in order.
    waiting: VecDeque<u32>,
    /// Slots that closed during the ramp, to be opened when the load starts.
    parked: Vec<u32>,
    /// When slots send next.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    /// When slots are opened again after a failure.
    retries: BinaryHeap<Reverse<(u64, u32)>>,
    /// Connections with more to read or write than one turn allows.
    again: VecDeque<(u32, u32)>,

    now_ns: u64,
    edges: Edges,
    next_tick_ns: u64,
    next_interval_ns: u64,
    next_rotation_ns: u64,
    rotation_cursor: u32,
    running: bool,
    spins: bool,
    idle_pass: bool,
    sweep: usize,
    /// Slots that hold a place of `--connect-inflight`.
    opening: u32,
    /// Slots whose connect(2) is under way.
    connecting: u32,
    /// Slots with an established connection.
    open: u32,
    /// Requests in flight.
    outstanding: u64,
    errors_before: u64,
    usage_at_start: Option<[u64; 2]>,
    settled: u64,
    settled_served: u64,
    attempts: u64,
    tally: Tally,
}

impl Worker {
    /// Prepares a worker; nothing is sent before [`Worker::run`].
    ///
    /// # Errors
    /// When the kernel grants no epoll or timer descriptor.
    pub fn new(
        plan: Arc<Plan>,
        share: Share,
        progress: Arc<Progress>,
        intervals: Sender<Interval>,
    ) -> io::Result<Self> {
        let (epoll, timer) = epoll_and_timer()?;
        let connection = |number: u64| Connection::new(number as u32, number < plan.load.conns);
        let connections: Vec<_> = (0..share.slots)
            .map(|slot| connection(share.number(slot)))
            .collect();
        let pipeline = plan.load.pipeline as usize;
        let mut worker = Self {
            rings: vec![
                InFlight::default();
                if pipeline > 1 {
                    connections.len() * pipeline
                } else {
                    0
                }
            ],
            waiting: (0..share.slots.min(share.descriptors)).collect(),
            epoll,
            timer,
            timer_at_ns: 0,
            connections,
            read_buffer: vec![0; BUFFER],
            write_buffer: vec![0; BUFFER],
            pacer: ConnectPacer::of(&plan.load, share),
            parked: Vec::new(),
            due: BinaryHeap::with_capacity(share.slots as usize),
            retries: BinaryHeap::new(),
            again: VecDeque::new(),
            now_ns: now_ns(),
            edges: plan.control.edges(),
            next_tick_ns: 0,
            next_interval_ns: NEVER,
            next_rotation_ns: NEVER,
            rotation_cursor: 0,
            running: false,
            spins: false,
            idle_pass: false,
            sweep: 0,
            opening: 0,
            connecting: 0,
            open: 0,
            outstanding: 0,
            errors_before: 0,
            usage_at_start: None,
            settled: 0,
            settled_served: 0,
            attempts: 0,
            tally: Tally::default(),
            plan,
            share,
            progress,
            intervals,
        };
        worker.spins = worker.should_spin();
        worker.give_up_beyond_descriptors();
        Ok(worker)
    }

    /// Runs until the main thread says finish; returns what was counted.
    #[must_use]
    pub fn run(mut self) -> Tally {
        if let Some(cpu) = self.share.cpu {
            // A CPU that went away since the plan was made leaves the thread unpinned, no worse than asked.
            pin(&[cpu]);
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.restart(now_ns());
        }
        let mut events = [EpollEvent::empty(); BATCH];
        while !self.plan.control.finished() {
            self.turn_clock();
            let worked = self.open_waiting() | self.issue_due(PASS) | self.resume();
            let count = self.wait(&mut events, worked);
            self.idle_pass = count == 0 && !worked;
            for index in 0..count {
                self.prefetch(&events[..count], index + PREFETCH);
                self.handle(events[index]);
                // One between two events: what is due does not wait for the end of a batch, and a backlog of it
                // (a million connections at the start of a load) does not keep the answers waiting.
                if self
                    .due
                    .peek()
                    .is_some_and(|Reverse((at_ns, _))| *at_ns <= self.now_ns)
                {
                    self.issue_due(1);
                }
            }
        }
        self.settle_accounts();
        self.tally
    }

    /// Fetches the state of the connection that is to be handled a little later.
    fn prefetch(&self, events: &[EpollEvent], index: usize) {
        let slot = events.get(index).map(|event| event.data() as u32 as usize);
        if let Some(connection) = slot.and_then(|slot| self.connections.get(slot)) {
            prefetch(connection);
        }
    }

    /// A sleeping generator adds its own wake-up to sparse latencies, so few
    /// connections are polled for without sleeping, where the server need not
    /// share the CPU for it.
    fn should_spin(&self) -> bool {
        let load = &self.plan.load;
        let in_flight = self.connections.iter().filter(|c| c.active).count() as u64 * load.pipeline;
        let paced = load.is_open_loop() || load.think_ns > 0 || load.requests_per_conn.is_some();
        // Several workers on one CPU would poll at each other's cost.
        let alone = self.share.stride <= online_cpus();
        let sparse = in_flight < 10 && !paced && alone && self.plan.protocol.answers();
        load.poll == Poll::Spin || (load.poll == Poll::Auto && sparse && online_cpus() > 1)
    }

    fn handle(&mut self, event: EpollEvent) {
        let token = event.data();
        if token == TIMER {
            // Edge-triggered: it is armed anew, never read.
            return;
        }
        let (slot, generation) = (token as u32, (token >> 32) as u32);
        let flags = event.events();
        let connection = &self.connections[slot as usize];
        if connection.generation != generation || connection.fd.is_none() {
            return;
        }
        let failed = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        if connection.state == State::Connecting && !self.finish_connect(slot, failed) {
            return;
        }
        if flags.intersects(
            EpollFlags::EPOLLIN
                | EpollFlags::EPOLLRDHUP
                | EpollFlags::EPOLLHUP
                | EpollFlags::EPOLLERR,
        ) {
            let to_the_end = flags
                .intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
            self.read(slot, to_the_end);
        }
        let connection = &self.connections[slot as usize];
        if flags.contains(EpollFlags::EPOLLOUT)
            && connection.generation == generation
            && connection.has_unsent()
        {
            self.write(slot);
        }
    }

    /// Continues connections that had more to do than one turn allows.
    fn resume(&mut self) -> bool {
        let turns = self.again.len().min(PASS);
        for _ in 0..turns {
            let Some((slot, generation)) = self.again.pop_front() else {
                break;
            };
            if self.is_current(slot, generation) {
                self.read(slot, true);
            }
            if self.is_current(slot, generation) && self.connections[slot as usize].has_unsent() {
                self.write(slot);
            }
        }
        turns > 0
    }

    fn is_current(&self, slot: u32, generation: u32) -> bool {
        let connection = &self.connections[slot as usize];
        connection.generation == generation
            && matches!(connection.state, State::Open | State::Closing)
    }

    /// The phase an instant up to now belongs to. The orders are read anew: an edge
    /// that was published before it came can then not be missed, however long this
    /// thread was kept waiting.
    fn phase(&self, at_ns: u64) -> Phase {
        self.plan.control.edges().phase(at_ns)
    }

    /// The connection's number within the whole load.
    fn number(&self, slot: u32) -> u64 {
        self.share.number(slot)
    }

    fn wait(&mut self, events: &mut [EpollEvent], worked: bool) -> usize {
        let timeout = self.timeout(worked);
        match self.epoll.wait(events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            // epoll_wait fails otherwise only for a bad descriptor or buffer, which cannot become good again.
            Err(errno) => unreachable!("epoll_wait: {errno}"),
        }
    }
}

fn epoll_and_timer() -> io::Result<(Epoll, TimerFd)> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let timer = TimerFd::new(
        ClockId::CLOCK_MONOTONIC,
        TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
    )?;
    epoll.add(
        &timer,
        EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, TIMER),
    )?;
    Ok((epoll, timer))
}

/// An interval that nothing was recorded in yet.
fn fresh_interval(second: u64) -> Interval {
    Interval {
        second,
        responses: Latency::default(),
        errors: 0,
    }
}
