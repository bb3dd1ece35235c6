//! Every TCP concurrency model as a server of its own.
//!
//! Each model is one binary and one page in `src/bin/`, and holds nothing but
//! its idea. What all of them share, and what the harness needs to know about
//! them, is here: same listener, same accept policy, same services, so that a
//! comparison compares the models and nothing else.
//!
//! # Layout
//! - [`models`] — the registry: what there is, and what is known about it.
//! - [`program`] — the ceremony no page repeats: flags, ready line, exit code.
//! - [`listener`] — the one listener recipe.
//! - [`accept`] — the one accept policy: retry, back off, turn away.
//! - [`limits`] — how many connections are taken, in all and per address.
//! - [`service`] — what is done with the bytes, and what that costs.
//! - [`http`] — the HTTP service.
//! - [`blocking`] — a connection served by blocking calls.
//! - [`nonblocking`] — the same as a state machine, and a loop's set of them.
//! - [`keyboard`] — standard input as one more descriptor.
//! - [`completion`] — the same driven by io_uring's completions.
//! - [`shared`] — a set of them that several threads serve.
//! - [`tasks`] — a connection served by an async task.
//! - [`crew`] — worker processes forked beforehand.
//! - [`trace`] — what `--trace` prints.
//! - [`ledger`] — the counters a server keeps in shared memory, and their reader.
//! - [`sys`] — the crate's only `unsafe`.

pub mod accept;
pub mod blocking;
pub mod completion;
pub mod crew;
pub mod http;
pub mod keyboard;
pub mod ledger;
pub mod limits;
pub mod listener;
pub mod models;
pub mod nonblocking;
pub mod program;
pub mod service;
pub mod shared;
pub mod sys;
pub mod tasks;
pub mod trace;
