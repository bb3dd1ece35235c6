//! The smallest HTTP/1.1 service that `wrk`, `ab`, `curl` and browsers accept:
//! every request gets the same short page. Keep-alive, pipelining, request
//! bodies with a length (which are skipped), `Connection: close` and HTTP/1.0
//! are understood; what is not ends with an error status and a close
//! (RFC 9112).

use std::mem::{self, MaybeUninit};

/// The page every request gets.
pub const PAGE: &str = "Hello from tenk.\n";

/// Longest request head, as in nginx's and Apache's defaults.
const MAX_HEAD: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;

/// What is remembered of one connection between reads.
#[derive(Debug, Default)]
pub struct Session {
    /// A head of which only the beginning has come.
    partial: Vec<u8>,
    /// A request whose body has not come to its end.
    current: Option<Request>,
}

/// What has been done with some input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many requests were answered.
    pub requests: u32,
    /// Whether the connection is to be closed once the answers are sent.
    pub last: bool,
    /// Whether it is closed before the client has said everything: the rest of
    /// its input is to be read and thrown away, or it might never see the answer.
    pub unread: bool,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    body_left: u64,
    /// HEAD wants the headers of the page without the page.
    head_only: bool,
    connection: Connection,
}

/// What the answer says about the connection's future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    /// HTTP/1.1 stays open without a word.
    Open,
    /// HTTP/1.0 has to be told.
    KeepAlive,
    Close,
}

impl Session {
    /// Takes in what was received and appends the answers to `out`.
    pub fn take_in(&mut self, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        let mut joined = mem::take(&mut self.partial);
        let mut rest = match joined.is_empty() {
            true => input,
            false => {
                joined.extend_from_slice(input);
                &joined
            }
        };
        let mut outcome = Outcome::default();
        loop {
            if self.current.is_none() && !rest.is_empty() {
                match parse(rest) {
                    Ok(Some((length, request, continues))) => {
                        rest = &rest[length..];
                        self.current = Some(request);
                        if continues {
                            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                        }
                    }
                    Ok(None) => {
                        self.partial = rest.to_vec();
                        return outcome;
                    }
                    Err(status) => {
                        refuse(status, out);
                        return Outcome {
                            requests: outcome.requests + 1,
                            last: true,
                            unread: true,
                        };
                    }
                }
            }
            let Some(request) = &mut self.current else {
                return outcome;
            };
            let skipped = request.body_left.min(rest.len() as u64);
            rest = &rest[skipped as usize..];
            request.body_left -= skipped;
            if request.body_left > 0 {
                return outcome;
            }
            respond(*request, out);
            outcome.requests += 1;
            outcome.last = request.connection == Connection::Close;
            self.current = None;
            if outcome.last {
                outcome.unread = !rest.is_empty();
                return outcome;
            }
        }
    }
}

/// The length of the head and what it asks for, with whether the client waits
/// for a go-ahead before its body; none if the head is incomplete. The error is
/// the status that says what is wrong.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Request, bool)>, &'static str> {
    // Filling 2 KiB of empty headers first would cost as much as the parsing.
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Err("431 Request Header Fields Too Large");
        }
        Err(_) => return Err("400 Bad Request"),
    };
    let old = request.version == Some(0);
    let mut body = None;
    let mut connection = if old {
        Connection::Close
    } else {
        Connection::Open
    };
    let (mut has_host, mut continues) = (false, false);
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let length = content_length(header.value).ok_or("400 Bad Request")?;
            if body.is_some_and(|other| other != length) {
                return Err("400 Bad Request");
            }
            body = Some(length);
        } else if is("transfer-encoding") {
            return Err("411 Length Required");
        } else if is("connection") && lists(header.value, "close") {
            connection = Connection::Close;
        } else if is("connection") && old && lists(header.value, "keep-alive") {
            connection = Connection::KeepAlive;
        } else if is("host") {
            has_host = true;
        } else if is("expect") {
            continues = header.value.eq_ignore_ascii_case(b"100-continue");
        }
    }
    if !old && !has_host {
        return Err("400 Bad Request");
    }
    let body_left = body.unwrap_or(0);
    let head_only = request.method == Some("HEAD");
    Ok(Some((
        length,
        Request {
            body_left,
            head_only,
            connection,
        },
        continues && body_left > 0,
    )))
}

/// Digits alone: `parse` would allow a plus sign, which others read differently.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

fn lists(value: &[u8], word: &str) -> bool {
    value
        .split(|&byte| byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

fn respond(request: Request, out: &mut Vec<u8>) {
    let connection = match request.connection {
        Connection::Open => "",
        Connection::KeepAlive => "Connection: keep-alive\r\n",
        Connection::Close => "Connection: close\r\n",
    };
    for part in [
        HEAD,
        connection,
        "\r\n",
        if request.head_only { "" } else { PAGE },
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nServer: tenk\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n";

fn refuse(status: &str, out: &mut Vec<u8>) {
    for part in [
        "HTTP/1.1 ",
        status,
        "\r\nServer: tenk\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(pieces: &[&[u8]]) -> (String, Outcome) {
        let (mut session, mut out, mut total) =
            (Session::default(), Vec::new(), Outcome::default());
        for piece in pieces {
            if !total.last {
                let outcome = session.take_in(piece, &mut out);
                total.requests += outcome.requests;
                (total.last, total.unread) = (outcome.last, outcome.unread);
            }
        }
        (String::from_utf8(out).unwrap(), total)
    }

    fn one(request: &str) -> (String, Outcome) {
        feed(&[request.as_bytes()])
    }

    #[test]
    fn the_announced_length_is_the_pages() {
        assert!(HEAD.contains(&format!("Content-Length: {}\r\n", PAGE.len())));
    }

    #[test]
    fn http_1_1_stays_open_and_1_0_does_not() {
        let (text, outcome) = one("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with(PAGE));
        assert_eq!(
            outcome,
            Outcome {
                requests: 1,
                ..Outcome::default()
            }
        );
        assert!(
            one("GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n")
                .1
                .last
        );
        assert!(one("GET / HTTP/1.0\r\n\r\n").1.last);
        let (text, outcome) = one("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        assert!(text.contains("Connection: keep-alive") && !outcome.last);
    }

    #[test]
    fn what_follows_the_last_request_is_unread() {
        let last = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert!(!one(last).1.unread);
        let (text, outcome) = one(&last.repeat(2));
        assert!(outcome.last && outcome.unread && outcome.requests == 1);
        assert_eq!(text.matches("HTTP/1.1").count(), 1);
    }

    #[test]
    fn head_gets_no_page() {
        let (text, _) = one("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(text.contains("Content-Length: 17") && text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn bodies_are_skipped_and_answered_at_their_end() {
        let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel";
        assert_eq!(feed(&[post]).1.requests, 0);
        assert_eq!(feed(&[post, b"lo"]).1.requests, 1);
        assert_eq!(
            feed(&[post, b"loGET / HTTP/1.1\r\nHost: x\r\n\r\n"])
                .1
                .requests,
            2
        );
        let expecting =
            "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(one(expecting).0, "HTTP/1.1 100 Continue\r\n\r\n");
    }

    #[test]
    fn nonsense_is_refused_and_ends_the_connection() {
        let status = |request: &str| {
            let (text, outcome) = one(request);
            assert!(outcome.last && outcome.unread, "{request}");
            text[9..12].to_owned()
        };
        assert_eq!(status("\x16\x03\x01\x02 not http\r\n\r\n"), "400");
        assert_eq!(
            status("GET / HTTP/1.1\r\n\r\n"),
            "400",
            "HTTP/1.1 needs Host"
        );
        assert_eq!(
            status("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n"),
            "400"
        );
        assert_eq!(
            status("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            "400"
        );
        assert_eq!(
            status("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n"),
            "400"
        );
        assert_eq!(
            status("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "411"
        );
        assert_eq!(
            status(&format!(
                "GET / HTTP/1.1\r\nX: {}\r\n\r\n",
                "y".repeat(MAX_HEAD)
            )),
            "431"
        );
        assert_eq!(status(&format!("GET /{}", "y".repeat(MAX_HEAD))), "431");
        assert_eq!(
            status(&format!(
                "GET / HTTP/1.1\r\n{}\r\n",
                "A: b\r\n".repeat(MAX_HEADERS + 1)
            )),
            "431"
        );
    }

    proptest! {
        /// However the bytes are cut, the answers are the same.
        #[test]
        fn cuts_change_nothing(cuts in proptest::collection::vec(0usize..200, 0..8)) {
            let stream = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n\
                GET / HTTGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let mut ends: Vec<usize> = cuts.iter().map(|cut| (*cut).min(stream.len())).collect();
            ends.push(stream.len());
            ends.sort_unstable();
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let pieces: Vec<&[u8]> = starts.zip(ends.iter()).map(|(start, end)| &stream[start..*end]).collect();
            let (text, outcome) = feed(&pieces);
            prop_assert_eq!((text, outcome), feed(&[stream]));
        }

        #[test]
        fn garbage_never_panics(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6)) {
            let (mut session, mut out) = (Session::default(), Vec::new());
            for piece in &pieces {
                session.take_in(piece, &mut out);
            }
        }
    }
}
