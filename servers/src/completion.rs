//! A connection driven by completions: the kernel is asked to receive and send,
//! and says when it has. Compare with [`nonblocking`](crate::nonblocking), where
//! it says when one could.

use std::io;
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::libc;

use crate::accept::{Door, Guest};
use crate::nonblocking::{Deadlines, HIGH_WATER};
use crate::service::{Kind, Service, Session};
use crate::sys::uring::{Buffer, Completion, Outgoing, Ring};

/// A connection is closed only when no operation on it is under way any more:
/// so no completion can be meant for a predecessor of its descriptor number.
struct Connection {
    guest: Guest,
    session: Session,
    /// Output that waits for the send under way to end.
    waiting: Vec<u8>,
    sending: bool,
    receiving: bool,
    /// The receive under way has been asked to end.
    cancelled: bool,
    /// No more input is wanted.
    ended: bool,
    /// An error has ended it.
    broken: bool,
    last_progress: Option<Instant>,
}

/// The connections of one ring, found by descriptor.
pub struct Conversations {
    connections: Vec<Option<Connection>>,
    service: Service,
    out: Vec<u8>,
    deadlines: Deadlines,
}

impl Conversations {
    /// None yet.
    pub fn new(service: Service) -> Conversations {
        Conversations {
            connections: Vec::new(),
            service,
            out: Vec::new(),
            deadlines: Deadlines::default(),
        }
    }

    /// Takes a connection in and asks for its first input.
    ///
    /// # Errors
    /// What the ring says.
    pub fn insert(&mut self, guest: Guest, ring: &mut Ring) -> io::Result<()> {
        let fd = guest.stream.as_raw_fd();
        let index = index(fd);
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        let mut connection = Connection {
            guest,
            session: Session::default(),
            waiting: Vec::new(),
            sending: false,
            receiving: false,
            cancelled: false,
            ended: false,
            broken: false,
            last_progress: None,
        };
        connection.note_progress(&self.service);
        if let (Some(last), Some(limit)) = (connection.last_progress, self.service.idle_timeout) {
            self.deadlines.watch(fd, last + limit);
        }
        self.connections[index] = Some(connection);
        self.settle(fd, ring)
    }

    /// Takes in the result of a receive.
    ///
    /// # Errors
    /// What the ring says.
    pub fn received(&mut self, completion: Completion, ring: &mut Ring) -> io::Result<()> {
        let Completion {
            fd,
            result,
            more,
            buffer,
            ..
        } = completion;
        let Some(Some(connection)) = self.connections.get_mut(index(fd)) else {
            return buffer.map_or(Ok(()), |buffer| ring.give_back(buffer));
        };
        connection.guest.slot.wakeups(1);
        connection.receiving = more;
        match (result.map_err(|error| error.raw_os_error()), buffer) {
            (Ok(1..), Some(buffer)) => {
                connection.take_in(buffer, &self.service, &mut self.out, ring)?
            }
            (Ok(_), buffer) => {
                connection.ended = true;
                buffer.map_or(Ok(()), |buffer| ring.give_back(buffer))?;
            }
            // Out of buffers, or stopped by us: asked for again when it fits.
            (Err(Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR)), _) => {}
            (Err(Some(libc::EINVAL)), _) if ring.give_up_multishot() => {}
            (Err(_), _) => connection.broken = true,
        }
        self.settle(fd, ring)
    }

    /// Takes in the result of a send.
    ///
    /// # Errors
    /// What the ring says.
    pub fn sent(&mut self, completion: Completion, ring: &mut Ring) -> io::Result<()> {
        let fd = completion.fd;
        let Some(outgoing) = completion.outgoing else {
            return Ok(());
        };
        let Some(Some(connection)) = self.connections.get_mut(index(fd)) else {
            return Ok(());
        };
        connection.sending = false;
        let sent = match completion.result.map_err(|error| error.raw_os_error()) {
            Ok(sent) => sent as usize,
            Err(Some(libc::EAGAIN | libc::EINTR)) => 0,
            Err(_) => {
                connection.broken = true;
                0
            }
        };
        if sent > 0 {
            connection.guest.slot.bytes_out(sent as u64);
            connection.note_progress(&self.service);
        }
        connection.send_rest(outgoing, sent, ring)?;
        self.settle(fd, ring)
    }

    /// Ends the connections that have been idle for too long.
    ///
    /// # Errors
    /// What the ring says.
    pub fn expire(&mut self, ring: &mut Ring) -> io::Result<()> {
        let (connections, limit) = (&self.connections, self.service.idle_timeout);
        let expired = self.deadlines.expired(|fd| {
            let connection = connections.get(index(fd))?.as_ref()?;
            Some(connection.last_progress? + limit?)
        });
        for fd in expired {
            if let Some(Some(connection)) = self.connections.get_mut(index(fd)) {
                connection.broken = true;
            }
            self.settle(fd, ring)?;
        }
        Ok(())
    }

    /// How long to wait at most: until the next deadline, or until the door
    /// opens again after a pause.
    pub fn timeout(&self, door: &Door) -> Option<Duration> {
        self.deadlines.next().into_iter().chain(door.paused()).min()
    }

    /// Asks for what a connection needs next, or closes it.
    fn settle(&mut self, fd: RawFd, ring: &mut Ring) -> io::Result<()> {
        let Some(place) = self.connections.get_mut(index(fd)) else {
            return Ok(());
        };
        let Some(connection) = place else {
            return Ok(());
        };
        if connection.is_over() && !connection.sending && !connection.receiving {
            *place = None;
            return Ok(());
        }
        connection.ask(fd, ring)
    }
}

impl Connection {
    /// Echo sends the very buffer it received; other answers are copies.
    fn take_in(
        &mut self,
        buffer: Buffer,
        service: &Service,
        out: &mut Vec<u8>,
        ring: &mut Ring,
    ) -> io::Result<()> {
        let input = ring.bytes(&buffer);
        self.guest.received(input);
        let answer = service.answer(&mut self.session, input, out);
        service.block(answer.requests);
        let progress = answer.requests > 0;
        self.ended |= answer.last;
        let fd = self.guest.stream.as_raw_fd();
        if answer.bytes.is_empty() {
            ring.give_back(buffer)?;
        } else if self.sending {
            self.waiting.extend_from_slice(answer.bytes);
            ring.give_back(buffer)?;
        } else {
            self.sending = true;
            if service.kind == Kind::Echo {
                ring.send(fd, Outgoing::Received(buffer))?;
            } else {
                ring.send(fd, Outgoing::Bytes(mem::take(out), 0))?;
                ring.give_back(buffer)?;
            }
        }
        if progress {
            self.note_progress(service);
        }
        Ok(())
    }

    /// Goes on with what the last send has left, then with what has gathered.
    fn send_rest(&mut self, outgoing: Outgoing, sent: usize, ring: &mut Ring) -> io::Result<()> {
        let mut rest = match outgoing {
            Outgoing::Bytes(bytes, from) if from + sent < bytes.len() => {
                Outgoing::Bytes(bytes, from + sent)
            }
            Outgoing::Bytes(..) => Outgoing::Bytes(mem::take(&mut self.waiting), 0),
            Outgoing::Received(buffer) => {
                let mut bytes = ring.bytes(&buffer)[sent..].to_vec();
                bytes.append(&mut self.waiting);
                ring.give_back(buffer)?;
                Outgoing::Bytes(bytes, 0)
            }
        };
        if self.broken || matches!(&mut rest, Outgoing::Bytes(bytes, _) if bytes.is_empty()) {
            return Ok(());
        }
        self.sending = true;
        ring.send(self.guest.stream.as_raw_fd(), rest)
    }

    /// Over when broken, or when all is answered and nothing more will come.
    fn is_over(&self) -> bool {
        self.broken || (self.ended && !self.sending && self.waiting.is_empty())
    }

    fn ask(&mut self, fd: RawFd, ring: &mut Ring) -> io::Result<()> {
        if self.broken && self.sending {
            // Or a send to a peer that reads nothing would never complete.
            let _ = self.guest.stream.shutdown(Shutdown::Both);
        }
        let wanted = !self.ended && !self.broken && self.waiting.len() <= HIGH_WATER;
        match (wanted, self.receiving) {
            (true, false) => {
                (self.receiving, self.cancelled) = (true, false);
                ring.receive(fd)
            }
            (false, true) if !self.cancelled => {
                self.cancelled = true;
                ring.cancel_receive(fd)
            }
            _ => Ok(()),
        }
    }

    /// The clock is read only where deadlines are kept.
    fn note_progress(&mut self, service: &Service) {
        if service.idle_timeout.is_some() {
            self.last_progress = Some(Instant::now());
        }
    }
}

/// Descriptors are never negative.
fn index(fd: RawFd) -> usize {
    usize::try_from(fd).unwrap_or(usize::MAX)
}
