//! Where labs were run.

use crate::base::settings;
use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A machine, as results are told apart by.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Version of the program.
    pub version: String,
    /// The kernel's name, release and machine.
    pub kernel: String,
    /// What else of this machine figures depend on.
    pub settings: BTreeMap<String, String>,
}

impl Machine {
    /// This one.
    pub fn read() -> Machine {
        let kernel = uname().map_or("unknown".into(), |name| {
            let words = [name.sysname(), name.release(), name.machine()];
            words
                .map(|word| word.to_string_lossy().into_owned())
                .join(" ")
        });
        Machine {
            version: crate::base::version::VERSION.into(),
            kernel,
            settings: settings::machine(),
        }
    }
}
