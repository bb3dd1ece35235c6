//! One connection's life: a slot of the load that is opened, used, closed and
//! opened again. 192 bytes, the socket's kernel memory not counted.

use std::os::fd::OwnedFd;

use crate::base::clock::NEVER;
use crate::load::Phase;
use crate::protocol::Framing;

/// Where a slot is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No socket; waiting to be opened.
    #[default]
    Free,
    /// connect(2) is under way.
    Connecting,
    /// Established.
    Open,
    /// Its requests are done; the server is to close it.
    Closing,
    /// No socket, and none will be opened again.
    Dead,
}

/// One slot. What every request touches stands first, in the first two cache
/// lines: with ten thousand connections each line is a miss.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Connection {
    /// The socket, while there is one.
    pub fd: Option<OwnedFd>,
    /// Counts the sockets of this slot, so that late events of an old one are known.
    pub generation: u32,
    /// Requests begun on this slot.
    pub begun: u64,
    /// Requests answered, in order; the others are in flight.
    pub answered: u64,
    /// Requests whose bytes are all written.
    pub written: u64,
    /// When the next request is due.
    pub next_due_ns: u64,
    /// When it could last have sent: the previous answer or the establishment.
    pub free_ns: u64,
    /// Bytes of the next request already written.
    pub written_bytes: u32,
    /// Where it is.
    pub state: State,
    /// Whether it carries load now; idle connections do not.
    pub active: bool,
    /// Whether this socket's first exchange was verified.
    pub served: bool,
    /// Whether a byte has come back on this socket.
    pub heard: bool,
    /// Whether a request was answered on this socket, however.
    pub has_answered: bool,
    /// Whether it is to be closed as soon as nothing is in flight.
    pub retire: bool,
    /// Whether it stands in the queue of due times.
    pub queued: bool,
    /// Whether it stands in the queue of those that come again.
    pub comes_again: bool,
    /// Whether the socket may hold more than was read in its last turn.
    pub unread: bool,
    /// Whether it holds one of the places of `--connect-inflight`.
    pub opening: bool,
    /// Whether any socket of this slot was ever served.
    pub ever_served: bool,
    /// Whether its requests wait for what comes before the first: the server's greeting.
    pub held_back: bool,
    /// The request in flight, where there can be but one; pipelines have rings of their own.
    pub in_flight_alone: InFlight,
    /// Value of `begun` at which the socket has done its work.
    pub limit: u64,
    /// Requests completed in the window.
    pub completed_in_window: u32,
    /// Whether one that was due in the window was answered with a no.
    pub refused_in_window: bool,
    /// Which schedule it follows: its own number, unless the active set has moved.
    pub stream: u32,
    /// Which event of its schedule is due next.
    pub index: u64,
    /// What is known of the answer being read.
    pub framing: Framing,
    /// connect(2) was called, then: established; nanoseconds.
    pub since_ns: u64,
    /// How often `--reconnect-rate` has called it.
    pub reconnects: u32,
    /// Failed attempts in a row, for the pause before the next.
    pub failures: u8,
    /// Whether the slot's first attempt has ended.
    pub settled: bool,
}

impl Connection {
    /// A slot that has never been opened.
    #[must_use]
    pub fn new(number: u32, active: bool) -> Self {
        Self {
            active,
            stream: number,
            next_due_ns: NEVER,
            limit: NEVER,
            ..Self::default()
        }
    }

    /// Requests sent and not answered.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.begun - self.answered
    }

    /// Whether bytes wait to be written, and may be.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.written < self.begun && !self.held_back
    }

    /// Whether the socket has done its work and nothing is in flight.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.in_flight() == 0 && (self.retire || self.begun >= self.limit)
    }

    /// Requests in flight that were sent, at least in part.
    #[must_use]
    pub fn sent_in_flight(&self) -> u64 {
        self.written + u64::from(self.written_bytes > 0) - self.answered
    }

    /// Prepares the slot for a new socket, on which the requests in flight are to be sent again.
    pub fn renew(&mut self, now_ns: u64, requests: Option<u64>) {
        self.generation = self.generation.wrapping_add(1);
        self.served = false;
        self.heard = false;
        self.has_answered = false;
        self.comes_again = false;
        self.unread = false;
        self.retire = false;
        self.since_ns = now_ns;
        if self.in_flight() == 0 {
            self.written = self.answered;
            self.written_bytes = 0;
        }
        self.limit = requests.map_or(NEVER, |requests| self.answered.saturating_add(requests));
        self.framing = Framing::default();
    }
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// When it was due, in nanoseconds.
    pub due_ns: u64,
    /// When it was sent, in nanoseconds.
    pub sent_ns: u64,
    /// The phase it belongs to.
    pub phase: Phase,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            due_ns: 0,
            sent_ns: 0,
            phase: Phase::Ramp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_small() {
        assert!(
            size_of::<Connection>() <= 192,
            "{}",
            size_of::<Connection>()
        );
        assert!(std::mem::offset_of!(Connection, framing) <= 128);
    }
}
