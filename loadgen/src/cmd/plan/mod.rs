//! A plan: a load as data, of which many hosts run a share each without talking to each other.
//!
//! A plan holds flags of a load by name and nothing else: nothing in it is run by a shell, names a file or changes what
//! is written where. Its digest is that of what it says, however it is spelled; outcomes carry it, and only those of one
//! plan are joined.

mod kubernetes;
mod place;
mod slurm;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use clap::Parser;
use hmac_sha256::Hash as Sha256;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Failure;
use super::cli::RunCommand;
use super::output::print;
use super::plan_flags::{KubernetesFlags, Make, PlanCommand, SlurmFlags};
use super::validated::validated;
use crate::load::flags::{RunFlags, parse_instant};
use crate::load::{Load, MAX_SEGMENTS, Segment};

pub(super) use place::segment_here;

/// The value of a plan's `schema`.
const SCHEMA: &str = "tenk.plan/1";

/// A longer file is no plan.
const MOST_BYTES: u64 = 64 << 10;

/// The longest text in one.
const MOST_TEXT: usize = 4096;

/// The most values of one flag.
const MOST_VALUES: usize = 64;

/// The flags that a plan may hold: what is sent and when. Where results go, and which CPUs a host uses, is not its
/// business.
const FLAGS: [&str; 45] = [
    "abort-on",
    "allow-target",
    "arrival",
    "body",
    "close",
    "command",
    "command-ratio",
    "conn-lifetime",
    "conn-stages",
    "connect-arrival",
    "connect-inflight",
    "connect-rate",
    "connect-timeout",
    "conns",
    "duration",
    "expect-status",
    "header",
    "host",
    "http-version",
    "idle",
    "key-distribution",
    "key-prefix",
    "keys",
    "label",
    "method",
    "path",
    "payload",
    "pipeline",
    "poll",
    "protocol",
    "ramp-timeout",
    "rate",
    "reconnect-rate",
    "request-timeout",
    "requests-per-conn",
    "rotate",
    "seed",
    "shuffle",
    "sources",
    "stages",
    "target",
    "think",
    "value-sizes",
    "verify-values",
    "warmup",
];

/// What a plan says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`SCHEMA`].
    schema: String,
    /// How many hosts share the load.
    pub(super) segments: u32,
    /// When the warm-up starts (RFC 3339, UTC); absent: whoever starts the hosts says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_at: Option<String>,
    /// The load's flags by name, without the dashes in front.
    load: BTreeMap<String, Value>,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// A sentence that says what of it is none.
    pub fn read(path: &Path) -> Result<Self, String> {
        let said = |error: &dyn std::fmt::Display| format!("--plan {}: {error}", path.display());
        let mut text = Vec::new();
        let source: Box<dyn Read> = match path == Path::new("-") {
            true => Box::new(std::io::stdin().lock()),
            false => Box::new(std::fs::File::open(path).map_err(|error| said(&error))?),
        };
        let mut source = source.take(MOST_BYTES + 1);
        source
            .read_to_end(&mut text)
            .map_err(|error| said(&error))?;
        Self::parse(&text).map_err(|error| said(&error))
    }

    /// The plan that a file's contents are.
    ///
    /// # Errors
    /// What of them is none.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() as u64 > MOST_BYTES {
            return Err(format!("more than {MOST_BYTES} bytes are no plan"));
        }
        let plan: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if plan.schema != SCHEMA {
            return Err(format!("the schema is {:?}, not {SCHEMA:?}", plan.schema));
        }
        if !(1..=MAX_SEGMENTS).contains(&plan.segments) {
            return Err(format!(
                "segments {}: from 1 to {MAX_SEGMENTS}",
                plan.segments
            ));
        }
        if let Some(at) = &plan.start_at {
            parse_instant(at)?;
        }
        for needed in ["target", "seed"] {
            if !plan.load.contains_key(needed) {
                return Err(format!(
                    "load has no {needed}: every host has to know the same one"
                ));
            }
        }
        plan.args()?;
        Ok(plan)
    }

    /// The digest of what it says.
    #[must_use]
    pub fn digest(&self) -> String {
        // A plan that was read can be written.
        let text = serde_json::to_vec(self).unwrap_or_default();
        let digest = Sha256::hash(&text);
        digest
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The instant it names.
    fn start_at(&self) -> Option<u64> {
        self.start_at
            .as_deref()
            .and_then(|at| parse_instant(at).ok())
    }

    /// Its flags as a command line.
    fn args(&self) -> Result<Vec<String>, String> {
        let mut args = Vec::new();
        for (key, value) in &self.load {
            if !FLAGS.contains(&key.as_str()) {
                return Err(format!("load.{key} is none of {}", FLAGS.join(", ")));
            }
            let values = match value {
                Value::Array(values) if values.len() <= MOST_VALUES => values.as_slice(),
                Value::Array(_) => return Err(format!("load.{key}: at most {MOST_VALUES} values")),
                value => std::slice::from_ref(value),
            };
            for value in values {
                args.extend(argument(key, value)?);
            }
        }
        Ok(args)
    }

    /// The command that runs one segment of it, where this host's own flags say the rest.
    ///
    /// # Errors
    /// A sentence that says what the plan, or the host's flags, ask for that cannot be.
    pub fn command(&self, own: &RunFlags, segment: Segment) -> Result<RunCommand, String> {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            run: RunCommand,
        }
        if segment.count != self.segments {
            return Err(format!(
                "segment {segment}: the plan has {} segments",
                self.segments
            ));
        }
        let args = std::iter::once("plan".to_owned()).chain(self.args()?);
        let Line { mut run } = Line::try_parse_from(args).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        })?;
        let start_at = match (self.start_at(), own.start_at) {
            (Some(_), Some(_)) => {
                return Err("the plan names the start itself: drop --start-at".into());
            }
            (planned, own) => planned.or(own),
        };
        run.run = RunFlags {
            segment: Some(segment),
            start_at,
            plan_digest: Some(self.digest()),
            threads: own.threads,
            processes: own.processes,
            cpus: own.cpus.clone(),
            ..run.run
        };
        Ok(run)
    }

    /// The load of one of its segments.
    fn load_of(&self, segment: Segment) -> Result<Load, Failure> {
        let command = self
            .command(&RunFlags::default(), segment)
            .map_err(Failure::usage)?;
        validated(&command)
    }
}

/// One value of a flag as an argument; a switch that is off is none.
fn argument(key: &str, value: &Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::Bool(true) => return Ok(Some(format!("--{key}"))),
        Value::Bool(false) => return Ok(None),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err(format!("load.{key} is neither text nor a number")),
    };
    // What begins so elsewhere names a file.
    let is_plain =
        text.len() <= MOST_TEXT && !text.chars().any(char::is_control) && !text.starts_with('@');
    match is_plain {
        true => Ok(Some(format!("--{key}={text}"))),
        false => Err(format!(
            "load.{key}: at most {MOST_TEXT} bytes of plain text, no file"
        )),
    }
}

/// Runs `plan`.
pub(super) fn execute(command: &PlanCommand) -> Result<(), Failure> {
    let read = |path: &Path| Plan::read(path).map_err(Failure::usage);
    let text = match &command.make {
        Make::Show { plan } => describe(&read(plan)?)?,
        Make::Slurm(flags) => {
            let plan = read(&flags.plan)?;
            slurm::script(&plan, &plan.load_of(plan.first())?, flags)
        }
        Make::Kubernetes(flags) => {
            let plan = read(&flags.plan)?;
            kubernetes::manifest(&plan, &plan.load_of(plan.first())?, flags)
        }
    };
    print(&text)
}

impl Plan {
    fn first(&self) -> Segment {
        Segment {
            index: 0,
            count: self.segments,
        }
    }
}

fn describe(plan: &Plan) -> Result<String, Failure> {
    let load = plan.load_of(plan.first())?;
    let shares = [0, plan.segments - 1].map(|index| {
        let segment = Segment {
            index,
            count: plan.segments,
        };
        segment.share_of(load.population())
    });
    let each = match shares {
        [most, least] if most == least => format!("{most}"),
        [most, least] => format!("{least} or {most}"),
    };
    Ok(format!(
        "plan {}: {} segments, {each} connections each, against {}\nas flags: {}\n",
        plan.digest(),
        plan.segments,
        load.target_in_words(),
        plan.args().map_err(Failure::usage)?.join(" ")
    ))
}

/// How long a load takes at most from its start to its end, in seconds: what an engine may allow it.
fn longest_s(load: &Load) -> u64 {
    let ns = [
        load.ramp_limit_ns(),
        load.warmup_ns,
        load.duration_ns,
        load.response_limit_ns(),
    ];
    ns.iter().fold(0u64, |sum, ns| sum.saturating_add(*ns)) / 1_000_000_000 + 60
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const PLAN: &str = r#"{"schema": "tenk.plan/1", "segments": 4, "load": {"target": "127.0.0.1:9000",
        "seed": 7, "conns": "10", "rate": 1000, "duration": "2s", "label": ["a=1", "b=2"], "shuffle": false}}"#;

    pub(super) fn plan() -> Plan {
        Plan::parse(PLAN.as_bytes()).expect("a plan")
    }

    #[test]
    fn a_digest_is_of_what_is_said_and_not_of_how() {
        let spelled = PLAN
            .replace(": ", ":")
            .replace("\"seed\":7,", "")
            .replace("{\"target\"", "{\"seed\":7,\"target\"");
        let other = Plan::parse(spelled.as_bytes()).expect("the same plan");
        assert_eq!(plan().digest(), other.digest());
        assert_eq!(plan().digest().len(), 32);
        let seed = PLAN.replace("\"seed\": 7", "\"seed\": 8");
        assert_ne!(
            plan().digest(),
            Plan::parse(seed.as_bytes()).expect("a plan").digest()
        );
    }

    #[test]
    fn a_plan_is_a_load_of_one_segment() {
        let segment = Segment { index: 3, count: 4 };
        let own = RunFlags {
            start_at: Some(5),
            threads: 2,
            ..RunFlags::default()
        };
        let command = plan().command(&own, segment).expect("a command");
        let load = validated(&command).expect("a load");
        assert_eq!((load.segment, load.seed, load.conns), (segment, 7, 10));
        assert_eq!((load.start_at_unix_ns, load.threads), (Some(5), 2));
        assert_eq!(load.plan_digest, Some(plan().digest()));
        assert_eq!(load.labels.len(), 2);
        assert!(
            plan()
                .command(&own, Segment { index: 0, count: 3 })
                .is_err()
        );
    }

    #[test]
    fn what_is_no_data_of_a_load_is_refused() {
        let with = |from: &str, to: &str| {
            assert!(PLAN.contains(from));
            Plan::parse(PLAN.replace(from, to).as_bytes()).expect_err(to)
        };
        assert!(with("\"seed\": 7,", "").contains("seed"));
        assert!(
            with("\"seed\": 7", "\"seed\": 7, \"save\": \"/etc/passwd\"").contains("load.save")
        );
        assert!(with("\"seed\": 7", "\"seed\": 7, \"path\": \"@/etc/passwd\"").contains("no file"));
        assert!(with("\"seed\": 7", "\"seed\": {}").contains("neither"));
        assert!(with("\"segments\": 4", "\"segments\": 0").contains("from 1"));
        assert!(
            with("\"segments\": 4", "\"segments\": 4, \"shell\": \"x\"").contains("unknown field")
        );
        assert!(with("plan/1", "plan/2").contains("schema"));
        assert!(
            with("\"segments\": 4", "\"segments\": 4, \"start_at\": \"soon\"").contains("instant")
        );
        let long = format!("\"seed\": 7, \"host\": \"{}\"", "x".repeat(MOST_TEXT + 1));
        assert!(with("\"seed\": 7", &long).contains("at most"));
        let many = format!(
            "\"seed\": 7, \"sources\": [{}\"x\"]",
            "\"x\",".repeat(MOST_VALUES)
        );
        assert!(with("\"seed\": 7", &many).contains("at most"));
        assert!(Plan::parse(&vec![b' '; MOST_BYTES as usize + 1]).is_err());
    }
}
