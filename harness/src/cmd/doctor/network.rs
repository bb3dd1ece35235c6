//! Queues, ports and namespaces.

use super::{Check, Level, at_least, number, read};
use crate::base::settings::network_sysctls;
use crate::model::network::Network;
use crate::trial::namespace;
use loadgen::base::units::format_count;

/// The backlog that servers ask for unless told otherwise; somaxconn caps it silently (listen(2)).
const BACKLOG: u64 = 4096;
/// Connections that the generator has in flight at most while connecting.
const CONNECT_INFLIGHT: u64 = 256;

/// All that decides how fast and from where connections come.
pub async fn checks(conns: Option<u64>) -> Vec<Check> {
    let sysctl = |name: &str| read(&format!("/proc/sys/net/{name}"));
    let range = sysctl("ipv4/ip_local_port_range");
    let ports = range.as_deref().and_then(port_count);
    let namespace = namespace::attempt(&Network::Private {
        required: false,
        sysctls: network_sysctls(),
        ipv6_addresses: Vec::new(),
    })
    .await
    .map(|_| ());
    vec![
        at_least(
            "somaxconn",
            number(sysctl("core/somaxconn").as_deref()),
            Some(BACKLOG),
            Level::Warn,
            |n| {
                format!(
                    "the listen queue will be shorter than servers ask for; `sysctl -w net.core.somaxconn={n}`"
                )
            },
        ),
        at_least(
            "tcp_max_syn_backlog",
            number(sysctl("ipv4/tcp_max_syn_backlog").as_deref()),
            Some(CONNECT_INFLIGHT),
            Level::Warn,
            |n| format!("connects may be dropped; `sysctl -w net.ipv4.tcp_max_syn_backlog={n}`"),
        ),
        port_range(range.as_deref(), ports, conns),
        tw_reuse(sysctl("ipv4/tcp_tw_reuse").as_deref()),
        time_wait(
            read("/proc/net/sockstat").as_deref(),
            ports,
            namespace.is_ok(),
        ),
        namespaces(namespace),
    ]
}

/// Two numbers, such as 32768 and 60999: 28 232 ports, as both ends count (ip(7)).
fn port_count(range: &str) -> Option<u64> {
    let mut ends = range.split_whitespace().map(|end| end.parse::<u64>().ok());
    let (low, high) = (ends.next()??, ends.next()??);
    (high.checked_sub(low)? + 1).into()
}

/// A port is taken per source address, and the generator takes more addresses by itself; on loopback that works.
fn port_range(range: Option<&str>, ports: Option<u64>, conns: Option<u64>) -> Check {
    const NAME: &str = "port range";
    let (Some(range), Some(ports)) = (range, ports) else {
        return Check::unknown(NAME, "cannot be read");
    };
    let range = range.split_whitespace().collect::<Vec<_>>().join("-");
    let found = format!("{range}, {} ports", format_count(ports));
    let Some(n) = conns else {
        return Check::pass(NAME, found);
    };
    let check = if n <= ports {
        Check::pass(NAME, found)
    } else {
        let addresses = n.div_ceil(ports.max(1));
        Check::short(
            NAME,
            Level::Warn,
            found,
            format!(
                "the generator will use {addresses} source addresses of 127.0.0.0/8; to need one only: \
                 `sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`"
            ),
        )
    };
    check.needing(format_count(n))
}

/// 2, the default, is "on for loopback" (ip-sysctl: tcp_tw_reuse).
fn tw_reuse(value: Option<&str>) -> Check {
    match value {
        Some("1" | "2") => Check::pass("tcp_tw_reuse", value.unwrap_or_default()),
        Some(other) => Check::short(
            "tcp_tw_reuse",
            Level::Warn,
            other,
            "short-lived connections will run out of ports; `sysctl -w net.ipv4.tcp_tw_reuse=2`",
        )
        .needing("1 or 2"),
        None => Check::unknown("tcp_tw_reuse", "cannot be read"),
    }
}

/// Ports still held by connections that are over: the `tw` of the TCP line in /proc/net/sockstat. They do not
/// matter to trials in a namespace of their own.
fn time_wait(sockstat: Option<&str>, ports: Option<u64>, private: bool) -> Check {
    const NAME: &str = "TIME_WAIT now";
    let waiting = sockstat.and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let tw = words.iter().position(|word| *word == "tw")?;
        words.get(tw + 1)?.parse::<u64>().ok()
    });
    let (Some(waiting), Some(ports)) = (waiting, ports) else {
        return Check::unknown(NAME, "cannot be read");
    };
    let found = format_count(waiting);
    if private {
        return Check::pass(
            NAME,
            format!("{found} on the host, none in a trial's own network"),
        );
    }
    let check = match waiting > ports / 2 {
        false => Check::pass(NAME, found),
        true => Check::short(
            NAME,
            Level::Warn,
            found,
            "the ports come back within a minute: wait for that",
        ),
    };
    check.needing(format!("at most {}", format_count(ports / 2)))
}

fn namespaces(probe: Result<(), String>) -> Check {
    match probe {
        Ok(()) => Check::pass("network namespaces", "can be made"),
        Err(why) => Check::short(
            "network namespaces",
            Level::Warn,
            why,
            format!(
                "trials will share this machine's ports and counters; {}",
                namespace::remedy()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_range_are_ports() {
        assert_eq!(port_count("32768\t60999"), Some(28_232));
        assert_eq!(port_count("5 5"), Some(1));
        for bad in ["", "7", "9 8", "a b", "0 x"] {
            assert_eq!(port_count(bad), None, "{bad}");
        }
    }

    #[test]
    fn more_connections_than_ports_need_more_addresses() {
        let range = Some("32768\t60999");
        let ports = range.and_then(port_count);
        assert_eq!(port_range(range, ports, Some(28_232)).level, Level::Pass);
        let short = port_range(range, ports, Some(60_000));
        assert_eq!(short.level, Level::Warn);
        assert!(short.remedy.unwrap().contains("3 source addresses"));
        assert_eq!(
            port_range(range, ports, None).found,
            "32768-60999, 28 232 ports"
        );
        assert_eq!(port_range(None, None, Some(1)).level, Level::Unknown);
    }

    #[test]
    fn reuse_is_on_or_not() {
        assert_eq!(tw_reuse(Some("2")).level, Level::Pass);
        assert_eq!(tw_reuse(Some("0")).level, Level::Warn);
        assert_eq!(tw_reuse(None).level, Level::Unknown);
    }

    #[test]
    fn waiting_connections_are_counted_by_name() {
        let sockstat = "sockets: used 116\nTCP: inuse 106 orphan 0 tw 252 alloc 106 mem 206\nUDP: inuse 0 mem 0\n";
        let time_wait = |text, ports| time_wait(text, ports, false);
        let check = time_wait(Some(sockstat), Some(28_232));
        assert_eq!((check.level, check.found.as_str()), (Level::Pass, "252"));
        assert_eq!(time_wait(Some(sockstat), Some(500)).level, Level::Warn);
        assert_eq!(
            time_wait(Some("TCP: inuse 1"), Some(500)).level,
            Level::Unknown
        );
        assert_eq!(time_wait(None, Some(500)).level, Level::Unknown);
        assert_eq!(
            super::time_wait(Some(sockstat), Some(500), true).level,
            Level::Pass
        );
    }

    #[test]
    fn a_refused_namespace_says_why() {
        assert_eq!(namespaces(Ok(())).level, Level::Pass);
        let refused = namespaces(Err("EPERM: Operation not permitted".into()));
        assert_eq!(
            (refused.level, refused.found.as_str()),
            (Level::Warn, "EPERM: Operation not permitted")
        );
    }
}
