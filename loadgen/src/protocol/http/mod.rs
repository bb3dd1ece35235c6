//! HTTP/1.x over persistent connections (RFC 9112): requests are built once, heads of answers are parsed by
//! httparse, bodies are counted and thrown away. An answer that breaks a rule is
//! refused with the rule and the bytes that broke it.

mod chunked;
mod fault;
mod head;
mod request;

use super::{Framing, Received, RequestId, words_of};
use crate::load::choice::Choice;
use crate::load::http::{HttpRequest, StatusSet};
use crate::load::{Close, Load};

use request::{Ready, Way};

/// The longest response head, and the longest line of a chunked body, in bytes.
const MAX_HEAD: usize = 16 * 1024;

const MAX_HEADERS: usize = 256;

/// What an answer's status of three zeros is counted as.
const STATUS_000: u16 = 1000;

/// What people call a status.
pub(super) fn status_name(status: u16) -> String {
    format!("{:03}", status % STATUS_000)
}

/// The requests of one load, and which answers are a success.
#[derive(Clone, Debug)]
pub struct Http {
    requests: Vec<Ready>,
    /// Which of several a request is; `None` where there is but one.
    choice: Option<Choice>,
    expected: StatusSet,
}

/// Where in a response the next byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    place: Place,
    /// Of the last answer that was complete, until the head of the next is read; kept here, where there is room.
    status: u16,
    /// Whether the status is one of those that count as success.
    ok: bool,
    closes: bool,
    /// How many bytes at the front of [`Framing::held`] are the status line of an answer that says no.
    kept: u8,
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

    /// Whether nothing of the next response's head was understood.
    pub(super) fn is_before_head(&self) -> bool {
        self.place == Place::Head
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn set_status(&mut self, status: u16) {
        self.status = status;
    }
}

/// Ends the response: whether it is a success, and whether its connection ends with it.
pub(super) fn finish(framing: &mut Framing) -> (bool, bool) {
    let stage = std::mem::take(&mut framing.http);
    let held = std::mem::take(&mut framing.held);
    // 0 stands for an answer without a status.
    framing.set_status(match stage.status {
        0 => STATUS_000,
        status => status,
    });
    if !stage.ok {
        framing.say(words_of(&held[..usize::from(stage.kept)]));
    }
    (stage.ok, stage.closes)
}

impl Http {
    /// The requests that a load asks for.
    ///
    /// # Panics
    /// Where the load is the record of one, without what its files hold ([`Load::reload`]).
    #[must_use]
    pub fn of(load: &Load) -> Self {
        let said = load.http.clone().unwrap_or_default();
        let host = load.host_field();
        let way = Way {
            host: &host,
            is_host_asked: load.host.is_some(),
            version: said.version,
            has_last: load.close == Close::Server,
        };
        let requests = load.contents.requests();
        assert!(
            !requests.is_empty(),
            "a record is reloaded before it is run"
        );
        let weights: Vec<u64> = requests.iter().map(|request| request.weight).collect();
        let choice = Choice::new(&weights, said.requests_order, load.seed, load.population());
        Self {
            requests: requests
                .iter()
                .map(|request| Ready::new(request, &way))
                .collect(),
            choice: (requests.len() > 1).then_some(choice),
            expected: said.expect_status.unwrap_or_default(),
        }
    }

    /// This request alone, to `host`.
    #[must_use]
    pub fn only(host: &str, request: &HttpRequest) -> Self {
        Self {
            requests: vec![Ready::new(request, &Way::to(host))],
            choice: None,
            expected: StatusSet::default(),
        }
    }

    /// The bytes of a request.
    #[must_use]
    pub fn request(&self, id: RequestId) -> &[u8] {
        let ready = self.ready(id);
        if id.last { &ready.last } else { &ready.keep }
    }

    fn ready(&self, id: RequestId) -> &Ready {
        let which = match &self.choice {
            None => 0,
            Some(choice) => choice.pick(id.connection, id.sequence),
        };
        &self.requests[which]
    }

    /// Reads a piece of the response to `id`.
    pub fn receive(&self, framing: &mut Framing, id: RequestId, input: &[u8]) -> Received {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let step = match framing.http.place {
                Place::Head => head::head(framing, self.question(id), rest),
                Place::Fixed(left) => fixed(framing, left, rest.len()),
                Place::Chunk(left) => chunked::chunk(framing, left, rest.len()),
                Place::ChunkEnd => chunked::end(framing, rest),
                Place::ChunkSize => chunked::line(framing, rest, chunked::size),
                Place::Trailer => chunked::line(framing, rest, chunked::trailer),
                Place::UntilClose => Step::Take(rest.len()),
            };
            match step {
                Step::Take(length) => consumed += length,
                Step::Wait => return Received::More,
                Step::Broken => return Received::Garbage,
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

/// What the head of an answer is read with.
#[derive(Clone, Copy)]
struct Question<'a> {
    /// Whether the answer to HEAD is awaited, which has no body whatever it says of one (RFC 9112 §6.3).
    is_head: bool,
    expected: &'a StatusSet,
}

impl Http {
    fn question(&self, id: RequestId) -> Question<'_> {
        Question {
            is_head: self.ready(id).is_head,
            expected: &self.expected,
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
    /// A rule is broken; the framing says which.
    Broken,
}

/// Refuses the response for breaking a rule with these bytes.
fn broken(framing: &mut Framing, rule: &str, bytes: &[u8]) -> Step {
    framing.say_broken(rule, bytes);
    Step::Broken
}

fn fixed(framing: &mut Framing, left: u64, available: usize) -> Step {
    if left <= available as u64 {
        return Step::End(left as usize);
    }
    framing.http.place = Place::Fixed(left - available as u64);
    Step::Take(available)
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

    fn asking(method: &str) -> Http {
        let request = HttpRequest::new(method, "/a", Vec::new(), None, 1).expect("a request");
        Http::only("127.0.0.1:80", &request)
    }

    fn http() -> Http {
        asking("GET")
    }

    /// Feeds an answer in pieces; returns the last result and how much was consumed in all.
    fn feed(answer: &[u8], cuts: &[usize]) -> (Received, usize) {
        let (mut framing, mut fed) = (Framing::default(), 0);
        for cut in cuts.iter().copied().chain([answer.len()]) {
            let cut = cut.clamp(fed, answer.len());
            if cut == fed {
                continue;
            }
            match http().receive(&mut framing, ID, &answer[fed..cut]) {
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
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 9\r\n\r\n00a ; x=\"y\"\r\n0123456789\r\n000\r\n\r\n",
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
        let receive = |text: &[u8]| http().receive(&mut Framing::default(), ID, text);
        let done = |ok, closes, consumed| Received::Done {
            consumed,
            ok,
            closes,
        };
        let error = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(receive(error), done(false, true, error.len()));
        let mut framing = Framing::default();
        let (head, body) = (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n", b"no");
        assert_eq!(http().receive(&mut framing, ID, head), Received::More);
        assert_eq!(
            http().receive(&mut framing, ID, body),
            done(false, false, 2)
        );
        assert_eq!(framing.take_words(), "HTTP/1.1 404 No");
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
            http().receive(&mut framing, ID, b"HTTP/1.1 200 OK\r\n\r\nbody"),
            Received::More
        );
        assert!(framing.http.ends_at_eof());
    }

    /// What is said of an answer that comes in two pieces.
    fn words(answer: &[u8], cut: usize) -> (Received, String) {
        let mut framing = Framing::default();
        let mut received = http().receive(&mut framing, ID, &answer[..cut]);
        if received == Received::More {
            received = http().receive(&mut framing, ID, &answer[cut..]);
        }
        (received, framing.take_words())
    }

    #[test]
    fn a_refusal_keeps_its_status_line_over_every_split_of_its_body() {
        let answer = ANSWERS[1];
        for cut in 1..answer.len() {
            let (received, words) = words(answer, cut);
            assert!(
                matches!(received, Received::Done { ok: false, .. }),
                "{cut}: {received:?}"
            );
            assert_eq!(words, "HTTP/1.1 503 Service Unavailable", "{cut}");
        }
    }

    #[test]
    fn empty_lines_before_an_answer_are_no_part_of_its_words() {
        let refusal = b"\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(words(refusal, refusal.len()).1, "HTTP/1.1 500 Oops");
        let wrong = b"\r\nHTTP/1.1 200 OK\r\nno colon\r\n\r\n";
        assert!(words(wrong, wrong.len()).1.ends_with("\"no colon\""));
    }

    /// An answer whose head has these lines.
    fn head(lines: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").into_bytes()
    }

    /// The answer breaks the rule that is expected, and the same kind of answer is refused however it is cut.
    fn assert_named(answer: &[u8], expected: &str) {
        let (received, said) = words(answer, answer.len());
        assert_eq!(received, Received::Garbage, "{expected}");
        assert!(said.starts_with(expected), "{said}\ninstead of\n{expected}");
        for cut in [1, answer.len() / 2, answer.len() - 1] {
            let (received, _) = words(answer, cut);
            assert_eq!(received, Received::Garbage, "{expected} cut at {cut}");
        }
    }

    #[test]
    fn a_broken_rule_of_the_head_is_named_with_the_bytes_that_broke_it() {
        let many = (0..300)
            .map(|n| format!("X-{n}: y\r\n"))
            .collect::<String>();
        let table: [(Vec<u8>, &str); 10] = [
            (
                head(&format!("A: b\r\nX-Long: {}", "y".repeat(17_000))),
                "a head of more than 16384 bytes, in the line: \"X-Long: yyy",
            ),
            (
                head(&many),
                "more than 256 header lines; the 257th: \"X-256: y\"",
            ),
            (
                head("A: b\r\n folded"),
                "a header folded over two lines, which RFC 9112 §5.2 forbids: \" folded\"",
            ),
            (
                head("A: b\r\nno colon"),
                "a header name with a character that none may have: \"no colon\"",
            ),
            (
                head("A: b\r\nnocolon"),
                "a header line without a colon: \"nocolon\"",
            ),
            (
                head("A: b\r\nB : c"),
                "a header name with a character that none may have: \"B : c\"",
            ),
            (
                head("A: b\r\nB: \u{1}"),
                "a header value with a control character: \"B: \\x01\"",
            ),
            (
                head("Content-Length: 12 bytes"),
                "a Content-Length that is no number: \"12 bytes\"",
            ),
            (
                head("Content-Length: "),
                "a Content-Length that is no number: \"\"",
            ),
            (
                head("Content-Length: 1\r\nContent-Length: 2"),
                "a Content-Length that contradicts the one before: \"2\"",
            ),
        ];
        for (answer, expected) in table {
            assert_named(&answer, expected);
        }
    }

    #[test]
    fn a_broken_rule_of_the_status_or_the_body_is_named_with_the_bytes_that_broke_it() {
        let chunks = |body: &str| head(&format!("Transfer-Encoding: chunked\r\n\r\n{body}"));
        let table: [(Vec<u8>, &str); 7] = [
            (
                b"HTTP/2 200\r\n\r\n".to_vec(),
                "an answer that does not begin with HTTP/1.1 or HTTP/1.0: \"HTTP/2 200\"",
            ),
            (
                b"GET / HTTP/1.1\r\n\r\n".to_vec(),
                "an answer that does not begin with HTTP/1.1 or HTTP/1.0: \"GET / HTTP/1.1\"",
            ),
            (
                b"HTTP/1.1 2OO OK\r\n\r\n".to_vec(),
                "a status line without a status of three digits: \"HTTP/1.1 2OO OK\"",
            ),
            (
                chunks("+5\r\nhello\r\n0\r\n"),
                "a chunk size that is no hexadecimal number: \"+5\"",
            ),
            (
                chunks("5\r\nhello, world"),
                "a chunk that is longer than its size says, by: \", world",
            ),
            (
                chunks("5\nhello\r\n0\r\n"),
                "a line of a chunked body that does not end with CR LF: \"5\"",
            ),
            (
                chunks("0\r\nno trailer\r\n"),
                "a trailer line without a colon: \"no trailer\"",
            ),
        ];
        for (answer, expected) in table {
            assert_named(&answer, expected);
        }
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
            http().receive(&mut framing, ID, b"HTTP/1.1 200 OK\r\nX: "),
            Received::More
        );
        let rejected =
            (0..100).any(|_| http().receive(&mut framing, ID, &endless) == Received::Garbage);
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
        fn an_answer_that_comes_byte_by_byte_is_the_same(which in 0..ANSWERS.len(), size in 1usize..9) {
            let answer = ANSWERS[which];
            let cuts: Vec<usize> = (0..answer.len()).step_by(size).collect();
            let (received, consumed) = feed(answer, &cuts);
            let ended = matches!(received, Received::Done { .. });
            prop_assert!(ended);
            prop_assert_eq!(consumed, answer.len());
        }

        #[test]
        fn no_input_breaks_the_parser(input in proptest::collection::vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>()) {
            let mut framing = Framing::default();
            let cut = at.index(input.len() + 1);
            for piece in [&input[..cut], &input[cut..]] {
                match http().receive(&mut framing, ID, piece) {
                    Received::Done { consumed, ok, .. } => {
                        prop_assert!(consumed <= piece.len());
                        prop_assert!(ok || framing.take_words().starts_with("HTTP/"));
                    }
                    Received::Garbage => {
                        prop_assert!(!framing.take_words().is_empty());
                        break;
                    }
                    Received::More | Received::Mismatch => {}
                }
            }
        }
    }
}
