//! Opening connections: how many at a time, from where, and what can go wrong.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};

use super::close::Lost;
use super::connection::State;
use super::dial::{Call, DialError};
use super::{PASS, Worker};
use crate::base::clock::NEVER;
use crate::base::sys::total_retransmits;
use crate::load::Phase;
use crate::protocol::tls::Client;
use crate::tally::{count, errno_name};

/// A connect that took longer has probably had its SYN sent again: the first
/// retry comes after 1 s (RFC 6298 §2; TCP_TIMEOUT_INIT in the kernel).
const SYN_RETRY_NS: u64 = 900_000_000;

impl Worker {
    /// Opens slots that wait, as many as the places of `--connect-inflight` allow.
    pub(super) fn open_waiting(&mut self) -> bool {
        self.take_scheduled();
        self.redial();
        let mut opened = 0;
        while self.opening.places < self.share.inflight && opened < PASS && self.may_open() {
            let Some(slot) = self.opening.waiting.pop_front() else {
                break;
            };
            if !self.is_wanted(slot) {
                continue;
            }
            if let Some(pacer) = &mut self.opening.pacer {
                pacer.advance();
            }
            self.open(slot);
            opened += 1;
        }
        opened > 0
    }

    fn may_open(&self) -> bool {
        let pacer = self.opening.pacer.as_ref();
        pacer.is_none_or(|pacer| pacer.due_ns() <= self.clock.now_ns)
    }

    /// When the pacer lets the next waiting slot be opened, if that is what it waits for.
    pub(super) fn next_open_ns(&self) -> u64 {
        match &self.opening.pacer {
            Some(pacer)
                if !self.opening.waiting.is_empty()
                    && self.opening.places < self.share.inflight =>
            {
                pacer.due_ns()
            }
            _ => NEVER,
        }
    }

    /// Slots that the descriptor limit leaves no descriptor for are counted as
    /// what they would have met, untried.
    pub(super) fn give_up_beyond_descriptors(&mut self) {
        for slot in self.share.descriptors..self.share.slots {
            self.tally.connections.attempts += 1;
            self.local_failure(slot, Call::Socket.failed(Errno::EMFILE));
        }
    }

    fn open(&mut self, slot: u32) {
        self.note_opening_slip(slot);
        let requests = self.plan.load.requests_per_conn;
        let now_ns = self.clock.now_ns;
        let connection = self.slots.slot_mut(slot);
        connection.renew(now_ns, requests.filter(|_| connection.active));
        connection.held_back = self.tls.is_some() || self.plan.protocol.is_greeted();
        connection.state = State::Connecting;
        connection.opening = true;
        self.opening.places += 1;
        self.opening.connecting += 1;
        self.opening.attempts += 1;
        self.tally.connections.attempts += 1;
        let established = match self.dial(slot) {
            Ok(established) => established,
            Err(error) => return self.connect_failed(slot, error),
        };
        if established {
            self.read_clock();
            self.established(slot);
        }
    }

    /// Takes note of how a connect ended; true if the connection stands. A socket with an error is reported as
    /// such by epoll (`tcp_poll`, net/ipv4/tcp.c), so SO_ERROR (connect(2)) is only read of those.
    pub(super) fn finish_connect(&mut self, slot: u32, failed: bool) -> bool {
        let Some(fd) = &self.slots.slot(slot).fd else {
            return false;
        };
        let errno = match failed {
            true => {
                getsockopt(fd, sockopt::SocketError).map_or_else(|errno| errno, Errno::from_raw)
            }
            false => Errno::UnknownErrno,
        };
        if errno == Errno::UnknownErrno {
            self.read_clock();
            self.established(slot);
            return self.slots.slot(slot).state == State::Open;
        }
        self.connect_failed(slot, Call::Connect.failed(errno));
        false
    }

    /// Where a connection is opened for a request that is due, it is late with its connect(2); not again if that fails.
    fn note_opening_slip(&mut self, slot: u32) {
        let connection = self.slots.slot(slot);
        let (due_ns, free_ns) = (connection.next_due_ns, connection.free_ns);
        let first = self.clock.running && connection.failures == 0;
        if self.plan.schedule.is_some()
            && first
            && self.opens_when_due(slot)
            && self.phase(due_ns) == Phase::Window
        {
            let late_ns = self.clock.now_ns.saturating_sub(due_ns.max(free_ns));
            self.tally.slip.record(late_ns);
        }
    }

    pub(super) fn established(&mut self, slot: u32) {
        let now_ns = self.clock.now_ns;
        let connection = self.slots.slot_mut(slot);
        let took_ns = now_ns.saturating_sub(connection.since_ns);
        connection.state = State::Open;
        connection.since_ns = now_ns;
        connection.free_ns = now_ns;
        self.opening.connecting -= 1;
        self.open += 1;
        self.tally.connections.established += 1;
        if took_ns > SYN_RETRY_NS {
            self.count_syn_retries(slot);
        }
        if self.counts_connects() {
            self.tally.connect.record(took_ns);
        }
        let session = self.tls.as_ref().map(Client::session);
        if session.is_some() {
            self.slots.set_session(slot, session);
        }
        self.greet(slot);
        if self.slots.have_sessions() {
            self.send_session(slot);
        }
    }

    /// How often the SYN of a connect was sent again, which ends now; one read of a connect that is still under way.
    pub(super) fn count_syn_retries(&mut self, slot: u32) {
        if let Some(fd) = &self.slots.slot(slot).fd
            && !self.plan.load.target.is_unix()
        {
            // A TCP socket of our own always has a TCP_INFO.
            let retries = total_retransmits(fd.as_fd()).unwrap_or(0);
            *self.tally.connections.syn_retries.get_or_insert(0) += u64::from(retries);
        }
    }

    /// Whether connects of this moment are the reported ones: the window's where
    /// connections are replaced as part of the load, the ramp's otherwise.
    pub(super) fn counts_connects(&self) -> bool {
        let reported = if self.plan.load.churns() {
            Phase::Window
        } else {
            Phase::Ramp
        };
        self.phase(self.clock.now_ns) == reported
    }

    /// Gives back the place of `--connect-inflight`.
    pub(super) fn free_place(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        if std::mem::take(&mut connection.opening) {
            self.opening.places -= 1;
        }
    }

    /// Notes that the slot's first attempt has ended.
    pub(super) fn settle(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        if !std::mem::replace(&mut connection.settled, true) {
            self.opening.settled += 1;
            self.opening.settled_served += u64::from(connection.served);
        }
    }

    pub(super) fn connect_timed_out(&mut self, slot: u32) {
        self.tally.connections.timed_out += 1;
        let limit = crate::base::units::format_ns(self.plan.load.connect_timeout_ns);
        self.fail_connect(slot, "connect", "TIMEOUT", || {
            format!("not established within {limit} (--connect-timeout)")
        });
    }

    pub(super) fn connect_failed(&mut self, slot: u32, error: DialError) {
        if error.is_local() {
            return self.local_failure(slot, error);
        }
        let connections = &mut self.tally.connections;
        match error.errno {
            Errno::ECONNREFUSED => connections.refused += 1,
            Errno::ETIMEDOUT => connections.timed_out += 1,
            other => count(&mut connections.connect_failed, &errno_name(other)),
        }
        let plan = self.plan.clone();
        self.fail_connect(slot, "connect", &errno_name(error.errno), || {
            error.in_words(&plan.load.target)
        });
    }

    fn local_failure(&mut self, slot: u32, error: DialError) {
        let kind = errno_name(error.errno);
        count(&mut self.tally.connections.local_failures, &kind);
        let plan = self.plan.clone();
        self.fail_connect(slot, "local", &kind, || error.in_words(&plan.load.target));
    }

    fn fail_connect(&mut self, slot: u32, stage: &str, kind: &str, words: impl FnOnce() -> String) {
        let (number, phase) = (self.number(slot), self.phase(self.clock.now_ns));
        self.tally.fail(stage, phase, kind, || {
            format!("connection {number}: {}", words())
        });
        // What this machine could not do does not decide over requests that wait to be sent again.
        if stage != "local" {
            self.lose(slot, &Lost::Failed(kind));
        }
        let connection = self.slots.slot_mut(slot);
        if connection.state == State::Connecting {
            self.opening.connecting -= 1;
            self.count_syn_retries(slot);
        }
        self.slots.slot_mut(slot).fd = None;
        self.free_place(slot);
        self.settle(slot);
        self.retry_or_give_up(slot);
    }
}
