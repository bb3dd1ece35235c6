//! Every TCP concurrency model as a server of its own.
//!
//! Each model is one binary and one page in `src/bin/`, and holds nothing but
//! its idea. Functions that a page calls are named after the system call that
//! they make, so that a page reads like the strace of its server. What all of
//! them share, and what the harness needs to know about them, is here: same
//! listener, same accept policy, same services, so that a comparison compares
//! the models and nothing else.
//!
//! # Layout
//! A module imports only from those above it in this list (`tests/layers.rs`).
//!
//! - [`error`] — errors in sentences that keep what caused them.
//! - [`address`] — where a server listens.
//! - [`sys`] — the crate's only `unsafe`.
//! - [`models`] — the registry: what there is, and what is known about it.
//! - [`broken`] — what a server can be made to do wrong, for a lab to show.
//! - [`ledger`] — the counters a server keeps in shared memory, and their reader.
//! - [`limits`] — how many connections are taken, in all and per address.
//! - [`trace`] — a worker's name in the ledger, and what `--trace` prints.
//! - [`http`] — the HTTP service.
//! - [`service`] — what is done with the bytes, and what that costs.
//! - [`accept`] — the listener's accept policy: retry, back off, shed.
//! - [`listener`] — the one listener recipe: socket, bind, listen.
//! - [`keyboard`] — standard input as one more descriptor.
//! - [`blocking`] — a connection served by blocking calls.
//! - [`deadlines`] — when to look at which connection again.
//! - [`by_descriptor`] — the connections of a loop, with their deadlines.
//! - [`readiness`] — select, poll, epoll: waiting for many descriptors at once.
//! - [`nonblocking`] — a connection as a state machine, and a loop's set of them.
//! - [`shared`] — a set of them that several threads serve.
//! - [`completion`] — the same driven by io_uring's completions.
//! - [`tasks`] — a connection served by an async task.
//! - [`processes`] — worker processes forked beforehand.
//! - [`program`] — what no page repeats: flags, limits, exit code.

pub mod accept;
pub mod address;
pub mod blocking;
pub mod broken;
pub mod by_descriptor;
pub mod completion;
pub mod deadlines;
pub mod error;
pub mod http;
pub mod keyboard;
pub mod ledger;
pub mod limits;
pub mod listener;
pub mod models;
pub mod nonblocking;
pub mod processes;
pub mod program;
pub mod readiness;
pub mod service;
pub mod shared;
pub mod sys;
pub mod tasks;
pub mod trace;
