//! A plan: a load as data, of which many hosts run a share each without talking to each other.
//!
//! A plan holds flags of a load by name and nothing else: nothing in it is run by a shell, names a file or changes what
//! is written where. What a flag would read from a file stands in it. Its digest is that of what it says, however it is spelled; outcomes carry it, and only those of one
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
use crate::base::text::visible;
use crate::load::flags::{RunFlags, parse_instant};
use crate::load::http::{self, MAX_TEXT};
use crate::load::own::Message;
use crate::load::tls::{MAX_PEM, is_pem};
use crate::load::{Load, MAX_SEGMENTS, Segment};

pub(super) use place::segment_here;

/// The value of a plan's `schema`.
const SCHEMA: &str = "tenk.plan/1";

/// A longer file is no plan.
const MOST_BYTES: u64 = 256 << 10;

/// The longest text in one.
const MOST_TEXT: usize = 4096;

/// The most values of one flag.
const MOST_VALUES: usize = 64;

/// The flags that a plan may hold: what is sent and when. Where results go, and which CPUs a host uses, is not its
/// business.
const FLAGS: [&str; 55] = [
    "abort-on",
    "allow-target",
    "arrival",
    "body",
    "ca",
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
    "expect",
    "expect-status",
    "greeting",
    "header",
    "host",
    "http-version",
    "idle",
    "insecure",
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
    "requests",
    "requests-order",
    "requests-per-conn",
    "rotate",
    "seed",
    "send",
    "shuffle",
    "sni",
    "sources",
    "stages",
    "target",
    "think",
    "tls",
    "tls-resume",
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
            if key == "requests" {
                args.push(format!("--requests={}", requests_of(value)?));
                continue;
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
    let (most, has_lines) = match key {
        "ca" => (MAX_PEM, true),
        "body" => (MAX_TEXT, true),
        "send" => (2 * Message::LIMIT + 4, false),
        _ => (MOST_TEXT, false),
    };
    let is_plain = |c: char| !c.is_control() || (has_lines && "\n\r\t".contains(c));
    if text.len() > most || !text.chars().all(is_plain) {
        return Err(format!("load.{key}: at most {most} bytes of plain text"));
    }
    // What begins so elsewhere names a file.
    let names_a_file = match key {
        "ca" => !is_pem(Path::new(&text)),
        "target" => text.starts_with("unix:"),
        _ => text.starts_with('@'),
    };
    match names_a_file {
        true if key == "ca" => Err("load.ca: the certificates themselves (PEM), no file".into()),
        true => Err(format!("load.{key}: no file of a host's")),
        false => Ok(Some(format!("--{key}={text}"))),
    }
}

/// The requests that a plan holds, a line each; in an object the names are in their order, whichever they were written in.
fn requests_of(value: &Value) -> Result<String, String> {
    let said = |what: &str| format!("load.requests: {what}");
    let Value::Array(requests) = value else {
        return Err(said("a list of requests, no file"));
    };
    if requests.is_empty() {
        return Err(said("no request"));
    }
    if !requests.iter().all(Value::is_object) {
        return Err(said(
            "each of them is an object, as in a line of --requests",
        ));
    }
    let lines: Vec<String> = requests.iter().map(Value::to_string).collect();
    let text = lines.join("\n");
    if text.len() > MAX_TEXT {
        return Err(said(&format!("at most {MAX_TEXT} bytes")));
    }
    match http::parse(&text, &[]) {
        Ok(_) => Ok(text),
        Err(what) => Err(said(&format!("request {what}"))),
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
        shown(&plan.args().map_err(Failure::usage)?)
    ))
}

/// Flags as a terminal can show them, what is long by its beginning.
fn shown(args: &[String]) -> String {
    const MOST: usize = 120;
    let one = |arg: &String| match arg.char_indices().nth(MOST) {
        None => visible(arg),
        Some((end, _)) => format!("{}… ({} bytes)", visible(&arg[..end]), arg.len()),
    };
    let all: Vec<String> = args.iter().map(one).collect();
    all.join(" ")
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
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::load::tls::Switch;
    use crate::load::{ProtocolName, names_a_file};

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
        assert!(with("127.0.0.1:9000", "unix:/run/x").contains("load.target: no file"));
        for (key, value, why) in [
            ("requests", "\"/etc/passwd\"", "a list of requests, no file"),
            ("requests", "[\"/etc/passwd\"]", "each of them is an object"),
            ("requests", "[]", "no request"),
            (
                "requests",
                r#"[{"path": "/"}, {"pth": "/"}]"#,
                "request 2: unknown field `pth`",
            ),
            ("ca", "\"/etc/ssl/ca.pem\"", "the certificates themselves"),
            ("send", "\"@/etc/passwd\"", "load.send: no file"),
            ("body", "\"@/etc/passwd\"", "load.body: no file"),
            ("send", "\"\\n\"", "plain text"),
            ("body", "\"\\u0000\"", "plain text"),
        ] {
            let said = with("\"seed\": 7", &format!("\"seed\": 7, \"{key}\": {value}"));
            assert!(said.contains(why), "{key}: {value}: {said}");
        }
        let body = "x".repeat(MAX_TEXT);
        let large =
            format!("\"seed\": 7, \"requests\": [{{\"path\": \"/\", \"body\": \"{body}\"}}]");
        assert!(with("\"seed\": 7", &large).contains("at most"));
        let long = format!("\"seed\": 7, \"host\": \"{}\"", "x".repeat(MOST_TEXT + 1));
        assert!(with("\"seed\": 7", &long).contains("at most"));
        let many = format!(
            "\"seed\": 7, \"sources\": [{}\"x\"]",
            "\"x\",".repeat(MOST_VALUES)
        );
        assert!(with("\"seed\": 7", &many).contains("at most"));
        assert!(Plan::parse(&vec![b' '; MOST_BYTES as usize + 1]).is_err());
    }

    fn plan_with(more: &Value) -> Plan {
        let mut value: Value = serde_json::from_str(PLAN).expect("JSON");
        let flags = value["load"].as_object_mut().expect("flags");
        flags.extend(more.as_object().expect("flags").clone());
        let plan = Plan::parse(value.to_string().as_bytes()).expect("a plan");
        let again = serde_json::to_vec(&plan).expect("JSON");
        assert_eq!(Plan::parse(&again), Ok(plan.clone()));
        plan
    }

    /// The load of a plan with these flags besides, and that of its own command line.
    fn loads(more: &Value) -> (Load, Load) {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            run: RunCommand,
        }
        let plan = plan_with(more);
        let load = plan.load_of(plan.first()).expect("a load");
        let line = std::iter::once("loadgen".to_owned()).chain(load.to_args());
        let again = Line::try_parse_from(line).expect("parses").run;
        (load, validated(&again).expect("a load"))
    }

    #[test]
    fn an_own_protocol_and_requests_stand_in_a_plan() {
        let own = json!({
            "send": "hi {seq}\\r\\n", "expect": "line:^hi [0-9]+$", "greeting": "line:^220 "
        });
        let (load, again) = loads(&own);
        assert_eq!(load.protocol, ProtocolName::Own);
        assert_eq!(load, again);
        let requests = json!({ "protocol": "http", "requests-order": "random", "requests": [
            { "path": "/a", "weight": 3 },
            { "method": "PUT", "path": "/b", "headers": { "B": ["1", "2"], "A": "x" }, "body": "two\nlines" },
        ] });
        let (load, again) = loads(&requests);
        assert_eq!(load, again);
        let sent = load.contents.requests();
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[1].body.as_deref(), Some(b"two\nlines".as_slice()));
        assert_eq!(names_a_file(&load), None);
    }

    #[test]
    fn tls_stands_in_a_plan_with_its_authorities() {
        let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let plan = plan_with(
            &json!({ "tls": true, "sni": "a.test", "ca": pem, "insecure": false, "tls-resume": "off" }),
        );
        let command = plan.command(&RunFlags::default(), plan.first());
        let tls = command.expect("a command").load.tls;
        assert!(tls.tls && !tls.insecure);
        assert_eq!(tls.sni.as_deref(), Some("a.test"));
        assert_eq!(tls.ca.as_deref(), Some(Path::new(pem)));
        assert_eq!(tls.tls_resume, Some(Switch::Off));
        let shown = shown(&plan.args().expect("flags"));
        assert!(!shown.contains('\n'), "{shown}");
    }

    #[test]
    fn the_flags_of_a_plan_are_a_loads_and_none_is_a_place() {
        use clap::CommandFactory;
        let mut sorted = FLAGS;
        sorted.sort_unstable();
        assert_eq!(sorted, FLAGS);
        let command = crate::cmd::cli::Cli::command();
        let known: Vec<&str> = command
            .get_arguments()
            .filter_map(|arg| arg.get_long())
            .collect();
        for flag in FLAGS {
            assert!(known.contains(&flag), "{flag}");
        }
        for place in ["save", "hgrm", "progress-json", "metrics-file", "cpus"] {
            assert!(known.contains(&place) && !FLAGS.contains(&place), "{place}");
        }
    }

    proptest! {
        #[test]
        fn what_stands_in_a_plan_is_what_is_sent(
            send in proptest::collection::vec(any::<u8>(), 1..40),
            paths in proptest::collection::vec("/[!-~]{0,9}", 1..5),
            body in "[ -?A-~\n]{0,20}",
            weight in 1u64..9,
        ) {
            let digits: String = send.iter().map(|byte| format!("{byte:02x}")).collect();
            let (load, again) = loads(&json!({ "send": format!("hex:{digits}"), "expect": "bytes:1" }));
            prop_assert_eq!(&load, &again);
            let requests: Vec<Value> = paths
                .iter()
                .map(|path| json!({ "path": path, "body": body, "weight": weight }))
                .collect();
            let (load, again) = loads(&json!({ "protocol": "http", "requests": requests }));
            prop_assert_eq!(&load, &again);
            for (request, path) in load.contents.requests().iter().zip(&paths) {
                prop_assert_eq!(&request.path, path);
                prop_assert_eq!(request.body.as_deref(), Some(body.as_bytes()));
                prop_assert_eq!(request.weight, weight);
            }
            let (load, again) = loads(&json!({ "protocol": "http", "body": body }));
            prop_assert_eq!(&load, &again);
        }

        #[test]
        fn no_text_breaks_the_reading_of_a_plan(flag in 0..FLAGS.len(), text in "\\PC{0,30}") {
            let mut value: Value = serde_json::from_str(PLAN).expect("JSON");
            // A name would be asked for.
            let flag = FLAGS[flag];
            value["load"][flag] = text.into();
            if let Ok(plan) = Plan::parse(value.to_string().as_bytes())
                && flag != "target"
            {
                let _ = plan.load_of(plan.first());
            }
        }
    }
}
