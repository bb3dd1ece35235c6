//! Requests and responses: what is due is sent, what comes back is verified and timed.

use std::cmp::Reverse;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::Worker;
use super::connection::{InFlight, State};
use crate::base::clock::NEVER;
use crate::load::{Close, Phase};
use crate::protocol::{Received, RequestId};
use crate::tally::outcome::Requests;

/// Reads of one connection in one turn; what is left waits for the others.
const READS: usize = 4;

impl Worker {
    /// Sends what is due, at most `limit` of it; true if there was any.
    pub(super) fn issue_due(&mut self, limit: usize) -> bool {
        let mut issued = 0;
        while let Some(Reverse((at_ns, slot))) = self.queues.due.peek().copied() {
            if at_ns > self.clock.now_ns || issued == limit {
                break;
            }
            if issued > 0 {
                // A send takes microseconds: the next one is as much later.
                self.read_clock();
            }
            self.queues.due.pop();
            self.slots.slot_mut(slot).queued = false;
            self.arm(slot);
            self.write(slot);
            issued += 1;
        }
        issued > 0
    }

    /// A new connection's first request. During the ramp it is sent at once and
    /// frees the connection's place when answered; later the schedule decides.
    pub(super) fn greet(&mut self, slot: u32) {
        let open_loop = self.plan.schedule.is_some();
        let connection = self.slots.slot(slot);
        if connection.in_flight() > 0 {
            self.send_again(slot);
        } else if !self.clock.running || !connection.active {
            // Whenever it happens, it belongs to the opening of the connection and not to the load.
            self.begin(slot, self.clock.now_ns, Phase::Ramp);
            return self.write(slot);
        }
        if open_loop || self.slots.slot(slot).next_due_ns > self.clock.now_ns {
            // Its next request may be due much later: only established counts here.
            self.free_place(slot);
        }
        self.arm(slot);
        self.write(slot);
    }

    /// Puts the requests that the last connection left unanswered at the beginning of this one.
    fn send_again(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        let (answered, begun) = (connection.answered, connection.begun);
        let sent_before = answered + connection.sent_in_flight();
        connection.written = answered;
        connection.written_bytes = 0;
        for sequence in answered..begun {
            let entry = InFlight {
                sent_ns: self.clock.now_ns,
                ..self.slots.in_flight(slot, sequence)
            };
            self.slots.keep(slot, sequence, entry);
            if sequence < sent_before {
                self.count_of(entry.phase, entry.due_ns, |counts| counts.resent += 1);
            }
        }
    }

    /// Begins the requests of a slot that are due, and queues the first that is not.
    pub(super) fn arm(&mut self, slot: u32) {
        while self.can_begin(slot) {
            let connection = self.slots.slot_mut(slot);
            let due_ns = connection.next_due_ns;
            if due_ns > self.clock.now_ns {
                if !std::mem::replace(&mut connection.queued, true) {
                    self.queues.due.push(Reverse((due_ns, slot)));
                }
                return;
            }
            if self.plan.schedule.is_none() {
                if self.phase(self.clock.now_ns) == Phase::Drain {
                    return;
                }
                self.begin(slot, self.clock.now_ns, self.phase(self.clock.now_ns));
                continue;
            };
            if self.phase(due_ns) == Phase::Drain {
                return;
            }
            let start_ns = self.clock.edges.warmup_start_ns;
            let connection = self.slots.slot_mut(slot);
            connection.index += 1;
            let stream = u64::from(connection.stream);
            let next_ns = self.plan.schedule.as_ref().map_or(NEVER, |schedule| {
                schedule.next(stream, connection.index, due_ns - start_ns)
            });
            connection.next_due_ns = start_ns.saturating_add(next_ns);
            let free_ns = connection.free_ns;
            let late_in_opening = self.plan.load.requests_per_conn == Some(1);
            if self.phase(due_ns) == Phase::Window && !late_in_opening {
                self.tally
                    .slip
                    .record(self.clock.now_ns.saturating_sub(due_ns.max(free_ns)));
            }
            self.begin(slot, due_ns, self.phase(due_ns));
        }
    }

    fn can_begin(&self, slot: u32) -> bool {
        let connection = self.slots.slot(slot);
        self.clock.running
            && connection.active
            && connection.state == State::Open
            && !connection.retire
            && connection.begun < connection.limit
            && connection.in_flight() < self.plan.load.pipeline
    }

    /// Puts a request in flight; its bytes follow in [`Worker::write`].
    fn begin(&mut self, slot: u32, due_ns: u64, phase: Phase) {
        let begun = self.slots.slot(slot).begun;
        let entry = InFlight {
            due_ns,
            sent_ns: self.clock.now_ns,
            phase,
        };
        self.slots.keep(slot, begun, entry);
        self.slots.slot_mut(slot).begun += 1;
        self.outstanding += 1;
        let is_unplanned = self.plan.schedule.is_none() || phase == Phase::Ramp;
        self.count_of(phase, due_ns, |counts| {
            counts.sent += 1;
            counts.offered += u64::from(is_unplanned);
        });
    }

    /// Counts something of a request: in the phase that it belongs to, and in the stage.
    pub(super) fn count_of(&mut self, phase: Phase, due_ns: u64, count: impl Fn(&mut Requests)) {
        count(&mut self.tally.phases[phase as usize]);
        if let Some(stage) = self.stage_of(phase, due_ns) {
            count(&mut self.tally.stage(stage).requests);
        }
    }

    /// The stage of the window that a request belongs to, by when it was due.
    pub(super) fn stage_of(&self, phase: Phase, due_ns: u64) -> Option<usize> {
        if self.plan.stage_ends_ns.is_empty() || phase != Phase::Window {
            return None;
        }
        let start_ns = self.clock.edges.warmup_start_ns;
        self.plan.stage_at(due_ns.saturating_sub(start_ns))
    }

    pub(super) fn request_id(&self, slot: u32, sequence: u64) -> RequestId {
        let connection = self.slots.slot(slot);
        let last = self.plan.load.close == Close::Server && sequence + 1 == connection.limit;
        RequestId {
            connection: self.number(slot) as u32,
            sequence,
            last,
        }
    }

    /// Writes as much as the socket takes of the requests begun.
    pub(super) fn write(&mut self, slot: u32) {
        while self.slots.slot(slot).has_unsent() && self.slots.slot(slot).fd.is_some() {
            let filled = self.fill(slot);
            if filled == 0 {
                // A request without bytes is sent as soon as it is begun: the server speaks by itself.
                return self.sent_all(slot);
            }
            let connection = self.slots.slot(slot);
            let Some(fd) = &connection.fd else { return };
            let bytes = &self.buffers.write[..filled];
            let sent = match self.slots.have_sessions() {
                true => self.send_plaintext(slot, filled),
                false => send(fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL),
            };
            match sent {
                Ok(written) => {
                    self.count_sent(written as u64);
                    match written == filled && filled < self.buffers.write.len() {
                        // There was room for more than was begun.
                        true => self.sent_all(slot),
                        false => self.advance(slot, written),
                    }
                    if written < filled {
                        return; // The edge comes when there is room again.
                    }
                    if !self.plan.protocol.answers() {
                        return self.discard_written(slot);
                    }
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(errno) => return self.fail_connection(slot, errno),
            }
        }
    }

    /// Notes that every request begun was written to its end.
    fn sent_all(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        connection.written = connection.begun;
        connection.written_bytes = 0;
    }

    fn count_sent(&mut self, bytes: u64) {
        self.tally.bytes_sent += bytes;
        if self.phase(self.clock.now_ns) == Phase::Window {
            self.tally.window_bytes_sent += bytes;
        }
    }

    fn count_received(&mut self, bytes: u64) {
        self.tally.bytes_received += bytes;
        if self.phase(self.clock.now_ns) == Phase::Window {
            self.tally.window_bytes_received += bytes;
        }
    }

    /// Puts the next unsent bytes of a slot into the write buffer, several requests' if they fit.
    fn fill(&mut self, slot: u32) -> usize {
        let connection = self.slots.slot(slot);
        let (begun, mut sequence, mut offset) = (
            connection.begun,
            connection.written,
            connection.written_bytes,
        );
        let mut filled = 0;
        while sequence < begun && filled < self.buffers.write.len() {
            let id = self.request_id(slot, sequence);
            filled += self
                .plan
                .protocol
                .fill(id, offset, &mut self.buffers.write[filled..]);
            sequence += 1;
            offset = 0;
        }
        filled
    }

    /// Notes that `bytes` more were written.
    fn advance(&mut self, slot: u32, mut bytes: usize) {
        while bytes > 0 {
            let id = self.request_id(slot, self.slots.slot(slot).written);
            let connection = self.slots.slot_mut(slot);
            let left = (self.plan.protocol.request_len(id) - connection.written_bytes) as usize;
            if bytes < left {
                connection.written_bytes += bytes as u32;
                return;
            }
            bytes -= left;
            connection.written += 1;
            connection.written_bytes = 0;
        }
    }

    /// Where nothing answers, a request is complete when the kernel has taken it.
    fn discard_written(&mut self, slot: u32) {
        self.read_clock();
        while self.slots.slot(slot).answered < self.slots.slot(slot).written {
            self.complete(slot, true);
        }
        if self.proceed(slot) && self.slots.slot(slot).has_unsent() {
            self.come_again(slot);
        }
    }

    /// Reads a socket, to its end if it is known to have ended.
    pub(super) fn read(&mut self, slot: u32, to_the_end: bool) {
        let mut buffer = std::mem::take(&mut self.buffers.read);
        let open = self.read_into(slot, to_the_end, &mut buffer);
        self.buffers.read = buffer;
        if open && self.slots.slot(slot).has_unsent() {
            self.write(slot);
        }
    }

    /// Returns whether the connection is still open.
    fn read_into(&mut self, slot: u32, to_the_end: bool, buffer: &mut [u8]) -> bool {
        for _ in 0..READS {
            let Some(fd) = &self.slots.slot(slot).fd else {
                return false;
            };
            match recv(fd.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(0) => {
                    self.read_clock();
                    self.closed_by_peer(slot);
                    return false;
                }
                Ok(length) => {
                    self.read_clock();
                    let input = &buffer[..length];
                    let is_open = match self.slots.have_sessions() {
                        true => self.receive_ciphertext(slot, input),
                        false => self.receive_plaintext(slot, input),
                    };
                    if !is_open {
                        return false;
                    }
                    // A short read has emptied the socket; a new edge tells of more (epoll(7)).
                    if length < buffer.len() && !to_the_end {
                        return true;
                    }
                }
                Err(Errno::EAGAIN) => return true,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    self.fail_connection(slot, errno);
                    return false;
                }
            }
        }
        self.slots.slot_mut(slot).unread = true;
        self.come_again(slot);
        true
    }

    /// Takes in what was said; returns whether the connection is still open.
    pub(super) fn receive_plaintext(&mut self, slot: u32, input: &[u8]) -> bool {
        self.count_received(input.len() as u64);
        self.receive(slot, input)
    }

    /// Gives a connection another turn, after those that wait for theirs.
    fn come_again(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        if !std::mem::replace(&mut connection.comes_again, true) {
            let generation = connection.generation;
            self.queues.again.push_back((slot, generation));
        }
    }

    /// Verifies what came in; returns whether the connection is still open.
    fn receive(&mut self, slot: u32, mut input: &[u8]) -> bool {
        self.note_first_byte(slot);
        if self.slots.slot(slot).held_back {
            return self.receive_greeting(slot, input);
        }
        let mut last = false;
        while !input.is_empty() {
            let connection = self.slots.slot(slot);
            if connection.in_flight() == 0 {
                self.unasked_answer(slot, input);
                return false;
            }
            let id = self.request_id(slot, connection.answered);
            let framing = &mut self.slots.slot_mut(slot).framing;
            match self.plan.protocol.receive(framing, id, input) {
                Received::More => break,
                Received::Done {
                    consumed,
                    ok,
                    closes,
                } => {
                    self.complete(slot, ok);
                    let connection = self.slots.slot_mut(slot);
                    connection.has_answered = true;
                    connection.retire |= closes;
                    last |= closes;
                    input = &input[consumed..];
                }
                Received::Mismatch => {
                    self.wrong_answer(slot, "MISMATCH");
                    return false;
                }
                Received::Garbage => {
                    self.wrong_answer(slot, "PROTOCOL");
                    return false;
                }
            }
        }
        if last && self.slots.slot(slot).in_flight() > 0 {
            // Behind an answer that closes the connection no other will come (RFC 9112 §9.6).
            self.end_as_planned(slot);
            return self.slots.slot(slot).fd.is_some();
        }
        self.proceed(slot)
    }

    fn note_first_byte(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        if std::mem::replace(&mut connection.heard, true) || !self.counts_connects() {
            return;
        }
        let connection = self.slots.slot(slot);
        let since_ns = match connection.in_flight() {
            0 => connection.since_ns,
            _ => {
                let first = self.slots.in_flight(slot, connection.answered);
                match self.plan.schedule.is_some() && self.plan.load.requests_per_conn == Some(1) {
                    true => first.due_ns,
                    false => first.sent_ns,
                }
            }
        };
        let took_ns = self.clock.now_ns.saturating_sub(since_ns);
        self.tally.first_byte.record(took_ns);
    }

    /// Counts and times the answer to the oldest request in flight.
    pub(super) fn complete(&mut self, slot: u32, ok: bool) {
        let answered = self.slots.slot(slot).answered;
        let InFlight {
            due_ns,
            sent_ns,
            phase,
        } = self.slots.in_flight(slot, answered);
        let now_ns = self.clock.now_ns;
        let connection = self.slots.slot_mut(slot);
        connection.answered += 1;
        connection.free_ns = now_ns;
        if self.plan.schedule.is_none() {
            let due_ns = now_ns.saturating_add(self.plan.load.think_ns);
            connection.next_due_ns = match &self.plan.population {
                None => due_ns,
                Some(_) => {
                    let start_ns = self.clock.edges.warmup_start_ns;
                    let number = u64::from(connection.stream);
                    let next_ns = self
                        .plan
                        .next_part_ns(number, due_ns.saturating_sub(start_ns));
                    start_ns.saturating_add(next_ns)
                }
            };
        }
        let status = connection.framing.status();
        self.outstanding -= 1;
        self.answers.count(phase, status);
        if !ok {
            return self.error_answer(slot, phase, due_ns);
        }
        self.count_of(phase, due_ns, |counts| counts.completed += 1);
        if phase == Phase::Window {
            self.slots.slot_mut(slot).completed_in_window += 1;
            let is_open_loop = self.plan.schedule.is_some();
            self.tally.response.record(now_ns - due_ns);
            if is_open_loop {
                self.tally.service.record(now_ns - sent_ns);
            }
            if let Some(stage) = self.stage_of(phase, due_ns) {
                let stage = self.tally.stage(stage);
                stage.response.record(now_ns - due_ns);
                if is_open_loop {
                    stage.service.record(now_ns - sent_ns);
                }
            }
        }
        if phase != Phase::Ramp && self.phase(now_ns) == Phase::Window {
            self.count_in_window(slot);
        }
        if !self.slots.slot(slot).served {
            self.note_served(slot);
        }
    }

    /// Throughput counts by the time of completion.
    fn count_in_window(&mut self, slot: u32) {
        let middle_ns = self.clock.edges.window_start_ns / 2 + self.clock.edges.window_end_ns / 2;
        let id = self.request_id(slot, self.slots.slot(slot).answered - 1);
        let bytes = self.plan.protocol.request_len(id);
        let counts = &mut self.tally.phases[Phase::Window as usize];
        counts.completed_halves[usize::from(self.clock.now_ns >= middle_ns)] += 1;
        counts.bytes += u64::from(bytes);
    }

    /// The first exchange is verified: the connection counts as served and makes
    /// room for the next to be opened.
    fn note_served(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        connection.served = true;
        connection.ever_served = true;
        connection.failures = 0;
        self.tally.connections.served += 1;
        if self.phase(self.clock.now_ns) == Phase::Window {
            self.tally.connections.served_in_window += 1;
        }
        self.free_place(slot);
        self.settle(slot);
    }

    /// After answers: close what has done its work, begin what is due.
    pub(super) fn proceed(&mut self, slot: u32) -> bool {
        if self.slots.slot(slot).is_done() {
            self.close_as_planned(slot);
            return self.slots.slot(slot).fd.is_some();
        }
        self.arm(slot);
        true
    }
}
