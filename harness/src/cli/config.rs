//! The configuration file and the scenarios: flags of a run, written down.
//!
//! Nothing is parsed or checked here that a flag's own parser does: a setting becomes the words that a person
//! would have typed, and those go to clap. What stands on the command line or in a TENK_* variable wins over a
//! scenario's setting, which wins over one at the file's top level.

mod source;

pub use source::check;

use crate::base::error::{Failure, did_you_mean};
use crate::base::text::visible;
use crate::cli::Cli;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory};
use source::{Config, Scenario, Setting, parse, read};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The scenarios that this program brings with it; a test reads them as if they were a user's.
const SHIPPED: &str = include_str!("../../scenarios.toml");

/// The command that has a table of its own.
const GATE: &str = "gate";

/// The words that `--config` and `--scenario` add to the command line: those of flags that were not given.
pub fn words(matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let config = match matches.get_one::<PathBuf>("config") {
        Some(path) => read(path)?,
        None => Config::default(),
    };
    let chosen = match matches.get_one::<String>("scenario") {
        Some(name) => find(name, &config.scenarios)?.settings,
        None => Vec::new(),
    };
    // A flag's name in the code is its name on the command line, with underscores.
    let is_given = |setting: &Setting| is_given(matches, &setting.key.replace('-', "_"));
    let is_chosen = |setting: &Setting| chosen.iter().any(|c| c.key == setting.key);
    let rest = config.settings.iter().filter(|s| !is_chosen(s));
    let settings = rest.chain(&chosen).filter(|s| !is_given(s));
    Ok(settings.flat_map(|s| s.words.clone()).collect())
}

/// Whether the flag stands on the command line, typed or for a variable.
pub fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// The flags of a run.
pub fn run_flags() -> impl Iterator<Item = Arg> {
    flags_of(None)
}

/// The flags of a run that a configuration may hold.
pub fn settings() -> impl Iterator<Item = Arg> {
    run_flags().filter(|flag| !matches!(flag.get_long(), Some("config" | "scenario")))
}

/// The flags of a command; none named: of a run.
fn flags_of(command: Option<&str>) -> impl Iterator<Item = Arg> {
    let mut program = Cli::command();
    program.build();
    let own = match command {
        Some(name) => program.find_subcommand(name),
        None => Some(&program),
    };
    let flags: Vec<Arg> = own
        .into_iter()
        .flat_map(|c| c.get_arguments().cloned())
        .collect();
    flags
        .into_iter()
        .filter(|flag| !matches!(flag.get_long(), None | Some("help" | "version")))
}

/// The command line of a gate with what its `--config` adds: the file's table [gate], and of its top level what a gate
/// has as well. Any other command line stays as it is.
pub fn with_gate_settings(words: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let typed: Vec<&str> = words
        .iter()
        .map(|word| word.to_str().unwrap_or_default())
        .collect();
    let flags: Vec<Arg> = flags_of(Some(GATE)).collect();
    let Some(path) = gate_config(&typed) else {
        return Ok(words);
    };
    let is_typed = |key: &str| {
        let long = format!("--{key}");
        let with_value = format!("{long}=");
        let flag = flags.iter().find(|flag| flag.get_long() == Some(key));
        let short = flag
            .and_then(Arg::get_short)
            .map(|letter| format!("-{letter}"));
        let is_short = |word: &str| short.as_ref().is_some_and(|short| word.starts_with(short));
        typed
            .iter()
            .any(|word| *word == long || word.starts_with(&with_value) || is_short(word))
    };
    let config = read(Path::new(path))?;
    let is_own = |key: &str| config.gate.iter().any(|setting| setting.key == key);
    let has_command = is_typed("base-cmd") || is_own("base-cmd");
    let shared = config.settings.iter().filter(|setting| {
        let key = setting.key.as_str();
        let is_flag = flags.iter().any(|flag| flag.get_long() == Some(key));
        // The models of a run are not what a gate of two commands compares.
        is_flag && !is_own(key) && !(key == "model" && has_command)
    });
    let added = shared
        .chain(&config.gate)
        .filter(|setting| !is_typed(&setting.key));
    let added: Vec<OsString> = added
        .flat_map(|s| s.words.iter().map(OsString::from))
        .collect();
    let (before, after) = words.split_at(2);
    Ok([before, &added, after].concat())
}

/// The file that a gate's command line names.
fn gate_config<'a>(typed: &[&'a str]) -> Option<&'a str> {
    let rest = typed
        .get(1)
        .filter(|word| **word == GATE)
        .map(|_| &typed[2..])?;
    let own = rest.iter().find_map(|word| word.strip_prefix("--config="));
    own.or_else(|| {
        let at = rest.iter().position(|word| *word == "--config")?;
        rest.get(at + 1).copied()
    })
}

/// A scenario that this program brings with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shipped {
    /// What `--scenario` calls it.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// The words of the command line that it stands for.
    pub words: Vec<String>,
}

/// All shipped scenarios, by name.
pub fn shipped() -> Vec<Shipped> {
    // That it can be read is tested; a program without its scenarios still does everything else.
    let config = parse("scenarios.toml", SHIPPED).unwrap_or_default();
    let shipped = |(name, scenario): (String, Scenario)| Shipped {
        name,
        about: scenario.about,
        words: scenario
            .settings
            .into_iter()
            .flat_map(|s| s.words)
            .collect(),
    };
    config.scenarios.into_iter().map(shipped).collect()
}

/// The scenario of this name: the user's own before a shipped one.
fn find(name: &str, own: &BTreeMap<String, Scenario>) -> Result<Scenario, Failure> {
    let shipped = parse("scenarios.toml", SHIPPED)?.scenarios;
    let found = own.get(name).or_else(|| shipped.get(name));
    found.cloned().ok_or_else(|| {
        let mut names: Vec<&str> = own.keys().chain(shipped.keys()).map(|n| &**n).collect();
        names.sort_unstable();
        names.dedup();
        Failure::usage(visible(&format!(
            "--scenario {name}: there is none of this name (there are {}){}",
            names.join(", "),
            did_you_mean(name, names.iter().copied())
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Exit;

    const USAGE: &str = include_str!("../../../docs/USAGE.md");

    fn fault(text: &str) -> String {
        let failure = parse("tenk.toml", text).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        failure.message
    }

    #[test]
    fn what_is_typed_wins_over_the_scenario_and_that_over_the_top_level() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tenk.toml");
        let text = "conns = [1, 2]\nrepeat = 7\nwarmup = '2s'\n[scenario.mine]\nrepeat = 8\nwarmup = '3s'\nmodel = 'epoll'";
        std::fs::write(&file, text).unwrap();
        let added = |typed: &[&str]| {
            let file = file.display().to_string();
            let typed = ["tenk", "--config", &file]
                .into_iter()
                .chain(typed.iter().copied());
            words(&Cli::command().get_matches_from(typed)).map(|words| words.join(" "))
        };
        assert_eq!(added(&[]).unwrap(), "--conns=1,2 --repeat=7 --warmup=2s");
        assert_eq!(
            added(&["--scenario", "mine", "--warmup", "9s"]).unwrap(),
            "--conns=1,2 --repeat=8 --model=epoll"
        );
        assert!(
            added(&["--scenario", "quick"])
                .unwrap()
                .contains("--conns=50,1000")
        );
        let message = added(&["--scenario", "mien"]).unwrap_err().message;
        assert_eq!(
            message,
            "--scenario mien: there is none of this name (there are churn, full, idle-scaling, mine, quick); did you mean `mine`?"
        );
    }

    #[test]
    fn a_gate_takes_its_own_table_and_of_the_top_level_what_it_knows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tenk.toml");
        let text = "conns = '1, 2'\nrepeat = 7\nmodel = 'poll'\nwarmup = '2s'\n[gate]\nbase = 'main'\nwarmup = '3s'\nblocks = 9";
        std::fs::write(&file, text).unwrap();
        let words = |typed: &[&str]| {
            let file = file.display().to_string();
            let all = ["tenk", "gate", "--config", &file];
            let all = all.iter().chain(typed).map(OsString::from).collect();
            let words = with_gate_settings(all).unwrap();
            let words: Vec<String> = words
                .into_iter()
                .map(|w| w.into_string().unwrap())
                .collect();
            words.join(" ").replace(&format!(" --config {file}"), "")
        };
        assert_eq!(
            words(&["--blocks=3"]),
            "tenk gate --conns=1,2 --model=poll --base=main --warmup=3s --blocks=3"
        );
        assert_eq!(
            words(&["--warmup", "1s", "--base-cmd", "x", "--conns", "5"]),
            "tenk gate --base=main --blocks=9 --warmup 1s --base-cmd x --conns 5"
        );
        let run = ["tenk", "--conns", "5"].map(OsString::from).to_vec();
        assert_eq!(with_gate_settings(run.clone()).unwrap(), run);
        assert!(fault("[gate]\nrepeat = 3").starts_with("tenk.toml:2: unknown key `repeat`"));
        assert!(
            fault("[gate]\nblocks = 'x'").starts_with("tenk.toml:2: blocks: invalid value 'x'")
        );
        let path = ["tenk", "gate", "--config", "/nowhere"]
            .map(OsString::from)
            .to_vec();
        assert_eq!(with_gate_settings(path).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn every_shipped_scenario_is_a_run_with_words_of_its_own() {
        let shipped = shipped();
        let names: Vec<&str> = shipped.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["churn", "full", "idle-scaling", "quick"]);
        assert!(
            shipped
                .iter()
                .all(|s| !s.about.is_empty() && s.words.len() > 3)
        );
        // The example in docs/USAGE.md is one too.
        let example = USAGE.split("```toml").nth(1).unwrap();
        let example = parse("USAGE.md", example.split("```").next().unwrap()).unwrap();
        assert_eq!(
            (
                example.settings.len(),
                example.scenarios["mine"].settings.len()
            ),
            (2, 5)
        );
    }

    #[test]
    fn a_flags_name_in_the_code_is_its_name_on_the_command_line() {
        for flag in run_flags() {
            assert_eq!(
                flag.get_long().unwrap().replace('-', "_"),
                flag.get_id().as_str()
            );
        }
    }
}
