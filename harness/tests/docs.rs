//! What the README and the CI script say must be what the programs are.

use harness::base::error::Exit;
use loadgen::tally::code::Code;
use servers::models::MODELS;

const README: &str = include_str!("../../README.md");
const METHODOLOGY: &str = include_str!("../../docs/METHODOLOGY.md");
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
fn the_methodology_explains_every_reason_code_in_order_and_no_other() {
    let rows = METHODOLOGY
        .lines()
        .filter_map(|line| line.strip_prefix("| W")?.split_once(" | "));
    let codes = rows.map(|(number, rest)| {
        let says = rest.split(" | ").next().unwrap_or_default();
        (format!("W{number}"), says)
    });
    let expected = Code::ALL.map(|code| (code.name().to_string(), code.text()));
    assert_eq!(codes.collect::<Vec<_>>(), expected);
}

#[test]
fn the_readme_explains_every_exit_code() {
    let paragraph = README
        .split("\n\n")
        .find(|p| p.starts_with("**Exit codes.**"));
    let words: Vec<&str> = paragraph
        .expect("a paragraph on exit codes")
        .split(|c: char| !c.is_ascii_alphanumeric())
        .collect();
    for exit in Exit::ALL {
        assert!(
            words.contains(&exit.code().to_string().as_str()),
            "{exit:?}"
        );
    }
}
