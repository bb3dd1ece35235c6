//! A connection served by blocking calls, its deadlines included. Compare with
//! [`nonblocking`](crate::nonblocking): the same life as a state machine.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use crate::accept::{Accepted, Account};
use crate::broken::Broken;
use crate::service::{LINGER, Reply, Session, Then};
use crate::sys::memory::Buffer;

/// One connection. An error is this client's own: it ends the connection and
/// nothing else. Dropping it closes it.
pub struct Connection {
    stream: TcpStream,
    account: Account,
    /// What the service remembers of it.
    pub session: Session,
    then: Then,
    broken: bool,
    last_request: Option<Instant>,
}

impl Connection {
    /// A fresh connection.
    pub fn new(accepted: Accepted) -> Connection {
        let Accepted { stream, account } = accepted;
        let limit = account.idle_timeout();
        let broken = limit.is_some()
            && (stream.set_read_timeout(limit).is_err()
                || stream.set_write_timeout(limit).is_err());
        Connection {
            last_request: limit.map(|_| Instant::now()),
            stream,
            account,
            session: Session::default(),
            then: Then::GoOn,
            broken,
        }
    }

    /// recv(2): waits for input. None once the connection is over: the client
    /// has finished, an error has ended it, it was idle for too long, or the
    /// last reply has been sent.
    pub fn recv<'b>(&mut self, buffer: &'b mut Buffer) -> Option<&'b [u8]> {
        if self.broken || self.then != Then::GoOn || self.is_idle() {
            return None;
        }
        match buffer.recv(&self.stream) {
            Ok(input) => {
                self.account.woke("recv");
                self.account.received(input);
                (!input.is_empty()).then_some(input)
            }
            Err(error) => {
                self.account.failed("recv", &error);
                self.broken = true;
                None
            }
        }
    }

    /// send(2): waits until there was room for all of it.
    pub fn send(&mut self, reply: Reply<'_>) {
        self.then = reply.then;
        let mut bytes = reply.bytes;
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(sent) => {
                    self.account.sent(sent);
                    bytes = &bytes[sent..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.account.failed("send", &error);
                    self.broken = true;
                    return;
                }
            }
        }
        // Bytes that never make a request are no sign of life: a client that
        // sends one header byte a second would otherwise stay for ever.
        if reply.requests > 0 && self.last_request.is_some() {
            self.last_request = Some(Instant::now());
        }
    }

    /// close(2). A client that has not been heard out is first told that the
    /// server has finished, and its words are thrown away for a moment.
    pub fn close(mut self) {
        if self.account.is(Broken::NoClose) {
            return std::mem::forget(self);
        }
        if self.then == Then::Linger && !self.broken {
            self.linger();
        }
    }

    fn linger(&mut self) {
        let ready = self.stream.shutdown(Shutdown::Write).is_ok()
            && self.stream.set_read_timeout(Some(LINGER)).is_ok();
        let (start, mut unwanted) = (Instant::now(), [0; 4096]);
        while ready && start.elapsed() < LINGER {
            match self.stream.read(&mut unwanted) {
                Ok(length @ 1..) => self.account.discarded(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    fn is_idle(&self) -> bool {
        let limit = self.account.idle_timeout();
        let waited = self.last_request.map(|last| last.elapsed());
        waited
            .zip(limit)
            .is_some_and(|(waited, limit)| waited > limit)
    }
}
