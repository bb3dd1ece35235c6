//! What a worker does by the clock: phase edges, intervals, time-outs, waiting.

use nix::sys::epoll::EpollTimeout;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use super::Worker;
use super::connection::State;
use super::control::LEAD_NS;
use super::state::earliest;
use crate::base::clock::{NEVER, now_ns};
use crate::base::units::SECOND_NS;
use crate::load::{Phase, Poll};
use crate::tally::series::Interval;

/// Between two looks at orders, time-outs and progress.
const TICK_NS: u64 = 1_000_000;

/// Longest sleep: half the lead with which instants are published.
const SLEEP_NS: u64 = LEAD_NS / 2;

/// How long before a request is due a worker stops sleeping. Timers wake late by
/// tens of microseconds; 100 µs of polling hides that (measured: slip p99 23–42 µs
/// at 1 000/s for 12 % of a CPU).
const SPIN_NS: u64 = 100_000;

/// The most that one empty poll can have cost: what took longer was the thread
/// waiting for its CPU, and that is no CPU time.
const EMPTY_POLL_NS: u64 = 5_000;

/// Connections looked at for time-outs in one tick, at least.
const SWEEP_MIN: u32 = 16;

/// Ticks in which all are looked at. Each look is a cache miss or two: looking at
/// 256 of 10 000 in every tick cost a tenth of the CPU.
const SWEEP_TICKS: u32 = 512;

/// A worker that has not read its clock for so long did not run: it reads it with every event, and never sleeps for
/// more than a third of this.
const STALL_NS: u64 = 15_000_000;

impl Worker {
    /// What happens from here on, happens now. Requests that became due while this thread was kept from running are
    /// late by its fault, however quickly they are then sent.
    pub(super) fn read_clock(&mut self) {
        let now_ns = now_ns();
        let gap_ns = now_ns.saturating_sub(self.clock.now_ns);
        if gap_ns > STALL_NS && self.phase(now_ns) == Phase::Window {
            self.tally.stalled_ns += gap_ns;
            self.tally.longest_stall_ns = self.tally.longest_stall_ns.max(gap_ns);
        }
        self.clock.now_ns = now_ns;
    }

    pub(super) fn turn_clock(&mut self) {
        let before_ns = self.clock.now_ns;
        self.read_clock();
        if self.poller.idle_pass {
            self.tally.spin_ns += (self.clock.now_ns - before_ns).min(EMPTY_POLL_NS);
        }
        if self.clock.now_ns >= self.clock.next_tick_ns {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.clock.edges = self.plan.control.edges();
        if !self.clock.running && self.clock.now_ns >= self.clock.edges.warmup_start_ns {
            self.start_load();
        }
        if self.window.usage_at_start.is_none() && self.phase(self.clock.now_ns) == Phase::Window {
            self.window.usage_at_start = Some(thread_cpu_ns());
            self.tally.spin_ns = 0;
            self.window.errors_before = self.tally.errors();
            self.window.counted_before = self.tally.counted();
            self.clock.next_interval_ns = self.clock.edges.window_start_ns + SECOND_NS;
        }
        while self.clock.now_ns
            >= self
                .clock
                .next_interval_ns
                .min(self.clock.edges.window_end_ns)
            && self.clock.next_interval_ns != NEVER
        {
            self.end_interval();
        }
        self.sweep_timeouts();
        if self.clock.running
            && self.clock.now_ns >= self.clock.next_rotation_ns
            && self.clock.now_ns < self.clock.edges.window_end_ns
        {
            self.rotate();
        }
        self.publish();
        self.clock.next_tick_ns =
            (self.clock.now_ns + TICK_NS).min(self.clock.edges.next_after(self.clock.now_ns));
    }

    /// Hands the second that ended to the main thread; at the end of the window
    /// also reads the CPU clock.
    pub(super) fn end_interval(&mut self) {
        let second =
            (self.clock.next_interval_ns - self.clock.edges.window_start_ns) / SECOND_NS - 1;
        let errors = self.tally.errors();
        let mut interval = Interval {
            second,
            ..Interval::default()
        };
        std::mem::swap(&mut interval.responses, &mut self.tally.response);
        if self.plan.schedule.is_some() {
            interval.service = Some(std::mem::take(&mut self.tally.service));
            interval.slip = Some(std::mem::take(&mut self.tally.slip));
        }
        interval.errors = errors - self.window.errors_before;
        self.window.errors_before = errors;
        let counted = self.tally.counted();
        interval.counted = counted.since(&self.window.counted_before);
        self.window.counted_before = counted;
        // The main thread outlives the workers; if it did not, the figures have no reader.
        let _ = self.window.intervals.send(interval);
        self.clock.next_interval_ns += SECOND_NS;
        if self.clock.now_ns >= self.clock.edges.window_end_ns {
            self.clock.next_interval_ns = NEVER;
            self.note_cpu();
        }
    }

    /// CPU time since the start of the window.
    fn note_cpu(&mut self) {
        if let Some([user, system]) = self.window.usage_at_start {
            let [user_now, system_now] = thread_cpu_ns();
            self.tally.cpu_ns = [
                user_now.saturating_sub(user),
                system_now.saturating_sub(system),
            ];
        }
    }

    fn start_load(&mut self) {
        self.clock.running = true;
        let start_ns = self.clock.edges.warmup_start_ns;
        self.tally.started_late_ns = Some(self.clock.now_ns.saturating_sub(start_ns));
        for slot in 0..self.share.slots {
            let connection = self.slots.slot_mut(slot);
            if connection.active {
                let stream = u64::from(connection.stream);
                let first_ns = match &self.plan.schedule {
                    Some(schedule) => schedule.first(stream),
                    None => self.plan.next_part_ns(stream, 0),
                };
                connection.next_due_ns = start_ns.saturating_add(first_ns);
                connection.queued = true;
                self.queues
                    .due
                    .push(std::cmp::Reverse((connection.next_due_ns, slot)));
            }
        }
        for slot in std::mem::take(&mut self.opening.parked) {
            self.reopen(slot);
        }
        self.clock.next_rotation_ns =
            start_ns.saturating_add(self.plan.load.rotate_ns.unwrap_or(NEVER));
        if let Some(pacer) = &mut self.opening.pacer {
            pacer.restart(start_ns);
        }
    }

    fn publish(&self) {
        use std::sync::atomic::Ordering::{Relaxed, Release};
        let progress = &self.progress;
        // Whoever sees a slot settled must see whether it was served: the barrier counts both once.
        progress.served.store(self.opening.settled_served, Relaxed);
        progress.settled.store(self.opening.settled, Release);
        progress.completed.store(
            self.tally.phases.iter().map(|phase| phase.completed).sum(),
            Relaxed,
        );
        progress.errors.store(self.tally.errors(), Relaxed);
        progress.open.store(u64::from(self.open), Relaxed);
        if self.clock.now_ns >= self.clock.edges.window_end_ns && !self.has_unanswered() {
            progress.drained.store(!self.has_backlog(), Relaxed);
        }
    }

    /// Whether something was sent, or a connect begun, whose end is worth waiting for.
    fn has_unanswered(&self) -> bool {
        match self.plan.control.leaves_others_waiting() {
            true => self.slots.iter().any(|c| c.served && c.in_flight() > 0),
            false => self.outstanding > 0 || self.opening.connecting > 0,
        }
    }

    /// Whether open-loop requests due before the end of the window still wait for a connection that is there or will be.
    fn has_backlog(&self) -> bool {
        let waits = |c: &super::connection::Connection| {
            c.active && c.next_due_ns < self.clock.edges.window_end_ns
        };
        let served_alone = self.plan.control.leaves_others_waiting();
        let comes = |c: &super::connection::Connection| match c.state {
            _ if served_alone && !c.served => false,
            State::Open | State::Connecting => true,
            State::Free => c.failures == 0,
            State::Closing | State::Dead => false,
        };
        self.plan.schedule.is_some() && self.slots.iter().any(|c| waits(c) && comes(c))
    }

    fn sweep_timeouts(&mut self) {
        let total = self.slots.len();
        for _ in 0..(total / SWEEP_TICKS).max(SWEEP_MIN).min(total) {
            self.cursors.sweep = (self.cursors.sweep + 1) % total;
            self.check_timeouts(self.cursors.sweep);
        }
    }

    fn check_timeouts(&mut self, slot: u32) {
        let load = &self.plan.load;
        let connection = self.slots.slot(slot);
        let (state, age_ns) = (
            connection.state,
            self.clock.now_ns.saturating_sub(connection.since_ns),
        );
        match state {
            State::Connecting if age_ns > load.connect_timeout_ns => self.connect_timed_out(slot),
            State::Closing if age_ns > load.response_limit_ns() => self.server_never_closed(slot),
            State::Open if self.oldest_is_late(slot) => self.request_timed_out(slot),
            State::Open if self.clock.running && self.has_served_its_time(slot, age_ns) => {
                self.close_as_planned(slot)
            }
            _ => {}
        }
    }

    fn oldest_is_late(&self, slot: u32) -> bool {
        let connection = self.slots.slot(slot);
        let oldest = self.slots.in_flight(slot, connection.answered);
        let waited_ns = self.clock.now_ns.saturating_sub(oldest.sent_ns);
        connection.in_flight() > 0 && waited_ns > self.plan.load.response_limit_ns()
    }

    /// Whether `--conn-lifetime` or `--reconnect-rate` ends this connection now.
    fn has_served_its_time(&mut self, slot: u32, age_ns: u64) -> bool {
        let connection = self.slots.slot(slot);
        if connection.retire || self.clock.now_ns >= self.clock.edges.window_end_ns {
            return false;
        }
        if self
            .plan
            .load
            .conn_lifetime_ns
            .is_some_and(|lifetime_ns| age_ns > lifetime_ns)
        {
            return true;
        }
        let due = self.reconnects_due(slot, self.clock.now_ns);
        let before = u64::from(self.slots.slot(slot).reconnects);
        self.miss_reconnects(slot, due);
        due > before
    }

    /// How often `--reconnect-rate` has called a slot until then.
    fn reconnects_due(&self, slot: u32, at_ns: u64) -> u64 {
        let load_ns = at_ns.saturating_sub(self.clock.edges.warmup_start_ns);
        let schedule = self.plan.reconnects.as_ref();
        schedule.map_or(0, |schedule| {
            schedule.count_before(self.number(slot), load_ns)
        })
    }

    /// A slot that was called several times since it was last looked at follows once.
    fn miss_reconnects(&mut self, slot: u32, due: u64) {
        let connection = self.slots.slot_mut(slot);
        let called = due - u64::from(connection.reconnects);
        connection.reconnects = due as u32;
        self.tally.connections.reconnects_missed += called.saturating_sub(1);
    }

    /// Counts what `--reconnect-rate` asked of a slot; its last call may have come too late to be followed.
    pub(super) fn settle_reconnects(&mut self, slot: u32) {
        if self.clock.running {
            let due =
                self.reconnects_due(slot, self.clock.edges.window_end_ns.min(self.clock.now_ns));
            self.tally.connections.reconnects_due += due;
            self.miss_reconnects(slot, due);
        }
    }

    /// Moves the active set on: each schedule goes to the next connection that is
    /// open and silent. A request in flight is answered where it was sent.
    fn rotate(&mut self) {
        let Some(period_ns) = self.plan.load.rotate_ns else {
            return;
        };
        self.clock.next_rotation_ns = self
            .clock
            .next_rotation_ns
            .saturating_add(period_ns)
            .max(self.clock.now_ns);
        let slots = self.share.slots;
        let active: Vec<u32> = (0..slots)
            .filter(|slot| self.slots.slot(*slot).active)
            .collect();
        for from in active {
            let silent = |slot: &u32| {
                let connection = self.slots.slot(*slot);
                !connection.active
                    && connection.state == State::Open
                    && !connection.retire
                    && connection.in_flight() == 0
            };
            let cursor = self.cursors.rotation;
            let Some(to) = (0..slots).map(|step| (cursor + step) % slots).find(silent) else {
                return;
            };
            self.cursors.rotation = (to + 1) % slots;
            self.hand_over(from, to);
        }
    }

    fn hand_over(&mut self, from: u32, to: u32) {
        let old = self.slots.slot_mut(from);
        old.active = false;
        let (stream, index) = (old.stream, old.index);
        // In a closed loop it is the pause after the last answer that moves on with the load.
        let next_due_ns = old.next_due_ns;
        let new = self.slots.slot_mut(to);
        new.active = true;
        (new.stream, new.index, new.next_due_ns) = (stream, index, next_due_ns);
        new.free_ns = self.clock.now_ns;
        let requests = self.plan.load.requests_per_conn;
        new.limit = requests.map_or(NEVER, |requests| new.begun.saturating_add(requests));
        self.arm(to);
        self.write(to);
    }

    /// How long to wait for events: not at all if there is work or something is
    /// due within the spin, else until then.
    pub(super) fn timeout(&mut self, worked: bool) -> EpollTimeout {
        if worked || self.poller.spins || !self.queues.again.is_empty() {
            return EpollTimeout::ZERO;
        }
        let spin_ns = if self.plan.load.poll == Poll::Sleep {
            0
        } else {
            SPIN_NS
        };
        let due_ns = earliest(&self.queues.due)
            .min(earliest(&self.opening.retries))
            .min(earliest(&self.opening.scheduled))
            .min(self.next_open_ns())
            .min(self.next_redial_ns())
            .min(self.clock.edges.next_after(self.clock.now_ns));
        let wake_ns = due_ns.saturating_sub(spin_ns);
        if wake_ns <= self.clock.now_ns {
            return EpollTimeout::ZERO;
        }
        if wake_ns < self.clock.now_ns + SLEEP_NS {
            self.poller.arm_timer(wake_ns);
        }
        EpollTimeout::from((SLEEP_NS / 1_000_000) as u8)
    }
}

/// User and system time of the calling thread, in nanoseconds.
fn thread_cpu_ns() -> [u64; 2] {
    let ns = |time: TimeVal| time.tv_sec() as u64 * SECOND_NS + time.tv_usec() as u64 * 1000;
    getrusage(UsageWho::RUSAGE_THREAD).map_or([0, 0], |usage| {
        [ns(usage.user_time()), ns(usage.system_time())]
    })
}
