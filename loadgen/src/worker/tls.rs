//! Connections whose bytes go through a session of TLS: the handshake, and what is said on both sides of it. Nothing here
//! waits: what the socket does not take is sent when it says that it has room.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use super::Worker;
use super::close::Lost;
use crate::protocol::tls::Fault;

/// A socket that ciphertext is sent to.
struct Socket<'a>(&'a OwnedFd);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Worker {
    /// Whether ciphertext waits to be sent.
    pub(super) fn has_ciphertext(&self, slot: u32) -> bool {
        let session = self.slots.session(slot);
        session.is_some_and(|session| session.has_unsent())
    }

    /// Sends what a session has to send, as much as the socket takes; whether the connection still stands.
    pub(super) fn send_session(&mut self, slot: u32) -> bool {
        match self.send_ciphertext(slot) {
            Ok(()) | Err(Errno::EAGAIN) => true,
            Err(errno) => {
                self.fail_connection(slot, errno);
                false
            }
        }
    }

    fn send_ciphertext(&mut self, slot: u32) -> Result<(), Errno> {
        let (connection, session) = self.slots.with_session(slot);
        let (Some(fd), Some(session)) = (&connection.fd, session) else {
            return Ok(());
        };
        loop {
            match session.send(&mut Socket(fd)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Errno::from_raw(error.raw_os_error().unwrap_or(0)));
                }
            }
        }
    }

    /// Says the first bytes of the write buffer to a session; how many it took. EAGAIN: what it was told before has not
    /// left yet.
    pub(super) fn send_plaintext(&mut self, slot: u32, filled: usize) -> Result<usize, Errno> {
        self.send_ciphertext(slot)?;
        let taken = match self.slots.with_session(slot).1 {
            Some(session) => session.write(&self.buffers.write[..filled]),
            None => 0,
        };
        match self.send_ciphertext(slot) {
            Ok(()) | Err(Errno::EAGAIN) => Ok(taken),
            Err(errno) => Err(errno),
        }
    }

    /// Takes in ciphertext; returns whether the connection is still open.
    pub(super) fn receive_ciphertext(&mut self, slot: u32, input: &[u8]) -> bool {
        let mut plain = std::mem::take(&mut self.buffers.plain);
        plain.resize(super::state::PLAIN, 0);
        let is_open = self.decrypt(slot, input, &mut plain);
        self.buffers.plain = plain;
        // A handshake's next word, or the answer to a request for new keys.
        is_open && (!self.has_ciphertext(slot) || self.send_session(slot))
    }

    fn decrypt(&mut self, slot: u32, mut input: &[u8], plain: &mut [u8]) -> bool {
        while !input.is_empty() {
            let Some(session) = self.slots.with_session(slot).1 else {
                return false;
            };
            let was_handshaking = session.is_handshaking();
            if let Err(fault) = session.receive(&mut input) {
                self.session_failed(slot, &fault);
                return false;
            }
            if was_handshaking && !self.note_handshake(slot) {
                continue;
            }
            loop {
                let Some(session) = self.slots.with_session(slot).1 else {
                    return false;
                };
                let length = session.read(plain);
                let is_ended = session.is_ended();
                if length > 0 {
                    if !self.receive_plaintext(slot, &plain[..length]) {
                        return false;
                    }
                } else if is_ended {
                    self.closed_by_peer(slot);
                    return false;
                } else {
                    break;
                }
            }
        }
        true
    }

    /// If the handshake is over now, times it, and lets the requests go that waited for it; whether it is.
    fn note_handshake(&mut self, slot: u32) -> bool {
        let Some(session) = self.slots.session(slot) else {
            return false;
        };
        if session.is_handshaking() {
            return false;
        }
        let shaken = session.shaken();
        let took_ns = self
            .clock
            .now_ns
            .saturating_sub(self.slots.slot(slot).since_ns);
        if self.counts_connects() {
            self.tally.handshake.record(took_ns);
        }
        self.tally.tls.note(&shaken);
        if self.plan.protocol.is_greeted() {
            return true;
        }
        self.let_go(slot);
        true
    }

    /// The session cannot go on, and so neither can its connection.
    fn session_failed(&mut self, slot: u32, fault: &Fault) {
        let words = &fault.words;
        self.note_failure(slot, "request", fault.kind, || words.clone());
        self.lose(slot, &Lost::Failed(fault.kind));
        self.tally.connections.closed_by_us += 1;
        let had_answered = self.slots.slot(slot).has_answered;
        self.shut(slot);
        self.replace(slot, had_answered);
    }

    /// Says that nothing more follows, as far as the socket takes it, and forgets the session.
    pub(super) fn end_session(&mut self, slot: u32) {
        let (connection, session) = self.slots.with_session(slot);
        if let (Some(fd), Some(session)) = (&connection.fd, session) {
            session.end();
            // The connection ends whether this is heard or not.
            let _ = session.send(&mut Socket(fd));
        }
        self.slots.set_session(slot, None);
    }
}
