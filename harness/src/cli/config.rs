//! The configuration file and the scenarios: flags of a run, written down.
//!
//! Nothing is parsed or checked here that a flag's own parser does: a setting becomes the words that a person
//! would have typed, and those go to clap. What stands on the command line or in a TENK_* variable wins over a
//! scenario's setting, which wins over one at the file's top level.

use crate::base::error::{Failure, did_you_mean};
use crate::base::text::{visible, without_blanks};
use crate::cli::Cli;
use crate::model::arm::parse_arms;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The scenarios that this program brings with it; a test reads them as if they were a user's.
const SHIPPED: &str = include_str!("../../scenarios.toml");

/// A configuration larger than this is something else.
const MOST_BYTES: u64 = 1 << 20;

/// The command that has a table of its own.
const GATE: &str = "gate";

/// The key that says in words what a scenario is for.
const ABOUT: &str = "about";

/// One key with its value, as the words of a command line.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    key: String,
    words: Vec<String>,
}

/// A scenario: what it is for, and the flags that it stands for.
#[derive(Debug, Clone, Default, PartialEq)]
struct Scenario {
    about: String,
    settings: Vec<Setting>,
}

/// A configuration that was read and found right.
#[derive(Debug, Clone, Default, PartialEq)]
struct Config {
    settings: Vec<Setting>,
    scenarios: BTreeMap<String, Scenario>,
    gate: Vec<Setting>,
}

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
    let Some(path) = gate_config(&typed) else {
        return Ok(words);
    };
    let is_typed = |key: &str| {
        let (long, short) = (format!("--{key}"), key == "quiet" && typed.contains(&"-q"));
        let with_value = format!("{long}=");
        short
            || typed
                .iter()
                .any(|word| *word == long || word.starts_with(&with_value))
    };
    let config = read(Path::new(path))?;
    let is_own = |key: &str| config.gate.iter().any(|setting| setting.key == key);
    let flags: Vec<Arg> = flags_of(Some(GATE)).collect();
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

fn read(path: &Path) -> Result<Config, Failure> {
    let name = path.display().to_string();
    let failed = |what: String| Failure::usage(visible(&format!("--config {name}: {what}")));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| failed(e.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(failed(
            "more than 1 MiB; this is no configuration".to_string(),
        ));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(&name, text),
        Err(e) => {
            let before = String::from_utf8_lossy(&bytes[..e.valid_up_to()]).into_owned();
            let source = Source::new(&name, &before);
            Err(source.fault(before.len(), "this is not UTF-8 text"))
        }
    }
}

fn parse(name: &str, text: &str) -> Result<Config, Failure> {
    let source = Source::new(name, text);
    let document = DeTable::parse(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        source.fault(at, &format!("this is not TOML: {}", e.message()))
    })?;
    let mut config = Config::default();
    for (key, value) in in_order(document.get_ref()) {
        match value.get_ref() {
            DeValue::Table(table) if key.get_ref() == "scenario" => {
                config.scenarios = source.scenarios(table)?;
            }
            DeValue::Table(table) if key.get_ref() == GATE => {
                let source = Source::of_gate(name, text);
                let settings = in_order(table).into_iter();
                let settings = settings.map(|(key, value)| source.setting(key, value));
                config.gate = settings.collect::<Result<_, _>>()?;
            }
            _ => config.settings.push(source.setting(key, value)?),
        }
    }
    Ok(config)
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// The entries as they stand in the file, so that the first mistake is the one that is told.
fn in_order<'a, 'b>(table: &'b DeTable<'a>) -> Vec<(&'b Key<'a>, &'b Value<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// A text with its name, for messages that say where a mistake is.
struct Source<'a> {
    name: &'a str,
    text: &'a str,
    flags: Vec<Arg>,
    /// The words before the flags.
    command: &'static [&'static str],
}

impl<'a> Source<'a> {
    fn new(name: &'a str, text: &'a str) -> Source<'a> {
        Source {
            name,
            text,
            flags: settings().collect(),
            command: &["tenk"],
        }
    }

    fn of_gate(name: &'a str, text: &'a str) -> Source<'a> {
        let flags = flags_of(Some(GATE)).filter(|flag| flag.get_long() != Some("config"));
        Source {
            flags: flags.collect(),
            command: &["tenk", GATE],
            ..Source::new(name, text)
        }
    }

    fn fault(&self, at: usize, what: &str) -> Failure {
        let before = self.text.as_bytes().iter().take(at);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        let text = format!("{}:{line}: {what}", self.name);
        Failure::usage(visible(&text))
    }

    fn scenarios(&self, table: &DeTable) -> Result<BTreeMap<String, Scenario>, Failure> {
        let mut scenarios = BTreeMap::new();
        for (name, value) in in_order(table) {
            let DeValue::Table(entries) = value.get_ref() else {
                let what = format!(
                    "scenario.{0}: a scenario is a table, headed [scenario.{0}]",
                    name.get_ref()
                );
                return Err(self.fault(name.span().start, &what));
            };
            scenarios.insert(name.get_ref().to_string(), self.scenario(entries)?);
        }
        Ok(scenarios)
    }

    fn scenario(&self, entries: &DeTable) -> Result<Scenario, Failure> {
        let mut scenario = Scenario::default();
        for (key, value) in in_order(entries) {
            match value.get_ref() {
                DeValue::String(text) if key.get_ref() == ABOUT => {
                    scenario.about = text.to_string();
                }
                _ => scenario.settings.push(self.setting(key, value)?),
            }
        }
        Ok(scenario)
    }

    fn setting(&self, key: &Key, value: &Value) -> Result<Setting, Failure> {
        let name: &str = key.get_ref();
        let Some(flag) = self.flags.iter().find(|f| f.get_long() == Some(name)) else {
            let names = self.flags.iter().filter_map(Arg::get_long);
            let near = names
                .chain(["scenario", GATE, ABOUT])
                .filter(|near| *near != name);
            let near = did_you_mean(name, near);
            let what = format!(
                "unknown key `{name}`{near} (keys are the long flags of a run, without dashes in front)"
            );
            return Err(self.fault(key.span().start, &what));
        };
        let fault = |at: Range<usize>, what: &str| self.fault(at.start, &format!("{name}: {what}"));
        let words = words_of(flag, name, value).map_err(|(at, what)| fault(at, &what))?;
        check_as(self.command, &words).map_err(|what| fault(value.span(), &what))?;
        check_models(&words).map_err(|what| fault(value.span(), &what))?;
        let key = name.to_string();
        Ok(Setting { key, words })
    }
}

/// What is wrong, and where.
type Fault = (Range<usize>, String);

/// The value as a person would have typed it.
fn words_of(flag: &Arg, name: &str, value: &Value) -> Result<Vec<String>, Fault> {
    let wrong = |what: &str| Err((value.span(), what.to_string()));
    let is_switch = matches!(flag.get_action(), ArgAction::SetTrue);
    let items = match value.get_ref() {
        DeValue::Boolean(on) if is_switch => {
            return Ok(on.then(|| format!("--{name}")).into_iter().collect());
        }
        _ if is_switch => return wrong("true or false is needed"),
        DeValue::Array(items) if items.is_empty() => {
            return wrong("an empty list; leave the key out instead");
        }
        DeValue::Array(_) if !matches!(flag.get_action(), ArgAction::Append) => {
            return wrong("one value is needed, not a list");
        }
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![value],
    };
    let texts: Result<Vec<String>, Fault> = items.into_iter().map(text_of).collect();
    let texts = texts?;
    Ok(match flag.get_value_delimiter() {
        Some(delimiter) => {
            let list = texts.join(&delimiter.to_string());
            vec![format!("--{name}={}", without_blanks(&list, delimiter))]
        }
        None => texts.iter().map(|t| format!("--{name}={t}")).collect(),
    })
}

fn text_of(value: &Value) -> Result<String, Fault> {
    let wrong = |what: &str| Err((value.span(), what.to_string()));
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(number.to_string()),
            Err(_) => wrong("this number is too large"),
        },
        DeValue::Float(number) => Ok(number.as_str().to_string()),
        DeValue::Boolean(_) => wrong("a number or a text is needed, not true or false"),
        DeValue::Datetime(_) => wrong("a number or a text is needed, not a date"),
        DeValue::Array(_) => wrong("a number or a text is needed, not a list in a list"),
        DeValue::Table(_) => wrong("a number or a text is needed, not a table"),
    }
}

/// The names of models, which clap takes for any words.
fn check_models(words: &[String]) -> Result<(), String> {
    let lists = words
        .iter()
        .filter_map(|word| word.strip_prefix("--model="));
    let list = lists.collect::<Vec<_>>().join(",");
    match parse_arms(&list) {
        Err(failure) if !list.is_empty() => {
            Err(failure.message.trim_start_matches("--model: ").to_string())
        }
        _ => Ok(()),
    }
}

/// Lets clap judge the words of a run's flags alone; what it says, on one line and without its advice about the command
/// line.
pub fn check(words: &[String]) -> Result<(), String> {
    check_as(&["tenk"], words)
}

fn check_as(command: &[&str], words: &[String]) -> Result<(), String> {
    let words = command
        .iter()
        .copied()
        .chain(words.iter().map(String::as_str));
    let Err(error) = Cli::command().try_get_matches_from(words) else {
        return Ok(());
    };
    // What they need beside them stands elsewhere.
    if error.kind() == ErrorKind::MissingRequiredArgument {
        return Ok(());
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let said = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    Err(said.trim_start_matches("error: ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USAGE: &str = include_str!("../../../docs/USAGE.md");

    fn fault(text: &str) -> String {
        let failure = parse("tenk.toml", text).unwrap_err();
        assert_eq!(failure.exit, 2);
        failure.message
    }

    fn words_of(text: &str) -> String {
        let settings = parse("tenk.toml", text).unwrap().settings;
        let words = settings.into_iter().flat_map(|s| s.words);
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn values_become_the_words_of_a_command_line() {
        let text = r#"
            model = ["epoll", "prefork:accept=mutex,workers=64"]
            conns = [50, "10k", 0x10, 1_000]
            rate = 0.5
            quiet = true
            dry-run = false
            server-cpus = "0"
            seed = 18446744073709551615
        "#;
        assert_eq!(
            words_of(text),
            "--model=epoll --model=prefork:accept=mutex,workers=64 --conns=50,10k,16,1000 --rate=0.5 --quiet \
             --server-cpus=0 --seed=18446744073709551615"
        );
    }

    #[test]
    fn every_mistake_has_its_line_its_key_and_the_right_word() {
        for (text, expected) in [
            (
                "\nconn = 5",
                "tenk.toml:2: unknown key `conn`; did you mean `conns`?",
            ),
            (
                "requests_per_conn = 1",
                "tenk.toml:1: unknown key `requests_per_conn`; did you mean `requests-per-conn`?",
            ),
            ("config = 'x'", "tenk.toml:1: unknown key `config`"),
            ("scenaro = 1", "did you mean `scenario`?"),
            (
                "\nmodel = ['epoll', 'pol']",
                "tenk.toml:2: model: no model is called 'pol'",
            ),
            (
                "\n\nconns = 'many'",
                "tenk.toml:3: conns: invalid value 'many' for '--conns <COUNT,…>': `many` is not a whole number",
            ),
            ("conns = -5", "tenk.toml:1: conns: invalid value '-5'"),
            ("conns = []", "tenk.toml:1: conns: an empty list"),
            (
                "conns = [1, [2]]",
                "tenk.toml:1: conns: a number or a text is needed, not a list in a list",
            ),
            (
                "conns = [1,\n true]",
                "tenk.toml:2: conns: a number or a text is needed, not true",
            ),
            ("conns = 99999999999999999999999", "tenk.toml:1: conns: "),
            (
                "repeat = [1, 2]",
                "tenk.toml:1: repeat: one value is needed, not a list",
            ),
            ("rate = nan", "a rate lies between"),
            (
                "seed = 1979-05-27",
                "seed: a number or a text is needed, not a date",
            ),
            (
                "quiet = 'yes'",
                "tenk.toml:1: quiet: true or false is needed",
            ),
            (
                "format = 'tabel'",
                "[possible values: table, json, csv, md]; tip: a similar value exists: 'table'",
            ),
            (
                "[conns]\na = 1",
                "tenk.toml:1: conns: a number or a text is needed, not a table",
            ),
            (
                "[scenario]\nmine = 5",
                "tenk.toml:2: scenario.mine: a scenario is a table, headed [scenario.mine]",
            ),
            ("scenario = 'quick'", "unknown key `scenario`"),
            (
                "[scenario.a]\nconns = 1\nconss = 2",
                "tenk.toml:3: unknown key `conss`; did you mean `conns`?",
            ),
            ("[scenario.a]\nabout = 5", "unknown key `about`"),
            ("conns = 1\nconns = 2", "tenk.toml:2: this is not TOML: "),
            ("conns == 1", "tenk.toml:1: this is not TOML: "),
            ("'\u{1b}[31m' = 1", "tenk.toml:1: this is not TOML: "),
            (r#""\u001b[31m" = 1"#, r"unknown key `\u{1b}[31m`"),
        ] {
            let message = fault(text);
            assert!(message.contains(expected), "{text}\n{message}\n{expected}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
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
        assert_eq!(with_gate_settings(path).unwrap_err().exit, 2);
    }

    #[test]
    fn files_that_are_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, b"a\n\xff").unwrap();
        let message = read(&file).unwrap_err().message;
        assert!(
            message.ends_with("x:2: this is not UTF-8 text"),
            "{message}"
        );
        for (path, expected) in [
            ("/dev/zero", "more than 1 MiB"),
            ("/nowhere", "No such file"),
        ] {
            let message = read(Path::new(path)).unwrap_err().message;
            assert!(
                message.contains(path) && message.contains(expected),
                "{message}"
            );
        }
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

    fn entry() -> impl Strategy<Value = String> {
        let flags: Vec<String> = settings()
            .filter_map(|f| f.get_long().map(String::from))
            .collect();
        let value = prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_map(|n| n.to_string()),
            "'[^'\\n]{0,8}'",
            "\\[\\[?[0-9', ]{0,9}\\]",
            Just("true".to_string()),
            Just("{a = 1}".to_string()),
        ];
        (prop::sample::select(flags), value).prop_map(|(key, value)| format!("{key} = {value}\n"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn arbitrary_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse("x", &String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn arbitrary_values_are_answered_on_one_line(entries in prop::collection::vec(entry(), 0..4), table in any::<bool>()) {
            let head = if table { "[scenario.a]\n" } else { "" };
            if let Err(failure) = parse("x", &format!("{head}{}", entries.concat())) {
                prop_assert!(failure.message.starts_with("x:") && failure.exit == 2);
                prop_assert!(!failure.message.contains(char::is_control));
            }
        }
    }
}
