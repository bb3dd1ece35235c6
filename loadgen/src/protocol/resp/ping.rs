//! PING, answered by `+PONG`, or PING with a message that comes back as a bulk string, so that its bytes can be verified.

use std::io::Write;

use super::{CRLF, OK, copy_from};
use crate::protocol::echo::Payload;
use crate::protocol::{Framing, Received, RequestId, match_piece, words_of};

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";
/// The longest error line that is read to its end.
const MAX_LINE: usize = 4096;

/// PING, with a payload or without.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    payload: Option<Payload>,
}

impl Ping {
    /// With a payload the server has to return it.
    #[must_use]
    pub fn new(payload: Option<Payload>) -> Self {
        Self { payload }
    }

    /// Length of a request in bytes.
    #[must_use]
    pub fn request_len(&self, id: RequestId) -> u32 {
        match self.payload {
            None => PING.len() as u32,
            Some(payload) => {
                request_head(payload.len(id)).length as u32 + payload.len(id) + CRLF.len() as u32
            }
        }
    }

    /// Writes the bytes of a request from `offset` on into `out`.
    pub fn fill(&self, id: RequestId, offset: u32, out: &mut [u8]) -> usize {
        match self.payload {
            None => copy_from(PING, offset, out),
            Some(payload) => {
                let length = payload.len(id);
                fill_framed(payload, id, request_head(length).as_bytes(), offset, out)
            }
        }
    }

    /// Reads a piece of the answer to `id`.
    pub fn receive(&self, framing: &mut Framing, id: RequestId, input: &[u8]) -> Received {
        if !framing.held.is_empty() || (framing.matched == 0 && input.first() == Some(&b'-')) {
            framing.set_status(0); // Errors are counted by their names.
            return error_line(framing, input);
        }
        framing.set_status(OK);
        match self.payload {
            None => match_piece(
                framing,
                PONG.len(),
                input,
                |from, piece| PONG[from..from + piece.len()] == *piece,
                |from, out| copy_from(PONG, from as u32, out),
            ),
            Some(payload) => bulk(framing, payload, id, input),
        }
    }
}

/// The bytes before a payload, built for every request without allocating.
struct Head {
    bytes: [u8; 40],
    length: usize,
}

impl Head {
    fn new(text: std::fmt::Arguments<'_>) -> Self {
        let mut bytes = [0; 40];
        let mut rest = &mut bytes[..];
        // 40 bytes hold the longest of them, with a length of ten digits.
        let _ = rest.write_fmt(text);
        let length = 40 - rest.len();
        Self { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn request_head(length: u32) -> Head {
    Head::new(format_args!("*2\r\n$4\r\nPING\r\n${length}\r\n"))
}

fn fill_framed(payload: Payload, id: RequestId, head: &[u8], offset: u32, out: &mut [u8]) -> usize {
    let (head_len, body_len) = (head.len() as u32, payload.len(id));
    let mut done = 0;
    while done < out.len() {
        let at = offset + done as u32;
        let filled = if at < head_len {
            copy_from(head, at, &mut out[done..])
        } else if at < head_len + body_len {
            payload.fill(id, at - head_len, &mut out[done..])
        } else {
            copy_from(CRLF, at - head_len - body_len, &mut out[done..])
        };
        if filled == 0 {
            break;
        }
        done += filled;
    }
    done
}

fn bulk(framing: &mut Framing, payload: Payload, id: RequestId, input: &[u8]) -> Received {
    let length = payload.len(id);
    let head = Head::new(format_args!("${length}\r\n"));
    let total = head.length + length as usize + CRLF.len();
    let fill =
        |from: usize, out: &mut [u8]| fill_framed(payload, id, head.as_bytes(), from as u32, out);
    let same = |from: usize, piece: &[u8]| {
        let mut expected = [0; 256];
        let mut done = 0;
        piece.chunks(expected.len()).all(|chunk| {
            let filled = fill(from + done, &mut expected[..chunk.len()]);
            done += filled;
            expected[..filled] == *chunk
        })
    };
    match_piece(framing, total, input, same, fill)
}

fn error_line(framing: &mut Framing, input: &[u8]) -> Received {
    let end = input.iter().position(|byte| *byte == b'\n');
    let piece = &input[..end.map_or(input.len(), |at| at + 1)];
    framing
        .held
        .extend_from_slice(&piece[..piece.len().min(MAX_LINE + 1)]);
    if framing.held.len() > MAX_LINE {
        let line = std::mem::take(&mut framing.held);
        framing.say_broken("an error line of more than 4096 bytes", &line);
        return Received::Garbage;
    }
    if end.is_none() {
        return Received::More;
    }
    let words = words_of(framing.held.trim_ascii_end());
    framing.say(words);
    Received::Done {
        consumed: piece.len(),
        ok: false,
        closes: false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::PayloadSize;

    const ID: RequestId = RequestId {
        connection: 5,
        sequence: 9,
        last: false,
    };

    fn feed(ping: Ping, answer: &[u8], cut: usize) -> Received {
        let mut framing = Framing::default();
        match ping.receive(&mut framing, ID, &answer[..cut]) {
            Received::More => ping.receive(&mut framing, ID, &answer[cut..]),
            other => other,
        }
    }

    #[test]
    fn answers_are_framed_over_every_split() {
        for cut in 1..PONG.len() {
            let done = Received::Done {
                consumed: PONG.len() - cut,
                ok: true,
                closes: false,
            };
            assert_eq!(feed(Ping::new(None), PONG, cut), done);
        }
        let error = b"-ERR no\r\n";
        for cut in 1..error.len() {
            let done = Received::Done {
                consumed: error.len() - cut,
                ok: false,
                closes: false,
            };
            assert_eq!(feed(Ping::new(None), error, cut), done);
        }
        let mut framing = Framing::default();
        for piece in error.chunks(3) {
            let _ = Ping::new(None).receive(&mut framing, ID, piece);
        }
        assert_eq!(framing.take_words(), "-ERR no");
        let mut framing = Framing::default();
        let _ = Ping::new(None).receive(&mut framing, ID, b"+PO");
        let _ = Ping::new(None).receive(&mut framing, ID, b"KE\r\n");
        assert_eq!(
            framing.take_words(),
            "from byte 3 of 7 on received \"KE\\r\\n\", expected \"NG\\r\\n\""
        );
        assert_eq!(feed(Ping::new(None), b"+PANG\r\n", 2), Received::Mismatch);
        let endless = vec![b'-'; MAX_LINE + 100];
        assert_eq!(feed(Ping::new(None), &endless, 300), Received::Garbage);
    }

    proptest! {
        #[test]
        fn messages_come_back_over_every_split(length in 1u32..700, at in any::<prop::sample::Index>()) {
            let ping = Ping::new(Some(Payload::new(PayloadSize { min: length, max: length }, 3)));
            let mut request = vec![0; ping.request_len(ID) as usize];
            prop_assert_eq!(ping.fill(ID, 0, &mut request), request.len());
            let answer = &request[b"*2\r\n$4\r\nPING\r\n".len()..];
            let cut = 1 + at.index(answer.len() - 1);
            let done = Received::Done { consumed: answer.len() - cut, ok: true, closes: false };
            prop_assert_eq!(feed(ping, answer, cut), done);
        }
    }
}
