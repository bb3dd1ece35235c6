//! A host that was lost in a trial: what comes after it would be of other hosts than what came before, so that the run
//! ends with it.

use super::evidence::Evidence;
use crate::base::shell::quoted;
use crate::base::text::visible;
use crate::plan::Plan;
use crate::plan::hosts::ServerHost;
use loadgen::fleet::hosts::flags::{Via, Words};

/// How many of them are named.
const MOST_NAMED: usize = 3;

/// Load hosts that a trial lost, beyond what was to be tolerated, and what mends it.
pub fn of_load_hosts(plan: &Plan, evidence: &Evidence) -> Option<String> {
    let flags = plan.load_hosts.as_ref()?;
    let outcome = evidence
        .outcome
        .as_ref()
        .filter(|outcome| !outcome.degraded)?;
    let lost = outcome.hosts.iter();
    let lost = lost.filter_map(|host| Some((visible(&host.name), host.lost.as_ref()?)));
    let lost: Vec<(String, &String)> = lost.collect();
    let (first, _) = lost.first()?;
    let told = lost.iter().take(MOST_NAMED);
    let told: Vec<String> = told
        .map(|(name, why)| format!("{name} was lost: {why}"))
        .collect();
    let more = match lost.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let go_on = match lost.len() < outcome.hosts.len() {
        true => format!(
            ", and with `--tolerate-loss {}` a run goes on without so many, marked as degraded",
            lost.len()
        ),
        false => String::new(),
    };
    let look = is_there(&flags.via(), first, &flags.agent());
    Some(format!("{}{more}; {look}{go_on}", told.join("; ")))
}

/// That the server's host was lost, and what mends it.
pub fn of_server_host(host: &ServerHost, why: &str) -> String {
    let look = is_there(&host.via, &host.name, &host.agent);
    format!("{} was lost: {why}; {look}", visible(&host.name))
}

/// The command that shows whether an agent can be had on a host: without a head it ends at once.
fn is_there(via: &Via, host: &str, agent: &Words) -> String {
    let command = via.command(host, agent);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
    format!(
        "once `{} </dev/null` ends without a word, its agent is there again",
        words.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;
    use loadgen::tally::outcome::{HostFigures, Outcome};

    fn plan() -> Plan {
        let words =
            "tenk --model epoll --server-address 192.0.2.9 --conns 30 --load-hosts a,b,c --agent";
        let words = words.split(' ').chain(["/opt/tenk/bin/tenk agent"]);
        Plan::new(&Cli::try_parse_from(words).unwrap().run).unwrap()
    }

    fn evidence(plan: &Plan, lost: [Option<&str>; 3]) -> Evidence {
        let nothing = Outcome::of_nothing(plan.trials()[0].load.clone());
        let hosts = lost
            .iter()
            .zip(["a", "b", "c"])
            .map(|(lost, name)| HostFigures {
                name: name.into(),
                lost: lost.map(String::from),
                ..HostFigures::of(&nothing)
            });
        let hosts = hosts.collect();
        Evidence {
            outcome: Some(Outcome { hosts, ..nothing }),
            ..Evidence::default()
        }
    }

    #[test]
    fn a_loss_names_the_host_and_what_shows_that_it_is_back() {
        let plan = plan();
        let one = evidence(&plan, [None, Some("its connection ended"), None]);
        assert_eq!(
            of_load_hosts(&plan, &one).unwrap(),
            "b was lost: its connection ended; once `ssh -o BatchMode=yes b /opt/tenk/bin/tenk agent </dev/null` ends \
             without a word, its agent is there again, and with `--tolerate-loss 1` a run goes on without so many, marked \
             as degraded"
        );
        let all = evidence(&plan, [Some("x"), Some("y"), Some("z")]);
        assert!(
            !of_load_hosts(&plan, &all)
                .unwrap()
                .contains("--tolerate-loss")
        );
        assert_eq!(of_load_hosts(&plan, &evidence(&plan, [None; 3])), None);
        let mut tolerated = one;
        tolerated.outcome.as_mut().unwrap().degraded = true;
        assert_eq!(of_load_hosts(&plan, &tolerated), None);
    }
}
