//! The seconds of several processes: each tells of its own, the first one adds them up.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Sender, channel};

use nix::sys::socket::{MsgFlags, send};
use serde::{Deserialize, Serialize};

use super::run::Listener;
use crate::tally::blob::BlobError;
use crate::tally::latency::Latency;
use crate::tally::live::{Counted, Live};
use crate::tally::outcome::{Second, check_numbers};
use crate::tally::second::{latency_of, second_of};
use crate::tally::series::{Interval, Series};
use crate::worker::control::Sum;

/// A longer message is not sent: a second's histogram takes 10 KB, with every value in use 80 KB.
pub(super) const MESSAGE_MAX: usize = 128 * 1024;

/// What tells a second from the name of a phase.
const MARK: &[u8] = b"second ";

/// One second of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    second: Second,
    /// What an open loop has besides: of its service times and of its slip.
    service: Option<Second>,
    slip: Option<Second>,
    counted: Counted,
    sum: Sum,
}

impl Told {
    fn of(live: &Live, sum: Sum) -> Self {
        let record = |latency: &Latency| second_of(live.second.second, latency, 0);
        Self {
            second: live.second.clone(),
            service: live.service.as_ref().map(record),
            slip: live.slip.as_ref().map(record),
            counted: live.counted.clone(),
            sum,
        }
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let mut message = MARK.to_vec();
        serde_json::to_writer(&mut message, self).ok()?;
        message.push(b'\n');
        (message.len() <= MESSAGE_MAX).then_some(message)
    }

    /// Whether its figures are such that they can be added up: it may come from another host.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn check(&self) -> Result<(), String> {
        let value = serde_json::to_value(self).map_err(|error| error.to_string())?;
        check_numbers(&value, "")?;
        let others = [&self.service, &self.slip].into_iter().flatten();
        for second in others.chain([&self.second]) {
            latency_of(second).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    pub(super) fn decode(message: &[u8]) -> Option<Self> {
        serde_json::from_slice(message.strip_prefix(MARK)?).ok()
    }

    fn into_interval(self) -> Result<Interval, BlobError> {
        let known = |second: Option<Second>| second.as_ref().map(latency_of).transpose();
        Ok(Interval {
            second: self.second.second,
            responses: latency_of(&self.second)?,
            service: known(self.service)?,
            slip: known(self.slip)?,
            errors: self.second.errors,
            counted: self.counted,
        })
    }
}

/// Tells the first process of every second; what finds no room is dropped, for the run must not wait for its view.
#[derive(Debug)]
pub struct Teller {
    link: OwnedFd,
}

impl Teller {
    /// Speaks over a socket whose messages arrive whole.
    #[must_use]
    pub fn new(link: OwnedFd) -> Self {
        Self { link }
    }
}

impl Listener for Teller {
    fn notice(&mut self, _: &str) {}

    fn wants_seconds(&self) -> bool {
        true
    }

    fn second(&mut self, live: &Live, sum: Sum) {
        let mut told = Told::of(live, sum);
        let message = told.encode().or_else(|| {
            // The second itself is more than what it is made of.
            (told.service, told.slip) = (None, None);
            told.encode()
        });
        if let Some(message) = message {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            let _ = send(self.link.as_raw_fd(), &message, flags);
        }
    }
}

/// Adds up the seconds of all members.
pub(super) struct Seconds {
    sender: Sender<Interval>,
    series: Series,
    sums: Vec<Sum>,
}

impl Seconds {
    pub(super) fn of(members: usize) -> Self {
        let (sender, receiver) = channel();
        Self {
            sender,
            series: Series::new(receiver, members),
            sums: vec![Sum::default(); members],
        }
    }

    /// So many members are left to tell.
    pub(super) fn expect(&mut self, members: usize) {
        self.series.expect(members);
    }

    /// Takes in one member's second; passes on those that all members have told of.
    pub(super) fn take(&mut self, member: usize, told: Told, listener: &mut dyn Listener) {
        self.sums[member] = told.sum;
        let Ok(interval) = told.into_interval() else {
            return;
        };
        // Its other end is in this very struct.
        let _ = self.sender.send(interval);
        let total = self.sums.iter().copied().sum();
        let complete = self.series.collect().iter();
        complete.for_each(|second| listener.second(second, total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Vec<(u64, u64, Option<u64>, u64)>);

    impl Listener for Heard {
        fn notice(&mut self, _: &str) {}

        fn second(&mut self, live: &Live, sum: Sum) {
            let second = &live.second;
            let max_ns = second.response_max_ns;
            self.0
                .push((second.second, second.completed, max_ns, sum.open));
        }
    }

    fn told(second: u64, ns: u64, open: u64) -> Told {
        let mut latency = Latency::default();
        (0..10).for_each(|_| latency.record(ns));
        Told {
            second: second_of(second, &latency, 0),
            service: None,
            slip: Some(second_of(second, &latency, 0)),
            counted: Counted {
                sent: 10,
                ..Counted::default()
            },
            sum: Sum {
                open,
                ..Sum::default()
            },
        }
    }

    #[test]
    fn a_second_is_shown_once_all_have_told_of_it() {
        let (mut seconds, mut heard) = (Seconds::of(2), Heard::default());
        seconds.take(0, told(0, 100, 5), &mut heard);
        seconds.take(0, told(1, 100, 6), &mut heard);
        assert!(heard.0.is_empty());
        seconds.take(1, told(0, 900, 7), &mut heard);
        assert_eq!(heard.0, [(0, 20, Some(900), 13)]);
        seconds.take(1, told(1, 50, 7), &mut heard);
        assert_eq!(heard.0[1], (1, 20, Some(100), 13));
    }

    #[test]
    fn messages_are_read_back_and_nonsense_is_not() {
        let (ours, theirs) = nix::sys::socket::socketpair(
            nix::sys::socket::AddressFamily::Unix,
            nix::sys::socket::SockType::SeqPacket,
            None,
            nix::sys::socket::SockFlag::empty(),
        )
        .expect("a pair");
        let sent = told(3, 77, 2);
        let (second, sum) = (sent.second.clone(), sent.sum);
        let interval = sent.into_interval().expect("readable");
        let live = Live {
            second: second.clone(),
            response: interval.responses,
            service: interval.service,
            slip: interval.slip,
            counted: interval.counted.clone(),
        };
        Teller::new(theirs).second(&live, sum);
        let mut buffer = vec![0; MESSAGE_MAX];
        let length = nix::unistd::read(&ours, &mut buffer).expect("heard");
        let read = Told::decode(&buffer[..length]).expect("understood");
        assert_eq!((&read.second, read.sum.open), (&second, 2));
        let read = read.into_interval().expect("readable");
        assert_eq!(read.counted, interval.counted);
        assert_eq!(read.slip.map(|slip| slip.histogram.len()), Some(10));
        assert!(read.service.is_none());
        for bad in [b"phase ramp\n".as_slice(), b"second ", b"second {}", b""] {
            assert!(Told::decode(bad).is_none());
        }
    }
}
