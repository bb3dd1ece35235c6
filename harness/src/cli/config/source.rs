//! Reading a configuration's text: every key is a long flag, its value becomes the words that a person would have typed,
//! and a mistake is told with the line that it stands in.

use super::{GATE, flags_of, settings};
use crate::base::error::{Failure, did_you_mean};
use crate::base::text::{visible, without_blanks};
use crate::cli::Cli;
use crate::model::arm::parse_arms;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, CommandFactory};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A configuration larger than this is something else.
const MOST_BYTES: u64 = 1 << 20;

/// The key that says in words what a scenario is for.
const ABOUT: &str = "about";

/// One key with its value, as the words of a command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The key, which is the flag's name.
    pub key: String,
    /// The words.
    pub words: Vec<String>,
}

/// A scenario: what it is for, and the flags that it stands for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scenario {
    /// What it is for.
    pub about: String,
    /// The flags.
    pub settings: Vec<Setting>,
}

/// A configuration that was read and found right.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// What stands at its top level.
    pub settings: Vec<Setting>,
    /// Its tables [scenario.NAME], by name.
    pub scenarios: BTreeMap<String, Scenario>,
    /// Its table [gate].
    pub gate: Vec<Setting>,
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Config, Failure> {
    let name = path.display().to_string();
    let failed = |what: String| Failure::usage(visible(&format!("--config {name}: {what}")));
    let mut bytes = Vec::new();
    let failed_by = |e: io::Error| failed(e.to_string()).caused_by(e);
    let file = File::open(path).map_err(failed_by)?;
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(failed_by)?;
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

/// Reads a text of this name.
pub fn parse(name: &str, text: &str) -> Result<Config, Failure> {
    let source = Source::new(name, text);
    let document = DeTable::parse(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        source
            .fault(at, &format!("this is not TOML: {}", e.message()))
            .caused_by(e)
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
    use crate::base::error::Exit;
    use proptest::prelude::*;

    fn fault(text: &str) -> String {
        let failure = parse("tenk.toml", text).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
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

    /// What is written, and what is said about it.
    const MISTAKES: &[(&str, &str)] = &[
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
    ];

    #[test]
    fn every_mistake_has_its_line_its_key_and_the_right_word() {
        for (text, expected) in MISTAKES {
            let message = fault(text);
            assert!(message.contains(expected), "{text}\n{message}\n{expected}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
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
                prop_assert!(failure.message.starts_with("x:") && failure.exit == Exit::Usage);
                prop_assert!(!failure.message.contains(char::is_control));
            }
        }
    }
}
