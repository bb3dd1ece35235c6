//! TLS beneath a protocol: a client that makes sessions, and a session of each connection. A session turns what is said
//! into what is sent and back, and touches no socket: whoever holds it decides when to read and to write.
//!
//! Without the feature `tls` there is neither, and nothing is compiled of it.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod present;
#[cfg(feature = "tls")]
mod tickets;

#[cfg(not(feature = "tls"))]
pub use absent::{Client, Session};
#[cfg(feature = "tls")]
pub use present::{Client, Session};

/// Why a session has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind that it is counted under: `TLS_ALERT`, `TLS_CERTIFICATE` or `TLS`.
    pub kind: &'static str,
    /// In words.
    pub words: String,
}

/// How a handshake ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shaken {
    /// Whether it resumed the session of an earlier connection.
    pub is_resumed: bool,
    /// The version and the cipher suite that were agreed on.
    pub agreed: String,
}
