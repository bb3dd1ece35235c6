//! What follows the end of a connection: when its slot is opened again, and what its requests wait for.
//!
//! - A request of which a connection that ended cleanly had answered nothing was never served: it is sent again on the
//!   next connection (RFC 9112 §9.3.1, §9.3.2), if the ended one had answered anything at all.
//! - A slot whose connection had answered something is opened again at once; one whose connection had answered nothing,
//!   or could not be had, after a pause, or a server that closes whatever it accepts would be asked as fast as both
//!   sides can. These pauses are this generator's own, and counted.
//! - Where a connection is for one request, it is opened when that is due.

use std::cmp::Reverse;

use super::Worker;
use super::connection::State;

/// The pause before a slot is opened again whose connection had answered nothing, doubled with every such end in a row.
const PAUSE_NS: u64 = 10_000_000;

const MAX_DOUBLINGS: u8 = 7;

/// The pause that follows this many failures in a row, at least one.
fn pause_ns(failures: u8) -> u64 {
    PAUSE_NS << failures.saturating_sub(1).min(MAX_DOUBLINGS)
}

impl Worker {
    /// Puts a slot back in line after a planned end.
    pub(super) fn reopen(&mut self, slot: u32) {
        if !self.clock.running {
            return self.opening.parked.push(slot);
        }
        let due_ns = self.slots.slot(slot).next_due_ns;
        if self.opens_when_due(slot) && due_ns > self.clock.now_ns {
            self.opening.scheduled.push(Reverse((due_ns, slot)));
        } else {
            self.opening.waiting.push_back(slot);
        }
    }

    /// Puts a slot back in line whose connection ended before its time; `had_answered`: anything at all.
    pub(super) fn replace(&mut self, slot: u32, had_answered: bool) {
        let connection = self.slots.slot_mut(slot);
        // A silent connection carries no load that a pause could hold up.
        if !had_answered || !connection.active {
            return self.retry_or_give_up(slot);
        }
        connection.failures = 0;
        self.reopen(slot);
    }

    /// Whether the slot's next connection is for one request only, and nothing waits for it yet.
    pub(super) fn opens_when_due(&self, slot: u32) -> bool {
        let (load, connection) = (&self.plan.load, self.slots.slot(slot));
        let single = load.requests_per_conn == Some(1);
        single && connection.active && connection.in_flight() == 0
    }

    /// A long-lived connection that was never served is a result, not an
    /// accident: it is not tried again. All others are, after a pause.
    pub(super) fn retry_or_give_up(&mut self, slot: u32) {
        let churns = self.plan.load.churns();
        let connection = self.slots.slot_mut(slot);
        if !churns && !connection.ever_served {
            connection.state = State::Dead;
            return;
        }
        connection.state = State::Free;
        connection.failures = connection.failures.saturating_add(1);
        let at_ns = self.clock.now_ns + pause_ns(connection.failures);
        self.opening.retries.push(Reverse((at_ns, slot)));
    }

    /// Puts in line whose pause is over, or whose request is due.
    pub(super) fn take_scheduled(&mut self) {
        let now_ns = self.clock.now_ns;
        while let Some(Reverse((at_ns, slot))) = self.opening.retries.peek().copied()
            && at_ns <= now_ns
        {
            self.opening.retries.pop();
            self.count_pause(slot, at_ns);
            self.opening.waiting.push_back(slot);
        }
        while let Some(Reverse((at_ns, slot))) = self.opening.scheduled.peek().copied()
            && at_ns <= now_ns
        {
            self.opening.scheduled.pop();
            self.opening.waiting.push_back(slot);
        }
    }

    /// Counts what of a pause that ends now lay in the window while a request was due.
    fn count_pause(&mut self, slot: u32, end_ns: u64) {
        let connection = self.slots.slot(slot);
        let begun_ns = end_ns.saturating_sub(pause_ns(connection.failures));
        let edges = self.clock.edges;
        let from_ns = begun_ns
            .max(edges.window_start_ns)
            .max(connection.next_due_ns);
        let to_ns = end_ns.min(edges.window_end_ns).min(self.clock.now_ns);
        if connection.active {
            self.tally.backoff_ns += to_ns.saturating_sub(from_ns);
        }
    }

    /// Counts the pauses that the end of the run cut short.
    pub(super) fn settle_pauses(&mut self) {
        for Reverse((at_ns, slot)) in std::mem::take(&mut self.opening.retries) {
            self.count_pause(slot, at_ns);
        }
    }

    /// Whether a slot is still to be opened: after the window only for requests that were due in it.
    pub(super) fn is_wanted(&self, slot: u32) -> bool {
        let connection = self.slots.slot(slot);
        let end_ns = self.clock.edges.window_end_ns;
        let owes = self.plan.schedule.is_some() && connection.active;
        self.clock.now_ns < end_ns
            || connection.in_flight() > 0
            || (owes && connection.next_due_ns < end_ns)
    }
}
