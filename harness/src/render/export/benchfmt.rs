//! `--export benchfmt`: the Go benchmark format (<https://go.dev/design/14313-benchmark-format>), a line per trial.
//! `benchstat -col /model FILE` then compares the models.

use super::{EXPORTED, Source};
use crate::base::text::visible;
use crate::model::row::Row;
use loadgen::load::labels::of_cell;
use std::fmt::Write;

/// Keys that lines of this program's own have.
const OWN_KEYS: [&str; 4] = ["os", "kernel", "cpu", "seed"];

pub fn render(source: &Source) -> String {
    let mut text = String::new();
    for exported in &EXPORTED {
        let better = if exported.metric.more_is_better {
            "higher"
        } else {
            "lower"
        };
        let _ = writeln!(text, "Unit {} better={better}", exported.benchfmt);
    }
    let environment = source.environment();
    text.push_str("os: linux\n");
    let labels = source.rows.first().and_then(|row| row.labels.as_deref());
    for (key, value) in of_cell(labels.unwrap_or_default()) {
        match OWN_KEYS.contains(&key) {
            true => config(&mut text, &format!("label-{key}"), value),
            false => config(&mut text, key, value),
        }
    }
    for (key, name) in [("kernel", "kernel"), ("cpu", "cpu_model"), ("seed", "seed")] {
        match &environment[name] {
            serde_json::Value::String(value) => config(&mut text, key, value),
            serde_json::Value::Number(value) => config(&mut text, key, &value.to_string()),
            _ => {}
        }
    }
    let cpus = environment["cpus"].as_u64();
    for row in source.rows.iter().filter(|row| row.is_usable()) {
        line(&mut text, row, cpus);
    }
    text
}

fn config(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key}: {}", visible(value));
}

/// `BenchmarkEcho/model=epoll-et/conns=10000/payload=64-2 1 81234 req/s …`: the suffix is Go's number of CPUs.
fn line(text: &mut String, row: &Row, cpus: Option<u64>) {
    let mut measures = String::new();
    for exported in &EXPORTED {
        if let Some(value) = (exported.metric.of)(row).filter(|v| v.is_finite()) {
            let _ = write!(measures, "\t{value} {}", exported.benchfmt);
        }
    }
    if measures.is_empty() {
        return;
    }
    text.push_str(&format!("Benchmark{}", capitalised(&escaped(&row.service))));
    let mut part = |key: &str, value: &str| text.push_str(&format!("/{key}={}", escaped(value)));
    part("model", &row.arm);
    part("conns", &row.conns.to_string());
    part("payload", &row.payload_bytes.to_string());
    if row.idle > 0 {
        part("idle", &row.idle.to_string());
    }
    if let Some(n) = row.requests_per_conn {
        part("requests_per_conn", &n.to_string());
    }
    if let Some(rate) = row.rate_per_s {
        part("rate", &rate.to_string());
    }
    if let Some(cpus) = cpus {
        text.push_str(&format!("-{cpus}"));
    }
    let _ = writeln!(text, " \t1{measures}");
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// Names end at white space and their parts at `/`: both are written as %XX, and so is the sign itself.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() || c == '/' || c == '%' {
            let mut utf8 = [0; 4];
            for byte in c.encode_utf8(&mut utf8).bytes() {
                let _ = write!(escaped, "%{byte:02X}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::{RUN_JSON, rows};
    use super::*;

    #[test]
    fn a_line_per_trial_after_units_and_configuration() {
        let mut rows = rows();
        rows[1].idle = 7;
        rows[1].requests_per_conn = Some(1);
        rows[1].rate_per_s = Some(1500.5);
        rows.drain(2..6);
        rows[0].labels = Some("commit=3f2a;cpu=old".into());
        let source = Source {
            rows: &rows,
            run_json: RUN_JSON,
            answer: None,
            gate: None,
        };
        let expected = "\
Unit req/s better=higher
Unit p99-ns better=lower
Unit cpu-us/req better=lower
Unit mem-B/conn better=lower
os: linux
commit: 3f2a
label-cpu: old
kernel: Linux 6.18 x86_64
seed: 42
BenchmarkEcho/model=epoll-et/conns=10000/payload=64-2 \t1\t81001 req/s\t901000 p99-ns\t11.5 cpu-us/req
BenchmarkEcho/model=epoll-et/conns=10000/payload=64/idle=7/requests_per_conn=1/rate=1500.5-2 \t1\t81002 req/s\t902000 p99-ns\t11.5 cpu-us/req
BenchmarkEcho/model==cmd|a%20b%1B[1m\",%0A<b>/conns=10000/payload=64-2 \t1\t81001 req/s\t901000 p99-ns\t11.5 cpu-us/req
";
        assert_eq!(render(&source), expected);
    }

    #[test]
    fn nothing_is_known_of_an_environment_that_is_not_there() {
        let source = Source {
            rows: &rows()[..1],
            run_json: "no json",
            answer: None,
            gate: None,
        };
        let text = render(&source);
        assert!(
            text.contains("os: linux\nBenchmarkEcho/model=epoll-et/conns=10000/payload=64 \t1\t"),
            "{text}"
        );
    }
}
