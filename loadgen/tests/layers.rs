//! The crate's layers: a module imports only from those above it in this list, and no modules import each other.

#[path = "layers/checker.rs"]
mod checker;

use std::path::Path;

const LAYERS: [&str; 7] = [
    "base", "load", "protocol", "tally", "worker", "fleet", "cmd",
];

#[test]
fn modules_import_only_from_layers_above() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(checker::faults(&source, &LAYERS), Vec::<String>::new());
}
