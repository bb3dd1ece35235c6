//! The JSON Schemas under `schemas/`: made from the types in the sources, their comments included, and checked
//! against what those types really write.
//!
//! After a change to a row, an outcome or what is in `run.json`:
//! `TENK_WRITE_SCHEMAS=1 cargo test -p harness schemas` writes them anew.

use crate::store::older::SCHEMA;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Expr, Field, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Token, Type,
};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The files whose types are written into outcomes and runs.
const SOURCES: [&str; 15] = [
    "loadgen/src/tally/outcome/mod.rs",
    "loadgen/src/tally/outcome/connections.rs",
    "loadgen/src/tally/outcome/fairness.rs",
    "loadgen/src/tally/outcome/generator.rs",
    "loadgen/src/tally/outcome/quantiles.rs",
    "loadgen/src/tally/outcome/requests.rs",
    "loadgen/src/load/mod.rs",
    "loadgen/src/load/settings.rs",
    "harness/src/model/rate.rs",
    "harness/src/model/row.rs",
    "harness/src/trial/environment.rs",
    "harness/src/analysis/summary.rs",
    "harness/src/analysis/stats/mod.rs",
    "harness/src/analysis/stats/ranking.rs",
    "harness/src/analysis/answer/mod.rs",
];

/// Types that serde writes in a way of their own.
const BY_HAND: [(&str, &str); 5] = [
    ("Reasons", "string"),
    ("SocketAddr", "string"),
    ("IpAddr", "string"),
    ("IpNet", "string"),
    ("str", "string"),
];

fn workspace() -> PathBuf {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
    harness.parent().unwrap().to_path_buf()
}

fn schema_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schemas")
        .join(name)
}

/// The types in the sources, by name.
struct Types {
    items: BTreeMap<String, Item>,
}

impl Types {
    fn read() -> Types {
        let mut items = BTreeMap::new();
        for source in SOURCES {
            let text = fs::read_to_string(workspace().join(source)).unwrap();
            for item in syn::parse_file(&text).unwrap().items {
                if let Some(name) = name_of(&item) {
                    items.entry(name).or_insert(item);
                }
            }
        }
        Types { items }
    }

    fn schema(&self, name: &str) -> Value {
        let item = self.items.get(name);
        schema_of(item.unwrap_or_else(|| panic!("no type {name} in SOURCES")))
    }

    /// The schema of a document: its own part, with everything that it refers to.
    fn document(&self, id: &str, title: &str, mut root: Value) -> String {
        let mut definitions = BTreeMap::new();
        self.gather(&root, &mut definitions);
        let root = root.as_object_mut().unwrap();
        root.insert("$schema".into(), DIALECT.into());
        root.insert("$id".into(), id.into());
        root.insert("title".into(), title.into());
        root.insert("$defs".into(), json!(definitions));
        serde_json::to_string_pretty(root).unwrap() + "\n"
    }

    fn gather(&self, schema: &Value, definitions: &mut BTreeMap<String, Value>) {
        match schema {
            Value::Object(object) => {
                let name = object
                    .get("$ref")
                    .and_then(Value::as_str)
                    .and_then(|r| r.strip_prefix("#/$defs/"));
                if let Some(name) = name.filter(|name| !definitions.contains_key(*name)) {
                    let definition = self.schema(name);
                    definitions.insert(name.to_string(), definition.clone());
                    self.gather(&definition, definitions);
                }
                object
                    .values()
                    .for_each(|value| self.gather(value, definitions));
            }
            Value::Array(values) => values
                .iter()
                .for_each(|value| self.gather(value, definitions)),
            _ => {}
        }
    }
}

fn name_of(item: &Item) -> Option<String> {
    match item {
        Item::Struct(item) if is_serialised(&item.attrs) => Some(item.ident.to_string()),
        Item::Enum(item) if is_serialised(&item.attrs) => Some(item.ident.to_string()),
        Item::Macro(item) if item.mac.path.is_ident("row") => Some("Row".into()),
        _ => None,
    }
}

fn is_serialised(attributes: &[Attribute]) -> bool {
    let derives = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("derive"));
    let parser = Punctuated::<syn::Path, Token![,]>::parse_terminated;
    derives
        .filter_map(|attribute| attribute.parse_args_with(parser).ok())
        .any(|traits| traits.iter().any(|name| name.is_ident("Serialize")))
}

fn schema_of(item: &Item) -> Value {
    match item {
        Item::Struct(item) => match &item.fields {
            Fields::Unnamed(fields) => type_schema(&fields.unnamed[0].ty),
            fields => object(&item.attrs, fields.iter()),
        },
        Item::Enum(item) => {
            let rename = serde_value(&item.attrs, "rename_all").unwrap_or_default();
            let variants = item.variants.iter().map(|v| variant(v, &rename));
            let mut schema = json!({ "oneOf": variants.collect::<Vec<_>>() });
            describe(&mut schema, &item.attrs);
            schema
        }
        Item::Macro(item) => {
            let parser = |input: syn::parse::ParseStream| {
                Punctuated::<Field, Token![,]>::parse_terminated_with(input, Field::parse_named)
            };
            let fields = item.mac.parse_body_with(parser).unwrap();
            let mut schema = object(&[], fields.iter());
            schema["description"] = "One trial; a figure that was not measured is null.".into();
            schema
        }
        _ => panic!("neither a struct nor an enum"),
    }
}

fn variant(variant: &syn::Variant, rename: &str) -> Value {
    let name = renamed(&variant.ident.to_string(), rename);
    let mut schema = match variant.fields.iter().next() {
        None => json!({ "const": name }),
        Some(field) => tagged(&name, type_schema(&field.ty)),
    };
    describe(&mut schema, &variant.attrs);
    schema
}

fn tagged(name: &str, content: Value) -> Value {
    let mut properties = Map::new();
    properties.insert(name.into(), content);
    json!({ "type": "object", "properties": properties, "required": [name], "additionalProperties": false })
}

fn object<'a>(attributes: &[Attribute], fields: impl Iterator<Item = &'a Field>) -> Value {
    let mut properties = Map::new();
    for field in fields.filter(|field| !serde_has(&field.attrs, "skip")) {
        let mut schema = type_schema(&field.ty);
        describe(&mut schema, &field.attrs);
        properties.insert(field.ident.as_ref().unwrap().to_string(), schema);
    }
    let required: Vec<String> = properties.keys().cloned().collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    describe(&mut schema, attributes);
    schema
}

fn type_schema(ty: &Type) -> Value {
    let path = match ty {
        Type::Reference(reference) => return type_schema(&reference.elem),
        Type::Array(array) => {
            let length = length(&array.len);
            let items = type_schema(&array.elem);
            return json!({ "type": "array", "items": items, "minItems": length, "maxItems": length });
        }
        Type::Path(path) => path.path.segments.last().unwrap(),
        _ => panic!("a type that no schema was thought of for"),
    };
    let argument = |n: usize| match &path.arguments {
        PathArguments::AngleBracketed(list) => match list.args.iter().nth(n) {
            Some(GenericArgument::Type(ty)) => type_schema(ty),
            _ => panic!("{} without its argument", path.ident),
        },
        _ => panic!("{} without arguments", path.ident),
    };
    let name = path.ident.to_string();
    match name.as_str() {
        "bool" => json!({ "type": "boolean" }),
        "String" => json!({ "type": "string" }),
        "f32" | "f64" => json!({ "type": "number" }),
        "u8" | "u16" | "u32" | "u64" | "usize" => json!({ "type": "integer", "minimum": 0 }),
        "Option" => json!({ "anyOf": [argument(0), { "type": "null" }] }),
        "Vec" => json!({ "type": "array", "items": argument(0) }),
        "BTreeMap" => json!({ "type": "object", "additionalProperties": argument(1) }),
        _ => match BY_HAND.iter().find(|(known, _)| *known == name) {
            Some((_, kind)) => json!({ "type": kind }),
            None => json!({ "$ref": format!("#/$defs/{name}") }),
        },
    }
}

fn length(expression: &Expr) -> usize {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().unwrap(),
            _ => panic!("a length that is no number"),
        },
        _ => panic!("a length that is no literal"),
    }
}

/// The documentation comment, as the schema's description.
fn describe(schema: &mut Value, attributes: &[Attribute]) {
    let lines: Vec<String> = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(text.value().trim().to_string()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
        .collect();
    if !lines.is_empty() {
        schema["description"] = lines.join(" ").trim().into();
    }
}

/// The value of `#[serde(key = "value")]`.
fn serde_value(attributes: &[Attribute], key: &str) -> Option<String> {
    let mut found = None;
    for attribute in attributes.iter().filter(|a| a.path().is_ident("serde")) {
        let _ = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident(key) {
                found = Some(meta.value()?.parse::<syn::LitStr>()?.value());
            }
            Ok(())
        });
    }
    found
}

fn serde_has(attributes: &[Attribute], word: &str) -> bool {
    let mut found = false;
    for attribute in attributes.iter().filter(|a| a.path().is_ident("serde")) {
        let _ = attribute.parse_nested_meta(|meta| {
            found |= meta.path.is_ident(word);
            Ok(())
        });
    }
    found
}

fn renamed(variant: &str, rule: &str) -> String {
    let snake_case = || {
        let mut name = String::new();
        for (i, c) in variant.char_indices() {
            if i > 0 && c.is_uppercase() {
                name.push('_');
            }
            name.extend(c.to_lowercase());
        }
        name
    };
    match rule {
        "lowercase" => variant.to_lowercase(),
        "snake_case" => snake_case(),
        "" => variant.to_string(),
        _ => panic!("rename_all = {rule:?}"),
    }
}

fn array_of(name: &str) -> Value {
    json!({ "type": "array", "items": { "$ref": format!("#/$defs/{name}") } })
}

fn outcome_schema(types: &Types) -> String {
    let mut root = types.schema("Outcome");
    root["properties"]["schema"] = json!({ "const": loadgen::outcome::SCHEMA });
    types.document("tenk:outcome/1", "What a run of loadgen returns", root)
}

fn run_schema(types: &Types) -> String {
    let properties = json!({
        "schema": { "const": SCHEMA },
        "run_dir": { "type": "string", "description": "The run's folder." },
        "complete": { "type": "boolean", "description": "False when the run was interrupted, or is still going." },
        "environment": { "$ref": "#/$defs/Environment" },
        "trials": array_of("Row"),
        "summary": array_of("SummaryEntry"),
        "ranking": array_of("Ranking"),
        "answer": { "$ref": "#/$defs/Answer" },
    });
    let required: Vec<&String> = properties.as_object().unwrap().keys().collect();
    let root = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    types.document(
        "tenk:run/1",
        "A run of tenk: run.json and --format json",
        root,
    )
}

mod tests {
    use super::*;
    use crate::analysis::answer::Answer;
    use crate::analysis::summary::summarise;
    use crate::model::rate::{Capacity, Found};
    use crate::model::row::{Bottleneck, Reason, Reasons, Row};
    use crate::trial::environment::{Environment, TrialNetwork};
    use loadgen::control::Sum;
    use loadgen::flags::{LoadFlags, RunFlags, ShapeFlags};
    use loadgen::link::Link;
    use loadgen::load::Load;
    use loadgen::null_server::NullServer;
    use loadgen::outcome::{Outcome, Second};
    use loadgen::run::Listener;
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

    #[test]
    fn the_committed_schemas_are_those_of_the_sources() {
        let types = Types::read();
        for (name, text) in [
            ("run.schema.json", run_schema(&types)),
            ("outcome.schema.json", outcome_schema(&types)),
        ] {
            if std::env::var_os("TENK_WRITE_SCHEMAS").is_some() {
                fs::write(schema_file(name), &text).unwrap();
            }
            let committed = fs::read_to_string(schema_file(name)).unwrap_or_default();
            assert!(
                committed == text,
                "schemas/{name} is out of date; `TENK_WRITE_SCHEMAS=1 cargo test -p harness schemas` writes it"
            );
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
            sha256: BTreeMap::new(),
            harness_cpu_fraction: Some(0.01),
            generator_floor: None,
            blocks_redone: 1,
            rate_search: vec![Found {
                workload: "c50/echo64".into(),
                capacities: vec![Capacity {
                    arm: "epoll".into(),
                    requests_per_s: None,
                }],
                rate_per_s: 1000.0,
            }],
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
        let mut extended = run.clone();
        extended["trials"][0]["jane"] = json!(1);
        assert!(is_valid(&schema, &extended).is_err());
        let mut shortened = run;
        shortened["trials"][0]
            .as_object_mut()
            .unwrap()
            .remove("jain");
        assert!(is_valid(&schema, &shortened).is_err());
    }

    /// A tenth of a second against a null server: what loadgen really returns.
    fn sample_outcome() -> Outcome {
        struct Nobody;
        impl Listener for Nobody {
            fn notice(&mut self, _: &str) {}
            fn second(&mut self, _: &Second, _: Sum) {}
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
        loadgen::run::run(load, &mut Link::new(None).unwrap(), &mut Nobody)
            .unwrap()
            .outcome
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
