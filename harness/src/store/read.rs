//! Reading the folder of any run: `trials.jsonl`, or what older versions kept. The one place that knows both.
//!
//! Every trial is read or the reading fails, with file and line; only the line that a killed run was writing is passed
//! over, and said. A column that is missing is none, one that is not known is kept and named.

use super::journal::{TRIALS, is_being_written};
use super::run::Run;
use super::saved::{ENVIRONMENT, Fault, LoadError, SavedRun, contents};
use super::{lines, older};
use crate::model::gate_words::GateWords;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

/// The file with what a gate found.
const GATE: &str = "gate.json";

/// Reads the run in this folder.
///
/// # Errors
/// The first thing that is wrong, with its file and line.
pub fn load(folder: &Path) -> Result<SavedRun, LoadError> {
    let file = folder.join(TRIALS);
    match File::open(&file) {
        Ok(trials) => read_lines(folder, trials),
        Err(e) if e.kind() == ErrorKind::NotFound => older::load(folder),
        Err(e) => Err(Fault::from(e).in_file(file)),
    }
}

fn read_lines(folder: &Path, trials: File) -> Result<SavedRun, LoadError> {
    let in_file = |name: &str| {
        let file = folder.join(name);
        move |fault: Fault| fault.in_file(file)
    };
    let (environment, missing) = environment(folder).map_err(in_file(ENVIRONMENT))?;
    let mut run = Run {
        environment,
        notes: missing.into_iter().collect(),
        gate: gate_words(folder),
        ..Run::default()
    };
    let lock = trials.try_clone();
    lines::read(trials, &mut run).map_err(in_file(TRIALS))?;
    let goes_on = lock.is_ok_and(is_being_written);
    if !run.complete && goes_on {
        run.notes
            .push("the run goes on: this is what it has so far".into());
    }
    Ok(SavedRun {
        run,
        sources: vec![ENVIRONMENT, TRIALS],
        goes_on,
    })
}

/// What a gate said at its end. Where that cannot be read the run is one all the same.
fn gate_words(folder: &Path) -> Option<GateWords> {
    let bytes = contents(&folder.join(GATE)).ok()??;
    let mut gate: Value = serde_json::from_slice(&bytes).ok()?;
    serde_json::from_value(gate["words"].take()).ok()
}

/// The environment, and what is to be said about it.
fn environment(folder: &Path) -> Result<(Value, Option<String>), Fault> {
    let Some(bytes) = contents(&folder.join(ENVIRONMENT))? else {
        let note = format!("{ENVIRONMENT} is not there: where the run was made is not known");
        return Ok((Value::Object(Map::new()), Some(note)));
    };
    let mut environment: Value = serde_json::from_slice(&bytes)?;
    let Some(fields) = environment.as_object_mut() else {
        return Err((Some(1), "this is no JSON object".to_string()).into());
    };
    fields.remove("schema");
    Ok((environment, None))
}
