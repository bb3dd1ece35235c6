//! What a head and the agents on other hosts say to each other, over any launcher's standard streams: lines of JSON, each
//! way in turn or not.
//!
//! A message is data: settings, names and figures, never a command, a path or code. What is longer than a line goes in
//! numbered pieces. Both sides take the other for hostile: lines, messages and their parts have a size that they may not
//! pass, keys that nobody knows are refused, and whatever is out of turn ends the conversation.

mod message;
mod pieces;

pub use message::{Hello, Limits, Order, PROTOCOL, Said};
pub use pieces::{LARGE, Reader, SMALL, WireError, lines_of};
