//! A connection driven by completions: the kernel is asked to receive and send,
//! and says when it has. Compare with [`nonblocking`](crate::nonblocking), where
//! it says when one could.

use std::io;
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::libc;

use crate::accept::{Accepted, Account, Listener};
use crate::by_descriptor::{ByDescriptor, Expires};
use crate::nonblocking::HIGH_WATER;
use crate::service::{Handler, Kind, LINGER, Session, Then};
use crate::sys::uring::{Buffer, Completion, Outgoing, Ring};

/// A connection is closed only when no operation on it is under way any more:
/// so no completion can be meant for a predecessor of its descriptor number.
pub struct Connection {
    stream: TcpStream,
    account: Account,
    session: Session,
    /// Output that waits for the send under way to end.
    waiting: Vec<u8>,
    sending: bool,
    receiving: bool,
    /// The receive under way has been asked to end.
    cancelled: bool,
    /// No more input is answered: the peer has finished, or the service has.
    ended: bool,
    /// An error has ended it.
    broken: bool,
    then: Then,
    /// Until when unwanted input is received and thrown away.
    lingers_until: Option<Instant>,
    last_progress: Option<Instant>,
}

/// The connections of one ring, found by descriptor.
#[derive(Default)]
pub struct Connections {
    all: ByDescriptor<Connection>,
}

impl Connections {
    /// None yet.
    pub fn new() -> Connections {
        Connections::default()
    }

    /// Takes a connection in.
    pub fn insert(&mut self, accepted: Accepted) {
        let fd = accepted.as_raw_fd();
        self.all.insert(fd, Connection::new(accepted));
    }

    /// The connection with this descriptor, if it is still there.
    pub fn get(&mut self, fd: RawFd) -> Option<&mut Connection> {
        self.all.get(fd)
    }

    /// Asks the ring for what a connection needs next, or closes it.
    ///
    /// # Errors
    /// What the ring says.
    pub fn recv_or_close(&mut self, fd: RawFd, ring: &mut Ring) -> io::Result<()> {
        let Some(connection) = self.all.get(fd) else {
            return Ok(());
        };
        let lingers = match connection.is_to_linger() {
            true => connection.linger(),
            false => None,
        };
        let asked = match connection.is_over() && !connection.sending && !connection.receiving {
            true => {
                self.all.remove(fd);
                return Ok(());
            }
            false => connection.ask(fd, ring),
        };
        if let Some(until) = lingers {
            self.all.watch(fd, until);
        }
        asked
    }

    /// Ends the connections whose time is over.
    ///
    /// # Errors
    /// What the ring says.
    pub fn close_expired(&mut self, ring: &mut Ring) -> io::Result<()> {
        for fd in self.all.expired() {
            if let Some(connection) = self.get(fd) {
                connection.broken = true;
            }
            self.recv_or_close(fd, ring)?;
        }
        Ok(())
    }

    /// How long to wait at most: until the next deadline, or until accepting is
    /// tried again after a pause.
    pub fn timeout(&self, listener: &Listener) -> Option<Duration> {
        let next = self.all.next().into_iter();
        next.chain(listener.paused()).min()
    }
}

impl Expires for Connection {
    fn deadline(&self) -> Option<Instant> {
        let idle = self.last_progress.zip(self.account.idle_timeout());
        let idle = idle.map(|(last, limit)| last + limit);
        self.lingers_until.into_iter().chain(idle).min()
    }
}

impl Connection {
    fn new(accepted: Accepted) -> Connection {
        let Accepted { stream, account } = accepted;
        Connection {
            last_progress: account.idle_timeout().map(|_| Instant::now()),
            stream,
            account,
            session: Session::default(),
            waiting: Vec::new(),
            sending: false,
            receiving: false,
            cancelled: false,
            ended: false,
            broken: false,
            then: Then::GoOn,
            lingers_until: None,
        }
    }

    /// What a receive has brought; none if there is nothing to answer. What comes
    /// after the end is given back unread.
    ///
    /// # Errors
    /// What the ring says.
    pub fn received(
        &mut self,
        completion: Completion,
        ring: &mut Ring,
    ) -> io::Result<Option<Buffer>> {
        self.receiving = completion.more;
        let result = completion.result;
        match (
            result.map_err(|error| (error.raw_os_error(), error)),
            completion.buffer,
        ) {
            (Ok(1..), Some(buffer)) if !self.ended && !self.broken => {
                self.account.received(ring.bytes(&buffer));
                return Ok(Some(buffer));
            }
            (Ok(1..), Some(buffer)) => {
                if self.lingers_until.is_some() {
                    self.account.discarded(ring.bytes(&buffer).len());
                }
                ring.give_back(buffer)?;
            }
            (Ok(_), buffer) => {
                self.broken |= self.lingers_until.is_some();
                self.ended = true;
                buffer.map_or(Ok(()), |buffer| ring.give_back(buffer))?;
            }
            // Out of buffers, or stopped by us: asked for again when it fits.
            (Err((Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR), _)), _) => {}
            (Err((Some(libc::EINVAL), _)), _) if ring.give_up_multishot() => {}
            (Err((_, error)), _) => {
                self.account.failed("recv", &error);
                self.broken = true;
            }
        }
        Ok(None)
    }

    /// Answers what a buffer holds, with a send: echo sends the very buffer it
    /// received; other answers are copies.
    ///
    /// # Errors
    /// What the ring says.
    pub fn answer_with_send(
        &mut self,
        buffer: Buffer,
        handler: &mut Handler,
        ring: &mut Ring,
    ) -> io::Result<()> {
        let kind = handler.service().kind;
        let reply = handler.answer(&mut self.session, ring.bytes(&buffer));
        self.then = reply.then;
        self.ended |= reply.then != Then::GoOn;
        let progress = reply.requests > 0;
        let fd = self.stream.as_raw_fd();
        if reply.bytes.is_empty() {
            ring.give_back(buffer)?;
        } else if self.sending {
            self.waiting.extend_from_slice(reply.bytes);
            ring.give_back(buffer)?;
        } else {
            self.sending = true;
            if kind == Kind::Echo {
                ring.send(fd, Outgoing::Received(buffer))?;
            } else {
                ring.send(fd, Outgoing::Bytes(handler.take_out(), 0))?;
                ring.give_back(buffer)?;
            }
        }
        if progress {
            self.note_progress();
        }
        Ok(())
    }

    /// What a send has done. Goes on with what it has left, then with what has
    /// gathered meanwhile.
    ///
    /// # Errors
    /// What the ring says.
    pub fn sent(&mut self, completion: Completion, ring: &mut Ring) -> io::Result<()> {
        let Some(outgoing) = completion.outgoing else {
            return Ok(());
        };
        self.sending = false;
        let sent = match completion.result {
            Ok(sent) => sent as usize,
            Err(error) => {
                let again = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR));
                self.account.failed("send", &error);
                self.broken |= !again;
                0
            }
        };
        if sent > 0 {
            self.account.sent(sent);
            self.note_progress();
        }
        self.send_rest(outgoing, sent, ring)
    }

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
        ring.send(self.stream.as_raw_fd(), rest)
    }

    fn all_is_sent(&self) -> bool {
        !self.sending && self.waiting.is_empty()
    }

    fn is_to_linger(&self) -> bool {
        self.then == Then::Linger && self.all_is_sent() && !self.broken
    }

    /// shutdown(2): from now on what comes is thrown away.
    fn linger(&mut self) -> Option<Instant> {
        self.then = Then::Close;
        match self.stream.shutdown(Shutdown::Write) {
            Ok(()) => self.lingers_until = Some(Instant::now() + LINGER),
            Err(_) => self.broken = true,
        }
        self.lingers_until
    }

    /// Over when broken, or when all is answered and nothing more will come.
    fn is_over(&self) -> bool {
        let lingers = self.then == Then::Linger || self.lingers_until.is_some();
        self.broken || (self.ended && self.all_is_sent() && !lingers)
    }

    /// Whether input is received: to be answered, or to be thrown away.
    fn wants_input(&self) -> bool {
        let goes_on = !self.ended && self.waiting.len() <= HIGH_WATER;
        !self.broken && (goes_on || self.lingers_until.is_some())
    }

    fn ask(&mut self, fd: RawFd, ring: &mut Ring) -> io::Result<()> {
        if self.broken && self.sending {
            // Or a send to a peer that reads nothing would never complete.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        match (self.wants_input(), self.receiving) {
            (true, false) => {
                (self.receiving, self.cancelled) = (true, false);
                ring.recv(fd)
            }
            (false, true) if !self.cancelled => {
                self.cancelled = true;
                ring.cancel_recv(fd)
            }
            _ => Ok(()),
        }
    }

    /// The clock is read only where deadlines are kept.
    fn note_progress(&mut self) {
        if self.last_progress.is_some() {
            self.last_progress = Some(Instant::now());
        }
    }
}
