//! From a slot to a connect under way, and what it means when that fails: the same errno says one thing of bind(2) and
//! another of connect(2).

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{setsockopt, sockopt};

use super::Worker;
use super::connection::State;
use crate::base::address::Address;
use crate::base::clock::NEVER;

/// How soon a Unix socket whose listen queue was full is tried again: nothing tells when it no longer is.
const REDIAL_NS: u64 = 1_000_000;

/// The system call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// socket(2), and setting its options.
    Socket,
    /// bind(2) to this source address.
    Bind(IpAddr),
    /// connect(2).
    Connect,
    /// epoll_ctl(2).
    Watch,
}

impl Call {
    /// The failure of this call.
    pub(super) fn failed(self, errno: Errno) -> DialError {
        DialError { call: self, errno }
    }
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DialError {
    pub(super) call: Call,
    pub(super) errno: Errno,
}

impl DialError {
    /// Whether it says something of this machine instead of the server.
    pub(super) fn is_local(self) -> bool {
        self.call != Call::Connect
            || matches!(
                self.errno,
                Errno::EMFILE
                    | Errno::ENFILE
                    | Errno::EADDRNOTAVAIL
                    | Errno::EADDRINUSE
                    | Errno::ENOBUFS
                    | Errno::ENOMEM
                    | Errno::EAGAIN
                    | Errno::EACCES
                    | Errno::EPERM
                    | Errno::EINVAL
                    | Errno::EAFNOSUPPORT
            )
    }

    /// What failed, and what lifts it if it is this machine's.
    pub(super) fn in_words(self, target: &Address) -> String {
        let call = match self.call {
            Call::Socket => "socket(2)",
            Call::Bind(_) => "bind(2)",
            Call::Connect => "connect(2)",
            Call::Watch => "epoll_ctl(2)",
        };
        let said = format!("{call}: {}", self.errno.desc());
        match self.is_local() {
            true => format!("{said}: {}", self.remedy(target, ipv6_is_off())),
            false if target.is_unix() => format!("{said}: {}", of_path(self.errno)),
            false => said,
        }
    }

    /// What lifts a limit of this machine.
    fn remedy(self, target: &Address, ipv6_is_off: bool) -> String {
        let ip = target.ip();
        match (self.call, self.errno) {
            (_, Errno::EMFILE) => {
                "raise the descriptor limit (ulimit -n) or use more --processes".into()
            }
            (_, Errno::ENFILE) => "raise the system's limit: sysctl -w fs.file-max=1000000".into(),
            (Call::Watch, Errno::ENOSPC) => {
                "raise the number of epoll watches: sysctl -w fs.epoll.max_user_watches=10000000"
                    .into()
            }
            (_, Errno::ENOBUFS | Errno::ENOMEM) => {
                "raise the memory of sockets: sysctl net.ipv4.tcp_mem".into()
            }
            (Call::Bind(source), Errno::EADDRNOTAVAIL) => format!(
                "{source} is no address of this machine (`ip address` names them): give --sources that are"
            ),
            (Call::Bind(source), _) => format!("{source} cannot be bound to: give other --sources"),
            (Call::Socket, Errno::EAFNOSUPPORT) => {
                "this kernel does not speak the target's address family: give its other address"
                    .into()
            }
            (Call::Connect, Errno::EACCES) if target.is_unix() => {
                "connecting to a Unix socket takes permission to write to its file: be its user, or chmod it"
                    .into()
            }
            (Call::Connect, Errno::EADDRNOTAVAIL)
                if ip.is_some_and(|ip| ip.is_ipv6()) && ipv6_is_off =>
            {
                "IPv6 is switched off on this machine: give an IPv4 address, or switch it on with \
                 `sysctl -w net.ipv6.conf.all.disable_ipv6=0`"
                    .into()
            }
            (Call::Connect, Errno::EADDRNOTAVAIL | Errno::EADDRINUSE | Errno::EAGAIN) => {
                "all ports towards the target are taken: widen them (`sysctl -w \
                 net.ipv4.ip_local_port_range=\"1024 65535\"`) or give more --sources"
                    .into()
            }
            (Call::Connect, Errno::EINVAL) if ip.is_some_and(is_link_local) => {
                "a link-local address needs its interface, such as [fe80::1%eth0]:9000".into()
            }
            (Call::Connect, Errno::EINVAL) => {
                "there is no way to the target from this source address: give other --sources"
                    .into()
            }
            _ => "the kernel or a firewall on this machine forbids it".into(),
        }
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// What the errno of a connect to a path says of who is there.
fn of_path(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT => "there is no such file: the server has not made its socket, or another",
        Errno::ECONNREFUSED => "the file is there, and nobody listens at it",
        Errno::EPROTOTYPE => "the file is a socket, but of no stream",
        _ => "is this the server's socket?",
    }
}

/// Whether no interface of this machine has an IPv6 address.
fn ipv6_is_off() -> bool {
    std::fs::read_to_string("/proc/self/net/if_inet6").map_or(true, |text| text.trim().is_empty())
}

impl Worker {
    /// Makes the socket, starts the connect and registers it; true if it completed at once.
    pub(super) fn dial(&mut self, slot: u32) -> Result<bool, DialError> {
        let (fd, made) = match self.connect() {
            Err(error) if self.may_widen(error) => self.connect()?,
            other => other?,
        };
        if made == Made::Never {
            let generation = self.slots.slot(slot).generation;
            self.opening.redials.push_back((slot, generation));
            self.slots.slot_mut(slot).fd = Some(fd);
            return Ok(false);
        }
        self.watch(slot, &fd)?;
        self.slots.slot_mut(slot).fd = Some(fd);
        Ok(made == Made::AtOnce)
    }

    fn watch(&self, slot: u32, fd: &OwnedFd) -> Result<(), DialError> {
        let generation = self.slots.slot(slot).generation;
        let token = (u64::from(generation) << 32) | u64::from(slot);
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        let event = EpollEvent::new(flags, token);
        let added = self.poller.epoll.add(fd, event);
        added.map_err(|errno| Call::Watch.failed(errno))
    }

    /// Tries those again that found a listen queue full, in their order, until the first that still does.
    pub(super) fn redial(&mut self) {
        if self.next_redial_ns() > self.clock.now_ns {
            return;
        }
        while let Some((slot, generation)) = self.opening.redials.pop_front() {
            let connection = self.slots.slot(slot);
            let Some(fd) = &connection.fd else { continue };
            if connection.generation != generation || connection.state != State::Connecting {
                continue;
            }
            let result = match self.plan.load.target.connect_socket(fd) {
                Err(Errno::EAGAIN | Errno::EINTR) => {
                    self.opening.redials.push_front((slot, generation));
                    break;
                }
                Err(errno) => Err(Call::Connect.failed(errno)),
                Ok(()) => self.watch(slot, fd),
            };
            match result {
                Ok(()) => self.established(slot),
                Err(error) => self.connect_failed(slot, error),
            }
        }
        self.opening.next_redial_ns = self.clock.now_ns + REDIAL_NS;
    }

    /// When those are tried again that found a listen queue full.
    pub(super) fn next_redial_ns(&self) -> u64 {
        match self.opening.redials.is_empty() {
            true => NEVER,
            false => self.opening.next_redial_ns,
        }
    }

    /// Whether a connect that found no port is worth a second one, from another address.
    fn may_widen(&self, error: DialError) -> bool {
        error == Call::Connect.failed(Errno::EADDRNOTAVAIL)
            && self.clock.running
            && self.plan.sources.widen()
    }

    fn connect(&mut self) -> Result<(OwnedFd, Made), DialError> {
        let target = &self.plan.load.target;
        let fd = new_socket(target).map_err(|errno| Call::Socket.failed(errno))?;
        let turn = self.share.first + self.opening.attempts;
        self.plan
            .sources
            .bind(&fd, turn, self.clock.running, self.clock.now_ns)
            .map_err(|(errno, source)| Call::Bind(source).failed(errno))?;
        match target.connect_socket(&fd) {
            Ok(()) => Ok((fd, Made::AtOnce)),
            Err(Errno::EINPROGRESS) => Ok((fd, Made::Later)),
            Err(Errno::EAGAIN) if target.is_unix() => Ok((fd, Made::Never)),
            Err(errno) => Err(Call::Connect.failed(errno)),
        }
    }
}

/// When the connection will be there, of which connect(2) has not said that it never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// It is.
    AtOnce,
    /// The kernel goes on with it, and will tell.
    Later,
    /// The listen queue of a Unix socket is full: not by this call.
    Never,
}

fn new_socket(target: &Address) -> Result<OwnedFd, Errno> {
    let fd = target.socket()?;
    if !target.is_unix() {
        setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_errno_has_a_remedy_for_each_call() {
        let (four, six) = ("127.0.0.1:1", "[::1]:1");
        let remedy = |call: Call, target: &str, off| {
            let target = &target.parse().expect("an address");
            call.failed(Errno::EADDRNOTAVAIL).remedy(target, off)
        };
        let foreign = Call::Bind("192.0.2.1".parse().expect("an address"));
        assert!(
            remedy(foreign, four, false).starts_with("192.0.2.1 is no address of this machine")
        );
        assert!(remedy(Call::Connect, six, true).starts_with("IPv6 is switched off"));
        assert!(remedy(Call::Connect, six, false).starts_with("all ports towards the target"));
        assert!(remedy(Call::Connect, four, true).starts_with("all ports towards the target"));
    }

    #[test]
    fn the_servers_answers_are_no_failure_of_this_machine() {
        for errno in [
            Errno::ECONNREFUSED,
            Errno::ETIMEDOUT,
            Errno::EHOSTUNREACH,
            Errno::ENETUNREACH,
        ] {
            assert!(!Call::Connect.failed(errno).is_local(), "{errno}");
        }
        let target = &"127.0.0.1:1".parse().expect("an address");
        let words = Call::Connect.failed(Errno::ECONNREFUSED).in_words(target);
        assert_eq!(words, "connect(2): Connection refused");
        assert!(
            Call::Socket
                .failed(Errno::EMFILE)
                .in_words(target)
                .contains("ulimit -n")
        );
        let scope = Call::Connect.failed(Errno::EINVAL);
        let path = &"unix:/tmp/a".parse().expect("an address");
        let absent = Call::Connect.failed(Errno::ENOENT).in_words(path);
        assert!(absent.contains("has not made its socket"), "{absent}");
        let link_local = &"[fe80::1]:80".parse().expect("an address");
        assert!(scope.in_words(link_local).contains("[fe80::1%eth0]:9000"));
    }
}
