//! Sockets as labs need them, where the standard library does too much, and the states that the kernel has them in.

use crate::lab::trouble::{During, Trouble};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A socket that listens on a free port of the loopback interface; nobody accepts.
pub fn listen(backlog: i32) -> Result<(Socket, SocketAddr), Trouble> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).during("make a socket")?;
    socket.set_reuse_address(true)?;
    socket.bind(&any_port()).during("bind")?;
    socket.listen(backlog).during("listen")?;
    let addr = local_addr(&socket)?;
    Ok((socket, addr))
}

/// The same on a port of our own choice: in a private network all are free.
pub fn listen_on(port: u16) -> Result<(Socket, SocketAddr), Trouble> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).during("make a socket")?;
    socket.set_reuse_address(true)?;
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.bind(&addr.into()).during("bind")?;
    socket.listen(16).during("listen")?;
    Ok((socket, addr))
}

/// A free port of the loopback interface.
pub fn any_port() -> SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()
}

/// Where a socket is bound.
pub fn local_addr(socket: &Socket) -> Result<SocketAddr, Trouble> {
    let addr = socket.local_addr().during("read a socket's address")?;
    addr.as_socket()
        .ok_or_else(|| Trouble::failed("a socket has no address"))
}

/// A connect(2) under way.
pub fn connect_started(addr: SocketAddr) -> Result<Socket, Trouble> {
    connect_started_from(Ipv4Addr::LOCALHOST, addr)
}

/// The same from another address of the loopback network.
pub fn connect_started_from(source: Ipv4Addr, addr: SocketAddr) -> Result<Socket, Trouble> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).during("make a socket")?;
    socket.set_nonblocking(true)?;
    if source != Ipv4Addr::LOCALHOST {
        socket
            .bind(&SocketAddr::from((source, 0)).into())
            .during("bind")?;
    }
    match socket.connect(&addr.into()) {
        Err(e) if e.raw_os_error() != Some(nix::libc::EINPROGRESS) => {
            Err(e).during("start to connect")
        }
        _ => Ok(socket),
    }
}

/// Whether the connect(2) is done; an error is what it failed with.
pub fn is_connected(socket: &Socket) -> io::Result<bool> {
    let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut ready, PollTimeout::ZERO)? == 0 {
        return Ok(false);
    }
    match socket.take_error()? {
        Some(error) => Err(error),
        None => Ok(true),
    }
}

/// A connected pair: the client, and what the server accepted.
pub fn pair() -> Result<(TcpStream, TcpStream), Trouble> {
    let (listener, addr) = listen(16)?;
    let client = TcpStream::connect(addr).during("connect")?;
    let (accepted, _) = listener.accept().during("accept")?;
    Ok((client, accepted.into()))
}

/// Waits until something holds; whether it did in time.
pub fn wait_until(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A state of the TCP protocol (RFC 9293 3.3.2), as the kernel numbers it (include/net/tcp_states.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct State(u8);

impl State {
    /// Data flows.
    #[cfg(test)]
    pub const ESTABLISHED: State = State(1);
    /// A SYN was received and answered.
    pub const SYN_RECV: State = State(3);
    /// Our FIN was sent.
    pub const FIN_WAIT1: State = State(4);
    /// Our FIN was acknowledged.
    pub const FIN_WAIT2: State = State(5);
    /// Both are closed; late segments are waited out.
    pub const TIME_WAIT: State = State(6);
    /// The peer's FIN was received, and we have not closed.
    pub const CLOSE_WAIT: State = State(8);
    /// A listener.
    pub const LISTEN: State = State(10);
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 13] = [
            "?",
            "ESTABLISHED",
            "SYN_SENT",
            "SYN_RECV",
            "FIN_WAIT1",
            "FIN_WAIT2",
            "TIME_WAIT",
            "CLOSE",
            "CLOSE_WAIT",
            "LAST_ACK",
            "LISTEN",
            "CLOSING",
            "NEW_SYN_RECV",
        ];
        f.write_str(NAMES.get(usize::from(self.0)).unwrap_or(&NAMES[0]))
    }
}

/// One TCP socket of this namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its own port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// Its state.
    pub state: State,
}

/// All IPv4 TCP sockets of this namespace with this port on either side (proc_net_tcp(5)).
pub fn states(port: u16) -> Result<Vec<Entry>, Trouble> {
    let text =
        fs::read_to_string("/proc/thread-self/net/tcp").during("read the sockets' states")?;
    let entries = text.lines().skip(1).filter_map(entry);
    Ok(entries
        .filter(|e| e.local_port == port || e.remote_port == port)
        .collect())
}

fn entry(line: &str) -> Option<Entry> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = |at: usize| {
        let (_, port) = fields.get(at)?.split_once(':')?;
        u16::from_str_radix(port, 16).ok()
    };
    Some(Entry {
        local_port: port(1)?,
        remote_port: port(2)?,
        state: State(u8::from_str_radix(fields.get(3)?, 16).ok()?),
    })
}

/// How many of them are in this state.
pub fn count(port: u16, state: State) -> Result<usize, Trouble> {
    Ok(states(port)?.iter().filter(|e| e.state == state).count())
}

/// The state of the socket with this own port and this peer's; `None` where there is none.
pub fn state_of(local_port: u16, remote_port: u16) -> Result<Option<State>, Trouble> {
    let found = states(local_port)?
        .into_iter()
        .find(|e| (e.local_port, e.remote_port) == (local_port, remote_port));
    Ok(found.map(|e| e.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_pair_is_connected_and_its_states_are_seen() {
        let (mut client, mut server) = pair().unwrap();
        client.write_all(b"ab").unwrap();
        let mut bytes = [0; 2];
        server.read_exact(&mut bytes).unwrap();
        let (own, peer) = (
            client.local_addr().unwrap().port(),
            client.peer_addr().unwrap().port(),
        );
        assert_eq!(state_of(own, peer).unwrap(), Some(State::ESTABLISHED));
        drop(server);
        let waits = || state_of(own, peer).unwrap() == Some(State::CLOSE_WAIT);
        assert!(wait_until(Duration::from_secs(5), waits));
        assert_eq!(State::CLOSE_WAIT.to_string(), "CLOSE_WAIT");
    }

    #[test]
    fn lines_of_the_kernels_table_are_understood() {
        let line = "   0: 0100007F:1F90 0100007F:C350 06 00000000:00000005 03:00 0 0 0 2";
        let found = entry(line).unwrap();
        assert_eq!((found.local_port, found.remote_port), (8080, 50_000));
        assert_eq!(found.state, State::TIME_WAIT);
        assert_eq!(entry("  sl  local_address"), None);
    }
}
