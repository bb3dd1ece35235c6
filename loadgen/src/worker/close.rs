//! How connections end, and what becomes of the requests in flight then.

use std::cmp::Reverse;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use super::Worker;
use super::connection::State;
use crate::base::clock::NEVER;
use crate::base::sys::total_retransmits;
use crate::base::text::words_of;
use crate::base::units::format_ns;
use crate::load::{Close, Phase};
use crate::protocol::tls::Session;
use crate::tally::{count, count_bounded, errno_name};

/// Why the requests in flight on a connection will not be answered.
pub(super) enum Lost<'a> {
    TimedOut,
    Mismatched,
    Failed(&'a str),
}

impl Worker {
    /// The connection has done its work: end it the way `--close` says.
    pub(super) fn close_as_planned(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        connection.retire = true;
        if connection.in_flight() == 0 && connection.state == State::Open {
            self.end_as_planned(slot);
        }
    }

    /// Ends the connection; what is in flight on it is sent again on the next.
    pub(super) fn end_as_planned(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        if self.plan.load.close == Close::Server {
            connection.state = State::Closing;
            connection.since_ns = self.clock.now_ns;
            return;
        }
        self.tally.connections.closed_by_us += 1;
        self.shut(slot);
        self.reopen(slot);
    }

    /// read(2) returned 0.
    pub(super) fn closed_by_peer(&mut self, slot: u32) {
        self.tally.connections.closed_by_peer += 1;
        let connection = self.slots.slot_mut(slot);
        if connection.in_flight() > 0
            && let Some(ok) = self.plan.protocol.finish_at_eof(&mut connection.framing)
        {
            self.complete(slot, ok);
            // Its end was the end of the answer, as the server had said.
            let connection = self.slots.slot_mut(slot);
            connection.retire = true;
            connection.has_answered = true;
        }
        let connection = self.slots.slot(slot);
        let (planned, had_answered) = (connection.retire, connection.has_answered);
        let unused = !had_answered && connection.in_flight() == 0;
        if !planned {
            self.tally.connections.closed_unasked += 1;
            if self.is_held_silence(slot) {
                self.lose_silence(slot, "EOF", "closed by the server");
            }
        }
        self.lose_unserved(slot, had_answered);
        self.shut(slot);
        if planned && had_answered {
            self.reopen(slot);
        } else if unused && self.is_due_later(slot) {
            // Nothing was asked of it yet: the next is opened for what will be.
            let due_ns = self.slots.slot(slot).next_due_ns;
            self.opening.scheduled.push(Reverse((due_ns, slot)));
        } else {
            self.replace(slot, had_answered);
        }
    }

    /// After a clean end: counts those requests in flight as lost that the next connection cannot take over. One whose
    /// answer had begun was served; and where nothing was answered, sending again would be all that ever happens.
    fn lose_unserved(&mut self, slot: u32, had_answered: bool) {
        let connection = self.slots.slot(slot);
        if connection.in_flight() > 0 && !connection.framing.is_untouched() {
            let words = "closed by the server in the middle of its answer";
            self.note_failure(slot, "request", "EOF", || words.to_owned());
            self.lose_up_to(
                slot,
                self.slots.slot(slot).answered + 1,
                &Lost::Failed("EOF"),
            );
        }
        if !had_answered && self.slots.slot(slot).in_flight() > 0 {
            let words = "closed by the server before it answered anything";
            self.note_failure(slot, "request", "EOF", || words.to_owned());
            self.lose(slot, &Lost::Failed("EOF"));
        }
    }

    /// Whether the slot's next request is due at an instant to come.
    fn is_due_later(&self, slot: u32) -> bool {
        let connection = self.slots.slot(slot);
        let known = connection.next_due_ns != NEVER;
        self.clock.running
            && connection.active
            && known
            && connection.next_due_ns > self.clock.now_ns
    }

    /// read(2) or write(2) failed.
    pub(super) fn fail_connection(&mut self, slot: u32, errno: Errno) {
        self.tally.connections.reset_later += 1;
        let kind = errno_name(errno);
        let had_answered = self.slots.slot(slot).has_answered;
        if self.is_held_silence(slot) {
            self.lose_silence(slot, &kind, errno.desc());
        } else {
            let in_flight = self.slots.slot(slot).in_flight() > 0;
            let stage = if in_flight { "request" } else { "connection" };
            self.note_failure(slot, stage, &kind, || errno.desc().to_owned());
        }
        self.lose(slot, &Lost::Failed(&kind));
        self.shut(slot);
        self.replace(slot, had_answered);
    }

    /// The answer is not what was asked for; nothing after it can be trusted.
    pub(super) fn wrong_answer(&mut self, slot: u32, kind: &str) {
        let words = self.slots.slot_mut(slot).framing.take_words();
        self.note_failure(slot, "request", kind, || words);
        self.lose(
            slot,
            &if kind == "MISMATCH" {
                Lost::Mismatched
            } else {
                Lost::Failed(kind)
            },
        );
        self.tally.connections.closed_by_us += 1;
        let had_answered = self.slots.slot(slot).has_answered;
        self.shut(slot);
        self.replace(slot, had_answered);
    }

    /// An answer to nothing; whatever comes after it could not be told from an answer to the next request.
    pub(super) fn unasked_answer(&mut self, slot: u32, input: &[u8]) {
        self.note_failure(slot, "connection", "UNASKED", || {
            format!("received \"{}\", an answer to no request", words_of(input))
        });
        self.tally.connections.unasked += 1;
        self.tally.connections.closed_by_us += 1;
        let had_answered = self.slots.slot(slot).has_answered;
        self.shut(slot);
        self.replace(slot, had_answered);
    }

    /// A well-formed answer that says no, to the request before the next one.
    pub(super) fn error_answer(&mut self, slot: u32, phase: Phase, due_ns: u64) {
        self.count_of(phase, due_ns, |counts| count(&mut counts.failed, "STATUS"));
        let connection = self.slots.slot_mut(slot);
        connection.refused_in_window |= phase == Phase::Window;
        let (sequence, words) = (connection.answered - 1, connection.framing.take_words());
        if let Some(name) = self.plan.protocol.error_name(&words) {
            count_bounded(&mut self.tally.phases[phase as usize].by_status, name);
        }
        self.note_failure_of(slot, sequence, phase, "request", "STATUS", || {
            format!("the server answered \"{words}\"")
        });
        self.free_place(slot);
        self.settle(slot);
    }

    pub(super) fn request_timed_out(&mut self, slot: u32) {
        let limit = format_ns(self.plan.load.response_limit_ns());
        let session = self.slots.session(slot);
        let what = match self.slots.slot(slot).held_back {
            true if session.is_some_and(Session::is_handshaking) => "end of the TLS handshake",
            true => "greeting",
            false => "answer",
        };
        self.note_failure(slot, "request", "TIMEOUT", || {
            format!("no {what} within {limit} (--request-timeout)")
        });
        self.lose(slot, &Lost::TimedOut);
        self.tally.connections.closed_by_us += 1;
        self.shut(slot);
        let connection = self.slots.slot_mut(slot);
        connection.ever_served = true; // A wire time-out is always replaced.
        let had_answered = connection.has_answered;
        self.replace(slot, had_answered);
    }

    pub(super) fn server_never_closed(&mut self, slot: u32) {
        let limit = format_ns(self.plan.load.response_limit_ns());
        self.note_failure(slot, "connection", "TIMEOUT", || {
            format!("the server did not close within {limit}")
        });
        self.tally.connections.closed_by_us += 1;
        self.shut(slot);
        self.reopen(slot);
    }

    pub(super) fn note_failure(
        &mut self,
        slot: u32,
        stage: &str,
        kind: &str,
        words: impl FnOnce() -> String,
    ) {
        let connection = self.slots.slot(slot);
        let sequence = connection.answered;
        // A request belongs to the phase in which it was due; what happens between requests, to that of the moment.
        let phase = match connection.in_flight() {
            0 => self.phase(self.clock.now_ns),
            _ => self.slots.in_flight(slot, sequence).phase,
        };
        self.note_failure_of(slot, sequence, phase, stage, kind, words);
    }

    fn note_failure_of(
        &mut self,
        slot: u32,
        sequence: u64,
        phase: Phase,
        stage: &str,
        kind: &str,
        words: impl FnOnce() -> String,
    ) {
        let number = self.number(slot);
        self.tally.fail(stage, phase, kind, || {
            format!("connection {number}, request {sequence}: {}", words())
        });
    }

    /// Whether a connection is one of those that are to be held in silence until the window ends.
    fn is_held_silence(&self, slot: u32) -> bool {
        let connection = self.slots.slot(slot);
        let silent = connection.served && !connection.active && connection.in_flight() == 0;
        silent && self.phase(self.clock.now_ns) != Phase::Drain
    }

    /// One of them was ended by the other side: an error of its own.
    fn lose_silence(&mut self, slot: u32, kind: &str, words: &str) {
        self.tally.connections.idle_lost += 1;
        self.note_failure(slot, "connection", kind, || words.to_owned());
    }

    /// Counts the requests in flight as lost. The answers of a pipeline come in
    /// order, so only the oldest can be wrong; only those sent long enough ago
    /// have timed out; the rest end with their connection.
    pub(super) fn lose(&mut self, slot: u32, why: &Lost<'_>) {
        self.lose_up_to(slot, self.slots.slot(slot).begun, why);
    }

    /// Counts those below `end` as lost.
    fn lose_up_to(&mut self, slot: u32, end: u64, why: &Lost<'_>) {
        let answered = self.slots.slot(slot).answered;
        for sequence in answered..end {
            let entry = self.slots.in_flight(slot, sequence);
            let phase = entry.phase;
            let late = self.clock.now_ns.saturating_sub(entry.sent_ns)
                > self.plan.load.response_limit_ns();
            let has_timed_out = matches!(why, Lost::TimedOut) && (late || sequence == answered);
            self.count_of(phase, entry.due_ns, |tally| match why {
                Lost::TimedOut if has_timed_out => tally.timed_out += 1,
                Lost::Mismatched if sequence == answered => tally.mismatched += 1,
                Lost::TimedOut | Lost::Mismatched => count(&mut tally.failed, "ABANDONED"),
                Lost::Failed(kind) => count(&mut tally.failed, kind),
            });
            if has_timed_out {
                self.censor(phase, entry.due_ns, entry.sent_ns);
            }
        }
        self.outstanding -= end - answered;
        let connection = self.slots.slot_mut(slot);
        connection.answered = end;
        if connection.written < end {
            connection.written = end;
            connection.written_bytes = 0;
        }
    }

    /// An answer that never came took at least until now.
    pub(super) fn censor(&mut self, phase: Phase, due_ns: u64, sent_ns: u64) {
        if phase != Phase::Window {
            return;
        }
        let now_ns = self.clock.now_ns;
        let [response_ns, service_ns] = [due_ns, sent_ns].map(|at_ns| now_ns.saturating_sub(at_ns));
        let is_open_loop = self.plan.schedule.is_some();
        self.tally.response.record_censored(response_ns);
        if is_open_loop {
            self.tally.service.record_censored(service_ns);
        }
        if let Some(stage) = self.stage_of(phase, due_ns) {
            let stage = self.tally.stage(stage);
            stage.response.record_censored(response_ns);
            if is_open_loop {
                stage.service.record_censored(service_ns);
            }
        }
    }

    /// Closes the socket.
    pub(super) fn shut(&mut self, slot: u32) {
        self.read_retransmits(slot);
        if self.slots.have_sessions() {
            self.end_session(slot);
        }
        let connection = self.slots.slot_mut(slot);
        if let Some(fd) = connection.fd.take()
            && self.plan.load.close == Close::Reset
        {
            // A socket that cannot linger is closed with FIN instead; the run is no less valid.
            let _ = setsockopt(
                &fd,
                sockopt::Linger,
                &libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                },
            );
        }
        connection.state = State::Free;
        self.open -= 1;
        self.free_place(slot);
        self.settle(slot);
    }

    /// Retransmits are read once per long-lived connection; for short-lived ones
    /// the extra system call would show, and a lost SYN shows in the connect time.
    fn read_retransmits(&mut self, slot: u32) {
        if self.plan.load.requests_per_conn.is_none()
            && !self.plan.load.target.is_unix()
            && let Some(fd) = &self.slots.slot(slot).fd
        {
            let segments = total_retransmits(fd.as_fd()).unwrap_or(0);
            *self.tally.connections.retransmits.get_or_insert(0) += u64::from(segments);
        }
    }
}
