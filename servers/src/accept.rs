//! One accept policy for all models: what to retry, when to back off, what is
//! fatal, and whom to turn away.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use encoding_rs::Encoding;
use nix::libc;
use socket2::Socket;

use crate::ledger::Slot;
use crate::limits::Limits;
use crate::trace::Trace;

/// The first and the longest pause after a resource error.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// So many failures in a row that were each to be retried at once are no longer
/// one client's trouble: then accepting pauses, rather than spin.
const RETRIES: u32 = 16;

/// Stands for an address the system would not tell.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

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
pub struct HouseRules {
    /// How many connections are taken.
    pub limits: Option<&'static Limits>,
    /// Whether, and in which encoding, connections are traced.
    pub trace: Option<&'static Encoding>,
}

/// A listener with the accept policy.
pub struct Door {
    listener: Socket,
    rules: HouseRules,
    slot: Slot,
    backoff: Backoff,
    retries: u32,
    watched: bool,
}

impl Door {
    /// A door that counts into `slot`. Whether the listener blocks decides
    /// whether [`accept`](Door::accept) or [`try_accept`](Door::try_accept) fits.
    pub fn new(listener: Socket, rules: HouseRules, slot: Slot) -> Door {
        Door {
            listener,
            rules,
            slot,
            backoff: Backoff::default(),
            retries: 0,
            watched: false,
        }
    }

    /// Waits for the next connection, in blocking mode. Sleeps through a
    /// shortage of resources.
    ///
    /// # Errors
    /// Only what makes the listener unusable.
    pub fn accept(&mut self) -> io::Result<Guest> {
        loop {
            while !self.is_open() {
                std::thread::sleep(self.paused().unwrap_or_default());
            }
            if let Some(guest) = self.next(libc::SOCK_CLOEXEC)? {
                return Ok(guest);
            }
        }
    }

    /// The next connection, itself nonblocking; none when no more wait, or while
    /// a shortage of resources lasts.
    ///
    /// # Errors
    /// Only what makes the listener unusable.
    pub fn try_accept(&mut self) -> io::Result<Option<Guest>> {
        match self.is_open() {
            true => self.next(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK),
            false => Ok(None),
        }
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

    /// Turns a connection away, counted, because the model cannot hold it.
    pub fn shed(&self, guest: Guest) {
        self.slot.shed(1);
        drop(guest);
    }

    /// Notes that no process or thread could be started for a connection, which
    /// was shed for that, and pauses accepting.
    pub fn start_failed(&mut self) {
        self.slot.shed(1);
        self.pause();
    }

    /// One connection; none if none waits or if a pause has begun.
    fn next(&mut self, flags: libc::c_int) -> io::Result<Option<Guest>> {
        loop {
            match self.listener.accept4(flags) {
                Ok((socket, address)) => {
                    self.backoff.succeed();
                    self.retries = 0;
                    let guest = self.welcome(socket.into(), address.as_socket().unwrap_or(NOBODY));
                    if guest.is_some() {
                        return Ok(guest);
                    }
                }
                Err(error) => {
                    if !self.fault(error)? {
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
    pub fn fault(&mut self, error: io::Error) -> io::Result<bool> {
        match classify(&error) {
            Fault::Empty => return Ok(false),
            Fault::Fatal => return Err(error),
            Fault::Retry if self.retries < RETRIES => {
                self.retries += 1;
                return Ok(true);
            }
            Fault::Retry | Fault::Resource => self.pause(),
        }
        Ok(false)
    }

    /// Lets in a connection that the system has accepted by other means than
    /// the calls above; none if a limit is reached.
    pub fn admit(&mut self, stream: TcpStream) -> Option<Guest> {
        self.backoff.succeed();
        self.retries = 0;
        // Who it is costs a system call, made only where someone asks.
        let peer = match self.rules.limits.is_some() || self.rules.trace.is_some() {
            true => stream.peer_addr().unwrap_or(NOBODY),
            false => NOBODY,
        };
        self.welcome(stream, peer)
    }

    fn pause(&mut self) {
        self.slot.accept_errors(1);
        self.backoff.fail();
    }

    /// A connection that another process has let in and now hands to this one.
    pub fn adopt(&self, stream: TcpStream, from: Slot) -> Guest {
        from.hand_over(self.slot);
        let peer = stream.peer_addr().unwrap_or(NOBODY);
        self.guest(stream, peer)
    }

    /// Counts an accepted connection and lets it in, unless a limit is reached.
    fn welcome(&self, stream: TcpStream, peer: SocketAddr) -> Option<Guest> {
        self.slot.accepted(1);
        if self
            .rules
            .limits
            .is_some_and(|limits| !limits.admit(peer.ip()))
        {
            self.slot.shed(1);
            self.slot.closed(1);
            return None;
        }
        let guest = self.guest(stream, peer);
        if let Some(trace) = &guest.trace {
            trace.connect();
        }
        Some(guest)
    }

    fn guest(&self, stream: TcpStream, peer: SocketAddr) -> Guest {
        let HouseRules { limits, trace } = self.rules;
        let trace = trace.map(|encoding| Box::new(Trace::new(peer, encoding)));
        Guest {
            stream,
            peer,
            slot: self.slot,
            limits,
            trace,
            elsewhere: false,
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl AsRawFd for Door {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

/// An accepted connection: dropping it closes it, counts that, and makes room
/// under the limits.
pub struct Guest {
    /// The connection.
    pub stream: TcpStream,
    /// Where it is counted.
    pub slot: Slot,
    peer: SocketAddr,
    limits: Option<&'static Limits>,
    trace: Option<Box<Trace>>,
    elsewhere: bool,
}

impl Guest {
    /// Counts and traces what was received.
    pub fn received(&mut self, bytes: &[u8]) {
        self.slot.bytes_in(bytes.len() as u64);
        if let Some(trace) = &mut self.trace
            && !bytes.is_empty()
        {
            trace.message(bytes);
        }
    }

    /// Counts this connection as another worker's from now on.
    pub fn hand_over(&mut self, to: Slot) {
        self.slot.hand_over(to);
        self.slot = to;
    }

    /// Closes this process's copy of a connection that a forked child serves:
    /// for the peer, and for the ledger, it stays open.
    pub fn leave_to_child(mut self) {
        self.elsewhere = true;
    }
}

impl AsRawFd for Guest {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.elsewhere {
            return;
        }
        if let Some(trace) = &self.trace {
            trace.close();
        }
        if let Some(limits) = self.limits {
            limits.release(self.peer.ip());
        }
        self.slot.closed(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::listener::listen;

    fn door(limits: Option<&'static Limits>) -> (Door, SocketAddr) {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 16, false).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let slot = Ledger::create(None, "test", 1).unwrap().slot(0);
        (
            Door::new(
                listener,
                HouseRules {
                    limits,
                    trace: None,
                },
                slot,
            ),
            address,
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
    fn a_guest_is_counted_when_it_comes_and_when_it_goes() {
        let (mut door, address) = door(None);
        assert!(door.try_accept().unwrap().is_none());
        let _client = TcpStream::connect(address).unwrap();
        let guest = door.try_accept().unwrap().unwrap();
        let slot = guest.slot;
        assert_eq!(slot.tally().open(), 1);
        drop(guest);
        assert_eq!((slot.tally().accepted, slot.tally().closed), (1, 1));
    }

    #[test]
    fn one_guest_too_many_is_shed_at_once() {
        let (mut door, address) = door(Limits::new(Some(1), None).unwrap());
        let _clients = [
            TcpStream::connect(address).unwrap(),
            TcpStream::connect(address).unwrap(),
        ];
        let first = door.try_accept().unwrap().unwrap();
        assert!(door.try_accept().unwrap().is_none());
        assert_eq!((first.slot.tally().shed, first.slot.tally().open()), (1, 1));
        drop(first);
        let _third = TcpStream::connect(address).unwrap();
        assert!(door.try_accept().unwrap().is_some());
    }

    #[test]
    fn a_pause_is_announced_once_at_each_end() {
        let (mut door, _) = door(None);
        assert_eq!((door.watch(), door.watch()), (Some(true), None));
        door.start_failed();
        assert_eq!((door.watch(), door.watch()), (Some(false), None));
        while !door.is_open() {
            std::thread::yield_now();
        }
        assert_eq!((door.watch(), door.watch()), (Some(true), None));
    }
}
