//! Where a run was made and how to make it again, from the `environment` that it saved.

use crate::base::shell;
use crate::base::text::visible;
use serde_json::Value;

/// The command line of a run, quoted for a shell.
pub fn command(environment: &Value) -> String {
    let words = environment["command"].as_array();
    let words = words.into_iter().flatten().filter_map(Value::as_str);
    words.map(shell::quoted).collect::<Vec<_>>().join(" ")
}

/// The environment flattened: `trial_network.sysctls.net.core.somaxconn` and its value.
pub fn facts(environment: &Value) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    flatten("", environment, &mut facts);
    facts
}

fn flatten(path: &str, value: &Value, facts: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| *key != "command") {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                flatten(&path, value, facts);
            }
        }
        Value::Null => facts.push((visible(path), "unknown".into())),
        Value::String(text) => facts.push((visible(path), visible(text))),
        other => facts.push((visible(path), visible(&other.to_string()))),
    }
}
