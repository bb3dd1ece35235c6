//! Parts of a load of which no outcome came: their connections are counted as lost.

use std::collections::BTreeMap;

use super::outcome::{Connections, Failure, HOST_LOST, Outcome, PROCESS_LOST};
use crate::load::Load;

/// The outcome of a part of which nothing is known but what it was to do.
#[must_use]
pub fn nothing_of(load: Load) -> Outcome {
    nothing_because(load, PROCESS_LOST)
}

/// The same of a host's share.
#[must_use]
pub fn nothing_of_host(load: Load) -> Outcome {
    nothing_because(load, HOST_LOST)
}

fn nothing_because(load: Load, kind: &str) -> Outcome {
    let connections = load.segment.share_of(load.population());
    Outcome {
        connections: Connections {
            requested: connections,
            attempts: connections,
            local_failures: BTreeMap::from([(kind.into(), connections)]),
            ..Connections::default()
        },
        ..Outcome::of_nothing(load)
    }
}

/// That a part is lost, and how, as a failure.
#[must_use]
pub fn lost_process(phase: &str, complaint: String) -> Failure {
    Failure {
        stage: "local".into(),
        phase: phase.into(),
        kind: PROCESS_LOST.into(),
        count: 1,
        first: complaint,
    }
}

/// That a host is lost, and how, as a failure.
#[must_use]
pub fn lost_host(complaint: String) -> Failure {
    Failure {
        kind: HOST_LOST.into(),
        ..lost_process("window", complaint)
    }
}
