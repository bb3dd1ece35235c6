//! How connections end, and what becomes of the requests in flight then.

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
use crate::load::schedule::Event;
use crate::load::{Close, Phase};
use crate::tally::Tally;
use crate::tally::latency::least_equivalent;
use crate::tally::{count, errno_name};

/// Why the requests in flight on a connection will not be answered.
enum Lost<'a> {
    TimedOut,
    Mismatched,
    Failed(&'a str),
}

impl Worker {
    /// The connection has done its work: end it the way `--close` says.
    pub(super) fn close_as_planned(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        connection.retire = true;
        if connection.in_flight() > 0 || connection.state != State::Open {
            return;
        }
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
        let connection = self.slots.slot_mut(slot);
        if connection.in_flight() > 0
            && let Some(ok) = self.plan.protocol.finish_at_eof(&mut connection.framing)
        {
            self.complete(slot, ok);
            // Its end was the end of the answer, as the server had said.
            self.slots.slot_mut(slot).retire = true;
        }
        self.tally.connections.closed_by_peer += 1;
        let planned = self.slots.slot(slot).retire && self.slots.slot(slot).in_flight() == 0;
        if planned {
            self.shut(slot);
            return self.reopen(slot);
        }
        self.note_lost_connection(slot, "EOF", "closed by the server");
        self.lose(slot, &Lost::Failed("EOF"));
        self.shut(slot);
        self.retry_or_give_up(slot);
    }

    /// read(2) or write(2) failed.
    pub(super) fn fail_connection(&mut self, slot: u32, errno: Errno) {
        self.tally.connections.reset_later += 1;
        let kind = errno_name(errno);
        self.note_lost_connection(slot, &kind, errno.desc());
        self.lose(slot, &Lost::Failed(&kind));
        self.shut(slot);
        self.retry_or_give_up(slot);
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
        self.shut(slot);
        self.retry_or_give_up(slot);
    }

    /// An answer to nothing; whatever comes after it could not be told from an answer to the next request.
    pub(super) fn unasked_answer(&mut self, slot: u32, input: &[u8]) {
        self.note_failure(slot, "connection", "UNASKED", || {
            format!("received \"{}\" that nobody had asked for", words_of(input))
        });
        self.tally.connections.unasked += 1;
        self.tally.connections.closed_by_us += 1;
        self.shut(slot);
        self.retry_or_give_up(slot);
    }

    /// A well-formed answer that says no, to the request before the next one.
    pub(super) fn error_answer(&mut self, slot: u32, phase: Phase) {
        count(&mut self.tally.phases[phase as usize].failed, "STATUS");
        let connection = self.slots.slot_mut(slot);
        let (sequence, words) = (connection.answered - 1, connection.framing.take_words());
        self.note_failure_of(slot, sequence, phase, "request", "STATUS", || {
            format!("the server answered \"{words}\"")
        });
        self.free_place(slot);
        self.settle(slot);
    }

    pub(super) fn request_timed_out(&mut self, slot: u32) {
        let limit = format_ns(self.plan.load.response_limit_ns());
        self.note_failure(slot, "request", "TIMEOUT", || {
            format!("no answer within {limit} (--request-timeout)")
        });
        self.lose(slot, &Lost::TimedOut);
        self.tally.connections.closed_by_us += 1;
        self.shut(slot);
        self.slots.slot_mut(slot).ever_served = true; // A wire time-out is always replaced.
        self.retry_or_give_up(slot);
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

    fn note_failure(&mut self, slot: u32, stage: &str, kind: &str, words: impl FnOnce() -> String) {
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

    fn note_lost_connection(&mut self, slot: u32, kind: &str, words: &str) {
        let stage = if self.slots.slot(slot).in_flight() > 0 {
            "request"
        } else {
            "connection"
        };
        self.note_failure(slot, stage, kind, || words.to_owned());
    }

    /// Counts the requests in flight as lost. The answers of a pipeline come in
    /// order, so only the oldest can be wrong; only those sent long enough ago
    /// have timed out; the rest end with their connection.
    fn lose(&mut self, slot: u32, why: &Lost<'_>) {
        let connection = self.slots.slot(slot);
        let (answered, begun) = (connection.answered, connection.begun);
        for sequence in answered..begun {
            let entry = self.slots.in_flight(slot, sequence);
            let phase = entry.phase;
            let late = self.clock.now_ns.saturating_sub(entry.sent_ns)
                > self.plan.load.response_limit_ns();
            let tally = &mut self.tally.phases[phase as usize];
            match why {
                Lost::TimedOut if late || sequence == answered => {
                    tally.timed_out += 1;
                    self.censor(phase, entry.due_ns, entry.sent_ns);
                }
                Lost::Mismatched if sequence == answered => tally.mismatched += 1,
                Lost::TimedOut | Lost::Mismatched => count(&mut tally.failed, "ABANDONED"),
                Lost::Failed(kind) => count(&mut tally.failed, kind),
            }
        }
        self.outstanding -= begun - answered;
        self.slots.slot_mut(slot).answered = begun;
    }

    /// An answer that never came took at least until now.
    fn censor(&mut self, phase: Phase, due_ns: u64, sent_ns: u64) {
        if phase != Phase::Window {
            return;
        }
        self.tally
            .response
            .record_censored(self.clock.now_ns.saturating_sub(due_ns));
        if self.plan.schedule.is_some() {
            self.tally
                .service
                .record_censored(self.clock.now_ns.saturating_sub(sent_ns));
        }
    }

    /// Closes the socket.
    fn shut(&mut self, slot: u32) {
        self.read_retransmits(slot);
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
            && let Some(fd) = &self.slots.slot(slot).fd
        {
            let segments = total_retransmits(fd.as_fd()).unwrap_or(0);
            self.tally.connections.retransmits += u64::from(segments);
        }
    }

    /// Puts a slot back in line after a planned end.
    fn reopen(&mut self, slot: u32) {
        if self.clock.running {
            self.opening.waiting.push_back(slot);
        } else {
            self.opening.parked.push(slot);
        }
    }

    /// The run is over: counts what is still open, unanswered or unsent.
    pub(super) fn settle_accounts(&mut self) {
        self.clock.now_ns = crate::base::clock::now_ns();
        self.clock.edges = self.plan.control.edges();
        if self.clock.next_interval_ns != NEVER {
            self.end_interval(); // The window was cut short.
        }
        for slot in 0..self.share.slots {
            self.settle_requests(slot);
            self.settle_reconnects(slot);
            let connection = self.slots.slot(slot);
            match connection.state {
                State::Connecting => {
                    self.tally.connections.pending += 1;
                    self.count_syn_retries(slot);
                }
                State::Open | State::Closing => {
                    self.tally.connections.open_at_end += 1;
                    self.shut(slot);
                }
                State::Free | State::Dead => {}
            }
            let connection = self.slots.slot(slot);
            if connection.active || connection.completed_in_window > 0 {
                self.tally
                    .fairness
                    .add(u64::from(connection.completed_in_window));
            }
        }
        if self.plan.schedule.is_some() && self.plan.control.hurried() {
            // What a broken-off run left uncounted is neither offered nor dropped.
            for phase in &mut self.tally.phases {
                phase.offered = phase.sent + phase.dropped;
            }
            self.tally.fail("request", Phase::Drain, "UNCOUNTED", || {
                "the run was broken off before all requests that were due and never sent were counted".into()
            });
        }
    }

    fn settle_requests(&mut self, slot: u32) {
        let connection = self.slots.slot(slot);
        for sequence in connection.answered..connection.begun {
            let entry = self.slots.in_flight(slot, sequence);
            let phase = entry.phase;
            self.tally.phases[phase as usize].unanswered_at_end += 1;
            self.censor(phase, entry.due_ns, entry.sent_ns);
        }
        self.settle_schedule(slot);
    }

    /// Counts what the schedule asked for, from the schedule alone, and apart from
    /// that what was never sent: so the law between them and the requests says something.
    fn settle_schedule(&mut self, slot: u32) {
        let connection = self.slots.slot(slot);
        let Some(schedule) = self
            .plan
            .schedule
            .filter(|_| self.clock.running && connection.active && !self.plan.control.hurried())
        else {
            return;
        };
        let (stream, next_due_ns) = (u64::from(connection.stream), connection.next_due_ns);
        let index = connection.index;
        let (edges, now_ns) = (self.clock.edges, self.clock.now_ns);
        let start_ns = edges.warmup_start_ns;
        let end_ns = edges.window_end_ns.min(now_ns);
        let window_ns = edges.window_start_ns.min(end_ns);
        let go_on = || !self.plan.control.hurried();
        let instants = [window_ns, end_ns].map(|at_ns| at_ns.saturating_sub(start_ns));
        let Some([warmup, all]) = schedule.counts_before(stream, instants, go_on) else {
            return; // Nobody waits for the counts of a run that was broken off.
        };
        self.tally.phases[Phase::Warmup as usize].offered += warmup;
        self.tally.phases[Phase::Window as usize].offered += all - warmup;
        let next = Event {
            index,
            due_ns: next_due_ns.saturating_sub(start_ns),
        };
        let Tally {
            phases, response, ..
        } = &mut self.tally;
        let group_end = |due_ns: u64| {
            let at_ns = start_ns.saturating_add(due_ns);
            if at_ns < window_ns {
                return window_ns - start_ns;
            }
            // Those that have waited as long, to the histogram, as this one.
            let least_ns = least_equivalent(now_ns - at_ns);
            now_ns.saturating_sub(least_ns).saturating_sub(start_ns) + 1
        };
        schedule.for_each_group(
            stream,
            next,
            end_ns.saturating_sub(start_ns),
            group_end,
            go_on,
            |group| {
                let [first_ns, last_ns] =
                    [group.first_ns, group.last_ns].map(|ns| start_ns.saturating_add(ns));
                let phase = if first_ns < window_ns {
                    Phase::Warmup
                } else {
                    Phase::Window
                };
                phases[phase as usize].dropped += group.count;
                if phase == Phase::Window {
                    response.record_censored_group(
                        group.count,
                        now_ns - first_ns,
                        now_ns - last_ns,
                    );
                }
            },
        );
    }
}
