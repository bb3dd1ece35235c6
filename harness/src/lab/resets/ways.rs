//! The ways in which a connection ends otherwise than by a FIN.

use crate::lab::tools::sockets::{self, State};
use crate::lab::trouble::Trouble;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use socket2::{SockRef, Socket};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

/// What a client tries to send to a server that does not read, bytes: more than both buffers hold.
pub const MUCH: usize = 32 << 20;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How one connection ended for the server, and what was left of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct End {
    /// What was written.
    pub sent_bytes: usize,
    /// What the other side read.
    pub received_bytes: usize,
    /// What the last read(2) of the other side failed with, or `end of file`.
    pub ended_with: String,
    /// TIME_WAIT sockets left.
    pub time_wait: usize,
}

/// What people call the ends.
pub const END_OF_FILE: &str = "end of file";
/// The peer has sent RST.
pub const RESET: &str = "ECONNRESET";
/// The peer had sent RST before.
pub const PIPE: &str = "EPIPE";

fn words(result: &io::Result<usize>) -> String {
    match result {
        Ok(0) => END_OF_FILE.into(),
        Ok(bytes) => format!("{bytes} bytes"),
        Err(e) => match e.raw_os_error().map(nix::errno::Errno::from_raw) {
            Some(errno) => format!("{errno:?}"),
            None => e.to_string(),
        },
    }
}

/// Reads to the end, whatever that is.
fn read_out(socket: &mut TcpStream) -> Result<(usize, String), Trouble> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (mut sum, mut bytes) = (0, vec![0; 1 << 16]);
    loop {
        match socket.read(&mut bytes) {
            Ok(n) if n > 0 => sum += n,
            other => return Ok((sum, words(&other))),
        }
    }
}

fn close_with_reset(socket: TcpStream) -> Result<(), Trouble> {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

/// TIME_WAIT sockets of a connection once everything has settled.
fn time_wait(port: u16) -> Result<usize, Trouble> {
    let settled =
        || sockets::states(port).is_ok_and(|all| all.iter().all(|e| e.state == State::TIME_WAIT));
    sockets::wait_until(PATIENCE, settled);
    sockets::count(port, State::TIME_WAIT)
}

/// A client fills the buffers of a server that does not read, and ends.
pub fn client_ends(reset: bool) -> Result<End, Trouble> {
    let (mut client, mut server) = sockets::pair()?;
    let port = client.peer_addr()?.port();
    client.set_nonblocking(true)?;
    let (chunk, mut sent_bytes) = (vec![1; 1 << 16], 0);
    // Full is what is still full a moment later: the kernel makes buffers larger as they are used.
    while sent_bytes < MUCH {
        match client.write(&chunk) {
            Ok(bytes) => sent_bytes += bytes,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let mut room = [PollFd::new(client.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut room, PollTimeout::from(100u16))? == 0 {
                    break;
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
    match reset {
        true => close_with_reset(client)?,
        false => drop(client),
    }
    std::thread::sleep(Duration::from_millis(100));
    let (received_bytes, ended_with) = read_out(&mut server)?;
    drop(server);
    Ok(End {
        sent_bytes,
        received_bytes,
        ended_with,
        time_wait: time_wait(port)?,
    })
}

/// A server answers and closes without having read.
pub fn server_leaves_unread() -> Result<End, Trouble> {
    let (mut client, server) = sockets::pair()?;
    let port = client.peer_addr()?.port();
    client.write_all(&[1; 10])?;
    let has_come = || server.peek(&mut [0; 10]).is_ok_and(|bytes| bytes == 10);
    sockets::wait_until(PATIENCE, has_come);
    drop(server);
    let (received_bytes, ended_with) = read_out(&mut client)?;
    drop(client);
    Ok(End {
        sent_bytes: 0,
        received_bytes,
        ended_with,
        time_wait: time_wait(port)?,
    })
}

/// What a second write says, after the first was answered by a reset.
pub fn second_write() -> Result<String, Trouble> {
    let (mut client, server) = sockets::pair()?;
    let port = client.peer_addr()?.port();
    drop(server);
    client.write_all(&[1; 10])?;
    let is_gone = || {
        sockets::state_of(client.local_addr().map_or(0, |a| a.port()), port)
            .is_ok_and(|s| s.is_none())
    };
    sockets::wait_until(PATIENCE, is_gone);
    Ok(words(&client.write(&[1; 10])))
}

/// A client connects and resets before anybody accepts.
pub fn accept_after_reset() -> Result<(bool, String, String), Trouble> {
    let (listener, addr) = sockets::listen(4)?;
    listener.set_nonblocking(true)?;
    let client = TcpStream::connect(addr)?;
    close_with_reset(client)?;
    std::thread::sleep(Duration::from_millis(100));
    let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let is_ready = poll(&mut ready, PollTimeout::ZERO)? == 1;
    Ok(match listener.accept() {
        Ok((accepted, _)) => (is_ready, "a connection".into(), first_read(accepted)),
        Err(e) => (is_ready, words(&Err(e)), "n/a".into()),
    })
}

fn first_read(accepted: Socket) -> String {
    let mut accepted = TcpStream::from(accepted);
    let _ = accepted.set_nonblocking(true);
    words(&accepted.read(&mut [0; 8]))
}
