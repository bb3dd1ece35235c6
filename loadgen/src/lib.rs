//! A TCP load generator that does not mislead.
//!
//! # Layout
//! - [`units`], [`flags`], [`load`]: from text to a validated value
//! - [`schedule`], [`protocol`]: pure: when requests are due, what they say, how answers are framed
//! - [`sources`], [`limits`]: what this machine allows
//! - [`connection`], [`worker`]: one connection's life; one pinned thread with one epoll
//! - [`control`], [`link`], [`run`]: the main thread: phases, supervisor, signals
//! - [`tally`], [`series`], [`blob`]: what is counted, how it is added up and written down
//! - [`outcome`], [`assemble`], [`verdict`]: what a run returns, and whether to believe it
//! - [`report`], [`files`], [`talk`]: what the program prints and writes
//! - [`null_server`]: what this machine can do at best
//! - [`sys`]: the only `unsafe`

pub mod assemble;
pub mod blob;
pub mod connection;
pub mod control;
pub mod files;
pub mod flags;
pub mod limits;
pub mod link;
pub mod load;
pub mod null_server;
pub mod outcome;
pub mod protocol;
pub mod report;
pub mod run;
pub mod schedule;
pub mod series;
pub mod sources;
pub mod sys;
pub mod talk;
pub mod tally;
pub mod units;
pub mod verdict;
pub mod worker;
