//! What is compared: models with their variants, other server programs, servers that run already.

use super::transport::{self, Transport};
use crate::base::error::{Failure, OrFail};
use loadgen::base::address::Address;
use servers::models::{self, MODELS, Model};
use std::path::PathBuf;

/// One thing that is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// What rows and charts call it.
    pub label: String,
    /// What it is.
    pub subject: Subject,
    /// A model's variant words as given, a command, or an address.
    pub variant: Option<String>,
    /// Over what its clients come, where it is started by us.
    pub transport: Transport,
}

/// What serves: one of our models, or any other server.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// A model with its variant's flags.
    Model {
        /// Which.
        model: &'static Model,
        /// Its program's name among the measured ones: the model's own, unless several builds are compared.
        program: String,
        /// The server's flags that its variant's words stand for.
        flags: Vec<String>,
    },
    /// Any server program, started for every trial.
    Command {
        /// What a shell is given.
        line: String,
        /// Where it runs, and what `{dir}` is.
        folder: PathBuf,
    },
    /// A server that is already running; it is neither started nor ended.
    Running {
        /// Where it listens.
        addr: Address,
        /// What was typed, where that is not the address.
        name: Option<String>,
        /// Its process, if its figures are wanted.
        pid: Option<u32>,
    },
}

impl Arm {
    /// The same over another transport, which its label tells unless it is the usual one.
    pub fn over(&self, transport: Transport) -> Arm {
        let mut arm = self.clone();
        if transport != arm.transport {
            let word = format!("{}={}", transport::KEY, transport.name());
            let joint = if arm.label.contains(':') { ',' } else { ':' };
            arm.label = format!("{}{joint}{word}", arm.label);
            arm.variant = Some(match arm.variant {
                Some(words) => format!("{words},{word}"),
                None => word,
            });
            arm.transport = transport;
        }
        arm
    }
}

impl Subject {
    /// The model, if it is one of ours.
    pub fn model(&self) -> Option<&'static Model> {
        match self {
            Subject::Model { model, .. } => Some(model),
            _ => None,
        }
    }

    /// What rows call its kind: the model's name, `command` or `target`.
    pub fn kind(&self) -> &'static str {
        match self {
            Subject::Model { model, .. } => model.name,
            Subject::Command { .. } => "command",
            Subject::Running { .. } => "target",
        }
    }

    /// Whether it has this flag of its own.
    pub fn takes(&self, key: &str) -> bool {
        self.model()
            .is_some_and(|model| model.variants.iter().any(|v| v.key == key))
    }
}

/// `epoll,prefork:accept=mutex,workers=64,thread`: a piece with `=` and no name belongs to the arm before it.
pub fn parse_arms(text: &str) -> Result<Vec<Arm>, Failure> {
    let mut words: Vec<String> = Vec::new();
    for piece in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        match words.last_mut() {
            Some(last) if last.contains(':') && continues_variant(piece) => {
                last.push(',');
                last.push_str(piece);
            }
            _ if piece == "all" => words.extend(MODELS.iter().map(|m| m.name.to_string())),
            _ => words.push(piece.to_string()),
        }
    }
    let mut arms: Vec<Arm> = Vec::new();
    for word in &words {
        let arm = parse_arm(word)?;
        if !arms.contains(&arm) {
            arms.push(arm);
        }
    }
    match arms.len() {
        0 => Err(Failure::usage("--model names no model; see `tenk list`")),
        _ => Ok(arms),
    }
}

/// No model's name holds an `=`.
fn continues_variant(piece: &str) -> bool {
    piece.contains('=') && !piece.contains(':')
}

fn parse_arm(word: &str) -> Result<Arm, Failure> {
    let (name, variant) = match word.split_once(':') {
        Some((name, variant)) => (name, Some(variant)),
        None => (word, None),
    };
    let model = models::find(name).or_usage("--model")?;
    let refused = |why: String| Failure::usage(format!("--model {word}: {why}"));
    let (transport, own) = Transport::of_variant(variant.unwrap_or_default()).map_err(refused)?;
    let flags = model.flags(&own).or_usage(format_args!("--model {word}"))?;
    Ok(Arm {
        label: match variant {
            Some(variant) => format!("{}:{variant}", model.name),
            None => model.name.to_string(),
        },
        subject: Subject::Model {
            model,
            program: model.name.to_string(),
            flags,
        },
        variant: variant.map(str::to_string),
        transport,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use servers::broken::Broken;

    #[test]
    fn a_server_that_is_broken_on_purpose_is_compared_with_nothing() {
        for how in Broken::ALL {
            let model = MODELS.iter().find(|model| how.suits(model)).unwrap().name;
            let refused = parse_arms(&format!("epoll,{model}:broken={how}")).unwrap_err();
            assert_eq!(refused.exit, Failure::usage("").exit);
            let remedy = format!("`tenk serve {model} --broken {how}`");
            assert!(refused.message.contains(&remedy), "{}", refused.message);
        }
    }
}
