//! What labs share: the kernel's counters, sockets, captured segments and segments taken away, a way that takes
//! time, a cable to pull out, programs, pictures.

pub mod asking;
pub mod capture;
pub mod client;
pub mod command;
pub mod counted;
pub mod counters;
pub mod delay;
pub mod draw;
pub mod rows;
pub mod segment_filter;
pub mod shares;
pub mod sockets;
pub mod table;
pub mod tasks;
pub mod veth;
