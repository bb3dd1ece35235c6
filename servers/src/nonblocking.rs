//! A nonblocking connection as a state machine, and the set of them one event
//! loop owns. The loop says what is ready and is told what to wait for next;
//! how it waits is its own idea.
//!
//! A connection acts only through calls that return at once, and never trusts
//! an event: one meant for a closed connection whose descriptor number has been
//! given to a new one finds nothing to read, and does no harm.

use std::io::{self, ErrorKind::Interrupted, ErrorKind::WouldBlock, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Instant;

use nix::poll::PollTimeout;

use crate::accept::{Accepted, Account, Listener};
use crate::broken::Broken;
use crate::by_descriptor::{ByDescriptor, Expires};
use crate::readiness::{Want, shorter};
use crate::service::{LINGER, Reply, Session, Then};
use crate::sys::memory::Buffer;

/// Above so many bytes of unsent output a connection reads no more.
pub const HIGH_WATER: usize = 64 * 1024;

/// So many times in a row unwanted input is read before others get their turn.
const UNWANTED_AT_ONCE: usize = 16;

/// One connection between two events. An error is this client's own: it ends the
/// connection and nothing else.
pub struct Connection {
    stream: TcpStream,
    account: Account,
    /// What the service remembers of it.
    pub session: Session,
    /// Output the socket had no room for, `sent` bytes of which have gone since.
    waiting: Vec<u8>,
    sent: usize,
    /// No more input is answered: the peer has finished, or the service has.
    ended: bool,
    broken: bool,
    then: Then,
    /// Until when unwanted input is read and thrown away.
    lingers_until: Option<Instant>,
    want: Want,
    last_progress: Option<Instant>,
    /// Reads until EAGAIN, as it should, and not once for each event.
    drains: bool,
    /// Has received something since it was last served.
    received: bool,
}

impl Connection {
    /// A fresh connection, which waits for input.
    pub fn new(accepted: Accepted) -> Connection {
        let Accepted { stream, account } = accepted;
        Connection {
            last_progress: account.idle_timeout().map(|_| Instant::now()),
            drains: !account.is(Broken::NoDrain),
            received: false,
            stream,
            account,
            session: Session::default(),
            waiting: Vec::new(),
            sent: 0,
            ended: false,
            broken: false,
            then: Then::GoOn,
            lingers_until: None,
            want: Want::Read,
        }
    }

    /// recv(2). None if there is nothing to answer: nothing has come (EAGAIN),
    /// the client has finished, an error has ended the connection, or so much
    /// output waits that no more input is read.
    pub fn recv<'b>(&mut self, buffer: &'b mut Buffer) -> Option<&'b [u8]> {
        if self.lingers_until.is_some() {
            self.discard(buffer);
        }
        if !self.may_read() || (self.received && !self.drains) {
            return None;
        }
        let received = match self.drains {
            true => buffer.recv(&self.stream),
            false => buffer.recv_at_most(&self.stream, Broken::LITTLE),
        };
        match received {
            Ok(input) => {
                self.received = true;
                self.account.received(input);
                self.ended = input.is_empty();
                (!input.is_empty()).then_some(input)
            }
            Err(error) => {
                self.failed("recv", &error);
                None
            }
        }
    }

    /// send(2): as much as there is room for; the rest waits.
    pub fn send(&mut self, reply: Reply<'_>) {
        self.then = reply.then;
        self.ended |= reply.then != Then::GoOn;
        if reply.requests > 0 {
            self.note_progress();
        }
        let sent = match self.waiting.is_empty() {
            true => self.send_now(None, reply.bytes),
            false => 0,
        };
        self.waiting.extend_from_slice(&reply.bytes[sent..]);
    }

    /// send(2) of what waits, if anything does.
    pub fn send_waiting(&mut self) {
        if self.waiting.is_empty() || self.broken {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let sent = self.send_now(Some(self.sent), &waiting);
        if sent > 0 {
            self.note_progress();
        }
        self.sent += sent;
        if self.sent == waiting.len() {
            self.sent = 0;
            return;
        }
        self.waiting = waiting;
        if self.sent > HIGH_WATER {
            self.waiting.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// What it waits for from now on. To be asked after it was served.
    pub fn wants(&mut self) -> Want {
        self.received = false;
        if self.ended && self.then == Then::Linger && self.waiting.is_empty() && !self.broken {
            self.linger();
        }
        self.want = match (self.may_read(), self.waiting.is_empty()) {
            _ if self.broken => Want::Close,
            _ if self.lingers_until.is_some() => Want::Read,
            (true, true) => Want::Read,
            (true, false) => Want::ReadWrite,
            (false, false) => Want::Write,
            (false, true) => Want::Close,
        };
        self.want
    }

    /// shutdown(2): from now on what comes is thrown away.
    fn linger(&mut self) {
        self.then = Then::Close;
        match self.stream.shutdown(Shutdown::Write) {
            Ok(()) => self.lingers_until = Some(Instant::now() + LINGER),
            Err(_) => self.broken = true,
        }
    }

    fn discard(&mut self, buffer: &mut Buffer) {
        for _ in 0..UNWANTED_AT_ONCE {
            match buffer.recv(&self.stream).map(<[u8]>::len) {
                Ok(length @ 1..) => self.account.discarded(length),
                Err(error) if error.kind() == WouldBlock => return,
                Ok(_) | Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
    }

    /// Sends what the socket has room for, which may be nothing.
    fn send_now(&mut self, from: Option<usize>, bytes: &[u8]) -> usize {
        let bytes = &bytes[from.unwrap_or(0)..];
        if bytes.is_empty() {
            return 0;
        }
        loop {
            match self.stream.write(bytes) {
                Ok(sent) => {
                    self.account.sent(sent);
                    return sent;
                }
                Err(error) if error.kind() == Interrupted => {}
                Err(error) => {
                    self.failed("send", &error);
                    return 0;
                }
            }
        }
    }

    /// EAGAIN is no failure: it says that there is nothing to read, or no room.
    fn failed(&mut self, call: &str, error: &io::Error) {
        self.account.failed(call, error);
        self.broken |= error.kind() != WouldBlock;
    }

    fn may_read(&self) -> bool {
        !self.ended && !self.broken && self.waiting.len() - self.sent <= HIGH_WATER
    }

    /// Whether it may go on in this turn, of whose `budget` of bytes it has spent
    /// so much.
    pub fn may_go_on(&self, spent: usize, budget: usize) -> bool {
        spent < budget || self.account.is(Broken::NoBudget)
    }

    /// The clock is read only where deadlines are kept.
    fn note_progress(&mut self) {
        if self.last_progress.is_some() {
            self.last_progress = Some(Instant::now());
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Expires for Connection {
    fn deadline(&self) -> Option<Instant> {
        let idle = self.last_progress.zip(self.account.idle_timeout());
        let idle = idle.map(|(last, limit)| last + limit);
        self.lingers_until.into_iter().chain(idle).min()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

/// The connections of one loop, found by descriptor, with their deadlines.
#[derive(Default)]
pub struct Connections {
    all: ByDescriptor<Connection>,
}

impl Connections {
    /// None yet.
    pub fn new() -> Connections {
        Connections::default()
    }

    /// Takes a connection in. It waits for input.
    pub fn insert(&mut self, accepted: Accepted) {
        let fd = accepted.as_raw_fd();
        self.all.insert(fd, Connection::new(accepted));
    }

    /// The connection with this descriptor, if it is still there.
    pub fn get(&mut self, fd: RawFd) -> Option<&mut Connection> {
        self.all.get(fd)
    }

    /// What a connection that was served waits for from now on, if that is
    /// another thing than before.
    pub fn changed(&mut self, fd: RawFd) -> Option<Want> {
        let connection = self.all.get(fd)?;
        let (before, lingered) = (connection.want, connection.lingers_until.is_some());
        let want = connection.wants();
        if let (Some(until), false) = (connection.lingers_until, lingered) {
            self.all.watch(fd, until);
        }
        (want != before).then_some(want)
    }

    /// Has `rearm` ask for a connection's events, and closes it if that fails.
    pub fn keep_if(&mut self, fd: RawFd, rearm: impl FnOnce(&Connection) -> io::Result<()>) {
        if self
            .get(fd)
            .is_some_and(|connection| rearm(connection).is_err())
        {
            self.close(fd);
        }
    }

    /// close(2).
    pub fn close(&mut self, fd: RawFd) {
        self.all.remove(fd);
    }

    /// One more than the highest descriptor in use so far.
    pub fn end(&self) -> RawFd {
        self.all.end()
    }

    /// Closes the connections whose time is over and names them.
    pub fn close_expired(&mut self) -> Vec<RawFd> {
        let expired = self.all.expired();
        for &fd in &expired {
            self.close(fd);
        }
        expired
    }

    /// How long to wait at most: until the next deadline, or until accepting is
    /// tried again after a pause.
    pub fn timeout<S: AsFd>(&self, listener: &Listener<S>) -> PollTimeout {
        shorter(self.all.next(), listener.paused())
    }
}
