//! One verified exchange with a server, to know that it serves before and after the measuring.

use loadgen::flags::ProtocolName;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a server does with the bytes it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, Default)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Sends them back.
    #[default]
    Echo,
    /// Reads and never answers.
    Discard,
    /// Answers HTTP/1.1 requests.
    Http,
}

impl Service {
    /// The name in flags and rows.
    pub fn name(self) -> &'static str {
        match self {
            Service::Echo => "echo",
            Service::Discard => "discard",
            Service::Http => "http",
        }
    }
}

/// Bytes that a probe sends to an echo or discard server.
pub const PROBE_BYTES: &[u8] = b"tenk probe: one exchange, every byte compared\n";

/// How the error of an answer begins that is not the right one.
pub const WRONG: &str = "wrong answer";

fn wrong(what: &str) -> io::Error {
    io::Error::other(format!(
        "{WRONG}: {what} (is this the server's --protocol?)"
    ))
}

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// Connects, makes one exchange and compares it. Errors: anything but the right answer within `timeout` per step.
pub fn exchange(addr: SocketAddr, protocol: ProtocolName, timeout: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    match protocol {
        ProtocolName::Echo => {
            stream.write_all(PROBE_BYTES)?;
            let mut reply = vec![0; PROBE_BYTES.len()];
            stream.read_exact(&mut reply)?;
            if reply != PROBE_BYTES {
                return Err(wrong("other bytes came back than were sent"));
            }
        }
        // A discard server's only sign of life is that it closes after we do.
        ProtocolName::Discard => {
            stream.write_all(PROBE_BYTES)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            if stream.read(&mut [0; 1])? != 0 {
                return Err(wrong("a discard server answered"));
            }
        }
        ProtocolName::Resp => {
            stream.write_all(PING)?;
            let mut reply = [0; 64];
            let n = stream.read(&mut reply)?;
            if !reply[..n].starts_with(b"+PONG") {
                return Err(wrong("the reply is none to PING"));
            }
        }
        ProtocolName::Http => {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")?;
            let mut reply = Vec::new();
            stream.take(1 << 20).read_to_end(&mut reply)?;
            if !reply.starts_with(b"HTTP/1.1 200 ") {
                return Err(wrong("the reply is no HTTP/1.1 200"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn serve_once(reply: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(reply);
        });
        addr
    }

    #[test]
    fn the_right_bytes_pass_and_wrong_ones_do_not() {
        let limit = Duration::from_secs(5);
        assert!(exchange(serve_once(PROBE_BYTES), ProtocolName::Echo, limit).is_ok());
        let wrong = b"tenk probe: one exchange, every byte compareD\n";
        assert!(exchange(serve_once(wrong), ProtocolName::Echo, limit).is_err());
        assert!(
            exchange(
                serve_once(b"HTTP/1.1 200 OK\r\n\r\n"),
                ProtocolName::Http,
                limit
            )
            .is_ok()
        );
        assert!(
            exchange(
                serve_once(b"HTTP/1.1 500 No\r\n\r\n"),
                ProtocolName::Http,
                limit
            )
            .is_err()
        );
    }

    #[test]
    fn silence_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        assert!(exchange(addr, ProtocolName::Echo, Duration::from_millis(50)).is_err());
    }
}
