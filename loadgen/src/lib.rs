//! A TCP load generator that does not mislead.
//!
//! # Layout
//! - [`units`], [`flags`], [`load`]: from text to a validated value
//! - [`schedule`], [`protocol`]: pure: when requests are due, what they say, how answers are framed
//! - [`sources`], [`limits`]: what this machine allows
//! - [`connection`], [`worker`]: one connection's life; one pinned thread with one epoll
//! - [`control`], [`link`], [`run`]: the main thread: phases, supervisor, signals
//! - [`tally`], [`series`], [`blob`]: what is counted, how it is added up and written down
//! - [`fleet`], [`merge`]: several processes, or the outcomes of several hosts
//! - [`outcome`], [`assemble`], [`verdict`]: what a run returns, and whether to believe it
//! - [`report`], [`files`], [`talk`]: what the program prints and writes
//! - [`search`]: the highest rate that keeps a promise
//! - [`null_server`], [`floor`]: what this machine can do at best
//! - [`sys`]: the only `unsafe`

pub mod assemble;
pub mod blob;
pub mod connection;
pub mod control;
pub mod files;
pub mod flags;
pub mod fleet;
pub mod floor;
pub mod limits;
pub mod link;
pub mod load;
pub mod merge;
pub mod null_server;
pub mod outcome;
pub mod protocol;
pub mod report;
pub mod run;
pub mod schedule;
pub mod search;
pub mod series;
pub mod sources;
pub mod sys;
pub mod talk;
pub mod tally;
pub mod units;
pub mod verdict;
pub mod worker;
