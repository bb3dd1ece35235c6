//! Why a lab could not measure. It makes the lab `not judged`: what we cannot do contradicts no claim.

use crate::base::error::Failure;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::io;

/// Why a lab could not measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// This machine does not allow it, or lacks something.
    Denied {
        /// What.
        why: String,
        /// What would make it possible.
        remedy: String,
    },
    /// Something of ours failed.
    Failed(String),
}

impl Trouble {
    /// This machine does not allow it.
    pub fn denied(why: impl Into<String>, remedy: impl Into<String>) -> Trouble {
        Trouble::Denied {
            why: why.into(),
            remedy: remedy.into(),
        }
    }

    /// Something of ours failed.
    pub fn failed(why: impl Into<String>) -> Trouble {
        Trouble::Failed(why.into())
    }

    /// Why, and what would make it possible.
    pub fn in_words(&self) -> (String, String) {
        match self {
            Trouble::Denied { why, remedy } => (why.clone(), remedy.clone()),
            Trouble::Failed(why) => (
                why.clone(),
                "run the lab again; if it fails again, report it with this sentence".into(),
            ),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Failed(error.to_string())
    }
}

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Trouble {
        Trouble::Failed(error.to_string())
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failed(failure.message)
    }
}

/// Errors that say what was being done.
pub trait During<T> {
    /// The same, with `cannot WHAT: ` before the error.
    fn during(self, what: &str) -> Result<T, Trouble>;
}

impl<T, E: Display> During<T> for Result<T, E> {
    fn during(self, what: &str) -> Result<T, Trouble> {
        self.map_err(|e| Trouble::Failed(format!("cannot {what}: {e}")))
    }
}
