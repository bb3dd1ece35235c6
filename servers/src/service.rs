//! What a server does with the bytes it receives, and what answering costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::http;
use crate::sys::Scratch;

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
    /// After so long without an answered request or a byte sent, a connection
    /// is closed.
    pub idle_timeout: Option<Duration>,
}

/// What serving takes that connections can share: one per loop, thread or
/// process. An idle connection holds no buffer.
pub struct Workbench {
    /// What is done with the bytes.
    pub service: Service,
    /// Where they are read to.
    pub scratch: Scratch,
    /// Where answers are written that are not the input itself.
    pub out: Vec<u8>,
}

impl Workbench {
    /// A workbench for this service.
    pub fn new(service: Service) -> Workbench {
        Workbench {
            service,
            scratch: Scratch::new(),
            out: Vec::new(),
        }
    }
}

/// What the service remembers of one connection.
#[derive(Debug, Default)]
pub struct Session {
    received: u64,
    http: Option<Box<http::Session>>,
}

/// What to do after some input.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The bytes to send; may be none.
    pub bytes: &'a [u8],
    /// How many requests were answered or, for `discard`, taken in: what one
    /// read returned is one request where the protocol knows no bounds.
    pub requests: u32,
    /// Whether the server closes once the bytes are sent.
    pub last: bool,
}

impl Service {
    /// Takes in what a connection received (never empty) and says what to send,
    /// which is the input itself or lies in `out`. The CPU work is done here;
    /// blocking is left to the caller, see [`block`](Service::block).
    pub fn answer<'a>(
        &self,
        session: &mut Session,
        input: &'a [u8],
        out: &'a mut Vec<u8>,
    ) -> Answer<'a> {
        session.received += input.len() as u64;
        let full = self
            .close_after_bytes
            .is_some_and(|limit| session.received >= limit);
        let answer = match self.kind {
            Kind::Echo => Answer {
                bytes: input,
                requests: 1,
                last: full,
            },
            Kind::Discard => Answer {
                bytes: &[],
                requests: 1,
                last: full,
            },
            Kind::Http => {
                out.clear();
                let http::Outcome { requests, last } =
                    session.http.get_or_insert_default().take_in(input, out);
                Answer {
                    bytes: out,
                    requests,
                    last: last || full,
                }
            }
        };
        (0..answer.requests).for_each(|_| burn(self.work_iters));
        answer
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
