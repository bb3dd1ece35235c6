//! The JSON Schemas under `schemas/` and the table of columns in `results/README.md`: made of the types that are
//! written, their comments included, and checked against what those types really write.
//!
//! After a change to a row, an outcome or what is in `run.json`:
//! `TENK_WRITE_SCHEMAS=1 cargo test -p harness schemas` writes them anew.

use crate::model::history::HistoryLine;
use crate::model::progress_line::{self, ProgressLine};
use crate::model::row::{COLUMNS, Row};
use crate::render::run_json::RunDocument;
use crate::store::line::{InstrumentedLine, Remark, TrialLine};
use crate::store::older::SCHEMA;
use loadgen::tally::live::SecondRecord;
use loadgen::tally::outcome::Outcome;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A line of `trials.jsonl`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is only described")]
enum Line {
    Trial(Box<TrialLine>),
    Instrumented(Box<InstrumentedLine>),
    Remark(Remark),
}

fn schema_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schemas")
        .join(name)
}

/// The schema of what is written of this type.
fn schema_of<T: JsonSchema>(id: &str, title: &str) -> Value {
    let generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    schema["$id"] = id.into();
    schema["title"] = title.into();
    schema
}

fn outcome_schema() -> Value {
    let mut schema = schema_of::<Outcome>("tenk:outcome/1", "What a run of loadgen returns");
    schema["properties"]["schema"]["const"] = loadgen::tally::outcome::SCHEMA.into();
    schema
}

fn second_schema() -> Value {
    let title = "A second of a run of loadgen: a line of --progress-json";
    let mut schema = schema_of::<SecondRecord>("tenk:second/1", title);
    schema["properties"]["schema"]["const"] = loadgen::tally::live::SCHEMA.into();
    schema
}

fn progress_schema() -> Value {
    let title = "Where a run of tenk is: a line of its --progress-json";
    let mut schema = schema_of::<ProgressLine>("tenk:progress/1", title);
    schema["properties"]["schema"]["const"] = progress_line::SCHEMA.into();
    schema
}

fn run_schema() -> Value {
    let title = "A run of tenk: run.json and --format json";
    let mut schema = schema_of::<RunDocument>("tenk:run/1", title);
    schema["properties"]["schema"]["const"] = SCHEMA.into();
    // A run that was killed early, or made by an older version, does not know all of it.
    if let Some(environment) = schema["$defs"]["Environment"].as_object_mut() {
        environment.remove("required");
    }
    schema
}

fn lines_schema() -> Value {
    schema_of::<Line>("tenk:trials/1", "A line of trials.jsonl")
}

fn history_schema() -> Value {
    let mut schema = schema_of::<HistoryLine>("tenk:history/1", "A line of a history");
    schema["properties"]["schema"]["const"] = crate::model::history::SCHEMA.into();
    schema
}

/// The columns of a row with what they mean, as a table.
fn columns_table() -> String {
    let row = schema_of::<Row>("", "");
    let line = |column: &&str| {
        let meaning = row["properties"][*column]["description"].as_str();
        let meaning = meaning.unwrap_or_default().replace('\n', " ");
        format!("| `{column}` | {meaning} |\n")
    };
    COLUMNS.iter().map(line).collect()
}

/// `results/README.md` with the table of columns that the sources have.
fn results_readme(text: &str) -> String {
    let begin = "| column | meaning |\n|---|---|\n";
    let (before, rest) = text.split_once(begin).expect("the table of columns");
    let after = rest.find("\n\n").map_or("", |end| &rest[end + 1..]);
    format!("{before}{begin}{}{after}", columns_table())
}

mod tests {
    use super::*;
    use crate::analysis::answer::Answer;
    use crate::analysis::summary::summarise;
    use crate::model::instrumented::{Instrumented, Profile, Syscalls};
    use crate::model::rate::{Capacity, Found};
    use crate::model::row::{Bottleneck, Reason, Reasons, Row};
    use crate::store::line::{End, SetAside};
    use crate::trial::environment::{Environment, TrialNetwork};
    use loadgen::base::null_server::NullServer;
    use loadgen::fleet::link::Link;
    use loadgen::fleet::run::Listener;
    use loadgen::load::Load;
    use loadgen::load::flags::{LoadFlags, RunFlags, ShapeFlags};
    use loadgen::tally::latency::Latency;
    use loadgen::tally::live::{Counted, Live};
    use loadgen::tally::second::second_of;
    use loadgen::worker::control::Sum;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn committed(name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(schema_file(name)).unwrap()).unwrap()
    }

    fn is_valid(schema: &Value, document: &Value) -> Result<(), String> {
        let validator = jsonschema::validator_for(schema).unwrap();
        match validator.validate(document) {
            Ok(()) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What a file must hold; with TENK_WRITE_SCHEMAS it is made so.
    fn check(file: &Path, text: &str) {
        if std::env::var_os("TENK_WRITE_SCHEMAS").is_some() {
            fs::write(file, text).unwrap();
        }
        let committed = fs::read_to_string(file).unwrap_or_default();
        assert!(
            committed == text,
            "{} is out of date; `TENK_WRITE_SCHEMAS=1 cargo test -p harness schemas` writes it",
            file.display()
        );
    }

    #[test]
    fn the_results_readme_explains_every_column() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/README.md");
        let text = fs::read_to_string(&file).unwrap();
        check(&file, &results_readme(&text));
        assert!(text.contains("| `jain` | Jain's fairness index"));
    }

    #[test]
    fn the_committed_schemas_are_those_of_the_sources() {
        for (name, schema) in [
            ("run.schema.json", run_schema()),
            ("history.schema.json", history_schema()),
            ("outcome.schema.json", outcome_schema()),
            ("trials.schema.json", lines_schema()),
            ("second.schema.json", second_schema()),
            ("progress.schema.json", progress_schema()),
        ] {
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            check(&schema_file(name), &text);
        }
    }

    fn sample_run() -> Value {
        let row = |arm: &str, block: u32| Row {
            arm: arm.into(),
            block,
            trial: block,
            variant: Some("workers=4".into()),
            bottleneck: Some(Bottleneck::Server),
            reasons: Reasons(vec![Reason {
                code: "W06".into(),
                text: "not steady".into(),
            }]),
            requests_completed: Some(9),
            requests_per_s: Some(1000.0 + f64::from(block)),
            ..Row::blank()
        };
        let rows: Vec<Row> = (1..=6)
            .flat_map(|b| [row("epoll", b), row("poll", b)])
            .collect();
        let environment = Environment {
            version: "0.1.0",
            command: vec!["tenk".into()],
            scenario: None,
            kernel: "Linux 6.18 x86_64".into(),
            cpu_model: None,
            cpus: 2,
            memory_kib: Some(24_000_000),
            boot_id: None,
            nofile_hard: Some(20_000),
            server_cpus: "0".into(),
            client_cpus: "1".into(),
            seed: u64::MAX,
            host_sysctls: BTreeMap::from([("net/core/somaxconn".into(), "4096".into())]),
            trial_network: Some(TrialNetwork {
                private: true,
                fallback: None,
                sysctls: BTreeMap::new(),
            }),
            memory_method: Some("cgroup".into()),
            cpu_method: Some("clock".into()),
            settings: [("timer HZ".to_string(), "250".to_string())].into(),
            server_host: None,
            load_hosts: BTreeMap::new(),
            sha256: BTreeMap::new(),
            harness_cpu_fraction: Some(0.01),
            generator_floor: None,
            blocks_redone: 1,
            rate_search: vec![Found {
                workload: "c50/echo64".into(),
                capacities: vec![Capacity {
                    arm: "epoll".into(),
                    requests_per_s: None,
                    is_lower_bound: false,
                }],
                rate_per_s: Some(1000.0),
            }],
            slo: vec!["response_p99_ns<5ms".into()],
            prepare_s: Some(1.5),
            estimated_s: 60.0,
            took_s: None,
        };
        let answer = Answer::of(&rows, true);
        json!({
            "schema": SCHEMA, "run_dir": "results/x", "complete": true, "environment": environment,
            "trials": rows, "summary": summarise(&rows), "ranking": answer.rankings,
            "answer": answer,
        })
    }

    #[test]
    fn a_run_is_valid_and_a_spoilt_one_is_not() {
        let schema = committed("run.schema.json");
        let run = sample_run();
        assert_eq!(is_valid(&schema, &run), Ok(()));
        assert!(!run["ranking"].as_array().unwrap().is_empty());
        for (pointer, value) in [
            ("/schema", json!("tenk.run/2")),
            ("/complete", json!("yes")),
            ("/trials/0/status", json!("fine")),
            ("/trials/0/requests_per_s", json!("many")),
            ("/trials/0/conns", json!(-1)),
            ("/environment/seed", Value::Null),
            ("/summary/0/requests_per_s/median", Value::Null),
            ("/ranking/0/places/0/standing", json!("first")),
        ] {
            let mut spoilt = run.clone();
            *spoilt.pointer_mut(pointer).unwrap() = value;
            assert!(is_valid(&schema, &spoilt).is_err(), "{pointer}");
        }
        let mut shortened = run.clone();
        let row = shortened["trials"][0].as_object_mut().unwrap();
        row.remove("jain");
        assert!(is_valid(&schema, &shortened).is_err());
        // Columns of newer versions are kept, and an older version's environment is less.
        let mut other = run;
        other["trials"][0]["colour"] = json!("red");
        other["environment"] = json!({ "seed": 1 });
        other["complete"] = json!(false);
        assert_eq!(is_valid(&schema, &other), Ok(()));
    }

    #[test]
    fn every_line_that_is_written_is_valid() {
        let schema = committed("trials.schema.json");
        let outcome = sample_outcome();
        let worker = servers::ledger::Tally::default();
        let row = Row {
            requests_per_s: Some(1.5),
            ..Row::blank()
        };
        let line = TrialLine::of(
            row,
            Some(&outcome),
            &[worker, worker],
            Some(crate::model::took::Took::default()),
        )
        .unwrap();
        assert!(!line.histograms.is_empty() && line.workers.len() == 2);
        let line = serde_json::to_value(line).unwrap();
        assert_eq!(is_valid(&schema, &line), Ok(()));
        for remark in [
            Remark::SetAside(SetAside { block: 3 }),
            Remark::End(End { complete: true }),
        ] {
            let remark = serde_json::to_value(remark).unwrap();
            assert_eq!(is_valid(&schema, &remark), Ok(()));
        }
        let looked_into = InstrumentedLine {
            instrumented: Instrumented {
                row: Row::blank(),
                syscalls: Some(Syscalls {
                    total: 3,
                    by_name: [("read".to_string(), 2)].into(),
                    between_s: 1.0,
                    requests: Some(1.0),
                }),
                profile: Some(Profile::default()),
                notes: vec!["no flame graph: there is no program `perf`".into()],
            },
            perf_events_open: Some(55),
        };
        let looked_into = serde_json::to_value(looked_into).unwrap();
        assert_eq!(is_valid(&schema, &looked_into), Ok(()));
        let mut spoilt = looked_into;
        spoilt["instrumented"]["syscalls"]["total"] = json!("many");
        assert!(is_valid(&schema, &spoilt).is_err());
        for (pointer, value) in [
            ("/row", json!(1)),
            ("/row/conns", json!(-1)),
            ("/window/length_s", json!("long")),
            ("/histograms/response", json!(7)),
            ("/workers/0/accepted", json!(null)),
        ] {
            let mut spoilt = line.clone();
            *spoilt.pointer_mut(pointer).unwrap() = value;
            assert!(is_valid(&schema, &spoilt).is_err(), "{pointer}");
        }
    }

    /// A tenth of a second against a null server: what loadgen really returns.
    fn sample_outcome() -> Outcome {
        struct Nobody;
        impl Listener for Nobody {
            fn notice(&mut self, _: &str) {}
            fn second(&mut self, _: &Live, _: Sum) {}
        }
        let server = NullServer::start(None).unwrap();
        let times = RunFlags {
            warmup: Duration::ZERO,
            duration: Duration::from_millis(100),
            ..RunFlags::default()
        };
        let target = server.address().to_string();
        let load = Load::new(
            &target,
            &ShapeFlags::default(),
            &LoadFlags::default(),
            &times,
        )
        .unwrap();
        loadgen::fleet::run::run(load, &mut Link::new(None).unwrap(), &mut Nobody)
            .unwrap()
            .outcome
    }

    #[test]
    fn a_second_is_valid_and_a_spoilt_one_is_not() {
        let schema = committed("second.schema.json");
        let response = Latency::default();
        let live = Live {
            second: second_of(3, &response, 0),
            slip: Some(response.clone()),
            service: None,
            response,
            counted: Counted {
                requests_failed: BTreeMap::from([("TIMEOUT".into(), 2)]),
                ..Counted::default()
            },
        };
        let record = SecondRecord::of(&live, &sample_outcome().load, 1);
        let sample = serde_json::to_value(&record).unwrap();
        assert_eq!(is_valid(&schema, &sample), Ok(()));
        for (pointer, value) in [
            ("/schema", json!("tenk.second/2")),
            ("/requests_failed/TIMEOUT", json!(-1)),
            ("/slip_ns/p99", json!("1 ms")),
            ("/connections_open", json!(null)),
        ] {
            let mut spoilt = sample.clone();
            *spoilt.pointer_mut(pointer).unwrap() = value;
            assert!(is_valid(&schema, &spoilt).is_err(), "{pointer}");
        }
    }

    #[test]
    fn an_outcome_is_valid_and_a_spoilt_one_is_not() {
        let schema = committed("outcome.schema.json");
        let mut outcome = sample_outcome();
        assert!(!outcome.histograms.is_empty());
        outcome
            .connections
            .connect_failed
            .insert("EHOSTUNREACH".into(), 2);
        let sample = serde_json::to_value(&outcome).unwrap();
        assert_eq!(is_valid(&schema, &sample), Ok(()));
        for (pointer, value) in [
            ("/schema", json!("tenk.outcome/2")),
            ("/load/protocol", json!("smtp")),
            ("/load/sources", json!({ "list": "127.0.0.1" })),
            ("/connections/connect_failed/EHOSTUNREACH", json!(-1)),
            ("/latency_ns/response/p99", json!("1 ms")),
            ("/verdict", json!("perhaps")),
        ] {
            let mut spoilt = sample.clone();
            *spoilt.pointer_mut(pointer).unwrap() = value;
            assert!(is_valid(&schema, &spoilt).is_err(), "{pointer}");
        }
    }
}
