//! What a server does with the bytes it receives, and what answering costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::http;

/// Which service a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Sends back what it receives.
    Echo,
    /// Reads, and never answers.
    Discard,
    /// Answers HTTP/1.1 requests with a short page.
    Http,
}

/// A service with its settings, the same for every connection.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// What is done with the bytes.
    pub kind: Kind,
    /// Iterations of [`burn`] per request.
    pub work_iters: u64,
    /// How long a request blocks its worker in the kernel.
    pub block: Duration,
    /// After so many bytes received and answered the server closes first.
    pub close_after_bytes: Option<u64>,
}

/// What the service remembers of one connection.
#[derive(Debug, Default)]
pub struct Session {
    received: u64,
    http: Option<Box<http::Session>>,
}

/// What to do after some input.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The bytes to send; may be none.
    pub bytes: &'a [u8],
    /// How many requests were answered or, for `discard`, taken in: what one
    /// recv returned is one request where the protocol knows no bounds.
    pub requests: u32,
    /// What becomes of the connection once the bytes are sent.
    pub then: Then,
}

/// What becomes of a connection after a reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    #[default]
    GoOn,
    /// The server closes it.
    Close,
    /// The server closes it before the client has said everything. Closing at
    /// once would answer the rest with a reset, which may reach the client before
    /// it has read the reply; so the server says that it has finished, and reads
    /// on for a moment (RFC 9112, section 9.6).
    Linger,
}

/// How long a connection lingers at most.
pub const LINGER: Duration = Duration::from_secs(1);

/// The service for one worker, with room for its answers: idle connections hold
/// no buffer.
pub struct Handler {
    service: Service,
    out: Vec<u8>,
}

impl Handler {
    /// A handler of this service.
    pub fn new(service: Service) -> Handler {
        Handler {
            service,
            out: Vec::new(),
        }
    }

    /// The service.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Takes in what a connection received (never empty) and says what to send.
    /// All that a request costs is paid here: `--work-iters` and `--block`.
    pub fn answer<'a>(&'a mut self, session: &mut Session, input: &'a [u8]) -> Reply<'a> {
        let service = self.service;
        let reply = self.compute(session, input);
        service.block(reply.requests);
        reply
    }

    /// The same without `--block`, for those who block elsewhere.
    pub fn compute<'a>(&'a mut self, session: &mut Session, input: &'a [u8]) -> Reply<'a> {
        self.service.answer(session, input, &mut self.out)
    }

    /// Takes the bytes of the last reply away, unless they are the input itself.
    pub fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

impl Service {
    /// The reply is the input itself or lies in `out`. The CPU work is done here.
    fn answer<'a>(
        &self,
        session: &mut Session,
        input: &'a [u8],
        out: &'a mut Vec<u8>,
    ) -> Reply<'a> {
        session.received += input.len() as u64;
        let full = self
            .close_after_bytes
            .is_some_and(|limit| session.received >= limit);
        let then = if full { Then::Close } else { Then::GoOn };
        let reply = match self.kind {
            Kind::Echo => Reply {
                bytes: input,
                requests: 1,
                then,
            },
            Kind::Discard => Reply {
                bytes: &[],
                requests: 1,
                then,
            },
            Kind::Http => {
                out.clear();
                let outcome = session.http.get_or_insert_default().take_in(input, out);
                Reply {
                    bytes: out,
                    requests: outcome.requests,
                    then: match outcome {
                        http::Outcome { unread: true, .. } => Then::Linger,
                        http::Outcome { last: true, .. } => Then::Close,
                        _ => then,
                    },
                }
            }
        };
        (0..reply.requests).for_each(|_| burn(self.work_iters));
        reply
    }

    /// The blocking call that so many requests make. On a single loop it stalls
    /// every connection: that is what the flag is there to show.
    pub fn block(&self, requests: u32) {
        if !self.block.is_zero() {
            std::thread::sleep(self.block.saturating_mul(requests));
        }
    }
}

/// What one iteration of [`burn`] takes on this CPU in nanoseconds: the least of several tries, as whatever
/// disturbs a try makes it longer.
pub fn ns_per_iteration() -> f64 {
    const ITERATIONS: u64 = 2_000_000;
    let try_once = |_| {
        let start = Instant::now();
        burn(ITERATIONS);
        start.elapsed().as_nanos() as f64 / ITERATIONS as f64
    };
    (0..10).map(try_once).fold(f64::INFINITY, f64::min)
}

/// A loop of dependent multiplications: CPU work measured in iterations, not in
/// time, so that being preempted does not shorten it.
pub fn burn(iterations: u64) {
    let mut state = black_box(1u64);
    for _ in 0..iterations {
        // Knuth's MMIX generator: each step needs the one before.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
    }
    black_box(state);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iteration_takes_some_time() {
        let ns = ns_per_iteration();
        assert!(ns > 0.0 && ns.is_finite());
    }
}
