//! What is said over a connection: request bytes and response framing.
//!
//! A protocol holds no state of its own; what one connection remembers between
//! two reads is its [`Framing`]. Requests are generated where they are sent and
//! compared where they are received, so no copy of a payload is ever kept.

pub mod echo;
pub mod http;
pub mod resp;

use crate::load::{Load, ProtocolName};

use echo::Payload;
use http::Http;
use resp::Resp;

pub use crate::base::text::words_of;

/// One of the protocols, ready to produce and check bytes.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// The payload comes back.
    Echo(Payload),
    /// The payload is read and not answered.
    Discard(Payload),
    /// HTTP/1.1 GET.
    Http(Http),
    /// Redis PING.
    Resp(Resp),
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
    /// HTTP: where in the response the next byte belongs.
    pub http: http::Stage,
    /// Bytes of a head or line that is not complete yet; bounded by the protocol. After an answer that says no: its
    /// words, to be taken before the next is read.
    pub held: Vec<u8>,
}

impl Framing {
    /// What an answer that said no had to say, taken from [`Framing::held`], which is empty afterwards.
    #[must_use]
    pub fn take_words(&mut self) -> String {
        words_of(std::mem::take(&mut self.held).trim_ascii_end())
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
    /// Other bytes than those sent.
    Mismatch,
    /// Nothing that this protocol allows here.
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
            ProtocolName::Http => {
                Self::Http(Http::new(load.target, load.path.as_deref().unwrap_or("/")))
            }
            ProtocolName::Resp => Self::Resp(Resp::new(load.payload.map(|_| payload))),
        }
    }

    /// Whether requests are answered at all.
    #[must_use]
    pub fn answers(&self) -> bool {
        !matches!(self, Self::Discard(_))
    }

    /// Length of a request in bytes.
    #[must_use]
    pub fn request_len(&self, id: RequestId) -> u32 {
        match self {
            Self::Echo(payload) | Self::Discard(payload) => payload.len(id),
            Self::Http(http) => http.request(id).len() as u32,
            Self::Resp(resp) => resp.request_len(id),
        }
    }

    /// Writes the bytes of a request from `offset` on into `out` and returns how many there were.
    pub fn fill(&self, id: RequestId, offset: u32, out: &mut [u8]) -> usize {
        match self {
            Self::Echo(payload) | Self::Discard(payload) => payload.fill(id, offset, out),
            Self::Http(http) => copy_from(http.request(id), offset, out),
            Self::Resp(resp) => resp.fill(id, offset, out),
        }
    }

    /// Reads a piece of the response to `id`.
    pub fn receive(&self, framing: &mut Framing, id: RequestId, input: &[u8]) -> Received {
        match self {
            Self::Echo(payload) => payload.receive(framing, id, input),
            Self::Discard(_) => Received::Garbage,
            Self::Http(http) => http.receive(framing, input),
            Self::Resp(resp) => resp.receive(framing, id, input),
        }
    }

    /// Ends the response that is being read at the end of the stream: whether it is a success, `None` if that was not
    /// its end.
    pub fn finish_at_eof(&self, framing: &mut Framing) -> Option<bool> {
        let ends = matches!(self, Self::Http(_)) && framing.http.ends_at_eof();
        ends.then(|| http::finish(framing).0)
    }
}

fn copy_from(message: &[u8], offset: u32, out: &mut [u8]) -> usize {
    let rest = &message[(offset as usize).min(message.len())..];
    let length = rest.len().min(out.len());
    out[..length].copy_from_slice(&rest[..length]);
    length
}

/// Matches a piece of an answer that is `total` bytes long in all, by `same(from, piece)`.
fn match_piece(
    framing: &mut Framing,
    total: usize,
    input: &[u8],
    same: impl Fn(usize, &[u8]) -> bool,
) -> Received {
    let from = framing.matched as usize;
    let piece = &input[..(total - from).min(input.len())];
    if !same(from, piece) {
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
