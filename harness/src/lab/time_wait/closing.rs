//! Connections that are closed first by one side or the other.

use crate::lab::tools::capture::Capture;
use crate::lab::tools::segment_filter;
use crate::lab::tools::sockets::{self, State};
use crate::lab::trouble::Trouble;
use serde::{Deserialize, Serialize};
use socket2::{SockRef, Socket};
use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Connections made one after the other, and what they left.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Closed {
    /// How many were made.
    pub connections: usize,
    /// Whether connect(2) failed with EADDRNOTAVAIL.
    pub ports_ran_out: bool,
    /// TIME_WAIT sockets of clients.
    pub time_wait_of_clients: usize,
    /// TIME_WAIT sockets of the server.
    pub time_wait_of_server: usize,
}

/// How long connections are made one after the other, at most.
const LIMIT: Duration = Duration::from_secs(8);

/// Who ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The client, as usual.
    Client,
    /// The server, as usual.
    Server,
    /// The client, with a reset.
    Reset,
}

/// Makes one connection and ends it.
pub fn end(listener: &Socket, addr: SocketAddr, first: First) -> io::Result<()> {
    let mut client = TcpStream::connect(addr)?;
    let mut server: TcpStream = listener.accept()?.0.into();
    let mut rest = Vec::new();
    match first {
        First::Client => {
            drop(client);
            server.read_to_end(&mut rest).map(|_| ())
        }
        First::Server => {
            drop(server);
            client.read_to_end(&mut rest).map(|_| ())
        }
        First::Reset => {
            SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
            drop(client);
            // It is told by an error, and that is as good.
            let _ = server.read_to_end(&mut rest);
            Ok(())
        }
    }
}

/// Makes connections until there are so many, ports run out, or time does.
pub fn one_after_the_other(port: u16, first: First, most: usize) -> Result<Closed, Trouble> {
    let (listener, addr) = sockets::listen_on(port)?;
    let (mut closed, began) = (Closed::default(), Instant::now());
    while closed.connections < most && began.elapsed() < LIMIT {
        match end(&listener, addr, first) {
            Ok(()) => closed.connections += 1,
            Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable => {
                closed.ports_ran_out = true;
                break;
            }
            Err(e) => return Err(e.into()),
        }
    }
    let waiting = |e: &&sockets::Entry| e.state == State::TIME_WAIT;
    let all = sockets::states(addr.port())?;
    closed.time_wait_of_server = all
        .iter()
        .filter(waiting)
        .filter(|e| e.local_port == addr.port())
        .count();
    closed.time_wait_of_clients = all.iter().filter(waiting).count() - closed.time_wait_of_server;
    Ok(closed)
}

/// Connections that the client closes first, for so long, whatever fails in between.
pub fn going_on(port: u16, time: Duration) -> Result<(usize, f64), Trouble> {
    let (listener, addr) = sockets::listen_on(port)?;
    let (mut connections, began) = (0, Instant::now());
    while began.elapsed() < time {
        match end(&listener, addr, First::Client) {
            Ok(()) => connections += 1,
            Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok((connections, began.elapsed().as_secs_f64()))
}

/// The server's FINs and the client's ACKs of them, where the ACKs do not reach the server for a while.
pub fn last_ack_lost(port: u16) -> Result<(usize, usize), Trouble> {
    let (listener, addr) = sockets::listen_on(port)?;
    let client = TcpStream::connect(addr)?;
    let server: TcpStream = listener.accept()?.0.into();
    drop(client);
    let reads_end = || server.peek(&mut [0; 1]).is_ok_and(|bytes| bytes == 0);
    sockets::wait_until(Duration::from_secs(5), reads_end);
    segment_filter::drop_bare_acks(&server, Ipv4Addr::LOCALHOST)?;
    let mut capture = Capture::start(addr.port())?;
    server.shutdown(Shutdown::Write)?;
    capture.watch(Duration::from_millis(1500))?;
    segment_filter::drop_nothing(&server)?;
    capture.watch(Duration::from_millis(500))?;
    let segments = capture.finish()?;
    let fins = segments
        .iter()
        .filter(|s| !s.from_client && s.flags.contains('F'))
        .count();
    let acks = segments
        .iter()
        .filter(|s| s.from_client && s.flags == "A")
        .count();
    Ok((fins, acks))
}
