//! The `harness` program; everything is in the library, so that benches can use it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::main()
}
