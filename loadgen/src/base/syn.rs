//! When the kernel sends a SYN again: the connect times that a full listen queue makes.
//!
//! The first time-out is 1 s (TCP_TIMEOUT_INIT). Before Linux 6.5 each is twice the one before; from there on the first
//! `tcp_syn_linear_timeouts` of them are all 1 s (`tcp_retransmit_timer`, net/ipv4/tcp_timer.c; commit ccce324dabfe).

use std::fs;
use std::time::Duration;

/// The settings that the times follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynTimeouts {
    /// Time-outs that do not double the next (`tcp_syn_linear_timeouts`); 0 before Linux 6.5, which has no such setting.
    pub linear: u32,
    /// How often a SYN is sent again, the linear ones not counted (`tcp_syn_retries`).
    pub retries: u32,
}

impl SynTimeouts {
    /// The settings of this network namespace.
    #[must_use]
    pub fn in_force() -> Self {
        let setting = |name: &str| -> Option<u32> {
            let path = format!("/proc/sys/net/ipv4/{name}");
            fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        Self {
            linear: setting("tcp_syn_linear_timeouts").unwrap_or(0),
            retries: setting("tcp_syn_retries").unwrap_or(6),
        }
    }

    /// How long after the first the SYN is sent again, in seconds, each time until `limit`.
    #[must_use]
    pub fn sent_again_after_s(self, limit: Duration) -> Vec<u64> {
        /// The longest time-out (TCP_RTO_MAX).
        const LONGEST_S: u64 = 120;
        let (mut at_s, mut timeout_s, mut times) = (0, 1, Vec::new());
        for number in 1..=self.linear.saturating_add(self.retries) {
            at_s += timeout_s;
            if Duration::from_secs(at_s) > limit {
                break;
            }
            times.push(at_s);
            if number > self.linear {
                timeout_s = (timeout_s * 2).min(LONGEST_S);
            }
        }
        times
    }
}

/// The seconds in words: `1 s, 2 s and 3 s`.
#[must_use]
pub fn seconds_in_words(times_s: &[u64]) -> String {
    let words: Vec<String> = times_s.iter().map(|at_s| format!("{at_s} s")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    }
}

/// What a full listen queue does to the times of connections, in words: `times_s` as [`SynTimeouts::sent_again_after_s`]
/// gives them for the longest wait for a connect.
#[must_use]
pub fn listen_queue_in_words(times_s: &[u64]) -> String {
    let connects = match times_s {
        [] => "a connect whose SYN is dropped times out before the SYN is sent again".to_owned(),
        times_s => format!(
            "connect times near {} are the kernel's, which sends a dropped SYN again",
            seconds_in_words(times_s)
        ),
    };
    format!("{connects}; where the handshake's last ACK is dropped, the first byte is late instead")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(11);

    #[test]
    fn a_syn_is_sent_again_when_the_settings_in_force_say() {
        let times =
            |linear, retries, limit| SynTimeouts { linear, retries }.sent_again_after_s(limit);
        assert_eq!(times(4, 6, SOON), [1, 2, 3, 4, 5, 7, 11]);
        assert_eq!(times(0, 6, SOON), [1, 3, 7]);
        assert_eq!(times(1, 6, SOON), [1, 2, 4, 8]);
        assert_eq!(times(4, 6, Duration::from_secs(3)), [1, 2, 3]);
        assert_eq!(times(4, 6, Duration::from_millis(2999)), [1, 2]);
        assert_eq!(times(4, 6, Duration::from_millis(500)), [0; 0]);
        // tcp_syn_retries = 2 ends it, and no time-out is longer than two minutes.
        assert_eq!(times(0, 2, SOON), [1, 3]);
        assert_eq!(times(4, 0, SOON), [1, 2, 3, 4]);
        let long = times(0, 12, Duration::from_secs(1000));
        assert_eq!(long, [1, 3, 7, 15, 31, 63, 127, 247, 367, 487, 607, 727]);
    }

    #[test]
    fn the_times_are_told_in_words() {
        assert_eq!(seconds_in_words(&[1]), "1 s");
        assert_eq!(seconds_in_words(&[1, 2, 3]), "1 s, 2 s and 3 s");
        assert!(listen_queue_in_words(&[1, 3]).starts_with("connect times near 1 s and 3 s are"));
        assert!(listen_queue_in_words(&[]).starts_with("a connect whose SYN is dropped times out"));
    }
}
