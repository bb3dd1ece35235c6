//! The crate's layers: a module imports only from those above it in this list, and no modules import each other.

#[path = "../../loadgen/tests/layers/checker.rs"]
mod checker;

use std::path::Path;

const LAYERS: [&str; 23] = [
    "error",
    "address",
    "sys",
    "models",
    "broken",
    "ledger",
    "limits",
    "trace",
    "http",
    "service",
    "accept",
    "listener",
    "keyboard",
    "blocking",
    "deadlines",
    "by_descriptor",
    "readiness",
    "nonblocking",
    "shared",
    "completion",
    "tasks",
    "processes",
    "program",
];

#[test]
fn modules_import_only_from_layers_above() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(checker::faults(&source, &LAYERS), Vec::<String>::new());
}
