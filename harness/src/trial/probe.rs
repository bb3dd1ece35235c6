//! One verified exchange with a server, to know that it serves before and after the measuring.

use loadgen::flags::ProtocolName;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Bytes that a probe sends to an echo or discard server.
pub const PROBE_BYTES: &[u8] = b"tenk probe: one exchange, every byte compared\n";

/// The exit code of a probe that was answered, and not rightly.
pub const WRONG_ANSWER: u8 = 5;

/// The kind of error of an answer that is not the right one.
pub const WRONG: io::ErrorKind = io::ErrorKind::InvalidData;

fn wrong(what: &str) -> io::Error {
    io::Error::new(WRONG, format!("wrong answer: {what} ({IS_IT})"))
}

/// What explains most probes that fail.
const IS_IT: &str = "is this the server's --protocol?";

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// Connects, makes one exchange and compares it; `path` is what HTTP asks for. Errors: anything but the right answer
/// within `timeout` per step, [`WRONG`] if there was one.
pub fn exchange(
    addr: SocketAddr,
    protocol: ProtocolName,
    path: Option<&str>,
    timeout: Duration,
) -> io::Result<()> {
    speak(addr, protocol, path, timeout).map_err(|error| {
        let words = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("no answer within {timeout:?} ({IS_IT})")
            }
            io::ErrorKind::ConnectionRefused => format!("nothing listens on {addr}"),
            io::ErrorKind::UnexpectedEof => format!("closed without a whole answer ({IS_IT})"),
            _ => return error,
        };
        io::Error::new(error.kind(), words)
    })
}

fn speak(
    addr: SocketAddr,
    protocol: ProtocolName,
    path: Option<&str>,
    timeout: Duration,
) -> io::Result<()> {
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
            let path = path.unwrap_or("/");
            let head = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            let mut reply = Vec::new();
            stream.take(1 << 20).read_to_end(&mut reply)?;
            if reply.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let status = reply.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2));
            let line = reply.split(|byte| *byte == b'\r').next();
            let line = loadgen::protocol::words_of(line.unwrap_or_default());
            match status {
                Some(b'2' | b'3') => {}
                Some(_) => {
                    let words =
                        format!("GET {path} was answered \"{line}\" (is this the right --path?)");
                    return Err(io::Error::new(WRONG, words));
                }
                None => return Err(wrong(&format!("\"{line}\" is no HTTP/1.1"))),
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
        let ask = |reply, protocol| {
            exchange(
                serve_once(reply),
                protocol,
                Some("/a"),
                Duration::from_secs(5),
            )
        };
        assert!(ask(PROBE_BYTES, ProtocolName::Echo).is_ok());
        assert!(ask(b"HTTP/1.1 200 OK\r\n\r\n", ProtocolName::Http).is_ok());
        assert!(ask(b"HTTP/1.0 304 Not Modified\r\n\r\n", ProtocolName::Http).is_ok());
        let bad: [(&[u8], _); 4] = [
            (
                b"tenk probe: one exchange, every byte compareD\n",
                ProtocolName::Echo,
            ),
            (b"HTTP/1.1 404 No\r\n\r\n", ProtocolName::Http),
            (b"-ERR no\r\n", ProtocolName::Http),
            (b"-ERR no\r\n", ProtocolName::Resp),
        ];
        for (reply, protocol) in bad {
            let error = ask(reply, protocol).unwrap_err();
            assert_eq!(error.kind(), WRONG, "{error}");
        }
        let error = ask(b"HTTP/1.1 404 No\r\n\r\n", ProtocolName::Http).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("GET /a was answered \"HTTP/1.1 404 No\"")
        );
    }

    #[test]
    fn silence_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let limit = Duration::from_millis(50);
        let error = exchange(addr, ProtocolName::Echo, None, limit).unwrap_err();
        assert_ne!(error.kind(), WRONG);
    }
}
