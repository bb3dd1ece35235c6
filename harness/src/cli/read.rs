//! Reading the command line: what was typed, what the environment and the configuration add, and what is in force then.

use super::variables::{self, VARIABLES};
use super::{Cli, config};
use crate::base::error::{Failure, did_you_mean};
use crate::base::terminal::eprintln;
use crate::base::text::visible;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches};
use std::ffi::OsString;

impl Cli {
    /// Reads the process's command line, the TENK_* environment and the configuration; ends the process on a
    /// usage error or `--help`.
    pub fn read() -> Result<Cli, Failure> {
        Cli::from_words(std::env::args_os().collect())
    }

    fn from_words(words: Vec<OsString>) -> Result<Cli, Failure> {
        let understood = |matches| Cli::from_arg_matches(matches).unwrap_or_else(|e| e.exit());
        let words = config::with_gate_settings(words)?;
        let typed = Cli::command().get_matches_from(&words);
        if typed.subcommand_name().is_some() {
            return Ok(understood(&typed));
        }
        let (program, rest) = words.split_at(words.len().min(1));
        let set = variables::words(&typed, |name| std::env::var_os(name))?;
        let with = |added: &[String]| {
            let added = added.iter().map(OsString::from);
            let all = program
                .iter()
                .cloned()
                .chain(added)
                .chain(rest.iter().cloned());
            Cli::command().get_matches_from(all)
        };
        let added = config::words(&with(&set))?;
        let matches = with(&[added, set].concat());
        let mut cli = understood(&matches);
        if !cli.run.output.quiet {
            let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            misspelt(names).iter().for_each(|note| eprintln(note));
        }
        cli.run.command = std::iter::once("tenk".to_string())
            .chain(in_force(&matches))
            .collect();
        Ok(cli)
    }
}

/// What is said of variables that look like a flag's and are none: set, they change nothing, and nobody would know.
fn misspelt(names: impl Iterator<Item = String>) -> Vec<String> {
    let bare = |name: &str| name.strip_prefix(VARIABLES).map(str::to_owned);
    let known: Vec<String> = variables::known()
        .filter_map(|(name, _)| bare(&name))
        .collect();
    let strange = names.filter_map(|name| bare(&name).filter(|name| !known.contains(name)));
    let hinted = strange.map(|name| {
        let hint = did_you_mean(&name, known.iter().map(String::as_str));
        (
            visible(&name),
            hint.replacen('`', &format!("`{VARIABLES}"), 1),
        )
    });
    hinted
        .filter(|(_, hint)| !hint.is_empty())
        .map(|(name, hint)| {
            format!("note: {VARIABLES}{name} is set, and no flag is called so{hint}")
        })
        .collect()
}

/// The flags of a run that are not at their defaults, as words that give the same run without file or variables.
fn in_force(matches: &ArgMatches) -> Vec<String> {
    let flags = config::settings().filter(|flag| config::is_given(matches, flag.get_id().as_str()));
    flags
        .flat_map(|flag| flag_in_force(&flag, matches))
        .collect()
}

fn flag_in_force(flag: &clap::Arg, matches: &ArgMatches) -> Vec<String> {
    let (id, long) = (flag.get_id().as_str(), flag.get_long().unwrap_or_default());
    if matches!(flag.get_action(), ArgAction::SetTrue) {
        let is_on = matches.get_flag(id);
        return is_on.then(|| format!("--{long}")).into_iter().collect();
    }
    let values = matches.get_raw(id).into_iter().flatten();
    let values: Vec<String> = values.map(|v| v.to_string_lossy().into_owned()).collect();
    let values = match flag.get_value_delimiter() {
        Some(delimiter) => vec![values.join(&delimiter.to_string())],
        None => values,
    };
    let words = values
        .into_iter()
        .map(|value| match value.starts_with('-') {
            true => vec![format!("--{long}={value}")],
            false => vec![format!("--{long}"), value],
        });
    words.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_nearly_a_flags_are_said() {
        let notes = |name: &str| misspelt(std::iter::once(name.to_string()));
        let note = notes("TENK_CONN").join("");
        assert!(
            note.contains("TENK_CONN is set") && note.contains("`TENK_CONNS`"),
            "{note}"
        );
        for other in [
            "CONNS",
            "BENCH_ROUNDS",
            "BENCH_SECONDS",
            "BENCH_BLOCKS",
            "WRITE_SCHEMAS",
        ] {
            assert_eq!(notes(&format!("TENK_{other}")), [""; 0]);
        }
        assert!(notes("PATH").is_empty());
    }
}
