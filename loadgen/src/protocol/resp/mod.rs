//! Redis' protocol (RESP): PING, whose answer is verified, or any command, whose answer is framed and, where a key says what
//! its value is, verified as well.

mod answer;
mod command;
mod digits;
mod keys;
mod ping;
mod value;

use super::echo::Payload;
use super::{Framing, Received, RequestId, copy_from};
use crate::load::Load;
use crate::load::commands::Commands;

use command::Sent;
use ping::Ping;

const CRLF: &[u8] = b"\r\n";

/// The status of an answer that is no error.
const OK: u16 = 1;

/// The status of an answer that says that there is nothing: of a key that does not exist.
const NIL: u16 = 2;

/// The status of an error, while it is being read.
const ERROR: u16 = 3;

/// The status of a value that was compared with what it should be.
const HIT: u16 = 4;

/// The status of an answer that there is no value, where one would have been compared.
const MISS: u16 = 5;

/// What an error is called that has no name of its own, as Redis itself does.
const UNNAMED: &str = "ERR";

/// The longest name of an error.
const MAX_NAME: usize = 32;

/// The name of the error that an answer's words begin with: `-WRONGTYPE Operation against …`.
pub(super) fn error_name(words: &str) -> &str {
    let name = words.trim_start_matches('-').split(' ').next();
    let name = name.unwrap_or_default();
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if is_name { name } else { UNNAMED }
}

/// What is asked of a server.
#[derive(Clone, Debug)]
pub enum Resp {
    /// PING, with a payload or without.
    Ping(Ping),
    /// Commands.
    Commands(Box<Sent>),
}

impl Resp {
    /// What a load asks for; `payload`: of PING.
    #[must_use]
    pub fn of(load: &Load, payload: Option<Payload>) -> Self {
        match &load.commands {
            Some(commands) => Self::commands(commands, load.seed, load.population()),
            None => Self::ping(payload),
        }
    }

    /// PING; with a payload the server has to return it.
    #[must_use]
    pub fn ping(payload: Option<Payload>) -> Self {
        Self::Ping(Ping::new(payload))
    }

    /// These commands, for a load of `population` connections.
    #[must_use]
    pub fn commands(commands: &Commands, seed: u64, population: u64) -> Self {
        Self::Commands(Box::new(Sent::new(commands, seed, population)))
    }

    /// What people call a status.
    pub(super) fn status_name(status: u16) -> &'static str {
        match status {
            OK => "ok",
            NIL => "nil",
            HIT => "hit",
            MISS => "miss",
            _ => "error",
        }
    }

    /// Length of a request in bytes.
    #[must_use]
    pub fn request_len(&self, id: RequestId) -> u32 {
        match self {
            Self::Ping(ping) => ping.request_len(id),
            Self::Commands(sent) => sent.request_len(id),
        }
    }

    /// Writes the bytes of a request from `offset` on into `out`.
    pub fn fill(&self, id: RequestId, offset: u32, out: &mut [u8]) -> usize {
        match self {
            Self::Ping(ping) => ping.fill(id, offset, out),
            Self::Commands(sent) => sent.fill(id, offset, out),
        }
    }

    /// Reads a piece of the answer to `id`.
    pub fn receive(&self, framing: &mut Framing, id: RequestId, input: &[u8]) -> Received {
        match self {
            Self::Ping(ping) => ping.receive(framing, id, input),
            Self::Commands(sent) => match sent.expected(id) {
                None => answer::receive(framing, input),
                Some(value) => value::receive(framing, &value, input),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_name_that_they_begin_with() {
        for (words, name) in [
            ("-WRONGTYPE Operation against a key", "WRONGTYPE"),
            ("-MOVED 3999 127.0.0.1:6381", "MOVED"),
            ("-ERR unknown command", "ERR"),
            ("SYNTAX invalid", "SYNTAX"),
            ("-oops", "ERR"),
            ("-", "ERR"),
        ] {
            assert_eq!(error_name(words), name);
        }
    }
}
