//! Whose the socket is that listens at an address: the one question that decides whether a process's CPU time and
//! memory are the server's.

use super::procfs;
use loadgen::base::address::Address;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The state of a listening socket in /proc/net/tcp (TCP_LISTEN, include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Who listens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// Nobody asked.
    #[default]
    NotAsked,
    /// The family that is measured, and nobody else.
    Family,
    /// Another process: its id and its name.
    Other(u32, String),
    /// Nobody who can be seen from here: a process of another user, in another namespace, or on another machine.
    Unseen,
}

/// Who listens at `addr` in the network of process `network`: the family, or somebody else.
pub fn of(addr: &Address, network: u32, family: &[u32]) -> Owner {
    let listeners = match addr {
        Address::Ip(addr) => listeners(*addr, network),
        Address::Unix(path) => {
            let table = fs::read_to_string(format!("/proc/{network}/net/unix"));
            listening_at(&table.unwrap_or_default(), path)
        }
    };
    if listeners.is_empty() {
        return Owner::Unseen;
    }
    let mut held = HashSet::new();
    for &pid in family {
        held.extend(sockets_of(pid).filter(|inode| listeners.contains(inode)));
        if held.len() == listeners.len() {
            return Owner::Family;
        }
    }
    // Sockets that share a port share its connections: one of another's is enough to answer for the server.
    let strange: HashSet<u64> = listeners.difference(&held).copied().collect();
    let holds = |pid: &u32| sockets_of(*pid).any(|inode| strange.contains(&inode));
    match procfs::processes().find(holds) {
        Some(pid) => Owner::Other(pid, procfs::name_of(pid)),
        None => Owner::Unseen,
    }
}

/// Where a family listens, in the network of process `network`.
pub fn places_of(network: u32, family: &[u32]) -> Vec<SocketAddr> {
    let held: HashSet<u64> = family.iter().flat_map(|&pid| sockets_of(pid)).collect();
    let mut places: Vec<SocketAddr> = all_listening(network)
        .into_iter()
        .filter(|(_, inode)| held.contains(inode))
        .map(|(at, _)| at)
        .collect();
    places.sort();
    places.dedup();
    places
}

/// The inodes of the sockets that get the connections made to `addr`: those bound to it, else those bound to all
/// addresses, as the kernel's own lookup prefers them (inet_lookup_listener).
fn listeners(addr: SocketAddr, network: u32) -> HashSet<u64> {
    let all = all_listening(network);
    let on = |matches: &dyn Fn(IpAddr) -> bool| -> HashSet<u64> {
        let found = all
            .iter()
            .filter(|(at, _)| at.port() == addr.port() && matches(at.ip()));
        found.map(|(_, inode)| *inode).collect()
    };
    let exact = on(&|ip| ip.to_canonical() == addr.ip().to_canonical());
    match exact.is_empty() {
        false => exact,
        true => on(&|ip| ip.to_canonical().is_unspecified() || ip.is_unspecified()),
    }
}

/// Every listening TCP socket, and its inode.
fn all_listening(network: u32) -> Vec<(SocketAddr, u64)> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{network}/net/{file}"));
    let lines = [read("tcp"), read("tcp6")].map(|text| text.unwrap_or_default());
    lines.iter().flat_map(|text| listening(text)).collect()
}

fn listening(text: &str) -> Vec<(SocketAddr, u64)> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (ip, port) = fields.get(1)?.split_once(':')?;
        let at = SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?);
        let inode = fields.get(9)?.parse().ok()?;
        (*fields.get(3)? == LISTEN).then_some((at, inode))
    };
    text.lines().skip(1).filter_map(parse).collect()
}

/// The inodes of the sockets that listen at a path: those that accept connections (__SO_ACCEPTCON, include/linux/net.h)
/// in the table of /proc/net/unix.
fn listening_at(table: &str, path: &Path) -> HashSet<u64> {
    const ACCEPTS: u32 = 1 << 16;
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().take(7).collect();
        let accepts = u32::from_str_radix(fields.get(3)?, 16).ok()? & ACCEPTS != 0;
        let inode = fields.get(6)?.parse().ok()?;
        let is_named = path
            .to_str()
            .is_some_and(|path| line.ends_with(&format!(" {path}")));
        (accepts && is_named).then_some(inode)
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// Words of four bytes in the machine's own order, in hexadecimal (proc_net_tcp.rst).
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let bytes: [u8; 16] = words.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// The inodes of all sockets that a process holds; none where it cannot be looked into.
fn sockets_of(pid: u32) -> impl Iterator<Item = u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    entries.filter_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::process::Command;

    #[test]
    fn a_listener_of_the_family_is_told_from_anothers() {
        let me = std::process::id();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = &Address::Ip(listener.local_addr().unwrap());
        assert_eq!(of(addr, me, &[me]), Owner::Family);
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let found = of(addr, me, &[other.id()]);
        other.kill().and_then(|()| other.wait()).unwrap();
        assert!(
            matches!(&found, Owner::Other(pid, name) if *pid == me && !name.is_empty()),
            "{found:?}"
        );
        drop(listener);
        assert_eq!(of(addr, me, &[me]), Owner::Unseen);
    }

    #[test]
    fn a_listener_at_a_path_is_found_by_it() {
        let me = std::process::id();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b");
        let addr = Address::Unix(path.clone());
        assert_eq!(of(&addr, me, &[me]), Owner::Unseen);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let _accepted = listener.accept().unwrap();
        assert_eq!(of(&addr, me, &[me]), Owner::Family);
        assert_eq!(of(&addr, me, &[]), Owner::Other(me, procfs::name_of(me)));
        drop(listener);
        assert_eq!(
            of(&addr, me, &[me]),
            Owner::Unseen,
            "a connection does not listen"
        );
    }

    #[test]
    fn a_listener_on_all_addresses_answers_for_each_and_an_exact_one_goes_first() {
        let me = std::process::id();
        for any in ["0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(any) else {
                eprintln!("skipped: no {any} here");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let addr = &Address::Ip(SocketAddr::from(([127, 0, 0, 1], port)));
            assert_eq!(of(addr, me, &[me]), Owner::Family, "{any}");
            // Linux takes no second listener beside one on all addresses, but for other loopback addresses it does not ask.
            assert_eq!(
                of(addr, me, &[]),
                Owner::Other(me, procfs::name_of(me)),
                "{any}"
            );
        }
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1\n\
            1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 78 1\n\
            2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 79 1\n";
        let found = listening(text);
        assert_eq!(
            found,
            [
                ("127.0.0.1:8080".parse().unwrap(), 77),
                ("0.0.0.0:8080".parse().unwrap(), 79)
            ]
        );
        assert_eq!(
            address("00000000000000000000000001000000"),
            Some(Ipv6Addr::LOCALHOST.into())
        );
        assert_eq!(
            address("0000000000000000FFFF00000100007F")
                .unwrap()
                .to_canonical(),
            Ipv4Addr::LOCALHOST
        );
        assert_eq!(address("xyz"), None);
    }
}
