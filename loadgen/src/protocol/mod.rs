//! What is said over a connection: request bytes and response framing.
//!
//! A protocol holds no state of its own; what one connection remembers between
//! two reads is its [`Framing`]. Requests are generated where they are sent and
//! compared where they are received, so no copy of a payload is ever kept.

pub mod echo;
pub mod http;
pub mod own;
pub mod probe;
pub mod resp;
pub mod tls;

use std::borrow::Cow;

use crate::load::{Load, ProtocolName};

use echo::Payload;
use http::Http;
use own::Own;
use resp::Resp;

pub use crate::base::text::words_of;

/// One of the protocols, ready to produce and check bytes.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// The payload comes back.
    Echo(Payload),
    /// The payload is read and not answered.
    Discard(Payload),
    /// HTTP/1.x.
    Http(Http),
    /// Redis' protocol: PING or commands.
    Resp(Resp),
    /// The user's own.
    Own(Box<Own>),
}

/// Which request a byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// The connection's number within the whole load.
    pub connection: u32,
    /// The request's number on that connection slot, from 0.
    pub sequence: u64,
    /// Whether it is the last one before the connection is closed.
    pub last: bool,
}

/// What one connection remembers of a response it has read in part.
#[derive(Debug, Default)]
pub struct Framing {
    /// Bytes of the payload already matched.
    pub matched: u32,
    /// What is still to come, where the answer has said: RESP's values, an own protocol's bytes; 0 before it has begun.
    pub left: u32,
    /// HTTP: where in the response the next byte belongs.
    pub http: http::Stage,
    /// Bytes of a head or line that is not complete yet; bounded by the protocol. After an answer that says no, or that
    /// is none: what it said or which rule it broke, to be taken before the next is read.
    pub held: Vec<u8>,
}

impl Framing {
    /// Whether no byte of the next answer was read.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.matched == 0 && self.left == 0 && self.held.is_empty() && self.http.is_before_head()
    }

    /// The status of the last answer that was complete, as [`Protocol::status_name`] knows it; 0: it has none.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.http.status()
    }

    /// Notes the status of the answer that is being read.
    fn set_status(&mut self, status: u16) {
        self.http.set_status(status);
    }

    /// What an answer that said no had to say, or which rule broke one that was none; empty after any other.
    #[must_use]
    pub fn take_words(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }

    /// Leaves words for [`Framing::take_words`].
    fn say(&mut self, words: String) {
        self.held = words.into_bytes();
    }

    /// Leaves word of the rule that was broken, and the bytes that broke it.
    fn say_broken(&mut self, rule: &str, bytes: &[u8]) {
        self.say(format!("{rule}: \"{}\"", words_of(bytes)));
    }
}

/// What a piece of input meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// All of it belongs to a response that is not complete.
    More,
    /// The response is complete.
    Done {
        /// Bytes of the input that belonged to it.
        consumed: usize,
        /// False for an error answer such as HTTP 500 or Redis `-ERR`.
        ok: bool,
        /// Whether the server said that it closes the connection now.
        closes: bool,
    },
    /// Other bytes than those sent; [`Framing::take_words`] says where.
    Mismatch,
    /// Nothing that this protocol allows here; [`Framing::take_words`] says which rule was broken.
    Garbage,
}

impl Protocol {
    /// The protocol a load asks for.
    #[must_use]
    pub fn of(load: &Load) -> Self {
        let payload = Payload::new(load.payload.unwrap_or_default(), load.seed);
        match load.protocol {
            ProtocolName::Echo => Self::Echo(payload),
            ProtocolName::Discard => Self::Discard(payload),
            ProtocolName::Http => Self::Http(Http::of(load)),
            ProtocolName::Resp => Self::Resp(Resp::of(load, load.payload.map(|_| payload))),
            ProtocolName::Own => Self::Own(Box::new(Own::of(load))),
        }
    }

    /// Whether requests are answered at all.
    #[must_use]
    pub fn answers(&self) -> bool {
        match self {
            Self::Discard(_) => false,
            Self::Own(own) => own.answers(),
            _ => true,
        }
    }

    /// Whether the server speaks first, before it is sent anything.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        matches!(self, Self::Own(own) if own.is_greeted())
    }

    /// Reads a piece of what the server says first.
    pub fn receive_greeting(&self, framing: &mut Framing, id: RequestId, input: &[u8]) -> Received {
        match self {
            Self::Own(own) => own.receive_greeting(framing, id, input),
            _ => Received::Done {
                consumed: 0,
                ok: true,
                closes: false,
            },
        }
    }

    /// Length of a request in bytes.
    #[must_use]
    pub fn request_len(&self, id: RequestId) -> u32 {
        match self {
            Self::Echo(payload) | Self::Discard(payload) => payload.len(id),
            Self::Http(http) => http.request(id).len() as u32,
            Self::Resp(resp) => resp.request_len(id),
            Self::Own(own) => own.request_len(id),
        }
    }

    /// Writes the bytes of a request from `offset` on into `out` and returns how many there were.
    pub fn fill(&self, id: RequestId, offset: u32, out: &mut [u8]) -> usize {
        match self {
            Self::Echo(payload) | Self::Discard(payload) => payload.fill(id, offset, out),
            Self::Http(http) => copy_from(http.request(id), offset, out),
            Self::Resp(resp) => resp.fill(id, offset, out),
            Self::Own(own) => own.fill(id, offset, out),
        }
    }

    /// Reads a piece of the response to `id`.
    pub fn receive(&self, framing: &mut Framing, id: RequestId, input: &[u8]) -> Received {
        match self {
            Self::Echo(payload) => payload.receive(framing, id, input),
            Self::Discard(_) => {
                framing.say_broken("a discard server never answers", input);
                Received::Garbage
            }
            Self::Http(http) => http.receive(framing, id, input),
            Self::Resp(resp) => resp.receive(framing, id, input),
            Self::Own(own) => own.receive(framing, id, input),
        }
    }

    /// Ends the response that is being read at the end of the stream: whether it is a success, `None` if that was not
    /// its end.
    pub fn finish_at_eof(&self, framing: &mut Framing) -> Option<bool> {
        match self {
            Self::Http(_) if framing.http.ends_at_eof() => Some(http::finish(framing).0),
            Self::Own(own) if own.ends_at_eof(framing) => Some(true),
            _ => None,
        }
    }

    /// What people call the status of an answer ([`Framing::status`]).
    #[must_use]
    pub fn status_name(&self, status: u16) -> Cow<'static, str> {
        match self {
            Self::Resp(_) => Resp::status_name(status).into(),
            _ => http::status_name(status).into(),
        }
    }

    /// The name of the error that an answer's words begin with, where the protocol has names for errors instead of
    /// statuses.
    #[must_use]
    pub fn error_name<'a>(&self, words: &'a str) -> Option<&'a str> {
        match self {
            Self::Resp(_) => Some(resp::error_name(words)),
            _ => None,
        }
    }
}

fn copy_from(message: &[u8], offset: u32, out: &mut [u8]) -> usize {
    let rest = &message[(offset as usize).min(message.len())..];
    let length = rest.len().min(out.len());
    out[..length].copy_from_slice(&rest[..length]);
    length
}

/// Matches a piece of an answer that is `total` bytes long in all. `same(from, piece)` compares a piece, and
/// `expected(from, out)` writes what it should be.
fn match_piece(
    framing: &mut Framing,
    total: usize,
    input: &[u8],
    same: impl Fn(usize, &[u8]) -> bool,
    expected: impl Fn(usize, &mut [u8]) -> usize,
) -> Received {
    let from = framing.matched as usize;
    let piece = &input[..(total - from).min(input.len())];
    if !same(from, piece) {
        let equal = (0..piece.len()).take_while(|at| same(from + at, &piece[*at..=*at]));
        let equal = equal.count();
        let mut wanted = [0; 40];
        let filled = expected(from + equal, &mut wanted);
        framing.say(describe_mismatch(
            from + equal,
            total,
            &piece[equal..],
            &wanted[..filled],
        ));
        return Received::Mismatch;
    }
    if from + piece.len() < total {
        framing.matched += piece.len() as u32;
        return Received::More;
    }
    framing.matched = 0;
    Received::Done {
        consumed: piece.len(),
        ok: true,
        closes: false,
    }
}

fn describe_mismatch(at: usize, total: usize, received: &[u8], wanted: &[u8]) -> String {
    format!(
        "from byte {at} of {total} on received \"{}\", expected \"{}\"",
        words_of(&received[..received.len().min(wanted.len())]),
        words_of(wanted)
    )
}
