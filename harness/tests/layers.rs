//! The crate's layers: a module imports only from those above it in this list, and no modules import each other. The
//! checker's own tests, which show that it finds an arrow the wrong way, run here too.

#[path = "../../loadgen/tests/layers/checker.rs"]
mod checker;

use std::path::Path;

const LAYERS: [&str; 11] = [
    "base", "model", "cli", "plan", "trial", "judge", "store", "analysis", "render", "lab", "cmd",
];

#[test]
fn modules_import_only_from_layers_above() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(checker::faults(&source, &LAYERS), Vec::<String>::new());
}
