//! A nonblocking connection as a state machine, and the set of them one event
//! loop owns. The loop says what is ready and is told what to wait for next;
//! how it waits is its own idea.
//!
//! A connection acts only through calls that return at once, and never trusts
//! an event: one meant for a closed connection whose descriptor number has been
//! given to a new one finds nothing to read, and does no harm.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::io::{self, ErrorKind::Interrupted, ErrorKind::WouldBlock, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;
use nix::sys::epoll::EpollFlags;

use crate::accept::{Door, Guest};
use crate::service::{Service, Session, Workbench};

/// Above so many bytes of unsent output a connection reads no more.
pub const HIGH_WATER: usize = 64 * 1024;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Input.
    Read,
    /// Room for output; input is not read until there is some.
    Write,
    /// Either.
    ReadWrite,
    /// Nothing: it is over, and has been closed.
    Close,
}

impl Want {
    /// Whether it waits for input.
    pub fn reads(self) -> bool {
        matches!(self, Want::Read | Want::ReadWrite)
    }

    /// Whether it waits for room for output.
    pub fn writes(self) -> bool {
        matches!(self, Want::Write | Want::ReadWrite)
    }
}

impl From<Want> for EpollFlags {
    fn from(want: Want) -> EpollFlags {
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, want.reads());
        flags.set(EpollFlags::EPOLLOUT, want.writes());
        flags
    }
}

/// What the system says a connection can do. An error or a hang-up is both: the
/// next call will tell.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// A read will not block.
    pub read: bool,
    /// A write will not block.
    pub write: bool,
}

impl Ready {
    /// To be tried for everything.
    pub const BOTH: Ready = Ready {
        read: true,
        write: true,
    };
}

impl From<EpollFlags> for Ready {
    fn from(flags: EpollFlags) -> Ready {
        let fault = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        Ready {
            read: fault || flags.contains(EpollFlags::EPOLLIN),
            write: fault || flags.contains(EpollFlags::EPOLLOUT),
        }
    }
}

/// One connection between two events.
pub struct Connection {
    guest: Guest,
    session: Session,
    /// Output the socket had no room for, `sent` bytes of which have gone since.
    waiting: Vec<u8>,
    sent: usize,
    /// No more input will be read: the peer has finished, or the service has.
    ended: bool,
    want: Want,
    last_progress: Option<Instant>,
}

impl Connection {
    /// A fresh connection, which waits for input.
    pub fn new(guest: Guest, service: &Service) -> Connection {
        let mut connection = Connection {
            guest,
            session: Session::default(),
            waiting: Vec::new(),
            sent: 0,
            ended: false,
            want: Want::Read,
            last_progress: None,
        };
        connection.note_progress(service);
        connection
    }

    /// The connection itself.
    pub fn socket(&self) -> &TcpStream {
        &self.guest.stream
    }

    /// When it will have been idle for too long, unless something happens.
    pub fn deadline(&self, service: &Service) -> Option<Instant> {
        Some(self.last_progress? + service.idle_timeout?)
    }

    /// Does at most one read and two writes. Returns what it waits for next.
    pub fn on_ready(&mut self, ready: Ready, bench: &mut Workbench) -> Want {
        self.want = match self.step(ready, bench) {
            Ok(_) => self.next_want(),
            Err(_) => Want::Close,
        };
        self.want
    }

    /// Goes on until the socket has nothing to read and no room to write, as an
    /// edge-triggered loop must, or until `budget` bytes have been moved. Says
    /// what it waits for next, and whether it stopped for the budget alone.
    pub fn drain(&mut self, budget: usize, bench: &mut Workbench) -> (Want, bool) {
        let mut moved = 0;
        while moved < budget {
            match self.step(Ready::BOTH, bench) {
                Ok(0) => {
                    self.want = self.next_want();
                    return (self.want, false);
                }
                Ok(more) => moved += more,
                Err(_) => {
                    self.want = Want::Close;
                    return (self.want, false);
                }
            }
        }
        self.want = self.next_want();
        (self.want, self.want != Want::Close)
    }

    /// The bytes moved, in and out; none if neither could be done at once.
    fn step(&mut self, ready: Ready, bench: &mut Workbench) -> io::Result<usize> {
        let flushed = if ready.write && !self.waiting.is_empty() {
            self.flush(bench)?
        } else {
            0
        };
        let read = if ready.read && self.may_read() {
            self.read(bench)?
        } else {
            0
        };
        Ok(flushed + read)
    }

    fn read(&mut self, bench: &mut Workbench) -> io::Result<usize> {
        let Workbench {
            service,
            scratch,
            out,
        } = bench;
        let input = match scratch.receive(&self.guest.stream) {
            Err(error) if error.kind() == WouldBlock => return Ok(0),
            other => other?,
        };
        self.guest.received(input);
        if input.is_empty() {
            self.ended = true;
            return Ok(0);
        }
        let answer = service.answer(&mut self.session, input, out);
        service.block(answer.requests);
        self.ended = answer.last;
        if answer.requests > 0 {
            self.note_progress(service);
        }
        let sent = if self.waiting.is_empty() {
            send(&self.guest, answer.bytes)?
        } else {
            0
        };
        self.waiting.extend_from_slice(&answer.bytes[sent..]);
        Ok(input.len())
    }

    fn flush(&mut self, bench: &Workbench) -> io::Result<usize> {
        let sent = send(&self.guest, &self.waiting[self.sent..])?;
        if sent > 0 {
            self.note_progress(&bench.service);
        }
        self.sent += sent;
        if self.sent == self.waiting.len() {
            self.waiting = Vec::new();
            self.sent = 0;
        } else if self.sent > HIGH_WATER {
            self.waiting.drain(..self.sent);
            self.sent = 0;
        }
        Ok(sent)
    }

    fn may_read(&self) -> bool {
        !self.ended && self.waiting.len() - self.sent <= HIGH_WATER
    }

    fn next_want(&self) -> Want {
        match (self.may_read(), self.waiting.is_empty()) {
            (true, true) => Want::Read,
            (true, false) => Want::ReadWrite,
            (false, false) => Want::Write,
            (false, true) => Want::Close,
        }
    }

    /// The clock is read only where deadlines are kept.
    fn note_progress(&mut self, service: &Service) {
        if service.idle_timeout.is_some() {
            self.last_progress = Some(Instant::now());
        }
    }
}

/// Sends what the socket has room for, which may be nothing.
///
/// # Errors
/// What the system says, a lack of room aside.
pub fn send(guest: &Guest, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let sent = loop {
        match (&guest.stream).write(bytes) {
            Err(error) if error.kind() == Interrupted => {}
            Err(error) if error.kind() == WouldBlock => break 0,
            other => break other?,
        }
    };
    guest.slot.bytes_out(sent as u64);
    Ok(sent)
}

/// The connections of one loop, found by descriptor, with their deadlines.
pub struct Connections {
    seats: Vec<Option<Connection>>,
    bench: Workbench,
    deadlines: Deadlines,
}

impl Connections {
    /// None yet.
    pub fn new(service: Service) -> Connections {
        Connections {
            seats: Vec::new(),
            bench: Workbench::new(service),
            deadlines: Deadlines::default(),
        }
    }

    /// Takes a connection in, once `arm` has registered it with the loop's
    /// means of waiting. If that fails, this connection is closed.
    pub fn insert(&mut self, guest: Guest, arm: impl FnOnce(&TcpStream) -> nix::Result<()>) {
        if arm(&guest.stream).is_err() {
            return;
        }
        let fd = guest.stream.as_raw_fd();
        let index = index(fd);
        if self.seats.len() <= index {
            self.seats.resize_with(index + 1, || None);
        }
        let service = &self.bench.service;
        let connection = self.seats[index].insert(Connection::new(guest, service));
        if let Some(deadline) = connection.deadline(service) {
            self.deadlines.watch(fd, deadline);
        }
    }

    /// Serves a connection that is ready and says what it waits for. If that
    /// has changed, `rearm` tells the loop's means of waiting. A connection
    /// that is over, or was never there, is [`Want::Close`].
    pub fn on_ready(
        &mut self,
        fd: RawFd,
        ready: Ready,
        rearm: impl FnOnce(&TcpStream, Want) -> nix::Result<()>,
    ) -> Want {
        self.serve(fd, rearm, |connection, bench| {
            (connection.on_ready(ready, bench), false)
        })
        .0
    }

    /// The same until nothing is left to do, see [`Connection::drain`]. Says
    /// whether the budget ended it, so that it must be called again unasked.
    pub fn drain(
        &mut self,
        fd: RawFd,
        budget: usize,
        rearm: impl FnOnce(&TcpStream, Want) -> nix::Result<()>,
    ) -> bool {
        self.serve(fd, rearm, |connection, bench| {
            connection.drain(budget, bench)
        })
        .1
    }

    fn serve(
        &mut self,
        fd: RawFd,
        rearm: impl FnOnce(&TcpStream, Want) -> nix::Result<()>,
        act: impl FnOnce(&mut Connection, &mut Workbench) -> (Want, bool),
    ) -> (Want, bool) {
        let Some(seat) = self.seats.get_mut(index(fd)) else {
            return (Want::Close, false);
        };
        let Some(connection) = seat else {
            return (Want::Close, false);
        };
        let before = connection.want;
        let (want, unfinished) = act(connection, &mut self.bench);
        if want == before {
            return (want, unfinished);
        }
        if want == Want::Close || rearm(&connection.guest.stream, want).is_err() {
            *seat = None;
            return (Want::Close, false);
        }
        (want, unfinished)
    }

    /// One more than the highest descriptor in use so far.
    pub fn end(&self) -> RawFd {
        self.seats.len() as RawFd
    }

    /// Closes the connections that have been idle for too long and names them.
    pub fn expire(&mut self) -> Vec<RawFd> {
        let (seats, service) = (&self.seats, &self.bench.service);
        let expired = self
            .deadlines
            .expired(|fd| seats.get(index(fd))?.as_ref()?.deadline(service));
        for &fd in &expired {
            self.seats[index(fd)] = None;
        }
        expired
    }

    /// How long to wait at most: until the next deadline, or until the door
    /// opens again after a pause.
    pub fn timeout(&self, door: &Door) -> PollTimeout {
        let wait = self.deadlines.next().into_iter().chain(door.paused()).min();
        wait.map_or(PollTimeout::NONE, round_up)
    }
}

/// When to look at which connection again: at most one entry for each
/// descriptor, not one per request. A connection found busy is put off.
#[derive(Debug, Default)]
pub struct Deadlines {
    queue: BinaryHeap<Reverse<(Instant, RawFd)>>,
    queued: HashSet<RawFd>,
}

impl Deadlines {
    /// Has a descriptor looked at then, or earlier if it already is.
    pub fn watch(&mut self, fd: RawFd, due: Instant) {
        if self.queued.insert(fd) {
            self.queue.push(Reverse((due, fd)));
        }
    }

    /// How long until one has to be looked at.
    pub fn next(&self) -> Option<Duration> {
        let Reverse((due, _)) = self.queue.peek()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Those whose deadline, which `deadline` tells, has passed.
    pub fn expired(&mut self, deadline: impl Fn(RawFd) -> Option<Instant>) -> Vec<RawFd> {
        let mut expired = Vec::new();
        if self.queue.is_empty() {
            return expired;
        }
        let now = Instant::now();
        while let Some(&Reverse((due, fd))) = self.queue.peek()
            && due <= now
        {
            self.queue.pop();
            self.queued.remove(&fd);
            match deadline(fd) {
                Some(later) if later > now => self.watch(fd, later),
                Some(_) => expired.push(fd),
                None => {}
            }
        }
        expired
    }
}

/// In whole milliseconds: rounded down, a wait would end early and be repeated
/// many times over.
pub fn round_up(wait: Duration) -> PollTimeout {
    PollTimeout::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
}

/// A wait that a signal has cut short found nothing ready.
///
/// # Errors
/// Whatever else ended it.
pub fn woken(ready: nix::Result<usize>) -> io::Result<usize> {
    match ready {
        Err(nix::Error::EINTR) => Ok(0),
        other => Ok(other?),
    }
}

/// Descriptors are never negative.
fn index(fd: RawFd) -> usize {
    usize::try_from(fd).unwrap_or(usize::MAX)
}
