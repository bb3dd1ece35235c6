//! What has to hold before anything is sent.

use super::NotBegun;
use super::flags::HostFlags;
use super::host::Host;
use crate::base::text::visible;
use crate::base::units::format_count;
use crate::load::{Load, MAX_SEGMENTS, Processes, names_a_file};

/// Whether a load can be divided among so many hosts, and be theirs.
pub(super) fn divisible(load: &Load, names: &[String], flags: &HostFlags) -> Result<(), NotBegun> {
    let hosts = names.len() as u64;
    let connections = load.segment.share_of(load.population());
    if connections < hosts {
        return Err(NotBegun(format!(
            "{hosts} hosts cannot share {} connections: raise --conns or name fewer",
            format_count(connections)
        )));
    }
    if u64::from(load.segment.count) * hosts > u64::from(MAX_SEGMENTS) {
        return Err(NotBegun(format!(
            "a load can be divided into {MAX_SEGMENTS} segments and no more"
        )));
    }
    if let Some(flag) = names_a_file(load) {
        return Err(NotBegun(format!(
            "{flag} is a file of this host's, and agents read no files: say it in the flags, or start loadgen on the hosts \
             yourself (--segment, --start-at, merge)"
        )));
    }
    let is_loopback = load.target.ip().is_some_and(|ip| ip.is_loopback());
    if is_loopback && flags.via().leads_elsewhere() {
        return Err(NotBegun(format!(
            "--target {} is each host's own loopback: give the address at which the load hosts reach the server",
            load.target
        )));
    }
    Ok(())
}

/// Whether the hosts are different ones and run the same program.
pub(super) fn alike(hosts: &[Host], are_elsewhere: bool) -> Result<(), NotBegun> {
    let known = hosts
        .iter()
        .filter_map(|host| Some((host, host.hello.as_ref()?)));
    let known: Vec<_> = known.collect();
    for (index, (host, hello)) in known.iter().enumerate() {
        let mut before = known[..index].iter();
        if are_elsewhere
            && let Some((other, _)) = before.find(|(_, other)| other.place == hello.place)
        {
            return Err(NotBegun(format!(
                "{} and {} are the same host ({}): name it once",
                other.name,
                host.name,
                visible(&hello.name)
            )));
        }
    }
    let Some(((first, theirs), rest)) = known.split_first() else {
        return Ok(());
    };
    let digest = theirs.programs.get("loadgen");
    match rest
        .iter()
        .find(|(_, hello)| hello.programs.get("loadgen") != digest)
    {
        Some((other, _)) => Err(NotBegun(format!(
            "the load generators of {} and {} are different builds of one version: install the same on all hosts",
            first.name, other.name
        ))),
        None => Ok(()),
    }
}

/// Whether a host has descriptors for its share.
pub(super) fn room(host: &Host, share: &Load) -> Result<(), NotBegun> {
    let Some(hello) = &host.hello else {
        return Ok(());
    };
    let each = hello.limits.connections_per_process;
    let processes = match share.processes {
        Processes::Count(count) => u64::from(count),
        // As many as one process can lead, which needs three descriptors for each.
        Processes::Auto => (each / 3).max(1),
    };
    let asked = share.segment.share_of(share.population());
    if asked <= each.saturating_mul(processes) {
        return Ok(());
    }
    Err(NotBegun(format!(
        "{} has descriptors for {} connections in {processes} process(es), and its share is {}: raise the limit there \
         (ulimit -Hn) or name more hosts",
        host.name,
        format_count(each.saturating_mul(processes)),
        format_count(asked)
    )))
}
