//! A server that ends, and another that takes its port.

use crate::lab::tools::sockets;
use crate::lab::trouble::{During, Trouble};
use socket2::{Domain, Socket, Type};
use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What bind(2) says where the port is held.
pub const IN_USE: &str = "EADDRINUSE";
/// What is said of a server that listens.
pub const STARTED: &str = "started";

/// A server that has closed its only connection before its client did.
pub fn served_once(reuse_address: bool) -> Result<(Socket, SocketAddr), Trouble> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).during("make a socket")?;
    listener.set_reuse_address(reuse_address)?;
    listener.bind(&sockets::any_port())?;
    listener.listen(4)?;
    let addr = sockets::local_addr(&listener)?;
    let mut client = TcpStream::connect(addr)?;
    drop(listener.accept()?);
    client.read_to_end(&mut Vec::new())?;
    drop(client);
    // Until the client's FIN has been acknowledged.
    let settled = || {
        sockets::states(addr.port()).is_ok_and(|all| {
            all.iter()
                .all(|e| matches!(e.state, sockets::State::TIME_WAIT | sockets::State::LISTEN))
        })
    };
    sockets::wait_until(Duration::from_secs(5), settled);
    Ok((listener, addr))
}

/// What becomes of another server on this port; one that starts ends at once.
pub fn start(addr: SocketAddr, reuse_address: bool) -> String {
    let started = || -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(reuse_address)?;
        socket.bind(&addr.into())?;
        socket.listen(4)
    };
    match started() {
        Ok(()) => STARTED.into(),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => IN_USE.into(),
        Err(e) => e.to_string(),
    }
}

/// What is left of the timer of a TIME_WAIT with this port, s (proc_net_tcp(5): timer 03, in hundredths).
pub fn timer_left_s(port: u16) -> Result<Option<f64>, Trouble> {
    let text =
        fs::read_to_string("/proc/thread-self/net/tcp").during("read the sockets' timers")?;
    Ok(text.lines().find_map(|line| timer(line, port)))
}

/// The time left in one line of the table, where it is that port's.
pub fn timer(line: &str, port: u16) -> Option<f64> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, own) = fields.get(1)?.split_once(':')?;
    let (kind, left) = fields.get(5)?.split_once(':')?;
    let is_it = u16::from_str_radix(own, 16) == Ok(port) && kind == "03";
    let ticks = u64::from_str_radix(left, 16).ok().filter(|_| is_it)?;
    Some(ticks as f64 / 100.0)
}
