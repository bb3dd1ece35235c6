//! Over what a server's clients come.

use clap::ValueEnum;

/// The key of a variant that names it: `epoll:transport=unix`.
pub const KEY: &str = "transport";

/// Over what clients come.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP over IPv4, 127.0.0.1.
    #[default]
    Tcp,
    /// TCP over IPv6, ::1.
    Tcp6,
    /// A Unix stream socket.
    Unix,
}

impl Transport {
    /// The name in flags, variants and labels.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Tcp6 => "tcp6",
            Transport::Unix => "unix",
        }
    }

    /// Reads a variant's words, of which one may name it; returns the others.
    pub fn of_variant(words: &str) -> Result<(Transport, String), String> {
        let mut transport = Transport::default();
        let mut others = Vec::new();
        for word in words.split(',') {
            match word.split_once('=') {
                Some((KEY, name)) => transport = Transport::from_str(name, false)?,
                _ => others.push(word),
            }
        }
        Ok((transport, others.join(",")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_names_it_among_its_other_words() {
        let of = |words| Transport::of_variant(words).unwrap();
        assert_eq!(of(""), (Transport::Tcp, String::new()));
        assert_eq!(of("transport=unix"), (Transport::Unix, String::new()));
        let (transport, others) = of("accept=mutex,transport=tcp6,workers=4");
        assert_eq!(
            (transport, others.as_str()),
            (Transport::Tcp6, "accept=mutex,workers=4")
        );
        assert!(Transport::of_variant("transport=udp").is_err());
        for transport in Transport::value_variants() {
            let name = transport.to_possible_value().unwrap();
            assert_eq!(name.get_name(), transport.name());
        }
    }
}
