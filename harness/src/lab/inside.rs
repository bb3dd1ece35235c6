//! The process that measures: it enters a private network namespace, reads the settings there, measures, and says what
//! it found, a line of JSON each.

use super::message::Message;
use super::place::{Means, Place};
use super::settings::Settings;
use super::trouble::Trouble;
use super::{Entry, find};
use crate::base::error::{Exit, Failure};
use crate::trial::launch::become_private;
use crate::trial::namespace;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// What the process is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The lab.
    pub lab: String,
    /// Who waits for what it finds.
    pub parent: i32,
    /// The folder of the programs, which also takes what else lives only as long as the lab.
    pub folder: PathBuf,
    /// The host's settings for networks: (path below /proc/sys, value).
    pub sysctls: Vec<(String, String)>,
}

/// Runs the hidden sub-command.
pub fn main(spec: &str) -> Result<Exit, Failure> {
    let spec: Spec = serde_json::from_str(spec).map_err(|e| Failure::from_error(Exit::Usage, e))?;
    let lab = find(&spec.lab).ok_or_else(|| Failure::usage("there is no such lab"))?;
    let last = match measure(&spec, lab) {
        Ok(evidence) => Message::Evidence(evidence),
        Err(trouble) => Message::Trouble(trouble),
    };
    last.say().map(|()| Exit::Done)
}

fn measure(spec: &Spec, lab: &Entry) -> Result<Value, Trouble> {
    let is_root = nix::unistd::geteuid().is_root();
    become_private(spec.parent, &spec.sysctls)
        .map_err(|e| Trouble::denied(e.to_string(), namespace::remedy()))?;
    let settings = Settings::read(&lab.about, is_root);
    Message::Settings(settings.clone()).say()?;
    // Orphans of what is started here are waited for here.
    nix::sys::prctl::set_child_subreaper(true)?;
    let means = Means {
        settings,
        folder: spec.folder.clone(),
        programs: lab.about.programs,
    };
    (lab.measure)(&Place::new(means)?)
}
