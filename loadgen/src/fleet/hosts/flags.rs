//! Which hosts, and how they are reached.

use std::fmt;
use std::process::{Command, Stdio};
use std::str::FromStr;

use clap::Args;

use crate::base::text::visible;

/// The hosts that a load is sent from.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct HostFlags {
    /// Send the load from these hosts, its connections and its rate divided among them: h1,h2,… or @FILE (one a line)
    /// or slurm (those of the allocation)
    #[arg(long, value_name = "LIST", help_heading = "Hosts")]
    pub load_hosts: Option<HostList>,
    /// How a host is reached: a command that connects its standard streams to the agent's; {host} is filled in
    /// [default: 'ssh -o BatchMode=yes {host}', with `slurm` 'srun -N1 -n1 --mpi=none --overlap -w {host}']
    #[arg(long, value_name = "CMD", help_heading = "Hosts")]
    pub via: Option<Via>,
    /// What is started there [default: 'tenk agent'; 'loadgen agent' where only loadgen is installed]
    #[arg(long, value_name = "CMD", help_heading = "Hosts")]
    pub agent: Option<Words>,
    /// Go on without so many hosts, should they be lost once the load has begun; the outcome says `degraded`
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "0",
        requires = "load_hosts",
        help_heading = "Hosts"
    )]
    pub tolerate_loss: u32,
}

/// Hosts as they were typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostList {
    /// These.
    Names(Vec<String>),
    /// Those of a file.
    File(String),
    /// Those of the Slurm allocation that this program runs in.
    Slurm,
}

/// The most hosts that one head leads.
const MOST_HOSTS: usize = 4096;

impl FromStr for HostList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.strip_prefix('@') {
            Some("") => Err("@ needs a file's name".into()),
            Some(file) => Ok(Self::File(file.into())),
            None if text == "slurm" => Ok(Self::Slurm),
            None => names(text.split(',')).map(Self::Names),
        }
    }
}

impl fmt::Display for HostList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(names) => f.write_str(&names.join(",")),
            Self::File(file) => write!(f, "@{file}"),
            Self::Slurm => f.write_str("slurm"),
        }
    }
}

impl HostList {
    /// The hosts' names, each once.
    ///
    /// # Errors
    /// Why there are none, in a sentence.
    pub fn hosts(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Names(names) => Ok(names.clone()),
            Self::File(file) => {
                let text =
                    std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
                let lines = text
                    .lines()
                    .map(|line| line.split('#').next().unwrap_or_default().trim());
                names(lines.filter(|line| !line.is_empty())).map_err(|why| format!("{file}: {why}"))
            }
            Self::Slurm => of_allocation(),
        }
    }
}

/// Checks names: one that begins with a dash would be an option of the launcher's.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for name in all.map(str::trim) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@%[]/".contains(c);
        if name.is_empty()
            || name.starts_with('-')
            || name.len() > 255
            || !name.chars().all(is_plain)
        {
            return Err(format!("`{}` is no host's name", visible(name)));
        }
        if names.iter().any(|known| known == name) {
            return Err(format!("{name} is named twice"));
        }
        names.push(name.to_owned());
    }
    match names.len() {
        0 => Err("it names no host".into()),
        1..=MOST_HOSTS => Ok(names),
        _ => Err(format!(
            "more than {MOST_HOSTS} hosts: divide the load (--segment)"
        )),
    }
}

fn of_allocation() -> Result<Vec<String>, String> {
    let list = std::env::var("SLURM_JOB_NODELIST").map_err(|_| {
        "SLURM_JOB_NODELIST is not set: `slurm` means the hosts of the allocation that this program runs in (salloc, \
         sbatch)"
    })?;
    let output = Command::new("scontrol")
        .args(["show", "hostnames", list.as_str()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("scontrol: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "scontrol show hostnames {list}: {}",
            visible(said.trim())
        ));
    }
    names(String::from_utf8_lossy(&output.stdout).lines())
}

/// A command of words, with no shell between them and the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl FromStr for Words {
    type Err = String;

    /// Words stand between blanks; in quotes, 'single' or "double", blanks are a part of a word.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for c in text.chars() {
            match (c, quote) {
                (c, Some(open)) if c == open => quote = None,
                (c, Some(_)) => word.get_or_insert_default().push(c),
                ('\'' | '"', None) => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (c, None) if c.is_whitespace() => words.extend(word.take()),
                (c, None) => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        match (quote, words.first()) {
            (Some(open), _) => Err(format!("a quote ({open}) has no end")),
            (None, Some(first)) if !first.is_empty() => Ok(Self(words)),
            _ => Err("there is no program in it".into()),
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |word: &str| {
            !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"".contains(c))
        };
        let quoted = self.0.iter().map(|word| match is_plain(word) {
            true => word.clone(),
            // What is quoted one way holds the quotes of the other.
            false => format!("'{}'", word.replace('\'', "'\"'\"'")),
        });
        f.write_str(&quoted.collect::<Vec<_>>().join(" "))
    }
}

/// How a host is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via(Words);

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const HOST: &str = "{host}";

impl Via {
    /// By ssh, without a question that nobody would answer.
    #[must_use]
    pub fn ssh() -> Self {
        Self::of(&["ssh", "-o", "BatchMode=yes", HOST])
    }

    /// By a job step on one host of the allocation. `--overlap` lets it have all of the host's CPUs, which other steps
    /// of the job, such as the one this program runs in, may have as well.
    #[must_use]
    pub fn srun() -> Self {
        Self::of(&["srun", "-N1", "-n1", "--mpi=none", "--overlap", "-w", HOST])
    }

    fn of(words: &[&str]) -> Self {
        Self(Words(words.iter().map(|word| (*word).to_owned()).collect()))
    }

    /// Whether it leads to another place for another name: one that does not starts all agents right here.
    #[must_use]
    pub fn leads_elsewhere(&self) -> bool {
        self.0.0.iter().any(|word| word.contains(HOST))
    }

    /// The command that starts the agent on a host.
    #[must_use]
    pub fn command(&self, host: &str, agent: &Words) -> Command {
        let mut words = self.0.0.iter().map(|word| word.replace(HOST, host));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(&agent.0);
        command
    }
}

impl HostFlags {
    /// The flags that mean the same.
    #[must_use]
    pub fn to_args(&self) -> Vec<String> {
        let Some(hosts) = &self.load_hosts else {
            return Vec::new();
        };
        vec![
            format!("--load-hosts={hosts}"),
            format!("--via={}", self.via()),
            format!("--agent={}", self.agent()),
            format!("--tolerate-loss={}", self.tolerate_loss),
        ]
    }

    /// What is started on the hosts, unless it is said.
    #[must_use]
    pub fn agent(&self) -> Words {
        let words = ["tenk", "agent"].map(str::to_owned).to_vec();
        self.agent.clone().unwrap_or(Words(words))
    }

    /// How the hosts are reached, unless it is said.
    #[must_use]
    pub fn via(&self) -> Via {
        match (&self.via, &self.load_hosts) {
            (Some(via), _) => via.clone(),
            (None, Some(HostList::Slurm)) => Via::srun(),
            (None, _) => Via::ssh(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_never_options() {
        let listed = |text: &str| text.parse::<HostList>();
        assert_eq!(listed("slurm "), Ok(HostList::Slurm));
        assert_eq!(listed("@hosts"), Ok(HostList::File("hosts".into())));
        let names = listed("h1, user@h2,[fe80::1%eth0],pod/a-0").expect("names");
        assert_eq!(names.hosts().expect("names").len(), 4);
        for (text, why) in [
            ("", "no host's name"),
            ("h1,", "no host's name"),
            ("-oProxyCommand=true", "no host's name"),
            ("h1;true", "no host's name"),
            ("h1\u{1b}", "no host's name"),
            ("h1,h2,h1", "h1 is named twice"),
            ("@", "a file's name"),
        ] {
            let said = listed(text).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn a_file_has_a_host_a_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "# the rack\nh1 # left\n\nh2\n").expect("written");
        let list: HostList = format!("@{}", file.path().display())
            .parse()
            .expect("a file");
        assert_eq!(list.hosts(), Ok(vec!["h1".to_owned(), "h2".to_owned()]));
        std::fs::write(file.path(), "h1\nh1\n").expect("written");
        assert!(
            list.hosts()
                .expect_err("twice")
                .ends_with("h1 is named twice")
        );
        assert!(HostList::File("/no/such".into()).hosts().is_err());
    }

    #[test]
    fn launchers_are_words_without_a_shell() {
        let via: Via = "kubectl exec -i '{host}' -c \"a b\" --"
            .parse()
            .expect("words");
        let command = via.command("pod;true", &"tenk agent".parse().expect("words"));
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        assert_eq!(command.get_program(), "kubectl");
        assert_eq!(
            words,
            ["exec", "-i", "pod;true", "-c", "a b", "--", "tenk", "agent"]
        );
        assert_eq!(via.to_string(), "kubectl exec -i {host} -c 'a b' --");
        let both: Words = "a \"it's\"'\"' ''".parse().expect("words");
        assert_eq!(both.0, ["a", "it's\"", ""]);
        assert_eq!(both.to_string().parse(), Ok(both));
        assert!(via.leads_elsewhere() && !"env".parse::<Via>().expect("a word").leads_elsewhere());
        for text in ["", "  ", "'ssh", "''"] {
            assert!(text.parse::<Via>().is_err(), "{text}");
        }
    }
}
