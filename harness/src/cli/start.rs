//! The command lines of `tenk serve` and `tenk load`, which start the other programs.

use clap::Args;
use std::ffi::OsString;

/// Which server, and its own flags.
#[derive(Args, Debug, Clone)]
pub struct ServeFlags {
    /// The model (see `tenk list`)
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The server's own flags, such as --listen 127.0.0.1:9000; --help says all
    #[arg(
        value_name = "FLAGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub flags: Vec<OsString>,
}

/// The load generator's own flags.
#[derive(Args, Debug, Clone)]
#[command(disable_help_flag = true)]
pub struct LoadWords {
    /// The load generator's own flags, such as --target 127.0.0.1:9000 --conns 100; --help says all
    #[arg(
        value_name = "FLAGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub flags: Vec<OsString>,
}
