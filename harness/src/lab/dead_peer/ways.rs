//! The ways to notice that a peer is gone, and how long each takes with these settings.

use crate::lab::settings::Settings;
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::TcpStream;
use std::time::Duration;

/// The settings that the usual timers follow.
pub const SETTINGS: &[&str] = &[
    "net/ipv4/tcp_keepalive_time",
    "net/ipv4/tcp_keepalive_intvl",
    "net/ipv4/tcp_keepalive_probes",
    "net/ipv4/tcp_retries2",
];

/// The first probe after so long, the next ones, and how many.
const PROBES: (Duration, Duration, u32) = (Duration::from_secs(1), Duration::from_secs(1), 3);
/// For so long bytes may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(3);
/// Between a segment and its first retry, where the peer is near, and between two retries at most (tcp(7)).
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// The server's own time-out.
pub const IDLE: Duration = Duration::from_secs(2);

/// How a server may notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It reads, and nothing else.
    Reading,
    /// SO_KEEPALIVE.
    Keepalive,
    /// A byte is on its way.
    Sending,
    /// SO_KEEPALIVE with timers of seconds.
    QuickKeepalive,
    /// A byte is on its way, and TCP_USER_TIMEOUT is set.
    UserTimeout,
    /// The server closes who asks for nothing.
    IdleTimeout,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 6] = [
        Way::Reading,
        Way::Keepalive,
        Way::Sending,
        Way::QuickKeepalive,
        Way::UserTimeout,
        Way::IdleTimeout,
    ];

    /// What it is called.
    pub fn words(self) -> &'static str {
        match self {
            Way::Reading => "reading only",
            Way::Keepalive => "SO_KEEPALIVE, this machine's timers",
            Way::Sending => "a byte on its way",
            Way::QuickKeepalive => "SO_KEEPALIVE, 1 s, 1 s, 3 probes",
            Way::UserTimeout => "a byte on its way, TCP_USER_TIMEOUT 3 s",
            Way::IdleTimeout => "the server's --idle-timeout 2s",
        }
    }

    /// Sets what it needs.
    pub fn set(self, connection: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(connection);
        match self {
            Way::Reading | Way::Sending | Way::IdleTimeout => Ok(()),
            Way::Keepalive => socket.set_keepalive(true),
            Way::QuickKeepalive => {
                let (first, every, probes) = PROBES;
                let keepalive = TcpKeepalive::new().with_time(first).with_interval(every);
                socket.set_tcp_keepalive(&keepalive.with_retries(probes))
            }
            Way::UserTimeout => socket.set_tcp_user_timeout(Some(USER_TIMEOUT)),
        }
    }

    /// Whether a byte is sent that nobody will acknowledge.
    pub fn sends(self) -> bool {
        matches!(self, Way::Sending | Way::UserTimeout)
    }

    /// The earliest and the latest time at which it is noticed; none where it never is.
    pub fn noticed_between(self, settings: &Settings) -> Option<(Duration, Duration)> {
        let exactly = |time: Duration| Some((time, time));
        // Whether it has been long enough is asked when a byte is sent again, and the pauses between that double.
        let up_to_one_more = |time: Duration| Some((time, time + time.min(LONGEST_PAUSE)));
        match self {
            Way::Reading => None,
            Way::Keepalive => exactly(usual_keepalive(settings)?),
            Way::Sending => {
                up_to_one_more(given_up_after(settings.number("net/ipv4/tcp_retries2")?))
            }
            Way::QuickKeepalive => exactly(PROBES.0 + PROBES.1 * PROBES.2),
            Way::UserTimeout => up_to_one_more(USER_TIMEOUT),
            Way::IdleTimeout => exactly(IDLE),
        }
    }
}

/// A first probe, and then as many as may stay unanswered.
fn usual_keepalive(settings: &Settings) -> Option<Duration> {
    let number = |what: &str| settings.number(&format!("net/ipv4/tcp_keepalive_{what}"));
    Some(Duration::from_secs(
        number("time")? + number("intvl")? * number("probes")?,
    ))
}

/// The time that so many retries of a segment take, which is what the kernel makes of tcp_retries2
/// (tcp_model_timeout): each pause is twice as long as the one before.
fn given_up_after(retries: u64) -> Duration {
    let pause = |retry: u64| {
        SHORTEST_PAUSE
            .saturating_mul(1 << retry.min(20))
            .min(LONGEST_PAUSE)
    };
    (0..=retries.min(100)).map(pause).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_timers() {
        let values = [("time", "7200"), ("intvl", "75"), ("probes", "9")];
        let values = values.map(|(what, value)| (format!("net/ipv4/tcp_keepalive_{what}"), value));
        let values: Vec<(&str, &str)> = values
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        let settings = Settings::example(&values);
        assert_eq!(usual_keepalive(&settings), Some(Duration::from_secs(7875)));
        assert_eq!(given_up_after(15), Duration::from_millis(924_600));
        assert_eq!(given_up_after(3), Duration::from_secs(3));
        assert_eq!(Way::Reading.noticed_between(&settings), None);
    }
}
