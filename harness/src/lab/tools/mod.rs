//! What labs share: the kernel's counters, sockets, captured segments and segments taken away, programs, pictures.

pub mod capture;
pub mod command;
pub mod counters;
pub mod draw;
pub mod segment_filter;
pub mod sockets;
