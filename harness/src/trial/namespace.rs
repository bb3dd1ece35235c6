//! Whether trials can have private networks here: tried out once, in a child, before anything depends on it.

use super::exchange::in_words;
use super::identity;
use super::launch::{Action, Launch};
use super::launch_error::NOT_STARTED;
use super::server::{self, Ready, Server, ServerSpec, StartError, Surroundings};
use crate::base::child::captured;
use crate::base::error::Failure;
use crate::model::network::Network;
use crate::plan::Plan;
use loadgen::base::address::Address;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long the attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets the plan's trials run in the host's network where private ones cannot be made; returns what people should know
/// then.
pub async fn settle(plan: &mut Plan) -> Result<Option<String>, Failure> {
    let Network::Private { required, .. } = plan.network else {
        return Ok(None);
    };
    let why = match attempt(&plan.network).await {
        Ok(unset) => return Ok(not_set_in_words(&unset)),
        Err(why) => why,
    };
    let remedy = remedy();
    if required {
        return Err(Failure::preflight(format!(
            "--netns require: {why} ({remedy}, or use --netns auto)"
        )));
    }
    plan.network = Network::Host;
    plan.network_fallback = Some(why.clone());
    Ok(Some(format!(
        "note: trials share this machine's network, its ports and its counters: {why} ({remedy}; `--netns off` says \
         that this is meant)"
    )))
}

/// A setting of the host that a private network has not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset {
    /// Its path below /proc/sys.
    key: String,
    /// The host's value.
    wanted: String,
    /// What is in force in the private network; none where it has no such setting.
    found: Option<String>,
}

/// Does all that a trial will: makes the namespace, and joins it from another process. Returns the settings that could
/// not be set there.
pub async fn attempt(network: &Network) -> Result<Vec<Unset>, String> {
    let own = server::own_program().map_err(|e| e.to_string())?;
    let spec = ServerSpec {
        program: own,
        args: vec!["--version".into()],
        folder: None,
        surroundings: Surroundings::Bare,
        ready: Ready::Answers(Address::Ip(([127, 0, 0, 1], 1).into())),
        start_timeout: PATIENCE,
        network: network.clone(),
        cpus: Vec::new(),
        group_name: format!("{}namespace", identity::own_prefix()),
    };
    let server = match Server::start(&spec).await {
        Ok(server) => server,
        Err(StartError::NotStarted(why) | StartError::Ended(why)) => return Err(why),
        Err(StartError::Silent(why) | StartError::Unavailable(why)) => return Err(why),
    };
    let unset = match network {
        Network::Private { sysctls, .. } => not_set(sysctls, &server.started.sysctls),
        Network::Host | Network::Of { .. } => Vec::new(),
    };
    let joining = Launch {
        parent: std::process::id() as i32,
        network: Network::Of {
            pid: server.network_pid(),
        },
        cpus: Vec::new(),
        groups: Vec::new(),
        action: Action::Nothing,
    };
    let joined = match server::command(&joining, &Surroundings::Bare) {
        Ok(mut command) => captured(&mut command).await,
        Err(e) => Err(e),
    };
    server.stop().await;
    let output = joined.map_err(|e| e.to_string())?;
    match output.status.code() {
        Some(code) if code == i32::from(NOT_STARTED) => Err(in_words(&output.stderr)),
        _ => Ok(unset),
    }
}

fn not_set(wanted: &[(String, String)], in_force: &[(String, String)]) -> Vec<Unset> {
    let missing = |(key, wanted): &(String, String)| {
        let found = in_force.iter().find(|(name, _)| name == key);
        let found = found.map(|(_, value)| value.clone());
        (found.as_ref() != Some(wanted)).then(|| Unset {
            key: key.clone(),
            wanted: wanted.clone(),
            found,
        })
    };
    wanted.iter().filter_map(missing).collect()
}

/// Which settings the trials will not have, and what can be done; nothing where they have them all.
fn not_set_in_words(unset: &[Unset]) -> Option<String> {
    let words = |unset: &Unset| {
        let name = unset.key.replace('/', ".");
        let found = unset.found.as_deref().unwrap_or("absent");
        format!("{name} ({found} there, {} on this machine)", unset.wanted)
    };
    let all: Vec<String> = unset.iter().map(words).collect();
    (!all.is_empty()).then(|| {
        format!(
            "note: trials have private networks, in which this could not be set as it is on this machine: {}; \
             `--netns off` measures in this machine's own network, with its settings",
            all.join(", ")
        )
    })
}

/// What lets this kernel make private networks, as far as it says what is in the way.
pub fn remedy() -> String {
    remedy_for(
        |name| fs::read_to_string(Path::new("/proc/sys").join(name)).ok(),
        Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists(),
    )
}

fn remedy_for(sysctl: impl Fn(&str) -> Option<String>, in_container: bool) -> String {
    let is = |name: &str, value: &str| sysctl(name).is_some_and(|found| found.trim() == value);
    let set = |what: &str| format!("run as root, or `sudo sysctl -w {what}`");
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return set("kernel.apparmor_restrict_unprivileged_userns=0");
    }
    if is("kernel/unprivileged_userns_clone", "0") {
        return set("kernel.unprivileged_userns_clone=1");
    }
    for name in ["max_user_namespaces", "max_net_namespaces"] {
        if is(&format!("user/{name}"), "0") {
            return set(&format!("user.{name}=1000"));
        }
    }
    match in_container {
        true => {
            "start the container with `--privileged`, or with `--cap-add SYS_ADMIN --security-opt \
                 seccomp=unconfined`"
                .into()
        }
        false => "run as root".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_could_not_be_set_is_said_with_both_values() {
        let of = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            let owned = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
            list.iter().map(owned).collect()
        };
        let wanted = of(&[
            ("net/core/somaxconn", "4096"),
            ("net/ipv4/tcp_fin_timeout", "15"),
            ("net/ipv4/tcp_autocorking", "1"),
        ]);
        let in_force = of(&[
            ("net/core/somaxconn", "4096"),
            ("net/ipv4/tcp_fin_timeout", "60"),
        ]);
        let words = not_set_in_words(&not_set(&wanted, &in_force)).unwrap();
        assert!(
            words.contains(
                "net.ipv4.tcp_fin_timeout (60 there, 15 on this machine), net.ipv4.tcp_autocorking (absent there, 1"
            ) && words.contains("--netns off"),
            "{words}"
        );
        assert!(!words.contains("somaxconn"));
        assert_eq!(not_set_in_words(&not_set(&wanted, &wanted)), None);
    }

    #[test]
    fn the_remedy_is_this_kernels() {
        let remedy = |set: &'static str, value: &'static str, in_container| {
            remedy_for(
                move |name| (name == set).then(|| format!("{value}\n")),
                in_container,
            )
        };
        let apparmor = remedy("kernel/apparmor_restrict_unprivileged_userns", "1", false);
        assert!(apparmor.contains("kernel.apparmor_restrict_unprivileged_userns=0"));
        let debian = remedy("kernel/unprivileged_userns_clone", "0", true);
        assert!(debian.contains("kernel.unprivileged_userns_clone=1"));
        assert!(
            remedy("user/max_user_namespaces", "0", false)
                .contains("user.max_user_namespaces=1000")
        );
        assert!(remedy("", "", true).contains("--privileged"));
        assert_eq!(remedy("", "", false), "run as root");
    }
}
