//! The values that single settings of a load can have, as they are typed and as they are recorded.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use clap::ValueEnum;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::units::parse_count;

/// What is spoken over a connection.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolName {
    /// The server returns every byte (RFC 862).
    #[default]
    Echo,
    /// The server reads and never answers (RFC 863): measured in bytes per second only.
    Discard,
    /// HTTP/1.x requests: GET, or what --method, --body and --requests say.
    Http,
    /// Redis' protocol: PING, or what --command says.
    Resp,
    /// Your own: what --send and --expect say.
    Own,
}

/// How events are spaced in time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// Equal gaps.
    #[default]
    Fixed,
    /// Exponential gaps: a Poisson process.
    Poisson,
}

/// Which side ends a connection, and how.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Close {
    /// This side closes first, with FIN, and keeps the TIME_WAIT.
    #[default]
    Client,
    /// This side waits for the server's FIN.
    Server,
    /// This side sends RST (SO_LINGER 0): no TIME_WAIT on either side.
    Reset,
}

/// How a worker waits for events.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Poll {
    /// Spin where a wake-up would show in the latencies, sleep elsewhere.
    #[default]
    Auto,
    /// Never sleep.
    Spin,
    /// Sleep whenever nothing is due.
    Sleep,
}

/// Bytes per request, one size or a uniform range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PayloadSize {
    /// The smallest, in bytes, at least 1.
    pub min: u32,
    /// The largest, in bytes, at most [`PayloadSize::LIMIT`].
    pub max: u32,
}

impl PayloadSize {
    /// The largest request, 1 GiB.
    pub const LIMIT: u32 = 1 << 30;
}

impl Default for PayloadSize {
    fn default() -> Self {
        Self { min: 64, max: 64 }
    }
}

impl FromStr for PayloadSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (min, max) = (parse_count(low)?, parse_count(high)?);
        if min == 0 || min > max || max > u64::from(Self::LIMIT) {
            return Err(format!(
                "`{text}`: a payload is N or MIN-MAX bytes, from 1 to {}",
                Self::LIMIT
            ));
        }
        Ok(Self {
            min: min as u32,
            max: max as u32,
        })
    }
}

impl fmt::Display for PayloadSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{}-{}", self.min, self.max)
        }
    }
}

/// Where connections come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sources {
    /// The kernel's choice, or 127.0.0.0/8 for a loopback target when ports would run short.
    #[default]
    Auto,
    /// These addresses in turn.
    List(Vec<IpAddr>),
    /// The host addresses of a network in turn.
    Network(#[schemars(with = "String")] IpNet),
}

impl Sources {
    /// Whether the addresses are of IPv4; unknown where the kernel chooses.
    #[must_use]
    pub fn is_ipv4(&self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::List(list) => list.first().map(IpAddr::is_ipv4),
            Self::Network(network) => Some(network.network().is_ipv4()),
        }
    }
}

impl FromStr for Sources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if text.contains('/') {
            let network = text
                .parse()
                .map_err(|_| format!("`{text}` is not a network such as 127.0.1.0/24"))?;
            return Ok(Self::Network(network));
        }
        let list: Result<Vec<IpAddr>, _> = text.split(',').map(str::parse).collect();
        list.map(Self::List)
            .map_err(|_| format!("`{text}` is not auto, a network or a list of addresses"))
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Network(network) => write!(f, "{network}"),
            Self::List(list) => {
                let texts: Vec<String> = list.iter().map(IpAddr::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

/// How many processes share the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Processes {
    /// One, or as many as the descriptor limit makes necessary.
    #[default]
    Auto,
    /// This many, at least 1.
    Count(u32),
}

impl FromStr for Processes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => match parse_count(text)? {
                count @ 1..=1024 => Ok(Self::Count(count as u32)),
                _ => Err(format!("`{text}`: from 1 to 1024 processes, or auto")),
            },
        }
    }
}

impl fmt::Display for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// CPU numbers, in the order in which threads are pinned to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuList(pub Vec<u32>);

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a list of CPUs such as 1 or 0,2-3");
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u32 = first.parse().map_err(|_| wrong())?;
            let last: u32 = last.parse().map_err(|_| wrong())?;
            if first > last || last >= 4096 {
                return Err(wrong());
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

/// One share of a load: connection `c` belongs to segment `c mod count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// Which share, from 0.
    pub index: u32,
    /// Of how many, at least 1.
    pub count: u32,
}

/// Shares that a load may be divided into.
pub const MAX_SEGMENTS: u32 = 65_536;

impl Segment {
    /// The whole load as its only share.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// How many of `total` connections are this segment's.
    #[must_use]
    pub fn share_of(self, total: u64) -> u64 {
        total
            .saturating_sub(u64::from(self.index))
            .div_ceil(u64::from(self.count))
    }
}

impl FromStr for Segment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parsed {
            Some((index, count)) if index < count && count <= MAX_SEGMENTS => {
                Ok(Self { index, count })
            }
            _ => Err(format!(
                "`{text}` is not a segment I/N with I from 0 to N-1, N at most {MAX_SEGMENTS}"
            )),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_refuse_nonsense() {
        for bad in ["0", "5-4", "-", "1-", "2000000000"] {
            assert!(bad.parse::<PayloadSize>().is_err(), "{bad}");
        }
        for bad in ["", "1,", "3-1", "a", "0-99999"] {
            assert!(bad.parse::<CpuList>().is_err(), "{bad}");
        }
        for bad in ["1/1", "2", "-1/2", "0/0", "a/b"] {
            assert!(bad.parse::<Segment>().is_err(), "{bad}");
        }
        for bad in ["0", "-1", "many", "5000"] {
            assert!(bad.parse::<Processes>().is_err(), "{bad}");
        }
        for bad in ["127.0.0.1,x", "127.0.0.1/99", ""] {
            assert!(bad.parse::<Sources>().is_err(), "{bad}");
        }
        assert_eq!("0,2-3".parse(), Ok(CpuList(vec![0, 2, 3])));
        assert_eq!("16-1k".parse(), Ok(PayloadSize { min: 16, max: 1000 }));
    }
}
