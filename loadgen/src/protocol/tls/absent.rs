//! What stands for TLS in a build without it: there is no client, and so no session.

use std::io;

use super::{Fault, Shaken};
use crate::load::Load;

/// There is none.
#[derive(Clone, Debug)]
pub enum Client {}

/// There is none.
#[derive(Debug)]
pub enum Session {}

impl Client {
    /// None: a load that asks for one is refused before.
    ///
    /// # Errors
    /// None.
    pub fn of(_: &Load) -> Result<Option<Self>, String> {
        Ok(None)
    }

    /// The same for another worker.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        match *self {}
    }

    /// A session.
    #[must_use]
    pub fn session(&self) -> Session {
        match *self {}
    }
}

impl Session {
    /// Whether the handshake is under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        match *self {}
    }

    /// Takes in what came.
    ///
    /// # Errors
    /// None.
    pub fn receive(&mut self, _: &mut &[u8]) -> Result<(), Fault> {
        match *self {}
    }

    /// Reads what was said.
    pub fn read(&mut self, _: &mut [u8]) -> usize {
        match *self {}
    }

    /// Says something.
    pub fn write(&mut self, _: &[u8]) -> usize {
        match *self {}
    }

    /// Whether there is something to be sent.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        match *self {}
    }

    /// Sends it.
    ///
    /// # Errors
    /// None.
    pub fn send(&mut self, _: &mut dyn io::Write) -> io::Result<()> {
        match *self {}
    }

    /// How the handshake ended.
    #[must_use]
    pub fn shaken(&self) -> Shaken {
        match *self {}
    }

    /// Whether the server has said that nothing more follows.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match *self {}
    }

    /// Says that nothing more follows.
    pub fn end(&mut self) {
        match *self {}
    }
}
