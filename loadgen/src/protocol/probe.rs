//! One exchange with a server, by the same request and the same framing as the load's: whoever wants to know whether a
//! server serves asks it exactly what it is going to be asked.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::tls::Session;
use super::{Framing, Protocol, Received, RequestId, words_of};

/// The probe's request: one of no load's connection, unless what is asked may be known of a connection's number alone.
fn id_of(protocol: &Protocol) -> RequestId {
    RequestId {
        connection: match protocol {
            Protocol::Own(_) => 0,
            _ => u32::MAX,
        },
        sequence: 0,
        last: false,
    }
}

/// An answer that is what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Bytes read, interim answers included.
    pub bytes: u64,
    /// What came with it beyond its end and was not asked for, in words; empty: nothing.
    pub surplus: String,
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The deadline came first; what had come by then, in words.
    #[error("{} did not come in time", awaited(.0))]
    TimedOut(String),
    /// The server closed the connection first; what had come by then, in words.
    #[error("closed before {}", awaited(.0))]
    Closed(String),
    /// A well-formed answer that says no, in the server's own words.
    #[error("answered \"{0}\"")]
    Refused(String),
    /// Other bytes than the answer: which, or which rule of the protocol they break.
    #[error("{0}")]
    Wrong(String),
}

fn awaited(began: &str) -> String {
    match began {
        "" => "an answer".to_owned(),
        began => format!("the end of the answer that begins \"{began}\""),
    }
}

/// Sends one request and reads until its answer is complete, whether the server closes then or not. Where nothing is
/// answered, the sign of life is that the server closes after we do.
///
/// # Errors
/// [`ProbeError`]: anything but a complete, verified answer before `deadline`.
pub fn probe(
    stream: &mut TcpStream,
    protocol: &Protocol,
    deadline: Instant,
) -> Result<Reply, ProbeError> {
    probe_over(stream, None, protocol, deadline)
}

/// The same over a session of TLS, if there is one.
///
/// # Errors
/// [`ProbeError`].
pub fn probe_over(
    stream: &mut TcpStream,
    session: Option<Session>,
    protocol: &Protocol,
    deadline: Instant,
) -> Result<Reply, ProbeError> {
    stream.set_nonblocking(true)?;
    let mut exchange = Exchange {
        stream,
        session,
        protocol,
        id: id_of(protocol),
        deadline,
        framing: Framing::default(),
        awaits_greeting: protocol.is_greeted(),
        sent: 0,
        reply: Reply::default(),
        began: Vec::new(),
    };
    let result = exchange.run();
    stream.set_nonblocking(false)?;
    result
}

/// Bytes that a probe sends.
#[must_use]
pub fn request_bytes(protocol: &Protocol) -> u64 {
    u64::from(protocol.request_len(id_of(protocol)))
}

/// How much of an answer is kept for words about it.
const KEPT: usize = 80;

struct Exchange<'a> {
    stream: &'a mut TcpStream,
    session: Option<Session>,
    protocol: &'a Protocol,
    id: RequestId,
    deadline: Instant,
    framing: Framing,
    awaits_greeting: bool,
    sent: u32,
    reply: Reply,
    began: Vec<u8>,
}

impl Exchange<'_> {
    /// Reads and writes in turn: a server may answer, or refuse, before it has read everything.
    fn run(&mut self) -> Result<Reply, ProbeError> {
        let length = self.protocol.request_len(self.id);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let is_handshaking = self.session.as_ref().is_some_and(Session::is_handshaking);
            let may_ask = self.sent < length && !self.awaits_greeting && !is_handshaking;
            let is_owing = self.session.as_ref().is_some_and(Session::has_unsent);
            let (readable, writable) = self.wait(may_ask || is_owing)?;
            if writable && is_owing {
                self.send_session()?;
            } else if writable && may_ask {
                let takes_more = self.write(&mut buffer)?;
                if !takes_more {
                    self.sent = length; // What it says to that may be there to be read.
                }
                if takes_more && self.sent == length && !self.protocol.answers() {
                    self.stream.shutdown(Shutdown::Write)?;
                }
            }
            if readable && self.read(&mut buffer)? {
                return Ok(std::mem::take(&mut self.reply));
            }
        }
    }

    fn wait(&self, unsent: bool) -> Result<(bool, bool), ProbeError> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, unsent);
        let left = self.deadline.saturating_duration_since(Instant::now());
        let ms = left.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
        let mut fds = [PollFd::new(self.stream.as_fd(), events)];
        match poll(
            &mut fds,
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX),
        ) {
            Err(Errno::EINTR) => return Ok((false, false)),
            Err(errno) => return Err(ProbeError::Io(errno.into())),
            Ok(0) => return Err(ProbeError::TimedOut(words_of(&self.began))),
            Ok(_) => {}
        }
        let seen = fds[0].revents().unwrap_or(PollFlags::empty());
        let ended = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
        Ok((seen.intersects(ended), seen.contains(PollFlags::POLLOUT)))
    }

    /// Whether the server still takes what it is sent.
    fn write(&mut self, buffer: &mut [u8]) -> Result<bool, ProbeError> {
        let filled = self.protocol.fill(self.id, self.sent, buffer);
        if let Some(session) = &mut self.session {
            self.sent += session.write(&buffer[..filled]) as u32;
            self.send_session()?;
            return Ok(true);
        }
        match self.stream.write(&buffer[..filled]) {
            Ok(written) => self.sent += written as u32,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => return Ok(false),
                _ => return Err(error.into()),
            },
        }
        Ok(true)
    }

    /// Sends what a session has to send, as far as the socket takes it.
    fn send_session(&mut self) -> Result<(), ProbeError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        match session.send(self.stream) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Takes in ciphertext; whether the answer is complete.
    fn decrypt(&mut self, mut input: &[u8]) -> Result<bool, ProbeError> {
        let mut plain = vec![0; 16 * 1024];
        while !input.is_empty() {
            let Some(session) = &mut self.session else {
                return Ok(false);
            };
            if let Err(fault) = session.receive(&mut input) {
                // The alert that says why; whether it arrives changes nothing.
                let _ = session.send(self.stream);
                return Err(ProbeError::Io(io::Error::other(fault.words)));
            }
            while let Some(length) = self
                .session
                .as_mut()
                .map(|session| session.read(&mut plain))
                && length > 0
            {
                if self.take(&plain[..length])? {
                    return Ok(true);
                }
            }
            if self.session.as_ref().is_some_and(Session::is_ended) {
                return self.end_of_stream();
            }
        }
        Ok(false)
    }

    /// Whether the answer is complete.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool, ProbeError> {
        let length = match self.stream.read(buffer) {
            Ok(length) => length,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(false),
                _ => return Err(error.into()),
            },
        };
        if length == 0 {
            return self.end_of_stream();
        }
        match self.session {
            Some(_) => self.decrypt(&buffer[..length]),
            None => self.take(&buffer[..length]),
        }
    }

    /// Takes in what was said; whether the answer is complete.
    fn take(&mut self, input: &[u8]) -> Result<bool, ProbeError> {
        let length = input.len();
        self.reply.bytes += length as u64;
        let room = KEPT - self.began.len();
        self.began.extend_from_slice(&input[..length.min(room)]);
        if self.awaits_greeting {
            return self.greeting(input);
        }
        match self.protocol.receive(&mut self.framing, self.id, input) {
            Received::More => Ok(false),
            Received::Done { consumed, ok, .. } => {
                self.reply.surplus = words_of(&input[consumed..]);
                self.ended(ok)
            }
            Received::Mismatch | Received::Garbage => {
                Err(ProbeError::Wrong(self.framing.take_words()))
            }
        }
    }

    /// Reads a piece of what the server says first; what comes behind it answers nothing.
    fn greeting(&mut self, input: &[u8]) -> Result<bool, ProbeError> {
        let received = self
            .protocol
            .receive_greeting(&mut self.framing, self.id, input);
        match received {
            Received::More => {}
            Received::Done { consumed, .. } if consumed == input.len() => {
                self.awaits_greeting = false;
                self.began.clear();
            }
            Received::Done { consumed, .. } => {
                let words = words_of(&input[consumed..]);
                return Err(ProbeError::Wrong(format!(
                    "after its greeting the server said \"{words}\""
                )));
            }
            Received::Mismatch | Received::Garbage => {
                let words = self.framing.take_words();
                return Err(ProbeError::Wrong(format!("as greeting {words}")));
            }
        }
        Ok(false)
    }

    fn end_of_stream(&mut self) -> Result<bool, ProbeError> {
        if !self.protocol.answers() {
            return Ok(true);
        }
        match self.protocol.finish_at_eof(&mut self.framing) {
            Some(ok) => self.ended(ok),
            None => Err(ProbeError::Closed(words_of(&self.began))),
        }
    }

    fn ended(&mut self, ok: bool) -> Result<bool, ProbeError> {
        match ok {
            true => Ok(true),
            false => Err(ProbeError::Refused(self.framing.take_words())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::load::flags::{LoadFlags, RunFlags, ShapeFlags};
    use crate::load::{Load, PayloadSize, ProtocolName};

    fn protocol(name: ProtocolName, payload: Option<u32>) -> Protocol {
        let flags = LoadFlags {
            protocol: name,
            ..LoadFlags::default()
        };
        let shape = ShapeFlags {
            payload: payload.map(|size| PayloadSize {
                min: size,
                max: size,
            }),
            ..ShapeFlags::default()
        };
        let load = Load::new("127.0.0.1:80", &shape, &flags, &RunFlags::default());
        Protocol::of(&load.expect("a valid load"))
    }

    fn own(send: &str, expect: &str, greeting: Option<&str>) -> Protocol {
        let flags = LoadFlags {
            send: Some(send.parse().expect("a message")),
            expect: Some(expect.parse().expect("a rule")),
            greeting: greeting.map(|rule| rule.parse().expect("a rule")),
            ..LoadFlags::default()
        };
        let (shape, run) = (ShapeFlags::default(), RunFlags::default());
        let load = Load::new("127.0.0.1:80", &shape, &flags, &run);
        Protocol::of(&load.expect("a valid load"))
    }

    #[test]
    fn the_request_waits_for_the_servers_greeting() {
        let smtp = own("NOOP\\r\\n", "line:^250", Some("line:^220 "));
        let serve = |greeting: &'static [u8]| {
            move |mut stream: TcpStream| {
                for byte in greeting {
                    stream.write_all(&[*byte]).expect("written");
                }
                let mut request = [0; 64];
                let length = stream.read(&mut request).unwrap_or(0);
                if request[..length] == *b"NOOP\r\n" {
                    let _ = stream.write_all(b"250 OK\r\n");
                }
                while matches!(stream.read(&mut request), Ok(1..)) {}
            }
        };
        let reply = asked(&smtp, LONG, serve(b"220 ready\r\n")).expect("served");
        assert_eq!(reply.bytes, 11 + 8);
        let said = |greeting| match asked(&smtp, SHORT, serve(greeting)) {
            Ok(_) => "served".to_owned(),
            Err(why) => why.to_string(),
        };
        let no = said(b"554 no\r\n");
        assert!(
            no.starts_with("as greeting received the line \"554 no\""),
            "{no}"
        );
        assert!(said(b"220 rea").contains("the answer that begins \"220 rea\""));
        assert!(said(b"220 a\r\n250 b\r\n").contains("the server said"));
    }

    /// A server that does `serve` with its first connection, and what a probe makes of it.
    fn asked(
        protocol: &Protocol,
        patience: Duration,
        serve: impl FnOnce(TcpStream) + Send + 'static,
    ) -> Result<Reply, ProbeError> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = listener.local_addr().expect("bound");
        let server = std::thread::spawn(move || serve(listener.accept().expect("accepted").0));
        let mut stream = TcpStream::connect(addr).expect("connected");
        let result = probe(&mut stream, protocol, Instant::now() + patience);
        drop(stream);
        server.join().expect("no panic");
        result
    }

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);

    /// Answers in these pieces, then waits for the other side to close.
    fn answering(pieces: Vec<Vec<u8>>) -> impl FnOnce(TcpStream) + Send + 'static {
        move |mut stream| {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            for piece in pieces {
                stream.write_all(&piece).expect("written");
                std::thread::sleep(Duration::from_millis(1));
            }
            while matches!(stream.read(&mut request), Ok(1..)) {}
        }
    }

    fn whole(answer: &[u8]) -> Vec<Vec<u8>> {
        vec![answer.to_vec()]
    }

    #[test]
    fn a_complete_answer_is_enough_although_the_connection_stays_open() {
        let http = protocol(ProtocolName::Http, None);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        let reply = asked(&http, LONG, answering(whole(answer))).expect("served");
        assert_eq!((reply.bytes, reply.surplus.as_str()), (40, ""));
        let redis = protocol(ProtocolName::Resp, None);
        assert!(asked(&redis, LONG, answering(whole(b"+PONG\r\n"))).is_ok());
    }

    #[test]
    fn interim_answers_and_single_bytes_are_read_as_the_load_reads_them() {
        let answer: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        let pieces = answer.iter().map(|byte| vec![*byte]).collect();
        let http = protocol(ProtocolName::Http, None);
        let reply = asked(&http, LONG, answering(pieces)).expect("served");
        assert_eq!(reply.bytes, answer.len() as u64);
    }

    #[test]
    fn an_answer_that_says_no_is_told_in_the_servers_own_words() {
        let said = |name, answer: &[u8]| match asked(
            &protocol(name, None),
            LONG,
            answering(whole(answer)),
        ) {
            Err(ProbeError::Refused(words)) => words,
            other => panic!("{other:?}"),
        };
        let no = b"-NOAUTH Authentication required.\r\n";
        assert_eq!(
            said(ProtocolName::Resp, no),
            "-NOAUTH Authentication required."
        );
        let busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";
        assert_eq!(
            said(ProtocolName::Http, busy),
            "HTTP/1.1 503 Service Unavailable"
        );
    }

    #[test]
    fn what_is_wrong_silent_or_closed_is_told_apart() {
        let http = protocol(ProtocolName::Http, None);
        let wrong = asked(&http, LONG, answering(whole(b"SSH-2.0-OpenSSH_9.6\r\n")));
        let wrong = wrong.expect_err("no HTTP");
        assert!(matches!(wrong, ProbeError::Wrong(_)), "{wrong:?}");
        assert!(
            wrong
                .to_string()
                .contains("does not begin with HTTP/1.1 or HTTP/1.0: \"SSH-2.0"),
            "{wrong}"
        );
        let silent = asked(&http, SHORT, answering(Vec::new())).expect_err("silent");
        assert_eq!(silent.to_string(), "an answer did not come in time");
        let half = asked(
            &http,
            SHORT,
            answering(whole(b"HTTP/1.1 200 OK\r\nContent-")),
        )
        .expect_err("half");
        assert!(
            half.to_string()
                .starts_with("the end of the answer that begins \"HTTP/1.1 200 OK"),
            "{half}"
        );
        let closed = asked(&http, LONG, |mut stream| {
            let _ = stream.read(&mut [0; 1024]);
        });
        assert!(matches!(closed, Err(ProbeError::Closed(began)) if began.is_empty()));
    }

    #[test]
    fn an_answer_that_ends_with_the_connection_and_one_before_the_request_is_taken_are_read() {
        let until_close = |mut stream: TcpStream| {
            let _ = stream.read(&mut [0; 1024]);
            stream
                .write_all(b"HTTP/1.0 200 OK\r\n\r\nbody")
                .expect("written");
        };
        assert!(asked(&protocol(ProtocolName::Http, None), LONG, until_close).is_ok());
        // A request that fits no buffer, and a server that says no and reads none of it.
        let big = protocol(ProtocolName::Resp, Some(64 << 20));
        let refusing = |mut stream: TcpStream| {
            stream
                .write_all(b"-ERR max number of clients reached\r\n")
                .expect("written");
            std::thread::sleep(Duration::from_millis(50));
        };
        let refused = asked(&big, LONG, refusing);
        assert!(matches!(refused, Err(ProbeError::Refused(words)) if words.contains("max number")));
    }

    #[test]
    fn an_echo_larger_than_every_buffer_is_read_while_it_is_written() {
        let echo = |mut stream: TcpStream| {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        };
        let reply =
            asked(&protocol(ProtocolName::Echo, Some(32 << 20)), LONG, echo).expect("served");
        assert_eq!(reply.bytes, 32 << 20);
    }

    #[test]
    fn a_discard_server_closes_after_us_and_says_nothing() {
        let discard = protocol(ProtocolName::Discard, None);
        let reads = |mut stream: TcpStream| while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {};
        assert!(asked(&discard, LONG, reads).is_ok());
        let answers = asked(&discard, LONG, answering(whole(b"hello")));
        let answers = answers.expect_err("an answer").to_string();
        assert_eq!(answers, "a discard server never answers: \"hello\"");
    }
}
