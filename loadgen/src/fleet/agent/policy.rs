//! What a host lets its agent do, whatever a head asks: `/etc/tenk/agent.toml`.

use std::io;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::base::units::{as_ns, format_count, format_ns, format_rate, parse_duration};
use crate::load::stages::Stages;
use crate::load::{Load, check_permitted, names_a_file};

/// Where a host's policy stands.
pub const POLICY_FILE: &str = "/etc/tenk/agent.toml";

/// What may be done; what is absent is not narrowed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Networks that may be loaded: a target has to lie in one of them and to be permitted by the head.
    targets: Option<Vec<IpNet>>,
    /// Requests per second of this host's share, at most.
    rate: Option<f64>,
    /// Connections of this host's share, at most.
    connections: Option<u64>,
    /// Warm-up and window together, at most.
    duration: Option<Time>,
    /// Whether a head may have its own commands run here as servers.
    #[serde(default)]
    pub commands: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Time(Duration);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration(&text).map(Self)
    }
}

impl Policy {
    /// Reads a policy; where there is no file nothing is narrowed, and no commands are run.
    ///
    /// # Errors
    /// A sentence when there is a file that cannot be read or understood: then nothing may be done.
    pub fn read(file: &Path) -> Result<Self, String> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(format!("{}: {error}", file.display())),
        };
        toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or("", |span| &text[..span.start]);
            let line = before.matches('\n').count() + 1;
            format!("{}:{line}: {}", file.display(), error.message())
        })
    }

    /// Whether a share of a load may be run from here.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn check(&self, load: &Load) -> Result<(), String> {
        check_permitted(load).map_err(|error| error.to_string())?;
        if let Some(flag) = names_a_file(load) {
            return Err(format!("{flag} is a file, and an agent reads none"));
        }
        load.target
            .ip()
            .map_or(Ok(()), |ip| self.check_address(ip))?;
        let share = load.segment.share_of(load.population());
        if let Some(most) = self.connections.filter(|most| share > *most) {
            return Err(format!(
                "its policy permits {} connections, and its share is {}",
                format_count(most),
                format_count(share)
            ));
        }
        let length_ns = load.warmup_ns.saturating_add(load.duration_ns);
        if let Some(Time(most)) = self.duration.filter(|most| length_ns > as_ns(most.0)) {
            return Err(format!(
                "its policy permits {} of load, and warm-up and window take {}",
                format_ns(as_ns(most)),
                format_ns(length_ns)
            ));
        }
        self.check_rate(load)
    }

    /// Whether servers at this address may be loaded from here.
    ///
    /// # Errors
    /// Why not, in a sentence.
    fn check_address(&self, ip: std::net::IpAddr) -> Result<(), String> {
        match &self.targets {
            Some(networks)
                if !networks
                    .iter()
                    .any(|network| network.contains(&ip.to_canonical())) =>
            {
                let listed: Vec<String> = networks.iter().map(ToString::to_string).collect();
                let listed = match listed.is_empty() {
                    true => "no targets".into(),
                    false => format!("targets in {} only", listed.join(", ")),
                };
                Err(format!("its policy permits {listed}, not {ip}"))
            }
            _ => Ok(()),
        }
    }

    fn check_rate(&self, load: &Load) -> Result<(), String> {
        let Some(most) = self.rate else {
            return Ok(());
        };
        let permits = format!("its policy permits {}", format_rate(most));
        let staged = load.stages.as_ref().map(Stages::largest);
        let Some(rate) = load.rate_per_s.or(staged) else {
            return Err(format!(
                "{permits}, and a closed loop has no rate: give --rate"
            ));
        };
        let own = rate * load.segment.share_of(load.conns) as f64 / load.conns as f64;
        match own > most {
            true => Err(format!("{permits}, and its share is {}", format_rate(own))),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::load;
    use super::*;

    fn policy(text: &str) -> Policy {
        toml::from_str(text).expect(text)
    }

    fn refusal(text: &str, change: impl FnOnce(&mut Load)) -> String {
        let mut load = load();
        (load.conns, load.segment) = (100, "0/4".parse().expect("valid"));
        change(&mut load);
        policy(text).check(&load).err().unwrap_or_default()
    }

    #[test]
    fn each_key_narrows_and_none_widens() {
        assert_eq!(refusal("", |_| {}), "");
        let ample = "targets = ['127.0.0.0/8']\nrate = 25.0\nconnections = 25\nduration = '6s'\n";
        let at_100 = |load: &mut Load| load.rate_per_s = Some(100.0);
        assert_eq!(refusal(ample, at_100), "");
        let targets = refusal("targets = ['10.0.0.0/8', '::1/128']", |_| {});
        assert_eq!(
            targets,
            "its policy permits targets in 10.0.0.0/8, ::1/128 only, not 127.0.0.1"
        );
        assert!(refusal("targets = []", |_| {}).contains("no targets"));
        assert!(
            refusal("connections = 24", |_| {}).contains("24 connections, and its share is 25")
        );
        assert!(refusal("duration = '5s'", |_| {}).contains("window take 6"));
        assert!(refusal("rate = 24.0", at_100).contains("its share is 25"));
        assert!(refusal("rate = 24.0", |_| {}).contains("give --rate"));
        let unix = |load: &mut Load| load.target = "unix:/run/x".parse().expect("an address");
        assert!(refusal("", unix).contains("an agent reads none"));
        let far = |load: &mut Load| load.target = "192.0.2.1:9".parse().expect("an address");
        assert!(refusal("targets = ['192.0.2.0/24']", far).contains("--allow-target 192.0.2.1/32"));
    }

    #[test]
    fn a_policy_that_is_not_understood_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("agent.toml");
        assert_eq!(Policy::read(&file), Ok(Policy::default()));
        for (text, why) in [
            (
                "connections = 5\ntarget = []\n",
                ":2: unknown field `target`",
            ),
            ("duration = 'soon'", ":1: "),
            ("connections = -1", ":1: "),
            ("[", ":1: "),
        ] {
            std::fs::write(&file, text).expect("written");
            let said = Policy::read(&file).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
        std::fs::write(&file, "commands = true").expect("written");
        assert!(Policy::read(&file).expect("read").commands);
    }
}
