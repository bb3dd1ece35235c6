//! The server to be loaded: what was typed, the addresses it stands for, and which of them answers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::error::{LoadError, TargetError};
use crate::base::address::Address;

/// A server as it was typed, resolved once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    typed: String,
    addresses: Vec<Address>,
}

impl FromStr for Target {
    type Err = TargetError;

    /// Reads HOST:PORT, `[IPv6]:PORT`, `[IPv6%INTERFACE]:PORT` or `unix:PATH` and resolves it; the addresses stay in the
    /// order in which the resolver gives them.
    fn from_str(typed: &str) -> Result<Self, TargetError> {
        const HINT: &str = "give HOST:PORT, such as 127.0.0.1:9000 or [::1]:9000, or unix:PATH";
        if typed.starts_with("unix:") && !typed.starts_with("unix://") {
            let path: Address = typed.parse().map_err(TargetError::Typed)?;
            return Ok(Self {
                typed: path.to_string(),
                addresses: vec![path],
            });
        }
        if typed.contains("://") {
            return Err(TargetError::said(format!(
                "a URL is no server's address ({HINT})"
            )));
        }
        let (host, port) =
            split(typed).ok_or_else(|| TargetError::said(format!("no host and port ({HINT})")))?;
        if host.contains(':') && !typed.starts_with('[') {
            return Err(TargetError::said(format!(
                "an IPv6 address needs brackets ({HINT})"
            )));
        }
        let port: u16 = port
            .parse()
            .map_err(|_| TargetError::said(format!("{port:?} is no port ({HINT})")))?;
        if port == 0 {
            return Err(TargetError::said("port 0 cannot be connected to"));
        }
        let mut addresses: Vec<Address> = Vec::new();
        let resolved = (host, port).to_socket_addrs();
        for address in resolved.map_err(|source| TargetError::Resolver { source, hint: HINT })? {
            // The resolver names an address once for each line of /etc/hosts.
            if !addresses.contains(&address.into()) {
                addresses.push(address.into());
            }
        }
        if addresses.is_empty() {
            return Err(TargetError::said("the name has no address"));
        }
        Ok(Self {
            typed: typed.to_owned(),
            addresses,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

impl Target {
    /// All addresses it stands for, at least one.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// What was typed, unless that is the address itself.
    #[must_use]
    pub fn name(&self, address: &Address) -> Option<String> {
        (self.typed != address.to_string()).then(|| self.typed.clone())
    }

    /// The first address that accepts a connection, each tried once and in order; the only one untried; and where none
    /// accepts the first, so that the load itself tells how it fails.
    #[must_use]
    pub fn address(&self, patience: Duration) -> Address {
        let answers = |address: &&Address| address.connect(patience).is_ok();
        let found = match self.addresses.as_slice() {
            [only] => only,
            several => several.iter().find(answers).unwrap_or(&several[0]),
        };
        found.clone()
    }

    /// Itself with the addresses alone that may be loaded.
    ///
    /// # Errors
    /// Why the first may not, where none may.
    pub fn permitted(mut self, allowed: &[IpNet]) -> Result<Self, LoadError> {
        // A Unix socket is of this machine.
        let check = |address: &Address| address.ip().map_or(Ok(()), |ip| check_target(ip, allowed));
        let first = check(&self.addresses[0]);
        self.addresses.retain(|address| check(address).is_ok());
        match self.addresses.is_empty() {
            true => first.map(|()| self),
            false => Ok(self),
        }
    }

    /// Itself with the addresses of one family alone, if it has any of that family.
    pub(super) fn of_family(mut self, is_ipv4: bool) -> Self {
        let is_of = |address: &Address| address.ip().is_some_and(|ip| ip.is_ipv4() == is_ipv4);
        if self.addresses.iter().any(is_of) {
            self.addresses.retain(is_of);
        }
        self
    }
}

/// The host, without brackets, and the port.
fn split(typed: &str) -> Option<(&str, &str)> {
    let parts = match typed.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => typed.rsplit_once(':')?,
    };
    (!parts.0.is_empty()).then_some(parts)
}

/// The value of an HTTP Host field for what was typed: an address's interface is nobody else's business (RFC 6874 §4).
pub(super) fn host_field(typed: &str) -> String {
    match (typed.find('%'), typed.find(']')) {
        (Some(zone), Some(end)) if zone < end => format!("{}{}", &typed[..zone], &typed[end..]),
        _ => typed.to_owned(),
    }
}

/// Resolves a target and picks the address that answers, among those that may be loaded.
///
/// # Errors
/// [`LoadError::Resolve`] or [`LoadError::Refused`].
pub fn permitted_target(
    target: &str,
    allowed: &[IpNet],
    patience: Duration,
) -> Result<Address, LoadError> {
    Ok(resolve(target)?.permitted(allowed)?.address(patience))
}

pub(super) fn resolve(target: &str) -> Result<Target, LoadError> {
    target.parse().map_err(|source| LoadError::Resolve {
        target: target.to_owned(),
        source,
    })
}

/// The broadcast address of 127.0.0.0/8.
const LOOPBACK_BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);

pub(super) fn check_target(ip: IpAddr, allowed: &[IpNet]) -> Result<(), LoadError> {
    // ::ffff:255.255.255.255 is 255.255.255.255.
    let ip = ip.to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4 == LOOPBACK_BROADCAST);
    if ip.is_multicast() || broadcast || ip.is_unspecified() {
        return Err(LoadError::Refused(format!(
            "--target {ip}: broadcast, multicast and unspecified addresses are refused"
        )));
    }
    if ip.is_loopback() || allowed.iter().any(|network| network.contains(&ip)) {
        return Ok(());
    }
    Err(LoadError::Refused(format!(
        "--target {ip} is not a loopback address; to load it add `--allow-target {ip}/{}`, if it is yours to load",
        if ip.is_ipv4() { 32 } else { 128 }
    )))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    #[test]
    fn literals_names_and_scopes_are_read_and_all_else_is_explained() {
        let first = |typed: &str| typed.parse::<Target>().expect(typed).addresses()[0].clone();
        assert_eq!(first("127.0.0.1:80").to_string(), "127.0.0.1:80");
        assert_eq!(first("[::1]:80").to_string(), "[::1]:80");
        assert!(first("localhost:80").is_local());
        assert_eq!(first("unix:/tmp/a").to_string(), "unix:/tmp/a");
        // Interface 1 is the loopback's.
        assert_eq!(first("[fe80::1%1]:80").to_string(), "[fe80::1%1]:80");
        for (typed, why) in [
            ("127.0.0.1", "no host and port"),
            (":80", "no host and port"),
            ("[::1]", "no host and port"),
            ("::1:80", "needs brackets"),
            ("http://localhost:80/", "a URL"),
            ("unix://tmp", "a URL"),
            ("unix:", "no path"),
            ("localhost:http", "\"http\" is no port"),
            ("localhost:70000", "\"70000\" is no port"),
            ("localhost:0", "port 0"),
            ("no such name:80", "give HOST:PORT"),
        ] {
            let error = typed.parse::<Target>().expect_err(typed);
            assert!(error.to_string().contains(why), "{typed}: {error}");
        }
    }

    fn of(addresses: &[SocketAddr]) -> Target {
        Target {
            typed: "several.test:1".into(),
            addresses: addresses.iter().map(|a| Address::Ip(*a)).collect(),
        }
    }

    #[test]
    fn the_first_address_that_answers_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let answers = listener.local_addr().expect("an address");
        // Bound and not listening: whoever connects is refused.
        let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let silent = silent.expect("a socket");
        let any: SocketAddr = "127.0.0.2:0".parse().expect("an address");
        silent.bind(&any.into()).expect("bound");
        let refuses = silent.local_addr().expect("bound").as_socket().expect("IP");
        let patience = Duration::from_secs(5);
        for (tried, taken) in [
            (&[refuses, answers][..], answers),
            (&[answers, refuses], answers),
            (&[refuses], refuses),
            (&[refuses, refuses], refuses),
        ] {
            assert_eq!(of(tried).address(patience), Address::Ip(taken), "{tried:?}");
        }
    }

    #[test]
    fn only_addresses_that_may_be_loaded_are_tried() {
        let (ours, foreign) = ("127.0.0.1:1", "192.0.2.1:1");
        let both: Vec<SocketAddr> = [foreign, ours].map(|a| a.parse().expect("valid")).to_vec();
        let permitted = of(&both).permitted(&[]).expect("one of them");
        assert_eq!(permitted, of(&both[1..]));
        let allowed = ["192.0.2.0/24".parse().expect("a network")];
        assert_eq!(of(&both).permitted(&allowed).expect("both"), of(&both));
        let refused = of(&both[..1]).permitted(&[]);
        assert!(matches!(refused, Err(LoadError::Refused(why)) if why.contains("192.0.2.1/32")));
    }

    #[test]
    fn a_host_field_is_what_was_typed_without_an_interface() {
        assert_eq!(host_field("localhost:80"), "localhost:80");
        assert_eq!(host_field("[::1]:80"), "[::1]:80");
        assert_eq!(host_field("[fe80::1%eth0]:80"), "[fe80::1]:80");
    }
}
