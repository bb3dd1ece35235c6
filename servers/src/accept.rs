//! The listener with its accept policy, one for all models: what to retry, when
//! to back off, what is fatal, and whom to shed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::libc;
use socket2::{SockRef, Socket};

use crate::broken::Broken;
use crate::ledger::Shortage;
use crate::limits::Limits;
use crate::trace::{Trace, Worker};

/// The first and the longest pause after a resource error.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// So many failures in a row that were each to be retried at once are no longer
/// one client's trouble: then accepting pauses, rather than spin.
const RETRIES: u32 = 16;

/// Stands for an address the system would not tell.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What an error of accept(2) asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One connection was lost before it was accepted: take the next.
    Retry,
    /// No connection waits.
    Empty,
    /// Out of descriptors or memory: wait for some to be freed.
    Resource,
    /// The listener itself is unusable.
    Fatal,
}

/// Sorts the errors of accept(2), after its manual page: Linux also reports
/// pending network errors of the new connection, which concern it alone, so what
/// is not known to be worse is retried.
pub fn classify(error: &io::Error) -> Fault {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Fault::Empty,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Fault::Resource,
        Some(libc::EBADF | libc::EFAULT | libc::EINVAL | libc::ENOTSOCK | libc::ENOSYS) => {
            Fault::Fatal
        }
        _ => Fault::Retry,
    }
}

/// Growing pauses: 1 ms, doubled with each failure up to 1 s, until a success.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Notes a failure and says how long to pause.
    pub fn fail(&mut self) -> Duration {
        let pause = PAUSES
            .0
            .saturating_mul(1 << self.failures.min(16))
            .min(PAUSES.1);
        self.failures += 1;
        self.until = Some(Instant::now() + pause);
        pause
    }

    /// Notes a success.
    pub fn succeed(&mut self) {
        *self = Backoff::default();
    }

    /// How much of the pause is left, zero once it is over; none when it has
    /// been [ended](Backoff::end) or there was none.
    pub fn left(&self) -> Option<Duration> {
        Some(self.until?.saturating_duration_since(Instant::now()))
    }

    /// Ends the pause if its time is over. Says whether it did.
    pub fn end(&mut self) -> bool {
        let over = self.left() == Some(Duration::ZERO);
        if over {
            self.until = None;
        }
        over
    }
}

/// What every connection of a server is subject to.
#[derive(Clone, Copy)]
pub struct Policy {
    /// How many connections are taken.
    pub limits: Option<&'static Limits>,
    /// After so long without an answered request or a byte sent, a connection
    /// is closed.
    pub idle_timeout: Option<Duration>,
    /// What the server does wrong on purpose.
    pub broken: Option<Broken>,
}

impl Policy {
    /// Whether the server is broken in this way.
    pub fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }
}

/// A listening socket with the accept policy.
pub struct Listener<S = Socket> {
    socket: S,
    policy: &'static Policy,
    worker: Worker,
    backoff: Backoff,
    retries: u32,
    watched: bool,
    /// That nobody waits has been traced, and nothing has happened since.
    told_empty: bool,
}

impl Listener {
    /// A listener whose connections count as this worker's.
    pub fn new(socket: Socket, policy: &'static Policy, worker: Worker) -> Listener {
        Listener {
            socket,
            policy,
            worker,
            backoff: Backoff::default(),
            retries: 0,
            watched: false,
            told_empty: false,
        }
    }

    /// The same listener as another kind of socket.
    ///
    /// # Errors
    /// What making that kind says.
    pub fn converted<S>(
        self,
        convert: impl FnOnce(Socket) -> io::Result<S>,
    ) -> io::Result<Listener<S>> {
        Ok(Listener {
            socket: convert(self.socket)?,
            policy: self.policy,
            worker: self.worker,
            backoff: self.backoff,
            retries: self.retries,
            watched: self.watched,
            told_empty: self.told_empty,
        })
    }
}

impl<S: AsFd> Listener<S> {
    /// accept4(2) on a blocking listener: waits for the next connection. Sleeps
    /// through a shortage of resources.
    ///
    /// # Errors
    /// Only what makes the listener unusable.
    pub fn accept4(&mut self) -> io::Result<Accepted> {
        loop {
            while !self.is_open() {
                std::thread::sleep(self.paused().unwrap_or_default());
            }
            if let Some(accepted) = self.next(libc::SOCK_CLOEXEC)? {
                return Ok(accepted);
            }
        }
    }

    /// accept4(2) on a nonblocking listener: the next connection, itself
    /// nonblocking; none when no more wait, or while a shortage of resources
    /// lasts.
    ///
    /// # Errors
    /// Only what makes the listener unusable.
    pub fn accept4_nonblock(&mut self) -> io::Result<Option<Accepted>> {
        match self.is_open() {
            true => self.next(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK),
            false => Ok(None),
        }
    }

    /// Counts the connections of this copy of the listener as another worker's.
    pub fn counted_by(mut self, worker: Worker) -> Listener<S> {
        self.worker = worker;
        self
    }

    /// The socket.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// How long until accepting is tried again; none unless it is paused.
    pub fn paused(&self) -> Option<Duration> {
        self.backoff.left()
    }

    /// Whether accepting is not paused. A loop that kept watching the listener
    /// through a pause would spin.
    pub fn is_open(&mut self) -> bool {
        self.backoff.end();
        self.paused().is_none()
    }

    /// The same, if it has changed since the last call, or on the first.
    pub fn watch(&mut self) -> Option<bool> {
        let open = self.is_open();
        let changed = open != self.watched;
        self.watched = open;
        changed.then_some(open)
    }

    /// Whether a pause is over and accepting has not been tried since. To be
    /// asked where the system announces a waiting connection only once.
    pub fn retry_due(&mut self) -> bool {
        self.backoff.end()
    }

    /// Closes a connection at once, counted, because the model cannot hold it.
    pub fn shed(&self, accepted: Accepted) {
        self.worker.slot.shed(1);
        drop(accepted);
    }

    /// Notes that no process or thread could be started for a connection, which
    /// was shed for that, and pauses accepting.
    pub fn start_failed(&mut self, error: &io::Error) {
        self.worker.slot.shed(1);
        self.pause(error);
    }

    /// One connection; none if none waits or if a pause has begun.
    fn next(&mut self, flags: libc::c_int) -> io::Result<Option<Accepted>> {
        loop {
            match SockRef::from(&self.socket).accept4(flags) {
                Ok((socket, address)) => {
                    let peer = address.as_socket().unwrap_or(UNKNOWN);
                    let accepted = self.admit_from(socket.into(), peer);
                    if accepted.is_some() {
                        return Ok(accepted);
                    }
                }
                Err(error) => {
                    if !self.accept_failed(error)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// What to do about an error of accept: true to try again at once, false to
    /// wait for a connection or for the end of a pause.
    ///
    /// # Errors
    /// The error itself, if the listener is unusable.
    pub fn accept_failed(&mut self, error: io::Error) -> io::Result<bool> {
        match classify(&error) {
            Fault::Empty => {
                if !std::mem::replace(&mut self.told_empty, true) {
                    self.worker.failed(self.as_raw_fd(), "accept4", &error);
                }
                return Ok(false);
            }
            Fault::Fatal => return Err(error),
            Fault::Retry if self.retries < RETRIES => {
                self.retries += 1;
                return Ok(true);
            }
            Fault::Retry | Fault::Resource => self.pause(&error),
        }
        Ok(false)
    }

    /// Takes in a connection that the system has accepted by other means than
    /// the calls above; none if a limit is reached.
    pub fn admit(&mut self, stream: TcpStream) -> Option<Accepted> {
        // Who it is costs a system call, made only where someone asks.
        let peer = match self.policy.limits.is_some() || self.worker.is_traced() {
            true => stream.peer_addr().unwrap_or(UNKNOWN),
            false => UNKNOWN,
        };
        self.admit_from(stream, peer)
    }

    fn pause(&mut self, error: &io::Error) {
        self.worker.slot.accept_failed(Shortage::of(error));
        let fd = self.socket.as_fd().as_raw_fd();
        self.worker.failed(fd, "accept4", error);
        if !self.policy.is(Broken::NaiveAccept) {
            self.backoff.fail();
        }
    }

    /// A connection that another process has accepted and now passes to this one.
    pub fn adopt(&self, stream: TcpStream, from: Worker) -> Accepted {
        from.slot.hand_over(self.worker.slot);
        let peer = stream.peer_addr().unwrap_or(UNKNOWN);
        self.accepted(stream, peer)
    }

    /// Counts an accepted connection and takes it in, unless a limit is reached.
    fn admit_from(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<Accepted> {
        self.backoff.succeed();
        self.retries = 0;
        self.told_empty = false;
        self.worker.slot.accepted(1);
        let limits = self.policy.limits;
        if limits.is_some_and(|limits| !limits.admit(peer.ip())) {
            self.worker.slot.shed(1);
            self.worker.slot.closed(1);
            return None;
        }
        let accepted = self.accepted(stream, peer);
        if let Some(trace) = &accepted.account.trace {
            trace.connect();
        }
        Some(accepted)
    }

    fn accepted(&self, stream: TcpStream, peer: SocketAddr) -> Accepted {
        Accepted {
            account: Account {
                policy: self.policy,
                worker: self.worker,
                peer,
                trace: self.worker.trace(stream.as_raw_fd(), peer),
                elsewhere: false,
            },
            stream,
        }
    }
}

impl<S: AsFd> AsFd for Listener<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S: AsFd> AsRawFd for Listener<S> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_fd().as_raw_fd()
    }
}

/// What accept4(2) returned. Dropping it closes the connection.
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// Where it is counted.
    pub account: Account,
}

impl Accepted {
    /// Counts this connection as another worker's from now on.
    pub fn counted_by(mut self, worker: Worker) -> Accepted {
        self.account.worker.slot.hand_over(worker.slot);
        self.account.worker = worker;
        self
    }

    /// Closes a connection at once, counted with its cause, because it cannot be
    /// waited for.
    pub fn shed_for(self, error: &io::Error) {
        self.account.shed_for(error);
    }

    /// close(2) of this process's copy of a connection that another process
    /// serves: for the peer, and for the ledger, it stays open.
    pub fn close_copy(mut self) {
        self.account.elsewhere = true;
    }
}

impl AsRawFd for Accepted {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// What is counted and traced of one connection. Dropping it counts the close,
/// and makes room under the limits.
pub struct Account {
    policy: &'static Policy,
    worker: Worker,
    peer: SocketAddr,
    trace: Option<Box<Trace>>,
    elsewhere: bool,
}

impl Account {
    /// Counts and traces what was received.
    pub fn received(&mut self, bytes: &[u8]) {
        self.worker.slot.bytes_in(bytes.len() as u64);
        if let Some(trace) = &mut self.trace
            && !bytes.is_empty()
        {
            trace.message(bytes);
        }
    }

    /// Counts what was received and thrown away.
    pub fn discarded(&mut self, length: usize) {
        self.worker.slot.bytes_in(length as u64);
    }

    /// Counts what was sent.
    pub fn sent(&self, length: usize) {
        self.worker.slot.bytes_out(length as u64);
    }

    /// Counts that a call that waited for this connection has come back.
    pub fn woke(&self, call: &str) {
        self.worker.slot.wakeups(1);
        if let Some(trace) = &self.trace {
            trace.woke(call);
        }
    }

    /// Traces that a call failed, EAGAIN included.
    pub fn failed(&mut self, call: &str, error: &io::Error) {
        if let Some(trace) = &mut self.trace {
            trace.failed(call, error);
        }
    }

    /// Counts that the connection is shed, and why.
    pub fn shed_for(&self, error: &io::Error) {
        self.worker.slot.shed(1);
        self.worker.slot.accept_failed(Shortage::of(error));
    }

    /// Whether the server is broken in this way.
    pub fn is(&self, broken: Broken) -> bool {
        self.policy.is(broken)
    }

    /// How long the connection may be idle.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.policy.idle_timeout
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.elsewhere {
            return;
        }
        if let Some(trace) = &self.trace {
            trace.close();
        }
        if let Some(limits) = self.policy.limits {
            limits.release(self.peer.ip());
        }
        self.worker.slot.closed(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Ledger, Slot};

    fn listener(limits: Option<&'static Limits>) -> (Listener, SocketAddr, Slot) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let slot = Ledger::create(None, "test", 1).unwrap().slot(0);
        let policy = Box::leak(Box::new(Policy {
            limits,
            idle_timeout: None,
            broken: None,
        }));
        let worker = Worker::new(slot, None);
        (
            Listener::new(listener.into(), policy, worker),
            address,
            slot,
        )
    }

    #[test]
    fn errors_are_sorted_as_the_manual_page_asks() {
        let of = |errno| classify(&io::Error::from_raw_os_error(errno));
        assert_eq!(of(libc::EMFILE), Fault::Resource);
        assert_eq!(of(libc::ENOMEM), Fault::Resource);
        assert_eq!(of(libc::EAGAIN), Fault::Empty);
        assert_eq!(of(libc::ENOTSOCK), Fault::Fatal);
        for errno in [
            libc::ECONNABORTED,
            libc::EINTR,
            libc::EPROTO,
            libc::EPERM,
            libc::ENETDOWN,
        ] {
            assert_eq!(of(errno), Fault::Retry);
        }
    }

    #[test]
    fn pauses_double_up_to_a_second_and_start_over() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..12).map(|_| backoff.fail().as_millis()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000]);
        assert!(backoff.left() > Some(Duration::ZERO) && !backoff.end());
        backoff.succeed();
        assert_eq!((backoff.left(), backoff.fail().as_millis()), (None, 1));
        while !backoff.end() {
            std::thread::yield_now();
        }
        assert!(!backoff.end(), "a pause ends once");
    }

    #[test]
    fn a_connection_is_counted_when_it_comes_and_when_it_goes() {
        let (mut listener, address, slot) = listener(None);
        assert!(listener.accept4_nonblock().unwrap().is_none());
        let _client = TcpStream::connect(address).unwrap();
        let accepted = listener.accept4_nonblock().unwrap().unwrap();
        assert_eq!(slot.tally().open(), 1);
        drop(accepted);
        assert_eq!((slot.tally().accepted, slot.tally().closed), (1, 1));
    }

    #[test]
    fn one_connection_too_many_is_shed_at_once() {
        let (mut listener, address, slot) = listener(Limits::new(Some(1), None).unwrap());
        let _clients = [
            TcpStream::connect(address).unwrap(),
            TcpStream::connect(address).unwrap(),
        ];
        let first = listener.accept4_nonblock().unwrap().unwrap();
        assert!(listener.accept4_nonblock().unwrap().is_none());
        assert_eq!((slot.tally().shed, slot.tally().open()), (1, 1));
        drop(first);
        let _third = TcpStream::connect(address).unwrap();
        assert!(listener.accept4_nonblock().unwrap().is_some());
    }

    #[test]
    fn a_pause_is_announced_once_at_each_end_and_says_its_cause() {
        let (mut listener, _, slot) = listener(None);
        assert_eq!((listener.watch(), listener.watch()), (Some(true), None));
        listener.start_failed(&io::Error::from_raw_os_error(libc::EAGAIN));
        assert_eq!((listener.watch(), listener.watch()), (Some(false), None));
        while !listener.is_open() {
            std::thread::yield_now();
        }
        assert_eq!((listener.watch(), listener.watch()), (Some(true), None));
        let full = io::Error::from_raw_os_error(libc::ENFILE);
        assert!(!listener.accept_failed(full).unwrap());
        let tally = slot.tally();
        assert_eq!(tally.accept_errors, 2);
        assert!(
            tally
                .shortages()
                .eq([(Shortage::Enfile, 1), (Shortage::Eagain, 1)])
        );
    }
}
