//! What TLS handshakes came to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::protocol::tls::Shaken;

/// Handshakes that ended well, over the whole run. Those that did not are failures of their kind: `TLS_ALERT`,
/// `TLS_CERTIFICATE`, `TLS`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handshakes {
    /// How many.
    pub completed: u64,
    /// Of those, how many resumed the session of an earlier connection.
    pub resumed: u64,
    /// What was agreed on, version and cipher suite, and how often.
    pub agreed: BTreeMap<String, u64>,
}

impl Handshakes {
    /// Counts one more.
    pub fn note(&mut self, shaken: &Shaken) {
        self.completed += 1;
        self.resumed += u64::from(shaken.is_resumed);
        super::count(&mut self.agreed, &shaken.agreed);
    }

    /// Adds those of another worker or process.
    pub fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.resumed += other.resumed;
        for (agreed, count) in &other.agreed {
            *self.agreed.entry(agreed.clone()).or_default() += count;
        }
    }
}
