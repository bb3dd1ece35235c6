//! Where connections come from: source addresses, and how many are needed.
//!
//! One address offers the ports of ip_local_port_range towards one server. The
//! kernel searches them at every connect(2), first the half with the parity of
//! the range's start (commit 07f4c90062f8). A half that is nearly full is searched
//! for long, so where one address is not enough, each is given half of a half.
//! A port in TIME_WAIT is not free. IPv4's loopback has 16 million addresses; IPv6's has ::1, and what an administrator
//! has added to `lo`.
//!
//! Servers tell clients apart by their address: one that lets 127.0.0.1 in refuses all others. So more than the
//! kernel's choice are taken only where its ports cannot be enough for the connections asked for, or, once connections
//! are being replaced, are seen to run short.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use nix::errno::Errno;
use nix::sys::socket::{SockaddrStorage, bind, setsockopt, sockopt};

use super::{Close, Load, ProtocolName, Sources};
use crate::base::address::Address;
use crate::base::units::SECOND_NS;

/// Addresses for connections that this side closes and replaces faster than their ports become free: TIME_WAIT lasts a
/// minute, and at 40 000 connections a second each of these waits for 160 a second.
const CHURN_ADDRESSES: u64 = 250;

/// The most addresses taken from a network.
const MAX_ADDRESSES: usize = 65_536;

/// The addresses that connections are bound to, in turn; none: the kernel's choice.
#[derive(Debug, Default)]
pub struct SourcePool {
    addresses: Vec<IpAddr>,
    /// What is taken beside the kernel's choice once its ports run short.
    spare: Option<Spare>,
}

/// Addresses in reserve.
#[derive(Debug)]
struct Spare {
    addresses: Vec<IpAddr>,
    /// Connects within `hold_ns` from which on the ports count as running short.
    limit: u64,
    recent: Recent,
    is_used: AtomicBool,
}

/// Counts what happened within a time, or up to twice that time.
#[derive(Debug)]
struct Recent {
    hold_ns: u64,
    epoch: AtomicU64,
    now: AtomicU64,
    before: AtomicU64,
}

impl Recent {
    fn new(hold_ns: u64) -> Self {
        Self {
            hold_ns,
            epoch: AtomicU64::new(0),
            now: AtomicU64::new(0),
            before: AtomicU64::new(0),
        }
    }

    /// Counts one more; returns how many there were. Threads that change the epoch at the same time may lose a few.
    fn count(&self, at_ns: u64) -> u64 {
        let epoch = at_ns / self.hold_ns;
        let known = self.epoch.load(Relaxed);
        if epoch > known
            && self
                .epoch
                .compare_exchange(known, epoch, AcqRel, Relaxed)
                .is_ok()
        {
            let last = self.now.swap(0, Relaxed);
            let is_next = epoch == known + 1;
            self.before.store(if is_next { last } else { 0 }, Relaxed);
        }
        self.now.fetch_add(1, Relaxed) + 1 + self.before.load(Relaxed)
    }
}

impl SourcePool {
    /// The pool a load needs on this machine.
    #[must_use]
    pub fn of(load: &Load) -> Self {
        let ports = port_range();
        let addresses = match &load.sources {
            Sources::List(list) => list.clone(),
            Sources::Network(network) => network.hosts().take(MAX_ADDRESSES).collect(),
            // A Redis in its protected mode, which is its default, serves 127.0.0.1 alone.
            Sources::Auto if load.protocol == ProtocolName::Resp => return Self::default(),
            Sources::Auto => automatic(&load.target, needed(load, ports)),
        };
        let spare = addresses
            .is_empty()
            .then(|| Spare::of(load, ports))
            .flatten();
        Self { addresses, spare }
    }

    /// How many addresses there are from the beginning; 0: the kernel chooses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether the kernel chooses, at the beginning.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Binds a socket to the address whose turn it is; with `replacing`, connections are being replaced, which uses up
    /// ports. The port is left to connect(2) (IP_BIND_ADDRESS_NO_PORT, ip(7)), or it would be reserved towards all
    /// servers instead of one.
    ///
    /// # Errors
    /// The errno of bind(2), EADDRNOTAVAIL for an address that is not ours, and that address.
    pub fn bind(
        &self,
        fd: &OwnedFd,
        turn: u64,
        replacing: bool,
        now_ns: u64,
    ) -> Result<(), (Errno, IpAddr)> {
        let Some(address) = self.address(turn, replacing, now_ns) else {
            return Ok(());
        };
        let socket = std::os::fd::AsRawFd::as_raw_fd(fd);
        setsockopt(fd, sockopt::IpBindAddressNoPort, &true)
            .and_then(|()| bind(socket, &SockaddrStorage::from(SocketAddr::new(address, 0))))
            .map_err(|errno| (errno, address))
    }

    /// The address whose turn it is; `None`: the kernel's choice.
    fn address(&self, turn: u64, replacing: bool, now_ns: u64) -> Option<IpAddr> {
        let in_turn = |list: &[IpAddr]| list[(turn % list.len() as u64) as usize];
        if !self.addresses.is_empty() {
            return Some(in_turn(&self.addresses));
        }
        let spare = self.spare.as_ref().filter(|_| replacing)?;
        if !spare.is_used.load(Relaxed) {
            if spare.recent.count(now_ns) < spare.limit {
                return None;
            }
            spare.is_used.store(true, Relaxed);
        }
        Some(in_turn(&spare.addresses))
    }

    /// The kernel has no port left: takes more addresses from now on, if there are any that were not taken before.
    pub fn widen(&self) -> bool {
        let spare = self.spare.as_ref();
        spare.is_some_and(|spare| !spare.is_used.swap(true, Relaxed))
    }

    /// Where connections came from, in words; empty if the kernel alone chose.
    #[must_use]
    pub fn used(&self) -> Vec<String> {
        match &self.spare {
            _ if !self.addresses.is_empty() => vec![in_words(&self.addresses)],
            Some(spare) if spare.is_used.load(Relaxed) => {
                vec!["the kernel's choice".into(), in_words(&spare.addresses)]
            }
            _ => Vec::new(),
        }
    }
}

impl Spare {
    /// Whether connections are replaced that leave their ports behind: only who closes first, and with FIN, keeps one in
    /// TIME_WAIT.
    fn is_needed(load: &Load) -> bool {
        load.churns() && load.close == Close::Client
    }

    /// What a load may need whose connections are replaced.
    fn of(load: &Load, ports: u64) -> Option<Self> {
        if !Self::is_needed(load) {
            return None;
        }
        let addresses = automatic(&load.target, CHURN_ADDRESSES);
        let shares = u64::from(load.segment.count);
        let left = (ports / 2).saturating_sub(load.population()) / shares;
        (!addresses.is_empty()).then(|| Self {
            addresses,
            limit: left.max(1),
            recent: Recent::new(time_wait_ns()),
            is_used: AtomicBool::new(false),
        })
    }
}

fn in_words(addresses: &[IpAddr]) -> String {
    match addresses {
        [one] => one.to_string(),
        [first, .., last] => format!("{} addresses from {first} to {last}", addresses.len()),
        [] => String::new(),
    }
}

/// How many addresses a load over loopback may need here, replacements of its connections included.
#[must_use]
pub fn addresses_needed(load: &Load) -> u64 {
    let ports = port_range();
    match Spare::is_needed(load) {
        true => CHURN_ADDRESSES.max(needed(load, ports)),
        false => needed(load, ports),
    }
}

/// How many addresses a load needs from the beginning, given how many ports each offers.
fn needed(load: &Load, ports: u64) -> u64 {
    let (half, quarter) = ((ports / 2).max(1), (ports / 4).max(1));
    match load.population() {
        // Every address but the kernel's own choice costs two more system calls a connection.
        few if few <= half => 1,
        many => many.div_ceil(quarter),
    }
}

/// 127.0.1.1, 127.0.1.2 …, for an IPv4 loopback target that needs more than one; for an IPv6 one those that `lo` has.
fn automatic(target: &Address, count: u64) -> Vec<IpAddr> {
    let count = count.min(MAX_ADDRESSES as u64);
    match target.ip() {
        Some(IpAddr::V4(address)) if address.is_loopback() && count > 1 => {
            let base = u32::from(Ipv4Addr::new(127, 0, 1, 1));
            (0..count)
                .map(|i| IpAddr::V4(Ipv4Addr::from(base + i as u32)))
                .collect()
        }
        Some(IpAddr::V6(address)) if address.is_loopback() && count > 1 => {
            let listed = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
            let mut added = added_to_loopback(&listed);
            added.truncate(count as usize);
            added
        }
        _ => Vec::new(),
    }
}

/// The addresses of `lo` besides ::1, as the kernel lists them: address, interface, length of its prefix, scope, flags
/// and name (proc_net_if_inet6(5)).
fn added_to_loopback(listed: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [digits, .., "lo"] = words[..] else {
            return None;
        };
        let address = Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
        (!address.is_loopback()).then_some(IpAddr::V6(address))
    };
    let mut added: Vec<IpAddr> = listed.lines().filter_map(address).collect();
    added.sort_unstable();
    added
}

/// How long a port on loopback stays in TIME_WAIT before the kernel takes it again (`tcp_tw_reuse`, ip-sysctl.rst:
/// it may where the other side's timestamps are kept, after `tcp_tw_reuse_delay`).
fn time_wait_ns() -> u64 {
    let setting = |name: &str| -> Option<u64> {
        let path = format!("/proc/sys/net/ipv4/{name}");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let is_reused = matches!(setting("tcp_tw_reuse"), Some(1 | 2))
        && setting("tcp_timestamps").is_some_and(|set| set != 0);
    match is_reused {
        true => setting("tcp_tw_reuse_delay").unwrap_or(1000).max(1) * 1_000_000,
        false => 60 * SECOND_NS,
    }
}

/// How many ports the kernel chooses from; the default range where it cannot be read.
fn port_range() -> u64 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text
        .split_whitespace()
        .filter_map(|word| word.parse::<u64>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(low), Some(high)) if low <= high => high - low + 1,
        _ => 28_232,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::flags::{LoadFlags, RunFlags, ShapeFlags};

    fn load(conns: u64, requests_per_conn: Option<u64>, target: &str) -> Load {
        let shape = ShapeFlags {
            conns,
            requests_per_conn,
            ..ShapeFlags::default()
        };
        Load::new(target, &shape, &LoadFlags::default(), &RunFlags::default())
            .expect("a valid load")
    }

    #[test]
    fn addresses_are_added_from_the_beginning_when_half_the_ports_cannot_be_enough() {
        assert_eq!(needed(&load(14_116, None, "127.0.0.1:1"), 28_232), 1);
        assert_eq!(needed(&load(14_117, None, "127.0.0.1:1"), 28_232), 3);
        assert_eq!(needed(&load(1_000_000, None, "127.0.0.1:1"), 28_232), 142);
        assert_eq!(needed(&load(50, Some(1), "127.0.0.1:1"), 28_232), 1);
    }

    #[test]
    fn what_an_administrator_added_to_the_loopback_is_taken() {
        let listed = "00000000000000000000000000000001 01 80 10 80       lo\n\
                      fd000000000000000000000000000005 01 80 00 80       lo\n\
                      fe80000000000000000000000000aaaa 02 40 20 80     eth0\n\
                      fd000000000000000000000000000004 01 80 00 80       lo\nnonsense\n";
        let addresses: [IpAddr; 2] =
            ["fd00::4", "fd00::5"].map(|text| text.parse().expect("an address"));
        assert_eq!(added_to_loopback(listed), addresses);
        assert!(added_to_loopback("").is_empty());
    }

    #[test]
    fn ipv4_loopback_is_spread() {
        let of = |target: &str, count| automatic(&target.parse().expect("an address"), count);
        assert!(of("unix:/a", 100).is_empty() && of("192.0.2.1:1", 100).is_empty());
        assert!(of("127.0.0.1:1", 1).is_empty());
        let many = of("127.0.0.1:1", 300);
        assert_eq!(many.len(), 300);
        assert!(many.iter().all(IpAddr::is_loopback));
        assert_eq!(many[299], IpAddr::from([127, 0, 2, 44]));
    }

    /// A pool that takes more addresses from the `limit`-th replacement within a second on.
    fn pool(limit: u64) -> SourcePool {
        let mut spare = Spare::of(&load(5, Some(1), "127.0.0.1:1"), 28_232).expect("it churns");
        (spare.limit, spare.recent) = (limit, Recent::new(SECOND_NS));
        SourcePool {
            addresses: Vec::new(),
            spare: Some(spare),
        }
    }

    #[test]
    fn the_kernel_chooses_until_replacements_come_near_the_ports_and_never_otherwise() {
        let fast = pool(100);
        // The ramp uses up no ports twice.
        assert!((0..1000).all(|turn| fast.address(turn, false, turn).is_none()));
        assert!((0..99).all(|turn| fast.address(turn, true, turn).is_none()));
        assert!(fast.used().is_empty());
        let first = fast.address(99, true, 99).expect("ports run short");
        assert_eq!(first, IpAddr::from([127, 0, 1, 100]));
        assert_ne!(fast.address(100, true, 100), Some(first));
        assert_eq!(
            fast.used(),
            [
                "the kernel's choice",
                "250 addresses from 127.0.1.1 to 127.0.1.250"
            ]
        );
        // Forty a second, for an hour: never a hundred in two seconds.
        let slow = pool(100);
        let at_ns = |turn: u64| turn * SECOND_NS / 40;
        assert!((0..40 * 3600).all(|turn| slow.address(turn, true, at_ns(turn)).is_none()));
    }

    #[test]
    fn when_the_kernel_has_no_port_left_more_addresses_are_taken_once() {
        let pool = pool(100);
        assert!(pool.widen() && !pool.widen());
        assert!(pool.address(1, true, 0).is_some());
        assert!(!SourcePool::default().widen());
        let reset = LoadFlags {
            close: Close::Reset,
            ..LoadFlags::default()
        };
        let load = Load::new(
            "127.0.0.1:1",
            &ShapeFlags::default(),
            &reset,
            &RunFlags::default(),
        );
        assert!(SourcePool::of(&load.expect("valid")).spare.is_none());
    }
}
