//! Parts of a load of which no outcome came: their connections are counted as lost.

use std::collections::BTreeMap;

use super::outcome::{Connections, Failure, Outcome, PROCESS_LOST};
use crate::load::Load;

/// The outcome of a part of which nothing is known but what it was to do.
#[must_use]
pub fn nothing_of(load: Load) -> Outcome {
    let connections = load.segment.share_of(load.population());
    Outcome {
        connections: Connections {
            requested: connections,
            attempts: connections,
            local_failures: BTreeMap::from([(PROCESS_LOST.into(), connections)]),
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
