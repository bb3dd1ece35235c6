//! What is made of the command line's definition: completions for shells and manual pages.

use super::{Cli, config};
use crate::base::error::{Failure, OrFail, did_you_mean};
use crate::base::terminal::say;
use crate::base::version;
use clap::CommandFactory;
use clap::builder::PossibleValuesParser;
use clap_complete::Shell;
use clap_mangen::Man;
use servers::models;
use std::path::Path;

/// Prints the completions for a shell.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    let models = models::MODELS.iter().map(|model| model.name);
    let names = PossibleValuesParser::new(models.chain(["all"]));
    let scenarios = config::shipped().into_iter();
    // As with the variables' names above: kept for the life of the program.
    let scenarios = scenarios.map(|scenario| &*scenario.name.leak());
    let scenarios = PossibleValuesParser::new(scenarios);
    let mut command = without_hidden(Cli::command())
        .mut_arg("model", |arg| arg.value_parser(names))
        .mut_arg("scenario", |arg| arg.value_parser(scenarios));
    clap_complete::generate(shell, &mut command, "tenk", &mut script);
    say(&String::from_utf8_lossy(&script))
}

/// The command without the sub-commands that are not for people: some shells' completions would offer them.
fn without_hidden(command: clap::Command) -> clap::Command {
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let shown: Vec<clap::Command> = shown.cloned().collect();
    let bare = clap::Command::new("tenk").version(version::SHORT);
    bare.args(command.get_arguments()).subcommands(shown)
}

/// Prints the manual page of this program, or of one of its commands.
pub fn manual(command: Option<&str>) -> Result<(), Failure> {
    say(&page(command)?)
}

fn page(command: Option<&str>) -> Result<String, Failure> {
    let pages = pages();
    let wanted = match command {
        Some(command) => format!("tenk-{command}"),
        None => "tenk".into(),
    };
    let Some(page) = pages.iter().find(|page| page.get_name() == wanted) else {
        let names = pages
            .iter()
            .filter_map(|page| page.get_name().strip_prefix("tenk-"));
        let names: Vec<&str> = names.collect();
        let asked = command.unwrap_or_default();
        return Err(Failure::usage(format!(
            "man {asked}: there is no such command (there are {}){}",
            names.join(", "),
            did_you_mean(asked, names.iter().copied())
        )));
    };
    let mut text = Vec::new();
    let rendered = Man::new(page.clone()).render(&mut text);
    rendered.or_failed("cannot make the manual page")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes all manual pages into a folder, as a package wants them: `tenk.1`, `tenk-gate.1`, …
pub fn manuals_into(folder: &Path) -> Result<(), Failure> {
    let failed = || format!("cannot write the manual pages into {}", folder.display());
    std::fs::create_dir_all(folder).or_failed(failed())?;
    for page in pages() {
        let man = Man::new(page);
        let path = folder.join(man.get_filename());
        let mut text = Vec::new();
        let made = man
            .render(&mut text)
            .and_then(|()| std::fs::write(path, text));
        made.or_failed(failed())?;
    }
    Ok(())
}

/// The program's page, and one for each of its commands that are for people.
fn pages() -> Vec<clap::Command> {
    let mut program = Cli::command();
    program.build();
    let commands = program.get_subcommands();
    let shown = commands.filter(|command| !command.is_hide_set() && command.get_name() != "help");
    let own = |command: &clap::Command| {
        // As they are looked up: `man tenk-gate`. Names are kept for the life of the program, as clap wants them.
        let name: &'static str = format!("tenk-{}", command.get_name()).leak();
        command.clone().name(name)
    };
    let mut pages: Vec<clap::Command> = shown.map(own).collect();
    pages.insert(0, program.clone());
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_for_people_has_a_manual_page_with_its_flags() {
        let folder = tempfile::tempdir().unwrap();
        manuals_into(folder.path()).unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let program = text("tenk.1");
        assert_eq!(program, page(None).unwrap());
        assert!(program.starts_with(".ie") && program.contains(".TH tenk 1"));
        // roff writes a dash as \\-.
        assert!(program.contains(r"\-\-conns") && program.contains("idle\\-scaling"));
        assert!(text("tenk-gate.1").contains(r"\-\-base"));
        assert_eq!(text("tenk-doctor.1"), page(Some("doctor")).unwrap());
        assert!(!folder.path().join("tenk-launch.1").exists());
        let unknown = page(Some("gat")).unwrap_err().message;
        assert!(unknown.contains("did you mean `gate`?"), "{unknown}");
    }
}
