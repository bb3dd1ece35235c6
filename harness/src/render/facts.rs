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

/// The share of one CPU that this program may use in a measured window.
const OWN_CPU: f64 = 0.02;

/// The largest share of one CPU that this program itself used in a measured window.
pub struct OwnCpu(f64);

/// That of a run; none where it was not measured.
pub fn own_cpu(environment: &Value) -> Option<OwnCpu> {
    environment["harness_cpu_fraction"].as_f64().map(OwnCpu)
}

impl OwnCpu {
    /// What it was, in words.
    pub fn words(&self) -> String {
        let used = format!(
            "In measured windows tenk itself used {:.2} % of a CPU at most",
            self.0 * 100.0
        );
        match self.0 <= OWN_CPU {
            true => used + ".",
            false => format!(
                "{used}, which the generator and the server did not have: more than the {} % that it should keep to.",
                OWN_CPU * 100.0
            ),
        }
    }

    /// The same where it was more than it should be.
    pub fn too_much(&self) -> Option<String> {
        (self.0 > OWN_CPU).then(|| self.words())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_this_program_used_is_said_and_where_it_was_too_much() {
        let of = |share: Value| own_cpu(&json!({ "harness_cpu_fraction": share }));
        assert!(of(Value::Null).is_none());
        let little = of(json!(0.0009)).unwrap();
        assert!(
            little.words().contains("0.09 % of a CPU at most."),
            "{}",
            little.words()
        );
        assert_eq!(little.too_much(), None);
        let much = of(json!(0.031)).unwrap().too_much().unwrap();
        assert!(
            much.contains("3.10 % of a CPU") && much.contains("the 2 %"),
            "{much}"
        );
    }
}
