//! A listener that is filled with half-open connections.

use crate::lab::tools::capture::Capture;
use crate::lab::tools::counters::Counters;
use crate::lab::tools::segment_filter;
use crate::lab::tools::sockets::{self, State};
use crate::lab::trouble::Trouble;
use serde::{Deserialize, Serialize};
use socket2::Socket;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What listen(2) is given.
pub const BACKLOG: usize = 64;
/// The setting for half-open connections.
pub const MAX_SYN_BACKLOG: usize = 8;
/// Clients whose handshake is never completed: their third segment is taken away. No flood is needed.
pub const CLIENTS: usize = 80;
/// Their address; the others' segments pass.
pub const SILENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How long the repetitions of one SYN+ACK are watched.
pub const WATCHED: Duration = Duration::from_millis(17_500);
/// How long an honest client waits: shorter than its SYN's first repetition.
const PATIENCE: Duration = Duration::from_millis(900);

/// What a listener did with the clients that never complete their handshake, and with one that does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Filled {
    /// Clients that believe to be connected.
    pub connected: usize,
    /// Sockets in SYN_RECV.
    pub half_open: usize,
    /// SYN+ACKs whose number is a cookie.
    pub cookies_sent: u64,
    /// SYNs dropped.
    pub listen_drops: u64,
    /// Whether another client was served.
    pub honest_client_served: bool,
}

/// Fills a listener with half-open connections, and sees whether another client is served.
pub fn filled(honest: Ipv4Addr) -> Result<Filled, Trouble> {
    let (listener, addr) = sockets::listen(BACKLOG as i32)?;
    segment_filter::drop_bare_acks(&listener, SILENT)?;
    let before = Counters::read()?;
    let clients: Result<Vec<Socket>, Trouble> = (0..CLIENTS)
        .map(|_| sockets::connect_started_from(SILENT, addr))
        .collect();
    let clients = clients?;
    // Before any SYN is sent again.
    std::thread::sleep(Duration::from_millis(300));
    let connected = clients
        .iter()
        .filter(|client| sockets::is_connected(client).unwrap_or(false))
        .count();
    let half_open = sockets::count(addr.port(), State::SYN_RECV)?;
    let counted = Counters::read()?.since(&before);
    Ok(Filled {
        connected,
        half_open,
        cookies_sent: counted.get("TcpExt", "SyncookiesSent"),
        listen_drops: counted.get("TcpExt", "ListenDrops"),
        honest_client_served: is_served(&listener, addr, honest)?,
    })
}

/// Whether a client that completes its handshake is accepted before it would send its SYN again.
fn is_served(listener: &Socket, addr: SocketAddr, from: Ipv4Addr) -> Result<bool, Trouble> {
    listener.set_nonblocking(true)?;
    let client = sockets::connect_started_from(from, addr)?;
    let connected = || sockets::is_connected(&client).unwrap_or(false);
    let accepted = || listener.accept().is_ok();
    Ok(sockets::wait_until(PATIENCE, connected) && sockets::wait_until(PATIENCE, accepted))
}

/// When the SYN+ACK of one half-open connection is sent again, s after the first.
pub fn sent_again() -> Result<Vec<f64>, Trouble> {
    let (listener, addr) = sockets::listen(4)?;
    segment_filter::drop_bare_acks(&listener, SILENT)?;
    let mut capture = Capture::start(addr.port())?;
    let _client = sockets::connect_started_from(SILENT, addr)?;
    capture.watch(WATCHED)?;
    let segments = capture.finish()?;
    let answers = segments
        .iter()
        .filter(|s| !s.from_client && s.flags == "SA");
    let times: Vec<f64> = answers.map(|s| s.at_us as f64 / 1e6).collect();
    let first = times.first().copied().unwrap_or(0.0);
    Ok(times.iter().skip(1).map(|at| at - first).collect())
}
