//! Every TCP concurrency model as a server of its own.
//!
//! Each model is one binary and one page in `src/bin/`, and holds nothing but
//! its idea. What all of them share, and what the harness needs to know about
//! them, is here: same listener, same accept policy, same services, so that a
//! comparison compares the models and nothing else.
//!
//! # Layout
//! - [`models`] — the registry: what there is, and what is known about it.
//! - [`ledger`] — the counters a server keeps in shared memory, and their reader.

pub mod ledger;
pub mod models;
mod sys;
