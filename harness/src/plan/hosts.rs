//! Where a run takes place: the server's host and the load's, where they are not this one.

use crate::base::error::Failure;
use crate::cli::{Netns, RunFlags};
use ipnet::IpNet;
use loadgen::fleet::hosts::flags::{HostFlags, HostList, Via, Words};
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

/// Where servers are started.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerHost {
    /// Its name, as it was given.
    pub name: String,
    /// How it is reached.
    pub via: Via,
    /// What is started there.
    pub agent: Words,
    /// The CPUs of the server there; none: all of them.
    pub cpus: Option<Vec<usize>>,
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq)]
pub struct Places {
    /// Where servers listen that are started.
    pub server_ip: IpAddr,
    /// The host they are started on, if not this one.
    pub server_host: Option<ServerHost>,
    /// The hosts of the load, if not this one.
    pub load_hosts: Option<HostFlags>,
}

impl Places {
    /// Whether server and load are both on this host, on its loopback.
    pub fn are_here(&self) -> bool {
        self.server_host.is_none() && self.load_hosts.is_none() && self.server_ip.is_loopback()
    }

    /// The networks that may be loaded: those that were named, and the server's own address, where this run starts it.
    pub fn allowed(&self, named: &[IpNet]) -> Vec<IpNet> {
        let own = (!self.server_ip.is_loopback()).then(|| IpNet::from(self.server_ip));
        named.iter().copied().chain(own).collect()
    }
}

/// Makes sense of the flags that say where.
pub fn places(flags: &RunFlags) -> Result<Places, Failure> {
    let elsewhere = &flags.elsewhere;
    let starts = !flags.model.is_empty() || !flags.server.is_empty();
    let load_hosts = flags.hosts.load_hosts.as_ref().map(|_| flags.hosts.clone());
    check(flags, starts, load_hosts.as_ref())?;
    let server_ip = match (&elsewhere.server_address, &elsewhere.server_host) {
        (Some(ip), _) => *ip,
        (None, Some(host)) => address_of(host, flags.hosts.via().leads_elsewhere())?,
        (None, None) => Ipv4Addr::LOCALHOST.into(),
    };
    if starts
        && server_ip.is_loopback()
        && load_hosts.is_some()
        && flags.hosts.via().leads_elsewhere()
    {
        return Err(Failure::usage(
            "--load-hosts: the server would listen on this host's loopback; give --server-address, the address at which \
             the load hosts reach this one, or --server-host",
        ));
    }
    let cpus = flags.place.server_cpus.as_ref();
    let server_host = elsewhere.server_host.as_ref().map(|name| ServerHost {
        name: name.clone(),
        via: flags.hosts.via(),
        agent: flags.hosts.agent(),
        cpus: cpus.map(|list| list.0.iter().map(|&cpu| cpu as usize).collect()),
    });
    Ok(Places {
        server_ip,
        server_host,
        load_hosts,
    })
}

fn check(flags: &RunFlags, starts: bool, load_hosts: Option<&HostFlags>) -> Result<(), Failure> {
    let elsewhere = &flags.elsewhere;
    let is_elsewhere = elsewhere.server_host.is_some();
    let looks = flags.looks.instruments();
    let conflicts = [
        (
            is_elsewhere && !starts,
            "--server-host is where a --model or a --server is started: --target names one that runs",
        ),
        (
            is_elsewhere && flags.target.is_some(),
            "--server-host and --target: what is started there and what runs elsewhere are not compared in one run",
        ),
        (
            elsewhere.server_address.is_some() && !starts,
            "--server-address is where a --model or a --server listens: give one of the two",
        ),
        (
            (is_elsewhere || load_hosts.is_some()) && flags.place.netns == Netns::Require,
            "--netns require: other hosts cannot get into a private network",
        ),
        (
            is_elsewhere && looks.any(),
            "--syscalls and --profile look into servers of this host only: run them there, without --server-host",
        ),
        (
            load_hosts.is_some() && flags.place.client_cpus.is_some(),
            "--client-cpus: load hosts use all of their own CPUs",
        ),
        (
            load_hosts.is_none()
                && !is_elsewhere
                && (flags.hosts.via.is_some() || flags.hosts.agent.is_some()),
            "--via and --agent say how hosts are reached: give --load-hosts or --server-host",
        ),
    ];
    match conflicts.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, why)) => Err(Failure::usage(why)),
        None => check_name(elsewhere.server_host.as_deref()),
    }
}

/// A name that the launcher cannot take for an option.
fn check_name(name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else {
        return Ok(());
    };
    match name.parse::<HostList>() {
        Ok(HostList::Names(names)) if names.len() == 1 => Ok(()),
        Ok(_) => Err(Failure::usage("--server-host: give one host")),
        Err(why) => Err(Failure::usage(format!("--server-host: {why}"))),
    }
}

/// The address of a host, by the name without the user's.
fn address_of(host: &str, leads_elsewhere: bool) -> Result<IpAddr, Failure> {
    if !leads_elsewhere {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let name = host.rsplit('@').next().unwrap_or(host);
    let addresses = (name, 1).to_socket_addrs();
    let found = addresses
        .ok()
        .and_then(|mut all| all.find(|address| !address.ip().is_loopback()));
    found.map(|address| address.ip()).ok_or_else(|| {
        Failure::usage(format!(
            "--server-host {host}: no address is known for {name}; give --server-address, the one at which the load hosts \
             reach it"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn of(words: &str) -> Result<Places, String> {
        let words = format!("tenk {words}");
        let cli = Cli::try_parse_from(words.split(' ')).map_err(|e| e.to_string())?;
        places(&cli.run).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_server_elsewhere_listens_where_the_load_gets_to_it() {
        let far = of("--model epoll --server-host root@192.0.2.7 --load-hosts a,b").unwrap();
        assert_eq!(far.server_ip.to_string(), "192.0.2.7");
        assert!(!far.are_here() && far.load_hosts.is_some());
        assert_eq!(far.allowed(&[]), ["192.0.2.7/32".parse().unwrap()]);
        let near = of("--model epoll --server-host a --via env").unwrap();
        assert!(near.server_ip.is_loopback() && !near.are_here());
        assert!(of("--model epoll").unwrap().are_here());
        let given = of("--model epoll --server-address 192.0.2.9 --load-hosts a").unwrap();
        assert!(given.server_host.is_none() && given.server_ip.to_string() == "192.0.2.9");
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_sentence() {
        for (words, why) in [
            ("--model epoll --load-hosts a,b", "give --server-address"),
            (
                "--model epoll --server-host no.such.invalid",
                "no address is known",
            ),
            (
                "--model epoll --server-host -oProxyCommand=x",
                "unexpected argument",
            ),
            (
                "--model epoll --server-host=-oProxyCommand=x",
                "is no host's name",
            ),
            ("--model epoll --server-host a,b", "give one host"),
            (
                "--target 127.0.0.1:1 --server-host 192.0.2.1",
                "--target names one that runs",
            ),
            (
                "--model epoll --server-host 192.0.2.1 --netns require",
                "a private network",
            ),
            (
                "--model epoll --server-host 192.0.2.1 --syscalls",
                "of this host only",
            ),
            (
                "--model epoll --via ssh",
                "give --load-hosts or --server-host",
            ),
            (
                "--model epoll --server-address 192.0.2.1 --load-hosts a --client-cpus 0",
                "their own CPUs",
            ),
        ] {
            let said = of(words).unwrap_err();
            assert!(said.contains(why), "{words}: {said}");
        }
    }
}
