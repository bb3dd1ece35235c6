//! A client of a lab's: blocking calls with a limit on every wait, and no more than an answer or its absence.

use crate::lab::trouble::{During, Trouble};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a connect or a send may take where it is expected to be done at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connected client.
pub struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects.
    pub fn connect(to: SocketAddr) -> Result<Client, Trouble> {
        Client::connect_from(Ipv4Addr::LOCALHOST, to)
    }

    /// Connects from this address.
    pub fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Result<Client, Trouble> {
        let open = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((from, 0)).into())?;
            socket.connect_timeout(&to.into(), PATIENCE)?;
            socket.set_tcp_nodelay(true)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok::<_, std::io::Error>(socket.into())
        };
        let stream = open().during(&format!("connect to {to}"))?;
        Ok(Client { stream })
    }

    /// Several of them.
    pub fn several(count: usize, to: SocketAddr) -> Result<Vec<Client>, Trouble> {
        (0..count).map(|_| Client::connect(to)).collect()
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.stream.write_all(bytes).during("send")
    }

    /// How many of so many bytes come before nothing has come for so long, or the connection is over.
    pub fn receive(&mut self, bytes: usize, silence: Duration) -> usize {
        let (mut got, mut buffer) = (0, vec![0; bytes.clamp(1, 1 << 20)]);
        // A zero time would mean for ever.
        let limit = self
            .stream
            .set_read_timeout(Some(silence.max(Duration::from_millis(1))));
        while limit.is_ok() && got < bytes {
            let room = buffer.len().min(bytes - got);
            match self.stream.read(&mut buffer[..room]) {
                Ok(length @ 1..) => got += length,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        got
    }

    /// Whether what was sent is answered, byte for byte, by then.
    pub fn is_answered(&mut self, bytes: usize, by: Instant) -> bool {
        self.receive(bytes, by.saturating_duration_since(Instant::now())) == bytes
    }
}

/// How many clients have the byte they sent answered by then.
pub fn answered(clients: &mut [Client], by: Instant) -> usize {
    clients
        .iter_mut()
        .filter_map(|client| client.is_answered(1, by).then_some(()))
        .count()
}
