//! The registry and the binaries must not drift apart.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use servers::models::MODELS;

#[test]
fn every_page_is_registered_and_every_entry_has_a_page() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    let files: BTreeSet<String> = std::fs::read_dir(pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let names: BTreeSet<String> = MODELS
        .iter()
        .map(|model| format!("{}.rs", model.name))
        .collect();
    assert_eq!(files, names);
}

#[test]
fn a_page_fits_on_a_page_and_says_what_it_is() {
    for model in MODELS {
        let path = format!("{}/src/bin/{}.rs", env!("CARGO_MANIFEST_DIR"), model.name);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines <= 100, "{path} has {lines} lines");
        assert!(text.starts_with("//! "), "{path} must open with what it is");
        assert!(
            text.contains(&format!("program::main(\"{}\"", model.name)),
            "{path} runs under another name"
        );
        assert!(
            text.contains("--work-iters"),
            "{path} must say what a handler's cost means there"
        );
        for call in [".socket(", ".bind", ".listen()", "accept", "recv", "send"] {
            assert!(text.contains(call), "{path} does not show {call}");
        }
        assert!(!text.contains("unsafe"), "{path}: unsafe belongs in sys");
    }
}

/// The README belongs to the workspace, and is not there in a packaged crate.
#[test]
fn the_readme_names_every_model() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let Ok(text) = std::fs::read_to_string(path) else {
        return eprintln!("skipped: there is no README here");
    };
    for model in MODELS {
        assert!(
            text.contains(&format!("`{}`", model.name)),
            "README.md does not name {}",
            model.name
        );
    }
}

#[test]
fn help_shows_a_models_own_flags_and_only_those() {
    let own: BTreeSet<&str> = MODELS
        .iter()
        .flat_map(|model| model.variants)
        .map(|variant| variant.key)
        .collect();
    for model in MODELS {
        let key = format!("CARGO_BIN_EXE_{}", model.name);
        let output = Command::new(std::env::var(key).unwrap())
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        let in_one_line: Vec<&str> = help.split_whitespace().collect();
        assert!(in_one_line.join(" ").contains(model.summary), "{help}");
        for key in &own {
            let takes_it = model.variants.iter().any(|variant| variant.key == *key);
            assert_eq!(
                help.contains(&format!("--{key}")),
                takes_it,
                "{}: --{key}",
                model.name
            );
        }
    }
}
