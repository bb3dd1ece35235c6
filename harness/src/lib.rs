//! Which TCP server concurrency model should I use on this machine, and how far does it go?
//!
//! Data flows one way: flags → plan → trial → judge → row → [`store`] → [`analysis`] → render. The
//! modules stand in the order of their layers: each imports only from those above it (`tests/layers.rs`).

pub mod base;
pub mod model;

mod cli;
mod plan;

mod trial;

mod judge;

pub mod store;

pub mod analysis;

mod render;

mod lab;

pub mod cmd;

use std::process::ExitCode;

/// The program: reads the command line, does what it says, and returns the exit code (see the README).
pub fn main() -> ExitCode {
    cmd::main()
}
