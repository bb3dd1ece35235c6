//! When to look at which connection again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// Deadlines by descriptor: one for each, not one per request. A connection
/// found busy is put off.
#[derive(Debug, Default)]
pub struct Deadlines {
    queue: BinaryHeap<Reverse<(Instant, RawFd)>>,
    /// When each is looked at; entries of the queue that say otherwise are void.
    due: HashMap<RawFd, Instant>,
}

impl Deadlines {
    /// Has a descriptor looked at then, or earlier if it already is.
    pub fn watch(&mut self, fd: RawFd, due: Instant) {
        if self.due.get(&fd).is_none_or(|&earlier| due < earlier) {
            self.due.insert(fd, due);
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
            if self.due.get(&fd) != Some(&due) {
                continue;
            }
            self.due.remove(&fd);
            match deadline(fd) {
                Some(later) if later > now => self.watch(fd, later),
                Some(_) => expired.push(fd),
                None => {}
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_deadline_counts_and_a_busy_connection_is_put_off() {
        let mut deadlines = Deadlines::default();
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        deadlines.watch(5, now + hour);
        assert!(deadlines.expired(|_| None).is_empty());
        deadlines.watch(5, now);
        deadlines.watch(6, now);
        deadlines.watch(7, now + hour);
        assert_eq!(deadlines.next(), Some(Duration::ZERO));
        let due = |fd| Some(if fd == 5 { now } else { now + hour });
        assert_eq!(deadlines.expired(due), [5]);
        assert!(deadlines.expired(due).is_empty());
        assert!(deadlines.next() > Some(Duration::from_secs(3000)));
    }
}
