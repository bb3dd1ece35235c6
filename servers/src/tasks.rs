//! A connection served by an async task. It reads like
//! [`blocking`](crate::blocking), and waits like
//! [`nonblocking`](crate::nonblocking): at each `.await` the thread serves
//! others.

use std::cell::RefCell;
use std::io::{self, ErrorKind::Interrupted, ErrorKind::WouldBlock, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::Socket;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};

use crate::accept::{Accepted, Account, Listener};
use crate::service::{Handler, LINGER, Reply, Service, Session, Then};
use crate::sys::descriptors::Registered;
use crate::sys::memory::{Buffer, RECV_SIZE};

/// A listener that the runtime watches.
pub type AsyncListener = Listener<Registered<Socket>>;

/// epoll_ctl(2): has the runtime watch a nonblocking listener.
///
/// # Errors
/// What epoll_ctl(2) says.
pub fn register(listener: Listener) -> io::Result<AsyncListener> {
    listener.converted(Registered::new)
}

/// accept4(2): waits for the next connection, under the accept policy of all
/// models.
///
/// # Errors
/// Only what makes the listener unusable.
pub async fn accept4(listener: &mut AsyncListener) -> io::Result<Accepted> {
    loop {
        if let Some(accepted) = listener.accept4_nonblock()? {
            return Ok(accepted);
        }
        match listener.paused() {
            Some(pause) => sleep(pause).await,
            None => listener.socket().watched().readable().await?.clear_ready(),
        }
    }
}

/// One connection. An error is this client's own: it ends the connection and
/// nothing else. Dropping it closes it.
pub struct Connection {
    stream: Registered<TcpStream>,
    account: Account,
    /// What the service remembers of it.
    pub session: Session,
    then: Then,
    broken: bool,
    last_request: Option<Instant>,
}

impl Connection {
    /// epoll_ctl(2): a fresh connection, which the runtime watches. None, and it
    /// is closed, if it cannot.
    pub fn register(accepted: Accepted) -> Option<Connection> {
        let Accepted { stream, account } = accepted;
        let stream = Registered::new(stream);
        let stream = stream.inspect_err(|error| account.shed_for(error)).ok()?;
        Some(Connection {
            last_request: account.idle_timeout().map(|_| Instant::now()),
            stream,
            account,
            session: Session::default(),
            then: Then::GoOn,
            broken: false,
        })
    }

    /// recv(2): waits for input. None once the connection is over: the client
    /// has finished, an error has ended it, it was idle for too long, or the
    /// last reply has been sent.
    pub async fn recv(&mut self, service: &'static Service) -> Option<Request> {
        while !self.broken && self.then == Then::GoOn {
            let since = self.last_request;
            let ready = within(
                self.account.idle_timeout(),
                since,
                self.stream.watched().readable(),
            );
            let Ok(mut ready) = ready.await else { break };
            let mut request = Request::new(service);
            match request.parts().buffer.recv(self.stream.socket()) {
                Ok(input) => {
                    if input.len() < RECV_SIZE {
                        // The socket is empty, no further recv has to tell
                        // (epoll(7)). That the peer has closed is remembered all
                        // the same.
                        ready.clear_ready();
                    }
                    self.account.woke("recv");
                    self.account.received(input);
                    return (!input.is_empty()).then_some(request);
                }
                Err(error) => {
                    ready.clear_ready();
                    self.failed("recv", &error);
                }
            }
        }
        None
    }

    /// Answers a request: `--work-iters` on this thread, `--block` on one kept
    /// for such, or it would hold up every task of this one.
    pub async fn answer<'r>(&mut self, request: &'r mut Request) -> Reply<'r> {
        let Parts { buffer, handler } = request.parts();
        let service = handler.service();
        let reply = handler.compute(&mut self.session, buffer.filled());
        if !service.block.is_zero() {
            let requests = reply.requests;
            self.broken |= spawn_blocking(move || service.block(requests))
                .await
                .is_err();
        }
        reply
    }

    /// send(2): waits until there was room for all of it.
    pub async fn send(&mut self, reply: Reply<'_>) {
        self.then = reply.then;
        let sent = self.send_now(reply.bytes);
        if sent < reply.bytes.len() && !self.broken {
            // Boxed, so that a connection has no room for what is rare.
            Box::pin(self.send_rest(&reply.bytes[sent..])).await;
        }
        if reply.requests > 0 && self.last_request.is_some() {
            self.last_request = Some(Instant::now());
        }
    }

    /// close(2). A client that has not been heard out is first told that the
    /// server has finished, and its words are thrown away for a moment.
    pub async fn close(mut self) {
        if self.then == Then::Linger && !self.broken {
            // It ends with an error at the latest when the time is over.
            let _ = Box::pin(self.linger()).await;
        }
    }

    async fn send_rest(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.broken {
            let room = self.stream.watched().writable();
            let since = Some(Instant::now());
            match within(self.account.idle_timeout(), since, room).await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
            bytes = &bytes[self.send_now(bytes)..];
        }
    }

    /// Sends what the socket has room for, which may be nothing.
    fn send_now(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        loop {
            match self.stream.socket().write(bytes) {
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

    async fn linger(&mut self) -> io::Result<()> {
        self.stream.socket().shutdown(Shutdown::Write)?;
        let (end, mut unwanted) = (Instant::now() + LINGER, [0; 4096]);
        loop {
            let mut ready = timeout_at(end, self.stream.watched().readable()).await??;
            match self.stream.socket().read(&mut unwanted) {
                Ok(0) => return Ok(()),
                Ok(length) => self.account.discarded(length),
                Err(error) if error.kind() == WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// EAGAIN is no failure: it says that there is nothing to read, or no room.
    fn failed(&mut self, call: &str, error: &io::Error) {
        self.account.failed(call, error);
        self.broken |= error.kind() != WouldBlock;
    }
}

/// Waits for something, but not longer than a connection may be idle.
async fn within<T>(
    limit: Option<Duration>,
    since: Option<Instant>,
    event: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match limit.zip(since) {
        None => event.await,
        // Boxed, so that a connection without a deadline has no room for one.
        Some((limit, since)) => Box::pin(timeout_at(since + limit, event)).await?,
    }
}

/// What was received, in a buffer on loan: a task has one only from a recv until
/// its answer is sent, so idle connections hold none.
pub struct Request {
    service: &'static Service,
    /// There until they are returned.
    parts: Option<Parts>,
}

struct Parts {
    buffer: Buffer,
    handler: Handler,
}

/// So many returned buffers each thread keeps.
const KEPT: usize = 64;

thread_local! {
    static RETURNED: RefCell<Vec<Parts>> = const { RefCell::new(Vec::new()) };
}

impl Request {
    fn new(service: &'static Service) -> Request {
        Request {
            service,
            parts: RETURNED.with_borrow_mut(Vec::pop),
        }
    }

    fn parts(&mut self) -> &mut Parts {
        self.parts.get_or_insert_with(|| Parts {
            buffer: Buffer::new(),
            handler: Handler::new(*self.service),
        })
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        RETURNED.with_borrow_mut(|returned| {
            if returned.len() < KEPT {
                returned.extend(self.parts.take());
            }
        });
    }
}
