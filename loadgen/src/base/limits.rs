//! What this process may use: descriptors and CPUs.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors kept for everything that is no connection: two for each thread,
/// the standard streams, files to be written, and some to spare.
const RESERVE: u64 = 32;

/// Raises RLIMIT_NOFILE to its hard limit and returns how many connections this
/// process may open beside what is open now.
#[must_use]
pub fn connections_possible(threads: u64) -> u64 {
    let limit = raise_nofile();
    let open = fs::read_dir("/proc/self/fd").map_or(16, |entries| entries.count() as u64);
    limit.saturating_sub(open + RESERVE + 2 * threads)
}

fn raise_nofile() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// The CPUs this process may run on, in ascending order.
#[must_use]
pub fn own_cpus() -> Vec<usize> {
    super::sys::affinity().unwrap_or_default()
}

/// Restricts this thread to some CPUs; false where it is not allowed to run there.
pub fn pin(cpus: &[usize]) -> bool {
    super::sys::set_affinity(cpus).is_ok()
}

/// CPUs of the machine, whether this process may use them or not; 1 if unknown.
#[must_use]
pub fn online_cpus() -> u64 {
    let count = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN);
    count.ok().flatten().map_or(1, |count| count.max(1) as u64)
}

/// What the kernel counts of trouble with connects, for all programs of this network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectTrouble {
    /// Connections that found a listen queue full (`TcpExt: ListenOverflows`).
    pub listen_overflows: Option<u64>,
    /// SYNs, and SYN-ACKs, sent again (`TcpExt: TCPSynRetrans`).
    pub syn_retransmits: Option<u64>,
}

impl ConnectTrouble {
    /// The counts as they are now; absent where unreadable.
    #[must_use]
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/self/net/netstat").unwrap_or_default();
        Self {
            listen_overflows: tcp_ext(&text, "ListenOverflows"),
            syn_retransmits: tcp_ext(&text, "TCPSynRetrans"),
        }
    }

    /// What was counted from `earlier` to `self`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let rise = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        Self {
            listen_overflows: rise(self.listen_overflows, earlier.listen_overflows),
            syn_retransmits: rise(self.syn_retransmits, earlier.syn_retransmits),
        }
    }
}

/// A counter of netstat's, which stands in pairs of lines: names, then values.
fn tcp_ext(text: &str, wanted: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let position = names.split_whitespace().position(|name| name == wanted)?;
    values.split_whitespace().nth(position)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name_and_missing_ones_stay_missing() {
        let text = "TcpExt: SyncookiesSent ListenOverflows TCPSynRetrans\nTcpExt: 1 2 38\nIpExt: A\nIpExt: 9\n";
        assert_eq!(tcp_ext(text, "ListenOverflows"), Some(2));
        assert_eq!(tcp_ext(text, "TCPSynRetrans"), Some(38));
        assert_eq!(tcp_ext(text, "A"), None);
        assert_eq!(tcp_ext("", "ListenOverflows"), None);
        let known = |count| ConnectTrouble {
            listen_overflows: Some(count),
            syn_retransmits: None,
        };
        assert_eq!(known(5).since(known(2)), known(3));
    }
}
