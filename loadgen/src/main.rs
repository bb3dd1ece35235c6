//! The load generator as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    loadgen::cmd::main(&["loadgen"], std::env::args_os().skip(1))
}
