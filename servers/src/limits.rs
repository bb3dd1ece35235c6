//! How many connections a server takes, in all and from one address.
//!
//! The counts are in memory that forked children share, and are changed with
//! atomics alone, so that the same few lines serve a loop, a thread pool and a
//! process per connection, and no lock can be left held by a killed child.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::sys::memory::Mapping;

/// Slots of the table of addresses, a power of two: how many addresses can have
/// open connections at once.
const SLOTS: usize = 1 << 16;

/// How far from its own place an address may be put when that is taken.
const REACH: usize = 64;

/// The limits in force, and the counts they are compared with.
pub struct Limits {
    max_conns: u64,
    max_conns_per_ip: Option<u32>,
    /// Open connections in all.
    open: &'static AtomicU64,
    /// One word per address: its 32-bit key above its count of open connections.
    addresses: &'static [AtomicU64],
}

impl Limits {
    /// The limits of a server; none if neither is asked for.
    ///
    /// # Errors
    /// What the system says about mapping the table.
    pub fn new(
        max_conns: Option<u64>,
        max_conns_per_ip: Option<u32>,
    ) -> io::Result<Option<&'static Limits>> {
        if max_conns.is_none() && max_conns_per_ip.is_none() {
            return Ok(None);
        }
        let words = const { NonZeroUsize::new(1 + SLOTS).unwrap() };
        let mapping: &'static Mapping = Box::leak(Box::new(Mapping::anonymous(words)?));
        Ok(Some(Box::leak(Box::new(Limits {
            max_conns: max_conns.unwrap_or(u64::MAX),
            max_conns_per_ip,
            open: &mapping[0],
            addresses: &mapping[1..],
        }))))
    }

    /// Counts a connection from `address`, unless that is one too many. An
    /// address for which the table has no room left is refused as well.
    pub fn admit(&self, address: IpAddr) -> bool {
        if self.open.fetch_add(1, Relaxed) >= self.max_conns {
            self.open.fetch_sub(1, Relaxed);
            return false;
        }
        let admitted = self
            .max_conns_per_ip
            .is_none_or(|most| self.count_in(key(address), most));
        if !admitted {
            self.open.fetch_sub(1, Relaxed);
        }
        admitted
    }

    /// Takes back what [`admit`](Limits::admit) counted.
    pub fn release(&self, address: IpAddr) {
        self.open.fetch_sub(1, Relaxed);
        if self.max_conns_per_ip.is_some() {
            self.count_out(key(address));
        }
    }

    /// An address keeps its place while it has connections; one whose count is
    /// back at zero may be overwritten. First connections of one address that
    /// race may take a place each, so its count is the sum over all its places,
    /// and whoever finds that sum too high after counting itself takes that back
    /// and tries again. The order of these steps is what makes it exact: of those
    /// who stay, the last one to count itself has seen all the others.
    fn count_in(&self, key: u32, most: u32) -> bool {
        loop {
            let (mut total, mut own, mut free) = (0, None, None);
            for place in self.places(key) {
                let seen = place.load(SeqCst);
                if count_of(seen) == 0 {
                    free = free.or(Some((place, seen)));
                } else if key_of(seen) == key {
                    total += count_of(seen);
                    own = own.or(Some((place, seen)));
                }
            }
            if total >= most {
                return false;
            }
            let Some((place, seen)) = own.or(free) else {
                return false;
            };
            let more = u64::from(key) << 32 | u64::from(count_of(seen) + 1);
            if place.compare_exchange(seen, more, SeqCst, SeqCst).is_err() {
                continue;
            }
            if self.count(key) <= most {
                return true;
            }
            self.count_out(key);
        }
    }

    /// Takes back one connection of an address.
    fn count_out(&self, key: u32) {
        let has_some = |word: u64| key_of(word) == key && count_of(word) > 0;
        let less = |word| has_some(word).then(|| word - 1);
        let _ = self
            .places(key)
            .find(|word| word.fetch_update(SeqCst, SeqCst, less).is_ok());
    }

    /// Open connections of an address.
    fn count(&self, key: u32) -> u32 {
        self.places(key)
            .map(|word| word.load(SeqCst))
            .filter(|word| key_of(*word) == key)
            .map(count_of)
            .sum()
    }

    fn places(&self, key: u32) -> impl Iterator<Item = &'static AtomicU64> {
        // Multiplying by 2^32 / golden ratio spreads neighbouring keys (Knuth,
        // TAOCP vol. 3, §6.4).
        let start = (key.wrapping_mul(0x9E37_79B9) >> 16) as usize;
        let addresses = self.addresses;
        (start..start + REACH).map(move |at| &addresses[at % SLOTS])
    }
}

/// An IPv4 address is its own key. Of an IPv6 address the network half counts,
/// as one client owns the other half, folded to 32 bits.
fn key(address: IpAddr) -> u32 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u32::from(v4),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => 1,
        IpAddr::V6(v6) => {
            let network = (u128::from(v6) >> 64) as u64;
            (network.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
        }
    }
}

fn key_of(word: u64) -> u32 {
    (word >> 32) as u32
}

fn count_of(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::Barrier;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(0x7F00_0000 + n))
    }

    #[test]
    fn no_limit_asked_for_no_limit_kept() {
        assert!(Limits::new(None, None).unwrap().is_none());
    }

    #[test]
    fn the_total_is_kept() {
        let limits = Limits::new(Some(2), None).unwrap().unwrap();
        assert!(limits.admit(ip(1)) && limits.admit(ip(1)));
        assert!(!limits.admit(ip(2)));
        limits.release(ip(1));
        assert!(limits.admit(ip(2)));
    }

    #[test]
    fn each_address_has_its_own_count() {
        let limits = Limits::new(None, Some(3)).unwrap().unwrap();
        for n in 0..2000 {
            assert!((0..3).all(|_| limits.admit(ip(n))), "address {n}");
            assert!(!limits.admit(ip(n)));
        }
        for n in 0..2000 {
            limits.release(ip(n));
            assert!(limits.admit(ip(n)) && !limits.admit(ip(n)));
        }
        let v6 = "2001:db8::1".parse().unwrap();
        assert!((0..3).all(|_| limits.admit(v6)));
        assert!(
            !limits.admit("2001:db8::2".parse().unwrap()),
            "same network, same client"
        );
    }

    #[test]
    fn addresses_that_have_left_make_room() {
        let limits = Limits::new(None, Some(1)).unwrap().unwrap();
        for n in 0..5 * SLOTS as u32 {
            assert!(limits.admit(ip(n)), "address {n}");
            limits.release(ip(n));
        }
    }

    #[test]
    fn first_connections_that_race_are_counted_together() {
        let limits = Limits::new(None, Some(2)).unwrap().unwrap();
        let (together, admitted) = (Barrier::new(3), AtomicU64::new(0));
        let race = || {
            together.wait();
            admitted.fetch_add(u64::from(limits.admit(ip(1))), Relaxed);
            together.wait();
        };
        // Nothing is asserted while the others wait at the barrier.
        let (fewest, most) = std::thread::scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(|| (0..20_000).for_each(|_| race()))));
            let rounds = (0..20_000).map(|_| {
                race();
                let later = u64::from(limits.admit(ip(1)));
                (0..2 + later).for_each(|_| limits.release(ip(1)));
                admitted.swap(0, Relaxed) + later
            });
            rounds.fold((u64::MAX, 0), |(fewest, most), n| {
                (fewest.min(n), most.max(n))
            })
        });
        assert_eq!((fewest, most), (2, 2));
    }

    #[test]
    fn racing_threads_never_exceed_a_limit() {
        let limits = Limits::new(Some(50), Some(10)).unwrap().unwrap();
        let admitted = std::thread::scope(|scope| {
            let run = |n: u32| move || (0..1000).filter(|_| limits.admit(ip(n % 2))).count();
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(run(n))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum::<usize>()
        });
        assert_eq!(admitted, 20);
    }
}
