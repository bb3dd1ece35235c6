//! Where a server is: an IP address and port, or the path of a Unix socket.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, UnixAddr, connect, socket,
};
use serde::{Deserialize, Serialize};

/// The longest path of a Unix socket, its ending zero not counted (unix(7)).
const LONGEST_PATH: usize = 107;

/// How soon a Unix socket whose listen queue is full is tried again: its connect(2) cannot be waited for.
const PAUSE: Duration = Duration::from_millis(2);

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// TCP, over IPv4 or IPv6.
    Ip(SocketAddr),
    /// A Unix stream socket in this file.
    Unix(PathBuf),
}

impl Address {
    /// The IP address; none of a Unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|address| address.ip())
    }

    /// The IP address and port; none of a Unix socket.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether it is the path of a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether it can only be of this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|ip| ip.to_canonical().is_loopback())
    }

    /// A nonblocking stream socket of its family.
    ///
    /// # Errors
    /// The errno of socket(2).
    pub fn socket(&self) -> Result<OwnedFd, Errno> {
        let (family, protocol) = match self {
            Self::Ip(SocketAddr::V4(_)) => (AddressFamily::Inet, Some(SockProtocol::Tcp)),
            Self::Ip(SocketAddr::V6(_)) => (AddressFamily::Inet6, Some(SockProtocol::Tcp)),
            Self::Unix(_) => (AddressFamily::Unix, None),
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        socket(family, SockType::Stream, flags, protocol)
    }

    /// connect(2), of such a socket. EAGAIN of a Unix socket: its listen queue is full, and nothing tells when it no
    /// longer is.
    ///
    /// # Errors
    /// Its errno.
    pub fn connect_socket(&self, fd: &OwnedFd) -> Result<(), Errno> {
        match self {
            Self::Ip(address) => connect(fd.as_raw_fd(), &SockaddrStorage::from(*address)),
            Self::Unix(path) => connect(fd.as_raw_fd(), &UnixAddr::new(path)?),
        }
    }

    /// A connection, once it is accepted by the kernel. A stream's calls are the same in all families, so that one type
    /// stands for them.
    ///
    /// # Errors
    /// The errno of connect(2), or that it took longer than `patience`.
    pub fn connect(&self, patience: Duration) -> io::Result<TcpStream> {
        match self {
            Self::Ip(address) => TcpStream::connect_timeout(address, patience),
            Self::Unix(_) => connect_waiting(self, patience),
        }
    }
}

fn connect_waiting(address: &Address, patience: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + patience;
    let fd = address.socket()?;
    loop {
        match address.connect_socket(&fd) {
            Ok(()) => {
                let stream = TcpStream::from(fd);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(Errno::EAGAIN) => {
                let sentence = "the listen queue stayed full";
                return Err(io::Error::new(io::ErrorKind::TimedOut, sentence));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl FromStr for Address {
    type Err = String;

    /// Reads `127.0.0.1:9000`, `[::1]:9000` or `unix:/path`; a path that does not begin at the root begins here.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            let address = text.parse().map(Self::Ip);
            return address.map_err(|_| {
                format!("`{text}` is no address such as 127.0.0.1:9000, [::1]:9000 or unix:/path")
            });
        };
        if path.is_empty() || path.contains('\0') {
            return Err("no path after unix:".into());
        }
        let path = std::path::absolute(path).map_err(|error| format!("unix:{path}: {error}"))?;
        match path.as_os_str().len() {
            0..=LONGEST_PATH => Ok(Self::Unix(path)),
            length => Err(format!(
                "a path of {length} bytes: that of a Unix socket has at most {LONGEST_PATH}"
            )),
        }
    }
}

crate::base::text::kept_as_text!(Address);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn addresses_of_all_families_are_read_and_survive_being_written() {
        for text in ["127.0.0.1:80", "[::1]:9000", "unix:/tmp/a b"] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
            assert!(address.is_local());
            let json = serde_json::to_string(&address).expect("written");
            assert_eq!(
                serde_json::from_str::<Address>(&json).expect("read"),
                address
            );
        }
        let here: Address = "unix:a".parse().expect("a path");
        let folder = std::env::current_dir().expect("a folder");
        assert_eq!(here, Address::Unix(folder.join("a")));
        for (bad, why) in [
            ("unix:", "no path"),
            ("a", "is no address"),
            ("[::1]", "is no"),
        ] {
            assert!(bad.parse::<Address>().unwrap_err().contains(why), "{bad}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert!(long.parse::<Address>().unwrap_err().contains("108 bytes"));
    }

    #[test]
    fn a_full_listen_queue_is_waited_for_and_an_absent_server_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let address = Address::Unix(path.clone());
        let patience = Duration::from_millis(20);
        let absent = address.connect(patience).expect_err("nobody is there");
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).expect("bound");
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).expect("0"))
            .expect("a backlog of 0 has room for one");
        let first = address.connect(patience).expect("room for one");
        let late = address.connect(patience).expect_err("no room");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop((listener, first));
        let gone = address.connect(patience).expect_err("nobody listens");
        assert_eq!(gone.kind(), io::ErrorKind::ConnectionRefused);
    }
}
