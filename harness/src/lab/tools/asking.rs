//! What it costs here to look at one silent connection: the step that select(2) and poll(2) make for each of theirs, and
//! epoll(7) for none.

use super::sockets;
use crate::lab::trouble::{During, Trouble};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;

/// Connections over loopback, of which each has two ends: few enough for every descriptor limit.
const PAIRS: usize = 200;
/// Readings, of which the least counts: whatever comes between makes them longer.
const READINGS: usize = 7;

/// CPU time of poll(2) per silent connection. Their sockets lie in the cache by then: among thousands it is more.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Asking {
    /// Where the call returns at once, since there is something elsewhere.
    pub at_once_ns: f64,
    /// Where it has to wait: then it joins the queue of each socket, asks all again when it is woken, and leaves them.
    pub waiting_ns: f64,
}

impl Asking {
    /// Times both.
    pub fn timed() -> Result<Asking, Trouble> {
        let pairs = (0..PAIRS).map(|_| sockets::pair());
        let pairs = pairs.collect::<Result<Vec<_>, Trouble>>()?;
        let ends = pairs.iter().flat_map(|(client, server)| [client, server]);
        let mut asked: Vec<PollFd> = ends
            .map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN))
            .collect();
        Ok(Asking {
            at_once_ns: each_ns(&mut asked, PollTimeout::ZERO, 200)?,
            waiting_ns: each_ns(&mut asked, PollTimeout::from(1u8), 20)?,
        })
    }
}

fn each_ns(asked: &mut [PollFd], timeout: PollTimeout, calls: usize) -> Result<f64, Trouble> {
    let mut least_ns = f64::INFINITY;
    for _ in 0..READINGS {
        let before_ns = used_ns()?;
        for _ in 0..calls {
            poll(asked, timeout).during("poll silent connections")?;
        }
        least_ns = least_ns.min(used_ns()? - before_ns);
    }
    Ok(least_ns / (calls * asked.len()) as f64)
}

/// CPU time of this thread.
fn used_ns() -> Result<f64, Trouble> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).during("read the thread's clock")?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_costs_more_than_asking() {
        let Asking {
            at_once_ns,
            waiting_ns,
        } = Asking::timed().unwrap();
        assert!(
            at_once_ns > 0.5 && waiting_ns < 1e6,
            "{at_once_ns} ns, {waiting_ns} ns"
        );
        assert!(waiting_ns > at_once_ns, "{at_once_ns} ns, {waiting_ns} ns");
    }
}
