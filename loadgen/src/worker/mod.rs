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
mod dial;
mod exchange;
mod greeting;
mod open;
mod pacer;
pub mod plan;
mod poller;
mod reopen;
mod settle;
mod slots;
mod state;
mod tls;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use nix::sys::epoll::{EpollEvent, EpollFlags};

use crate::base::clock::now_ns;
use crate::base::limits::{online_cpus, pin};
use crate::base::sys::prefetch;
use crate::load::{Phase, Poll};
use crate::protocol::tls::Client;
use crate::tally::Tally;
use crate::tally::answers::Answers;
use crate::tally::series::Interval;

use connection::State;
use control::Progress;
use plan::{Plan, Share};
use poller::{Poller, TIMER};
use slots::Slots;
use state::{Buffers, Clock, Cursors, Opening, Queues, Window, earliest};

/// Events taken from epoll at once. Larger batches delay what is due meanwhile.
const BATCH: usize = 64;

/// Requests sent or connections opened in one pass, at most, so that a backlog starves no reads.
const PASS: usize = 64;

/// How many events ahead a connection's state is fetched.
const PREFETCH: usize = 1;

/// See the module's description.
pub struct Worker {
    plan: Arc<Plan>,
    share: Share,
    progress: Arc<Progress>,
    slots: Slots,
    clock: Clock,
    opening: Opening,
    queues: Queues,
    poller: Poller,
    buffers: Buffers,
    cursors: Cursors,
    window: Window,
    /// Slots with an established connection.
    open: u32,
    /// Requests in flight.
    outstanding: u64,
    answers: Answers,
    tally: Tally,
    /// Who speaks TLS; `None`: nobody does.
    tls: Option<Client>,
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
        let mut worker = Self {
            slots: Slots::new(&plan, share),
            clock: Clock::new(plan.control.edges()),
            opening: Opening::new(&plan, share),
            queues: Queues::new(share.slots),
            poller: Poller::new()?,
            buffers: Buffers::default(),
            cursors: Cursors::default(),
            window: Window::new(intervals),
            open: 0,
            outstanding: 0,
            answers: Answers::default(),
            tally: Tally::default(),
            tls: plan.tls.as_ref().map(Client::for_worker),
            plan,
            share,
            progress,
        };
        worker.poller.spins = worker.should_spin();
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
        if let Some(pacer) = &mut self.opening.pacer {
            pacer.restart(now_ns());
        }
        let mut events = [EpollEvent::empty(); BATCH];
        while !self.plan.control.finished() {
            self.turn_clock();
            let worked = self.open_waiting() | self.issue_due(PASS) | self.resume();
            let count = self.wait(&mut events, worked);
            self.poller.idle_pass = count == 0 && !worked;
            for index in 0..count {
                self.prefetch(&events[..count], index + PREFETCH);
                self.handle(events[index]);
                // One between two events: what is due does not wait for the end of a batch, and a backlog of it
                // (a million connections at the start of a load) does not keep the answers waiting.
                if earliest(&self.queues.due) <= self.clock.now_ns {
                    self.issue_due(1);
                }
            }
        }
        self.settle_accounts();
        self.tally
    }

    /// Fetches the state of the connection that is to be handled a little later.
    fn prefetch(&self, events: &[EpollEvent], index: usize) {
        let slot = events.get(index).map(|event| event.data() as u32);
        if let Some(connection) = slot.and_then(|slot| self.slots.get(slot)) {
            prefetch(connection);
        }
    }

    /// A sleeping generator adds its own wake-up to sparse latencies, so few
    /// connections are polled for without sleeping, where the server need not
    /// share the CPU for it.
    fn should_spin(&self) -> bool {
        let load = &self.plan.load;
        let in_flight = self.slots.iter().filter(|c| c.active).count() as u64 * load.pipeline;
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
        let connection = self.slots.slot(slot);
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
        if flags.contains(EpollFlags::EPOLLOUT) && self.slots.slot(slot).generation == generation {
            self.write_on(slot);
        }
    }

    /// Continues connections that had more to do than one turn allows.
    fn resume(&mut self) -> bool {
        let turns = self.queues.again.len().min(PASS);
        for _ in 0..turns {
            let Some((slot, generation)) = self.queues.again.pop_front() else {
                break;
            };
            if !self.is_current(slot, generation) {
                continue;
            }
            let connection = self.slots.slot_mut(slot);
            connection.comes_again = false;
            if std::mem::take(&mut connection.unread) {
                self.read(slot, true);
            } else {
                self.write_on(slot);
            }
        }
        turns > 0
    }

    /// Writes what a connection has to write, now that there may be room for it.
    fn write_on(&mut self, slot: u32) {
        if self.slots.have_sessions() && !self.send_session(slot) {
            return;
        }
        if self.slots.slot(slot).has_unsent() {
            self.write(slot);
        }
    }

    fn is_current(&self, slot: u32, generation: u32) -> bool {
        let connection = self.slots.slot(slot);
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
        self.poller.wait(events, timeout)
    }
}
