//! A TCP load generator that does not mislead.
//!
//! # Layers
//! A module imports only from those above it in this list.
//! - [`base`]: units, clocks, system calls, and what this machine allows
//! - [`load`]: what is to be sent, validated once; when each request is due; from which addresses
//! - [`protocol`]: what requests say and how answers are framed
//! - [`tally`]: histograms and counters, how they are added up, what a run found and whether to believe it
//! - [`worker`]: one pinned thread with one epoll and its connections
//! - [`fleet`]: the phases of a run in this process, and several processes or hosts under one barrier
//! - [`cmd`]: the program: its command line, its commands, what it prints

pub mod base;
pub mod cmd;
pub mod fleet;
pub mod load;
pub mod protocol;
pub mod tally;
pub mod worker;
