//! What is said over a connection: request bytes and response framing.
//!
//! A protocol holds no state of its own; what one connection remembers between
//! two reads is its [`Framing`]. Requests are generated where they are sent and
//! compared where they are received, so no copy of a payload is ever kept.

pub mod echo;
pub mod http;
pub mod probe;
pub mod resp;

use crate::load::{Load, PayloadSize, ProtocolName};

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

/// What makes one exchange differ from another.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// What is spoken.
    pub name: ProtocolName,
    /// HTTP: the value of the `Host` field.
    pub host: &'a str,
    /// HTTP: what is asked for; absent: `/`.
    pub path: Option<&'a str>,
    /// Bytes per request; absent: 64, and for RESP a PING without a message.
    pub payload: Option<PayloadSize>,
    /// Seed of the payload's bytes.
    pub seed: u64,
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
    /// Bytes of a head or line that is not complete yet; bounded by the protocol. After an answer that says no, or that
    /// is none: what it said or which rule it broke, to be taken before the next is read.
    pub held: Vec<u8>,
}

impl Framing {
    /// Whether no byte of the next answer was read.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.matched == 0 && self.held.is_empty() && self.http == http::Stage::default()
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
        let settings = Settings {
            name: load.protocol,
            host: &load.host_field(),
            path: load.path.as_deref(),
            payload: load.payload,
            seed: load.seed,
        };
        Self::new(&settings)
    }

    /// The protocol that these settings describe.
    #[must_use]
    pub fn new(settings: &Settings<'_>) -> Self {
        let payload = Payload::new(settings.payload.unwrap_or_default(), settings.seed);
        match settings.name {
            ProtocolName::Echo => Self::Echo(payload),
            ProtocolName::Discard => Self::Discard(payload),
            ProtocolName::Http => {
                Self::Http(Http::new(settings.host, settings.path.unwrap_or("/")))
            }
            ProtocolName::Resp => Self::Resp(Resp::new(settings.payload.map(|_| payload))),
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
            Self::Discard(_) => {
                framing.say_broken("a discard server never answers", input);
                Received::Garbage
            }
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
