//! What the README and the CI script say must be what the programs are.

use servers::models::MODELS;

const README: &str = include_str!("../../README.md");
const CI: &str = include_str!("../../.ci/run");

#[test]
fn the_readme_lists_every_model_once_in_order() {
    let rows = README
        .lines()
        .filter_map(|line| line.strip_prefix("| [`")?.split_once("`]"));
    let names: Vec<&str> = rows.map(|(name, _)| name).collect();
    let models: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
    assert_eq!(names, models);
    for model in MODELS {
        assert!(
            README.contains(model.summary),
            "{}: {}",
            model.name,
            model.summary
        );
    }
}

#[test]
fn ci_runs_the_readmes_two_commands() {
    let commands = README.lines().skip_while(|line| *line != "## Two commands");
    let commands = commands.skip_while(|line| *line != "```sh").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| *line != "```")
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        // CI keeps the run quiet and its results out of the tree.
        let words = command.replacen("cargo run -p", "cargo run -q -p", 1);
        assert!(CI.contains(command) || CI.contains(&words), "{command}");
    }
}

#[test]
fn every_verdict_code_is_explained() {
    let judge = include_str!("../src/judge/mod.rs");
    let code = |text: &str| -> Vec<String> {
        text.match_indices("W")
            .filter_map(|(at, _)| text.get(at..at + 3))
            .filter(|c| c[1..].parse::<u8>().is_ok())
            .map(String::from)
            .collect()
    };
    for code in code(judge) {
        assert!(README.contains(&format!("| {code} |")), "{code}");
    }
}
