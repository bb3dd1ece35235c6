//! Where a server listens: an IP address and port, or the path of a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use socket2::{Domain, Protocol, SockAddr};

/// The longest path of a Unix socket, its ending zero not counted (unix(7)).
const LONGEST_PATH: usize = 107;

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, over IPv4 or IPv6.
    Ip(SocketAddr),
    /// A Unix stream socket in this file. Its path is kept for as long as the program runs.
    Unix(&'static Path),
}

impl Address {
    /// Whether it is the path of a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// What socket(2) is asked for.
    pub(crate) fn family(&self) -> (Domain, Option<Protocol>) {
        match self {
            Self::Ip(address) => (Domain::for_address(*address), Some(Protocol::TCP)),
            Self::Unix(_) => (Domain::UNIX, None),
        }
    }

    /// What bind(2) and connect(2) are given.
    pub(crate) fn for_the_system(&self) -> std::io::Result<SockAddr> {
        match self {
            Self::Ip(address) => Ok((*address).into()),
            Self::Unix(path) => SockAddr::unix(path),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// Reads `127.0.0.1:9000`, `[::1]:9000` or `unix:/path`.
    fn from_str(text: &str) -> Result<Self, String> {
        const HINT: &str = "an address is like 127.0.0.1:9000, [::1]:9000 or unix:/tmp/server";
        let Some(path) = text.strip_prefix("unix:") else {
            let address = text.parse().map(Self::Ip);
            return address.map_err(|_| format!("{HINT}; port 0 takes any free one"));
        };
        match path.len() {
            0 => Err(format!("no path after unix: ({HINT})")),
            1..=LONGEST_PATH => Ok(Self::Unix(Box::leak(PathBuf::from(path).into_boxed_path()))),
            length => Err(format!(
                "a path of {length} bytes: that of a Unix socket has at most {LONGEST_PATH}"
            )),
        }
    }
}

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
    use super::*;

    #[test]
    fn addresses_of_all_families_are_read_and_survive_being_written() {
        for text in ["127.0.0.1:0", "[::1]:9000", "unix:/tmp/a", "unix:a b"] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
        for (bad, why) in [
            ("nowhere", "an address is like"),
            ("127.0.0.1", "an address is like"),
            ("unix:", "no path"),
        ] {
            assert!(bad.parse::<Address>().unwrap_err().contains(why), "{bad}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert!(long.parse::<Address>().unwrap_err().contains("108 bytes"));
    }
}
