//! The one listener recipe, so that all models start equal.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// A listening TCP socket: address reuse on, no Nagle delay, and the same
/// backlog for every model. std, mio and tokio silently pass 128 instead, and a
/// short listen queue would be measured in place of the model.
///
/// `TCP_NODELAY` is set here once: Linux hands it on to every accepted socket,
/// as `sk_clone_lock` copies the listening socket (a test below holds it to
/// that). With `shared_port`, several sockets may listen on one address and the
/// kernel spreads connections over them (`SO_REUSEPORT`, socket(7)).
///
/// # Errors
/// A sentence that names the address, for a port taken in particular.
pub fn listen(address: SocketAddr, backlog: i32, shared_port: bool) -> io::Result<Socket> {
    open(address, backlog, shared_port).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "; end the program that listens there, or choose another port (0: any free one)"
            }
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need root",
            _ => "",
        };
        io::Error::new(
            error.kind(),
            format!("cannot listen on {address}: {error}{hint}"),
        )
    })
}

fn open(address: SocketAddr, backlog: i32, shared_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared_port)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    const ANY_PORT: &str = "127.0.0.1:0";

    fn address(socket: &Socket) -> SocketAddr {
        socket.local_addr().unwrap().as_socket().unwrap()
    }

    #[test]
    fn accepted_sockets_inherit_nodelay() {
        let listener = listen(ANY_PORT.parse().unwrap(), 16, false).unwrap();
        let _client = TcpStream::connect(address(&listener)).unwrap();
        let (accepted, _) = listener.accept4(0).unwrap();
        assert!(accepted.tcp_nodelay().unwrap());
    }

    #[test]
    fn a_taken_port_is_named() {
        let first = listen(ANY_PORT.parse().unwrap(), 16, false).unwrap();
        let taken = address(&first);
        let error = listen(taken, 16, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken.to_string()));
    }

    #[test]
    fn a_shared_port_takes_several() {
        let first = listen(ANY_PORT.parse().unwrap(), 16, true).unwrap();
        assert!(listen(address(&first), 16, true).is_ok());
    }
}
