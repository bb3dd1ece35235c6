//! The messages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::seconds::Told;
use crate::base::machine::MachineFacts;
use crate::load::Load;

/// The version of this protocol; both sides have to speak the same.
pub const PROTOCOL: u32 = 2;

/// What a head says to an agent. That it closes the stream means that everything ends at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Who speaks; the first message.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The version of the head's program.
        version: String,
    },
    /// The agent's clocks are asked for.
    Clock {
        /// Which question it is, counted from 0.
        number: u64,
    },
    /// One share of a load is to be prepared: it comes to its first phase and waits.
    Load {
        /// The share.
        load: Box<Load>,
        /// Whether every second of the window is to be told.
        seconds: bool,
    },
    /// The load goes on to the phase it has announced.
    Go {
        /// At this instant of the agent's CLOCK_MONOTONIC, where the phase begins at one.
        at_ns: Option<u64>,
    },
    /// The window ends at this instant of the agent's CLOCK_MONOTONIC, earlier than planned.
    Cut {
        /// The instant.
        at_ns: u64,
    },
    /// Something for the part of the agent that starts servers.
    Server(Value),
    /// The head is there; said four times a second.
    Alive,
    /// The load stops now and tells what it has.
    Stop,
}

/// What an agent says to a head. That it closes the stream means that the host is lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Said {
    /// What is here; the first message.
    Hello(Box<Hello>),
    /// What was ordered is not done.
    Refused {
        /// Why, in a sentence.
        why: String,
    },
    /// The clocks, as they were when they were asked for.
    Clock {
        /// Which question it answers.
        number: u64,
        /// CLOCK_MONOTONIC.
        monotonic_ns: u64,
        /// CLOCK_REALTIME.
        unix_ns: u64,
    },
    /// The load has come to its next phase and waits.
    Phase {
        /// Its name.
        name: String,
    },
    /// A second of the window has ended.
    Second(Box<Told>),
    /// The load has ended.
    Outcome {
        /// Its outcome, as it was printed; none if it printed none.
        text: Option<String>,
        /// How it ended, in words.
        how: String,
        /// A conservation law of its own that it found broken.
        broken_law: Option<String>,
    },
    /// Something of the part that starts servers.
    Server(Value),
    /// The agent is there; said four times a second.
    Alive,
}

/// What an agent says of its host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The version of its program.
    pub version: String,
    /// What the host calls itself.
    pub name: String,
    /// Which machine and network namespace it is in: equal for two agents in the same place.
    pub place: String,
    /// The machine.
    pub machine: MachineFacts,
    /// SHA-256 of its programs, in hexadecimal, by name.
    pub programs: BTreeMap<String, String>,
    /// CPUs that it may use.
    pub cpus: u64,
    /// What it may use besides.
    pub limits: Limits,
    /// Whether it can start servers.
    pub servers: bool,
}

/// What a host allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Connections for which one process has descriptors.
    pub connections_per_process: u64,
}
