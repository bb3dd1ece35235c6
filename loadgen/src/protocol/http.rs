//! HTTP/1.1 GET over persistent connections (RFC 9112): heads are parsed by
//! httparse, bodies are counted and thrown away.

use std::mem::MaybeUninit;
use std::net::SocketAddr;

use httparse::ParserConfig;

use super::{Framing, Received, RequestId};

/// The longest response head, and the longest line of a chunked body, in bytes.
const MAX_HEAD: usize = 16 * 1024;

const MAX_HEADERS: usize = 256;

/// The two requests of one load: one that keeps the connection and one that ends it.
#[derive(Clone, Debug)]
pub struct Http {
    keep: Vec<u8>,
    last: Vec<u8>,
}

/// Where in a response the next byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    place: Place,
    /// 0 before the head is read.
    status: u16,
    closes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Head,
    /// This many bytes of the body are still to come.
    Fixed(u64),
    ChunkSize,
    /// This many bytes of the chunk are still to come.
    Chunk(u64),
    /// The CRLF after a chunk.
    ChunkEnd,
    Trailer,
    UntilClose,
}

impl Stage {
    /// Whether the end of the stream is the end of this response (RFC 9112 §6.3, rule 8).
    #[must_use]
    pub fn ends_at_eof(&self) -> bool {
        self.place == Place::UntilClose
    }

    /// Whether the response read so far is a success.
    fn ok(&self) -> bool {
        (200..400).contains(&self.status)
    }
}

/// Ends the response: whether it is a success, and whether its connection ends with it.
pub(super) fn finish(framing: &mut Framing) -> (bool, bool) {
    let stage = std::mem::take(&mut framing.http);
    if !stage.ok() {
        framing.held = format!("status {}", stage.status).into_bytes();
    }
    (stage.ok(), stage.closes)
}

impl Http {
    /// GET `path` from `target`.
    #[must_use]
    pub fn new(target: SocketAddr, path: &str) -> Self {
        let request = |connection: &str| {
            format!("GET {path} HTTP/1.1\r\nHost: {target}\r\n{connection}\r\n").into_bytes()
        };
        Self {
            keep: request(""),
            last: request("Connection: close\r\n"),
        }
    }

    /// The bytes of a request.
    #[must_use]
    pub fn request(&self, id: RequestId) -> &[u8] {
        if id.last { &self.last } else { &self.keep }
    }

    /// Reads a piece of a response.
    pub fn receive(&self, framing: &mut Framing, input: &[u8]) -> Received {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let step = match framing.http.place {
                Place::Head => head(framing, rest),
                Place::Fixed(left) => fixed(framing, left, rest.len()),
                Place::Chunk(left) => chunk(framing, left, rest.len()),
                Place::ChunkEnd => line(framing, rest, chunk_end),
                Place::ChunkSize => line(framing, rest, chunk_size),
                Place::Trailer => line(framing, rest, trailer),
                Place::UntilClose => Step::Take(rest.len()),
            };
            match step {
                Step::Take(length) => consumed += length,
                Step::Wait => return Received::More,
                Step::Garbage => return Received::Garbage,
                Step::End(length) => {
                    let (ok, closes) = finish(framing);
                    return Received::Done {
                        consumed: consumed + length,
                        ok,
                        closes,
                    };
                }
            }
            if consumed == input.len() && framing.http.place != Place::Fixed(0) {
                return Received::More;
            }
        }
    }
}

enum Step {
    /// These bytes are dealt with; look at the new place.
    Take(usize),
    /// All bytes are held back until more arrive.
    Wait,
    /// The response ends with these bytes.
    End(usize),
    Garbage,
}

fn fixed(framing: &mut Framing, left: u64, available: usize) -> Step {
    if left <= available as u64 {
        return Step::End(left as usize);
    }
    framing.http.place = Place::Fixed(left - available as u64);
    Step::Take(available)
}

fn chunk(framing: &mut Framing, left: u64, available: usize) -> Step {
    let taken = left.min(available as u64);
    framing.http.place = if taken == left {
        Place::ChunkEnd
    } else {
        Place::Chunk(left - taken)
    };
    Step::Take(taken as usize)
}

/// Parses the head once it is complete; most arrive in one piece and are never copied.
fn head(framing: &mut Framing, input: &[u8]) -> Step {
    let before = framing.held.len();
    if before == 0
        && let Some(step) = parse_head(framing, input)
    {
        return step;
    }
    framing
        .held
        .extend_from_slice(&input[..input.len().min(MAX_HEAD + 1)]);
    let held = std::mem::take(&mut framing.held);
    let step = if before == 0 {
        None
    } else {
        parse_head(framing, &held)
    };
    match step {
        Some(Step::Take(length)) => Step::Take(length - before),
        Some(Step::End(length)) => Step::End(length - before),
        Some(other) => other,
        None if held.len() > MAX_HEAD => Step::Garbage,
        None => {
            framing.held = held;
            Step::Wait
        }
    }
}

/// `None` while the head is incomplete.
fn parse_head(framing: &mut Framing, bytes: &[u8]) -> Option<Step> {
    // Filling 2 KiB of empty headers first would cost as much as the parsing.
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parser = ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut response, bytes, &mut headers)
    {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) => return None,
        Ok(_) | Err(_) => return Some(Step::Garbage),
    };
    let status = response.code.unwrap_or(0);
    if status / 100 == 1 && status != 101 {
        return Some(Step::Take(length)); // An interim response: the real one follows.
    }
    let Some(stage) = stage_of(status, response.version == Some(1), response.headers) else {
        return Some(Step::Garbage);
    };
    framing.http = stage;
    Some(if stage.place == Place::Fixed(0) {
        Step::End(length)
    } else {
        Step::Take(length)
    })
}

/// How the body is delimited (RFC 9112 §6.3); `None` if the head contradicts itself.
fn stage_of(status: u16, version_1_1: bool, headers: &[httparse::Header<'_>]) -> Option<Stage> {
    let (mut length, mut chunked, mut closes) = (None, false, !version_1_1);
    for header in headers {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            // A field that was sent twice may have become one with a list (RFC 9110 §8.6).
            for item in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let digits = item.iter().all(u8::is_ascii_digit).then_some(item)?;
                let parsed = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
                if length.is_some_and(|earlier| earlier != parsed) {
                    return None;
                }
                length = Some(parsed);
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.to_ascii_lowercase().ends_with(b"chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            let lists = |word: &[u8]| {
                let mut items = value.split(|byte| *byte == b',');
                items.any(|item| item.trim_ascii().eq_ignore_ascii_case(word))
            };
            closes = lists(b"close") || (closes && !lists(b"keep-alive"));
        }
    }
    let place = match (chunked, length) {
        _ if matches!(status, 101 | 204 | 304) => Place::Fixed(0),
        (true, _) => Place::ChunkSize,
        (false, Some(length)) => Place::Fixed(length),
        (false, None) => Place::UntilClose,
    };
    Some(Stage {
        place,
        status,
        closes: closes || place == Place::UntilClose,
    })
}

/// Gathers one line of a chunked body and hands it, without its CRLF, to `act`.
fn line(framing: &mut Framing, input: &[u8], act: fn(&mut Framing, &[u8]) -> Option<bool>) -> Step {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        if framing.held.len() + input.len() > MAX_HEAD {
            return Step::Garbage;
        }
        framing.held.extend_from_slice(input);
        return Step::Wait;
    };
    let mut whole = std::mem::take(&mut framing.held);
    whole.extend_from_slice(&input[..end]);
    if whole.len() > MAX_HEAD || whole.pop() != Some(b'\r') {
        return Step::Garbage;
    }
    match act(framing, &whole) {
        Some(true) => Step::End(end + 1),
        Some(false) => Step::Take(end + 1),
        None => Step::Garbage,
    }
}

fn chunk_size(framing: &mut Framing, line: &[u8]) -> Option<bool> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    let digits = std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let size = u64::from_str_radix(digits, 16).ok()?;
    framing.http.place = if size == 0 {
        Place::Trailer
    } else {
        Place::Chunk(size)
    };
    Some(false)
}

fn chunk_end(framing: &mut Framing, line: &[u8]) -> Option<bool> {
    framing.http.place = Place::ChunkSize;
    line.is_empty().then_some(false)
}

fn trailer(_: &mut Framing, line: &[u8]) -> Option<bool> {
    Some(line.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: RequestId = RequestId {
        connection: 1,
        sequence: 0,
        last: false,
    };

    fn http() -> Http {
        Http::new("127.0.0.1:80".parse().expect("an address"), "/a")
    }

    /// Feeds an answer in pieces; returns the last result and how much was consumed in all.
    fn feed(answer: &[u8], cuts: &[usize]) -> (Received, usize) {
        let (mut framing, mut fed) = (Framing::default(), 0);
        for cut in cuts.iter().copied().chain([answer.len()]) {
            let cut = cut.clamp(fed, answer.len());
            if cut == fed {
                continue;
            }
            match http().receive(&mut framing, &answer[fed..cut]) {
                Received::More => fed = cut,
                Received::Done { consumed, .. } if fed + consumed <= answer.len() => {
                    return (
                        Received::Done {
                            consumed: 0,
                            ok: true,
                            closes: false,
                        },
                        fed + consumed,
                    );
                }
                other => return (other, fed),
            }
        }
        (Received::More, fed)
    }

    const ANSWERS: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n",
    ];

    #[test]
    fn requests_say_what_they_want() {
        let text = String::from_utf8(http().request(ID).to_vec()).expect("ASCII");
        assert_eq!(text, "GET /a HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n");
        let last = RequestId { last: true, ..ID };
        assert!(String::from_utf8_lossy(http().request(last)).contains("Connection: close\r\n"));
    }

    #[test]
    fn answers_are_framed_over_every_split() {
        for answer in ANSWERS {
            for first in 0..=answer.len() {
                for second in first..=answer.len() {
                    let (received, consumed) = feed(answer, &[first, second]);
                    assert!(
                        matches!(received, Received::Done { .. }),
                        "{first} {second}: {received:?}"
                    );
                    assert_eq!(consumed, answer.len());
                }
            }
        }
    }

    #[test]
    fn status_and_connection_are_read() {
        let receive = |text: &[u8]| http().receive(&mut Framing::default(), text);
        let done = |ok, closes, consumed| Received::Done {
            consumed,
            ok,
            closes,
        };
        let error = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(receive(error), done(false, true, error.len()));
        let mut framing = Framing::default();
        let (head, body) = (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n", b"no");
        assert_eq!(http().receive(&mut framing, head), Received::More);
        assert_eq!(http().receive(&mut framing, body), done(false, false, 2));
        assert_eq!(framing.take_words(), "status 404");
        for (status, ok) in [
            ("000", false),
            ("101", false),
            ("304", true),
            ("999", false),
        ] {
            let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 0, 0\r\n\r\n");
            assert_eq!(receive(text.as_bytes()), done(ok, false, text.len()));
        }
        let old = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(receive(old), done(true, true, old.len()));
        let mut framing = Framing::default();
        assert_eq!(
            http().receive(&mut framing, b"HTTP/1.1 200 OK\r\n\r\nbody"),
            Received::More
        );
        assert!(framing.http.ends_at_eof());
    }

    #[test]
    fn nonsense_is_garbage_within_bounded_memory() {
        for bad in [
            b"SSH-2.0-OpenSSH\r\n\r\n".as_slice(),
            b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        ] {
            assert_eq!(
                feed(bad, &[]).0,
                Received::Garbage,
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
        let mut framing = Framing::default();
        let endless = [b'a'; 1000];
        assert_eq!(
            http().receive(&mut framing, b"HTTP/1.1 200 OK\r\nX: "),
            Received::More
        );
        let rejected =
            (0..100).any(|_| http().receive(&mut framing, &endless) == Received::Garbage);
        assert!(rejected && framing.held.capacity() < 64 * 1024);
    }

    proptest! {
        #[test]
        fn pipelined_answers_end_where_they_end(first in 0..ANSWERS.len(), second in 0..ANSWERS.len(), at in any::<prop::sample::Index>()) {
            let both = [ANSWERS[first], ANSWERS[second]].concat();
            let (received, consumed) = feed(&both, &[at.index(both.len())]);
            let ended = matches!(received, Received::Done { .. });
            prop_assert!(ended);
            prop_assert_eq!(consumed, ANSWERS[first].len());
        }

        #[test]
        fn no_input_breaks_the_parser(input in proptest::collection::vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>()) {
            let mut framing = Framing::default();
            let cut = at.index(input.len() + 1);
            for piece in [&input[..cut], &input[cut..]] {
                if let Received::Done { consumed, .. } = http().receive(&mut framing, piece) {
                    prop_assert!(consumed <= piece.len());
                }
            }
        }
    }
}
