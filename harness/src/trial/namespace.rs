//! Whether trials can have private networks here: tried out once, in a child, before anything depends on it.

use super::identity;
use super::launch::{Action, Launch, NOT_STARTED};
use super::server::{self, Ready, Server, ServerSpec, StartError, Surroundings};
use crate::base::error::Failure;
use crate::model::network::Network;
use crate::plan::Plan;
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
    let Err(why) = attempt(&plan.network).await else {
        return Ok(None);
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

/// Does all that a trial will: makes the namespace, and joins it from another process.
pub async fn attempt(network: &Network) -> Result<(), String> {
    let own = server::own_program().map_err(|e| e.to_string())?;
    let spec = ServerSpec {
        program: own,
        args: vec!["--version".into()],
        folder: None,
        surroundings: Surroundings::Bare,
        ready: Ready::Answers(([127, 0, 0, 1], 1).into()),
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
        Ok(mut command) => command.output().await,
        Err(e) => Err(e),
    };
    server.stop().await;
    let output = joined.map_err(|e| e.to_string())?;
    match output.status.code() {
        Some(code) if code == i32::from(NOT_STARTED) => {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(words.trim().trim_start_matches("error: ").to_string())
        }
        _ => Ok(()),
    }
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
