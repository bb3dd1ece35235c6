//! Connections whose two directions are closed apart, or of which one side forgets its own.

use crate::lab::tools::sockets::{self, State};
use crate::lab::trouble::Trouble;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// What the server still answers after the client's FIN, bytes.
pub const ANSWER: usize = 10_000;
/// Clients of a server that forgets to close.
pub const CLIENTS: usize = 5;
/// How long a closed client waits for the peer's FIN, s: the kernel's 60 would take a minute to see.
pub const FIN_TIMEOUT_S: u64 = 3;
/// How long anything else may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What stands for states that were not seen.
pub const NOT_SEEN: &str = "not seen";

/// What the server reads after the client's FIN, both states then, and how much of its answer arrives.
pub fn answered() -> Result<(usize, (String, String), usize), Trouble> {
    let (mut client, mut server) = sockets::pair()?;
    let (own, peer) = (client.local_addr()?.port(), client.peer_addr()?.port());
    client.write_all(b"request")?;
    client.shutdown(Shutdown::Write)?;
    server.read_exact(&mut [0; 7])?;
    let end = server.read(&mut [0; 8])?;
    let state = |from, to| sockets::state_of(from, to).ok().flatten();
    let settled = sockets::wait_until(PATIENCE, || state(own, peer) != Some(State::FIN_WAIT1));
    let words = |found: Option<State>| found.map_or("none".into(), |s| s.to_string());
    let between = match settled {
        true => (words(state(own, peer)), words(state(peer, own))),
        false => (NOT_SEEN.into(), NOT_SEEN.into()),
    };
    server.write_all(&[7; ANSWER])?;
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer)?;
    Ok((end, between, answer.len()))
}

/// CLOSE_WAIT sockets of a server that keeps its descriptors, at once and later, and FIN_WAIT2 of its clients then.
pub fn forgotten() -> Result<(usize, usize, usize), Trouble> {
    let (listener, addr) = sockets::listen(16)?;
    let mut kept = Vec::new();
    for _ in 0..CLIENTS {
        let client = TcpStream::connect(addr)?;
        kept.push(listener.accept()?.0);
        drop(client);
    }
    let count = |state| sockets::count(addr.port(), state).unwrap_or(0);
    sockets::wait_until(PATIENCE, || count(State::CLOSE_WAIT) == CLIENTS);
    let at_once = count(State::CLOSE_WAIT);
    // A timer of the kernel's may be late by an eighth.
    let longest = Duration::from_secs(2 * FIN_TIMEOUT_S + 2);
    sockets::wait_until(longest, || count(State::FIN_WAIT2) == 0);
    std::thread::sleep(Duration::from_millis(500));
    Ok((at_once, count(State::CLOSE_WAIT), count(State::FIN_WAIT2)))
}

/// The state of a socket that is closed while a copy of its descriptor is open, and what its peer reads when that is
/// closed too.
pub fn copied() -> Result<(String, usize), Trouble> {
    let (client, mut server) = sockets::pair()?;
    let (own, peer) = (client.local_addr()?.port(), client.peer_addr()?.port());
    let copy = client.try_clone()?;
    drop(client);
    std::thread::sleep(Duration::from_millis(200));
    let state = sockets::state_of(own, peer)?;
    drop(copy);
    server.set_read_timeout(Some(PATIENCE))?;
    let bytes = server.read(&mut [0; 8])?;
    Ok((
        state.map_or("none".into(), |state| state.to_string()),
        bytes,
    ))
}
