//! Where connections come from: source addresses, and how many are needed.
//!
//! One address offers the ports of ip_local_port_range towards one server. The
//! kernel searches them at every connect(2), first the half with the parity of
//! the range's start (commit 07f4c90062f8). A half that is nearly full is searched
//! for long, so where one address is not enough, each is given half of a half.
//! A port in TIME_WAIT is not free. Loopback has 16 million addresses.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::{SockaddrStorage, bind, setsockopt, sockopt};

use super::{Close, Load, ProtocolName, Sources};

/// Addresses for connections that this side closes and replaces all the time: TIME_WAIT lasts a
/// minute, and at 40 000 connections a second each of these waits for 160 a second.
const CHURN_ADDRESSES: u64 = 250;

/// The most addresses taken from a network.
const MAX_ADDRESSES: usize = 65_536;

/// The addresses that connections are bound to, in turn; none: the kernel's choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourcePool {
    addresses: Vec<IpAddr>,
}

impl SourcePool {
    /// The pool a load needs on this machine.
    #[must_use]
    pub fn of(load: &Load) -> Self {
        let addresses = match &load.sources {
            Sources::List(list) => list.clone(),
            Sources::Network(network) => network.hosts().take(MAX_ADDRESSES).collect(),
            // A Redis in its protected mode, which is its default, serves 127.0.0.1 alone.
            Sources::Auto if load.protocol == ProtocolName::Resp => Vec::new(),
            Sources::Auto => automatic(load.target, needed(load, port_range())),
        };
        Self { addresses }
    }

    /// How many addresses there are; 0: the kernel chooses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether the kernel chooses.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Binds a socket to the address whose turn it is. The port is left to
    /// connect(2) (IP_BIND_ADDRESS_NO_PORT, ip(7)), or it would be reserved
    /// towards all servers instead of one.
    ///
    /// # Errors
    /// The errno of bind(2), EADDRNOTAVAIL for an address that is not ours.
    pub fn bind(&self, fd: &OwnedFd, turn: u64) -> Result<(), Errno> {
        if self.addresses.is_empty() {
            return Ok(());
        }
        let address = self.addresses[(turn % self.addresses.len() as u64) as usize];
        setsockopt(fd, sockopt::IpBindAddressNoPort, &true)?;
        bind(
            std::os::fd::AsRawFd::as_raw_fd(fd),
            &SockaddrStorage::from(SocketAddr::new(address, 0)),
        )
    }
}

/// How many addresses a load needs, given how many ports each offers.
fn needed(load: &Load, ports: u64) -> u64 {
    let (half, quarter) = ((ports / 2).max(1), (ports / 4).max(1));
    let at_once = match load.population() {
        // Every address but the kernel's own choice costs two more system calls a connection.
        few if few <= half => 1,
        many => many.div_ceil(quarter),
    };
    // Only who closes first, and with FIN, keeps a port in TIME_WAIT.
    if load.churns() && load.close == Close::Client {
        at_once.max(CHURN_ADDRESSES)
    } else {
        at_once
    }
}

/// 127.0.1.1, 127.0.1.2 …, for an IPv4 loopback target that needs more than one.
fn automatic(target: SocketAddr, count: u64) -> Vec<IpAddr> {
    let IpAddr::V4(address) = target.ip() else {
        return Vec::new();
    };
    if !address.is_loopback() || count <= 1 {
        return Vec::new();
    }
    let base = u32::from(Ipv4Addr::new(127, 0, 1, 1));
    (0..count.min(MAX_ADDRESSES as u64))
        .map(|i| IpAddr::V4(Ipv4Addr::from(base + i as u32)))
        .collect()
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
    fn addresses_are_added_when_half_the_ports_are_used() {
        assert_eq!(needed(&load(14_116, None, "127.0.0.1:1"), 28_232), 1);
        assert_eq!(needed(&load(14_117, None, "127.0.0.1:1"), 28_232), 3);
        assert_eq!(needed(&load(1_000_000, None, "127.0.0.1:1"), 28_232), 142);
        assert_eq!(
            needed(&load(50, Some(1), "127.0.0.1:1"), 28_232),
            CHURN_ADDRESSES
        );
    }

    #[test]
    fn only_ipv4_loopback_is_spread() {
        assert!(automatic("[::1]:1".parse().expect("an address"), 100).is_empty());
        assert!(automatic("127.0.0.1:1".parse().expect("an address"), 1).is_empty());
        let many = automatic("127.0.0.1:1".parse().expect("an address"), 300);
        assert_eq!(many.len(), 300);
        assert!(many.iter().all(IpAddr::is_loopback));
        assert_eq!(many[299], IpAddr::from([127, 0, 2, 44]));
    }
}
