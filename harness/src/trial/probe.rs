//! One verified exchange with a server, to know that it serves before and after the measuring: the load's own request,
//! read by the load's own framing.

use super::launch_error::{LaunchError, NOT_STARTED, REFUSED, WRONG_ANSWER};
use crate::base::error::Exit;
use loadgen::load::{Load, ProtocolName};
use loadgen::protocol::Protocol;
use loadgen::protocol::probe::{ProbeError, probe_over, request_bytes};
use loadgen::protocol::tls::Client;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::{Duration, Instant};

/// What is asked, and of whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Question {
    load: Load,
    timeout_ms: u64,
}

impl Question {
    /// What this load is going to ask.
    pub fn of(load: &Load, patience: Duration) -> Question {
        Question {
            load: load.clone(),
            timeout_ms: patience.as_millis() as u64,
        }
    }

    /// How many bytes the server is sent.
    pub fn bytes(&self) -> u64 {
        request_bytes(&Protocol::of(&self.load))
    }

    /// Connects, makes one exchange and verifies it. The error's exit code says whether there was an answer.
    pub fn ask(&self) -> Result<(), LaunchError> {
        let patience = Duration::from_millis(self.timeout_ms.max(1));
        let deadline = Instant::now() + patience;
        // What files hold did not come with the question.
        let load = self.load.clone().reload().map_err(|e| LaunchError {
            code: NOT_STARTED,
            message: e.to_string(),
            source: None,
        })?;
        let tls = Client::of(&load).map_err(|message| LaunchError {
            code: NOT_STARTED,
            message,
            source: None,
        })?;
        let connected = load.target.connect(patience);
        let answer = connected.map_err(ProbeError::from).and_then(|mut stream| {
            let session = tls.as_ref().map(Client::session);
            probe_over(&mut stream, session, &Protocol::of(&load), deadline)
        });
        answer.map(|_| ()).map_err(|why| failure(&load, why))
    }
}

/// The request that is made, in words.
fn first_request(load: &Load) -> String {
    match load.contents.requests() {
        [only] => format!("{} {}", only.method, only.path),
        _ => "a request of the file".into(),
    }
}

fn failure(load: &Load, why: ProbeError) -> LaunchError {
    let is_it = match load.protocol {
        ProtocolName::Own => "are these the server's --expect and --greeting?",
        _ => "is this the server's --protocol?",
    };
    let addr = &load.target;
    let (code, message) = match &why {
        ProbeError::Io(e)
            if matches!(
                e.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            (Exit::Failed.code(), format!("nothing listens on {addr}"))
        }
        ProbeError::Io(e) if e.kind() == io::ErrorKind::ConnectionReset => (
            Exit::Failed.code(),
            format!("the server reset the connection before it answered ({is_it})"),
        ),
        ProbeError::Io(e) => (Exit::Failed.code(), e.to_string()),
        ProbeError::TimedOut(_) | ProbeError::Closed(_) => {
            (Exit::Failed.code(), format!("{why} ({is_it})"))
        }
        ProbeError::Refused(words) if load.protocol == ProtocolName::Http => (
            REFUSED,
            format!(
                "{} was answered \"{words}\" (is this the right --path? --expect-status says what else is one)",
                first_request(load)
            ),
        ),
        ProbeError::Refused(_) => (REFUSED, why.to_string()),
        ProbeError::Wrong(_) => (WRONG_ANSWER, format!("wrong answer: {why} ({is_it})")),
    };
    let source = match why {
        ProbeError::Io(e) => Some(e),
        _ => None,
    };
    LaunchError {
        code,
        message,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadgen::load::flags::{LoadFlags, RunFlags, ShapeFlags};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    fn question(addr: SocketAddr, protocol: ProtocolName, patience: Duration) -> Question {
        let flags = LoadFlags {
            protocol,
            path: (protocol == ProtocolName::Http).then(|| "/a".into()),
            ..LoadFlags::default()
        };
        let shape = ShapeFlags::default();
        let load = Load::new(&addr.to_string(), &shape, &flags, &RunFlags::default());
        Question::of(&load.unwrap(), patience)
    }

    /// What a server that answers in these pieces, and keeps the connection, is taken for.
    fn asked(protocol: ProtocolName, pieces: &'static [&'static [u8]]) -> Result<(), LaunchError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 256]);
            for piece in pieces {
                let _ = stream.write_all(piece);
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = stream.read(&mut [0; 256]);
        });
        question(addr, protocol, Duration::from_secs(20)).ask()
    }

    #[test]
    fn a_server_is_asked_as_the_load_will_ask_it() {
        let http = |pieces| asked(ProtocolName::Http, pieces);
        let kept_open: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"];
        assert!(http(kept_open).is_ok());
        let hints: &[&[u8]] = &[
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"ngth: 2\r\n\r\nhi",
        ];
        assert!(http(hints).is_ok());
        let refused = http(&[b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"]).unwrap_err();
        assert_eq!(refused.code, REFUSED);
        assert!(refused.message.contains("GET /a was answered") && refused.message.contains("404"));
    }

    #[test]
    fn a_servers_own_words_are_given() {
        let words: &[&[u8]] = &[b"-NOAUTH Authentication required.\r\n"];
        let refused = asked(ProtocolName::Resp, words).unwrap_err();
        assert!(
            refused.message.contains("NOAUTH Authentication required"),
            "{refused}"
        );
        let wrong = asked(ProtocolName::Http, words).unwrap_err();
        assert_eq!(wrong.code, WRONG_ANSWER, "{wrong}");
    }

    #[test]
    fn silence_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let silence = question(addr, ProtocolName::Echo, Duration::from_millis(50)).ask();
        assert_eq!(silence.unwrap_err().code, Exit::Failed.code());
        drop(listener);
        let nobody = question(addr, ProtocolName::Echo, Duration::from_millis(50)).ask();
        assert!(nobody.unwrap_err().message.contains("nothing listens"));
    }
}
