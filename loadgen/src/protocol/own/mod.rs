//! A protocol of the user's own: bytes that are sent, and a rule by which the end of an answer is known.
//!
//! Nothing is kept of an answer but a line, or the head of one, that came in pieces; and a request that differs from
//! the next only in its numbers is written straight into the buffer that is sent.

mod answer;
mod delimiter;
mod template;

use super::{Framing, Received, RequestId};
use crate::load::Load;
use crate::load::own::{Message, Rule};

use answer::Answer;
use template::Template;

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Own {
    message: Template,
    answer: Answer,
    greeting: Option<Answer>,
}

impl Own {
    /// What a load says and expects.
    #[must_use]
    pub fn of(load: &Load) -> Self {
        let expect = load.expect.as_ref().unwrap_or(&Rule::Nothing);
        Self::new(load.send.as_ref(), expect, load.greeting.as_ref())
    }

    /// What is sent, what is answered, and what the server says before it is sent anything.
    #[must_use]
    pub fn new(send: Option<&Message>, expect: &Rule, greeting: Option<&Rule>) -> Self {
        Self {
            message: send.map_or_else(Template::default, Template::of),
            answer: Answer::of(expect),
            greeting: greeting.map(Answer::of),
        }
    }

    /// Whether requests are answered at all.
    #[must_use]
    pub fn answers(&self) -> bool {
        !matches!(self.answer, Answer::Nothing)
    }

    /// Whether the server speaks first.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        self.greeting.is_some()
    }

    /// Length of a request in bytes.
    #[must_use]
    pub fn request_len(&self, id: RequestId) -> u32 {
        self.message.len(id) as u32
    }

    /// Writes the bytes of a request from `offset` on into `out` and returns how many there were.
    pub fn fill(&self, id: RequestId, offset: u32, out: &mut [u8]) -> usize {
        self.message.fill(id, offset as usize, out)
    }

    /// Reads a piece of the answer to `id`.
    pub fn receive(&self, framing: &mut Framing, id: RequestId, input: &[u8]) -> Received {
        self.answer.receive(framing, id, input)
    }

    /// Whether the end of the stream is the end of the answer that is being read.
    #[must_use]
    pub fn ends_at_eof(&self, framing: &Framing) -> bool {
        self.answer.ends_at_eof(framing)
    }

    /// Reads a piece of what the server says first.
    pub fn receive_greeting(&self, framing: &mut Framing, id: RequestId, input: &[u8]) -> Received {
        match &self.greeting {
            Some(greeting) => greeting.receive(framing, id, input),
            None => Received::Done {
                consumed: 0,
                ok: true,
                closes: false,
            },
        }
    }
}
