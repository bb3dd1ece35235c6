//! The server to be loaded: resolved once, and only where it may be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use ipnet::IpNet;

use super::check::LoadError;

/// Resolves a target once and checks that it may be loaded.
///
/// # Errors
/// [`LoadError::Resolve`] or [`LoadError::Refused`].
pub fn permitted_target(target: &str, allowed: &[IpNet]) -> Result<SocketAddr, LoadError> {
    let address = resolve(target)?;
    check_target(address.ip(), allowed)?;
    Ok(address)
}

pub(super) fn resolve(target: &str) -> Result<SocketAddr, LoadError> {
    let address = target
        .to_socket_addrs()
        .map_err(|error| {
            LoadError::Resolve(format!("--target {target}: {error} (give HOST:PORT)"))
        })?
        .next()
        .ok_or_else(|| LoadError::Resolve(format!("--target {target}: the name has no address")))?;
    if address.port() == 0 {
        return Err(LoadError::Range(format!(
            "--target {target}: port 0 cannot be connected to"
        )));
    }
    Ok(address)
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
