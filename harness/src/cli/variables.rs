//! The TENK_* environment: each variable stands for a flag of a run, as the words that a person would have typed.

use super::config::{check, run_flags};
use crate::base::error::Failure;
use crate::base::text::{visible, without_blanks};
use clap::{Arg, ArgAction, ArgMatches};
use std::ffi::OsString;

/// How the variables begin that stand for flags.
pub const VARIABLES: &str = "TENK_";

/// Every variable's name with its flag.
pub fn known() -> impl Iterator<Item = (String, Arg)> {
    run_flags().map(|flag| {
        let long = flag.get_long().unwrap_or_default().to_uppercase();
        (format!("{VARIABLES}{}", long.replace('-', "_")), flag)
    })
}

/// The words of the variables that are set and whose flags were not typed. An empty one is not set.
pub fn words(
    typed: &ArgMatches,
    read: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    for (name, flag) in known() {
        let Some(value) =
            read(&name).filter(|_| !super::config::is_given(typed, flag.get_id().as_str()))
        else {
            continue;
        };
        let fault = |what: &str| Failure::usage(visible(&format!("{name}: {what}")));
        let value = value
            .into_string()
            .map_err(|_| fault("this is not UTF-8 text"))?;
        if value.trim().is_empty() {
            continue;
        }
        let own = words_of(&flag, &value).map_err(|what| fault(&what))?;
        check(&own).map_err(|what| fault(&what))?;
        words.extend(own);
    }
    Ok(words)
}

fn words_of(flag: &Arg, value: &str) -> Result<Vec<String>, String> {
    let long = flag.get_long().unwrap_or_default();
    if matches!(flag.get_action(), ArgAction::SetTrue) {
        return match value.trim().to_lowercase().as_str() {
            "1" | "yes" | "on" | "true" => Ok(vec![format!("--{long}")]),
            "0" | "no" | "off" | "false" => Ok(Vec::new()),
            other => Err(format!(
                "`{other}` is neither yes (1, yes, on, true) nor no (0, no, off, false)"
            )),
        };
    }
    Ok(vec![match flag.get_value_delimiter() {
        Some(delimiter) => format!("--{long}={}", without_blanks(value, delimiter)),
        None => format!("--{long}={value}"),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Exit;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn of(name: &str, value: &str, typed: &[&str]) -> Result<String, String> {
        let typed = [&["tenk"], typed].concat();
        let typed = Cli::command().get_matches_from(typed);
        let read = |asked: &str| (asked == name).then(|| OsString::from(value));
        let words = words(&typed, read);
        words.map(|words| words.join(" ")).map_err(|failure| {
            assert_eq!(failure.exit, Exit::Usage);
            failure.message
        })
    }

    #[test]
    fn switches_know_the_usual_words() {
        for yes in ["1", "yes", "on", "true", "TRUE", " 1 "] {
            assert_eq!(of("TENK_QUIET", yes, &[]).unwrap(), "--quiet", "{yes}");
        }
        for no in ["0", "no", "off", "false", "", " "] {
            assert_eq!(of("TENK_QUIET", no, &[]).unwrap(), "", "{no}");
        }
        let wrong = of("TENK_QUIET", "maybe", &[]).unwrap_err();
        assert!(
            wrong.starts_with("TENK_QUIET: `maybe` is neither yes"),
            "{wrong}"
        );
    }

    #[test]
    fn an_empty_variable_is_not_set_and_blanks_in_lists_do_not_count() {
        for name in ["TENK_RATE", "TENK_CONFIG", "TENK_SCENARIO", "TENK_CONNS"] {
            assert_eq!(of(name, "", &[]).unwrap(), "");
        }
        assert_eq!(of("TENK_CONNS", "5, 6", &[]).unwrap(), "--conns=5,6");
        assert_eq!(of("TENK_SERVER", "a b", &[]).unwrap(), "--server=a b");
        assert_eq!(of("TENK_CLIENT_CPUS", "0", &[]).unwrap(), "--client-cpus=0");
    }

    #[test]
    fn what_is_typed_wins_and_what_is_wrong_names_its_variable() {
        assert_eq!(of("TENK_CONNS", "many", &["--conns", "5"]).unwrap(), "");
        let wrong = of("TENK_CONNS", "many", &[]).unwrap_err();
        assert!(
            wrong.starts_with("TENK_CONNS: invalid value 'many'"),
            "{wrong}"
        );
        assert!(!wrong.contains('\n'), "{wrong}");
    }
}
