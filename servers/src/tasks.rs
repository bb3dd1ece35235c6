//! A connection served by an async task. It reads like
//! [`blocking`](crate::blocking), and waits like
//! [`nonblocking`]: at each `.await` the thread serves
//! others.

use std::cell::RefCell;
use std::io::{self, ErrorKind::WouldBlock};

use tokio::io::unix::AsyncFd;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};

use crate::accept::{Door, Guest};
use crate::nonblocking;
use crate::service::{Service, Session, Workbench};
use crate::sys::{READ_SIZE, register};

/// Waits for the next connection, under the accept policy of all models.
///
/// # Errors
/// Only what makes the listener unusable.
pub async fn accept(door: &mut AsyncFd<Door>) -> io::Result<Guest> {
    loop {
        if let Some(guest) = door.get_mut().try_accept()? {
            return Ok(guest);
        }
        match door.get_ref().paused() {
            Some(pause) => sleep(pause).await,
            None => door.readable_mut().await?.clear_ready(),
        }
    }
}

/// Serves one connection until either side closes it. An error is this client's
/// own: it ends the connection and nothing else.
pub async fn serve(guest: Guest, service: &'static Service) {
    if let Ok(mut guest) = register(guest) {
        let _ = converse(&mut guest, service).await;
    }
}

async fn converse(guest: &mut AsyncFd<Guest>, service: &'static Service) -> io::Result<()> {
    let mut session = Session::default();
    let mut last_request = Instant::now();
    loop {
        let mut ready = within(service, last_request, guest.readable_mut()).await?;
        let mut loan = Loan::new();
        let Workbench { scratch, out, .. } = loan.bench(*service);
        let input = match scratch.receive(&ready.get_inner().stream) {
            Err(error) if error.kind() == WouldBlock => {
                ready.clear_ready();
                continue;
            }
            other => other?,
        };
        if input.len() < READ_SIZE {
            // The socket is empty, no further read has to tell (epoll(7)). That
            // the peer has closed is remembered all the same.
            ready.clear_ready();
        }
        let inner = guest.get_mut();
        inner.slot.wakeups(1);
        inner.received(input);
        if input.is_empty() {
            return Ok(());
        }
        let answer = service.answer(&mut session, input, out);
        if !service.block.is_zero() {
            // A blocking call belongs on a thread kept for such, or it would
            // hold up every task of this one.
            let requests = answer.requests;
            spawn_blocking(move || service.block(requests)).await?;
        }
        if answer.requests > 0 {
            last_request = Instant::now();
        }
        let sent = nonblocking::send(guest.get_ref(), answer.bytes)?;
        if sent < answer.bytes.len() {
            // Boxed, so that a connection has no room for what is rare.
            Box::pin(send(guest, &answer.bytes[sent..], service)).await?;
        }
        if answer.last {
            return Ok(());
        }
    }
}

async fn send(guest: &mut AsyncFd<Guest>, mut bytes: &[u8], service: &Service) -> io::Result<()> {
    while !bytes.is_empty() {
        within(service, Instant::now(), guest.writable_mut())
            .await?
            .clear_ready();
        bytes = &bytes[nonblocking::send(guest.get_ref(), bytes)?..];
    }
    Ok(())
}

/// Waits for something, but not longer than a connection may be idle.
async fn within<T>(
    service: &Service,
    since: Instant,
    event: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match service.idle_timeout {
        None => event.await,
        // Boxed, so that a connection without a deadline has no room for one.
        Some(limit) => Box::pin(timeout_at(since + limit, event)).await?,
    }
}

/// A workbench on loan: a task has one only from a read until its answer is
/// sent, so idle connections hold no buffer.
struct Loan {
    /// There until it is returned.
    bench: Option<Workbench>,
}

/// So many returned workbenches each thread keeps.
const KEPT: usize = 64;

thread_local! {
    static RETURNED: RefCell<Vec<Workbench>> = const { RefCell::new(Vec::new()) };
}

impl Loan {
    fn new() -> Loan {
        Loan {
            bench: RETURNED.with_borrow_mut(Vec::pop),
        }
    }

    fn bench(&mut self, service: Service) -> &mut Workbench {
        self.bench.get_or_insert_with(|| Workbench::new(service))
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        RETURNED.with_borrow_mut(|returned| {
            if returned.len() < KEPT {
                returned.extend(self.bench.take());
            }
        });
    }
}
