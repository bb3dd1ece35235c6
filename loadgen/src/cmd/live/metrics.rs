//! `--metrics-file`: the run so far as OpenMetrics text, replaced in one step every second, for the textfile collector
//! of Prometheus' node exporter. That reads Prometheus' older text format: only the types of metrics that both know are
//! used.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::file::replace;
use crate::load::Load;
use crate::tally::live::SecondRecord;
use crate::tally::outcome::{Quantiles, add_all};

/// Labels that the metrics themselves have: a label of the run with such a name gets `label_` in front.
const OWN_LABELS: [&str; 9] = [
    "cause", "quantile", "target", "le", "job", "instance", "arm", "phase", "run_id",
];

/// What a run has come to.
#[derive(Debug)]
pub(super) struct Metrics {
    path: PathBuf,
    /// Whether the run goes on.
    pub(super) is_running: bool,
    totals: Totals,
}

impl Metrics {
    pub(super) fn new(path: &Path, load: &Load) -> Self {
        Self {
            path: path.to_owned(),
            is_running: true,
            totals: Totals::new(&load.target.to_string(), &load.labels, &[]),
        }
    }

    /// Adds a second.
    pub(super) fn add(&mut self, record: &SecondRecord) {
        self.totals.add(record);
    }

    /// Replaces the file.
    pub(super) fn write(&mut self) -> io::Result<()> {
        replace(&self.path, self.text().as_bytes())
    }

    /// The file.
    fn text(&self) -> String {
        self.totals.text(self.is_running) + END
    }
}

/// What ends a file of metrics.
pub const END: &str = "# EOF\n";

/// What the seconds of a load have come to.
#[derive(Debug)]
pub struct Totals {
    /// `target="…"` and the labels of the run.
    labels: String,
    sent: u64,
    completed: u64,
    bytes_sent: u64,
    bytes_received: u64,
    requests_failed: BTreeMap<String, u64>,
    connections_failed: BTreeMap<String, u64>,
    response: Summary,
    service: Summary,
    slip: Summary,
    last: Option<SecondRecord>,
}

/// Latencies: of all seconds how many and how long together, of the last one the quantiles.
#[derive(Debug, Default)]
struct Summary {
    count: u64,
    sum_s: f64,
    last: Quantiles,
}

impl Summary {
    fn add(&mut self, quantiles: &Quantiles) {
        self.count += quantiles.count;
        self.sum_s += quantiles.mean.unwrap_or(0) as f64 / 1e9 * quantiles.count as f64;
        self.last = quantiles.clone();
    }
}

impl Totals {
    /// Nothing yet, of a load of this target with these labels; `own` are those of whoever runs the load.
    #[must_use]
    pub fn new(target: &str, labels: &BTreeMap<String, String>, own: &[(&str, &str)]) -> Self {
        let own = [&[("target", target)][..], own].concat();
        Self {
            labels: labels_of(&own, labels),
            sent: 0,
            completed: 0,
            bytes_sent: 0,
            bytes_received: 0,
            requests_failed: BTreeMap::new(),
            connections_failed: BTreeMap::new(),
            response: Summary::default(),
            service: Summary::default(),
            slip: Summary::default(),
            last: None,
        }
    }

    /// Adds a second.
    pub fn add(&mut self, record: &SecondRecord) {
        self.sent += record.sent;
        self.completed += record.completed;
        self.bytes_sent += record.bytes_sent;
        self.bytes_received += record.bytes_received;
        add_all(&mut self.requests_failed, &record.requests_failed);
        add_all(&mut self.connections_failed, &record.connections_failed);
        self.response.add(&record.response_ns);
        record.service_ns.iter().for_each(|q| self.service.add(q));
        record.slip_ns.iter().for_each(|q| self.slip.add(q));
        self.last = Some(record.clone());
    }

    /// Its metrics, without what ends a file.
    #[must_use]
    pub fn text(&self, is_running: bool) -> String {
        let mut page = Page::new("tenk_load", &self.labels);
        page.gauge(
            "running",
            "",
            "1 while the run lasts, 0 after it",
            Some(f64::from(is_running)),
        );
        self.counters(&mut page);
        page.summary(
            "response_seconds",
            "Response times; quantiles of the last second",
            &self.response,
        );
        if let Some(last) = &self.last {
            self.of_last_second(last, &mut page);
        }
        page.text
    }

    fn counters(&self, page: &mut Page<'_>) {
        page.counter(
            "requests_sent",
            "",
            "Requests sent in the window",
            self.sent,
        );
        page.counter(
            "requests_completed",
            "",
            "Requests answered rightly in the window",
            self.completed,
        );
        page.causes(
            "requests_failed",
            "Requests failed in the window, by cause",
            &self.requests_failed,
        );
        page.causes(
            "connections_failed",
            "Connections that could not be had or ended in an error in the window, by cause",
            &self.connections_failed,
        );
        page.counter(
            "sent_bytes",
            "bytes",
            "Bytes written in the window",
            self.bytes_sent,
        );
        page.counter(
            "received_bytes",
            "bytes",
            "Bytes read in the window",
            self.bytes_received,
        );
    }

    fn of_last_second(&self, last: &SecondRecord, page: &mut Page<'_>) {
        if last.service_ns.is_some() {
            page.summary(
                "service_seconds",
                "Service times; quantiles of the last second",
                &self.service,
            );
            page.summary(
                "schedule_slip_seconds",
                "How late requests were sent; quantiles of the last second",
                &self.slip,
            );
        }
        page.gauge(
            "connections_open",
            "",
            "Connections open",
            Some(last.connections_open as f64),
        );
        page.gauge(
            "requests_asked",
            "",
            "Requests due in the last second, by the rate asked for",
            last.asked,
        );
        let written_s = last.written_unix_ns as f64 / 1e9;
        page.gauge(
            "last_second_timestamp_seconds",
            "seconds",
            "When the last second was added",
            Some(written_s),
        );
    }
}

/// Labels as they stand between braces: those of a run that have such a name get `label_` in front.
#[must_use]
pub fn labels_of(own: &[(&str, &str)], labels: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let mut add = |prefix: &str, key: &str, value: &str| {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{prefix}{key}=\"{}\"", escaped(value));
    };
    for (key, value) in own {
        add("", key, value);
    }
    for (key, value) in labels {
        let is_own = OWN_LABELS.contains(&key.as_str());
        add(if is_own { "label_" } else { "" }, key, value);
    }
    text
}

/// The text that grows.
#[derive(Debug)]
pub struct Page<'a> {
    prefix: &'a str,
    labels: &'a str,
    text: String,
}

impl<'a> Page<'a> {
    /// Nothing yet: every name begins with `prefix`, every metric has these labels.
    #[must_use]
    pub fn new(prefix: &'a str, labels: &'a str) -> Self {
        Self {
            prefix,
            labels,
            text: String::new(),
        }
    }

    /// What has been written.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn head(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let prefix = self.prefix;
        let _ = writeln!(self.text, "# TYPE {prefix}_{name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT {prefix}_{name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {prefix}_{name} {help}");
    }

    fn sample(&mut self, name: &str, more: &str, value: f64) {
        let (prefix, labels) = (self.prefix, self.labels);
        let _ = writeln!(self.text, "{prefix}_{name}{{{labels}{more}}} {value}");
    }

    /// A value that rises and falls; nothing where it is not known.
    pub fn gauge(&mut self, name: &str, unit: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.head(name, "gauge", unit, help);
            self.sample(name, "", value);
        }
    }

    /// What is so now, in labels of its own.
    pub fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) {
        self.head(name, "gauge", "", help);
        let more = format!(",{}", labels_of(labels, &BTreeMap::new()));
        self.sample(name, &more, 1.0);
    }

    /// A count that only grows.
    pub fn counter(&mut self, name: &str, unit: &str, help: &str, value: u64) {
        self.head(name, "counter", unit, help);
        self.sample(&format!("{name}_total"), "", value as f64);
    }

    fn causes(&mut self, name: &str, help: &str, counts: &BTreeMap<String, u64>) {
        self.head(name, "counter", "", help);
        for (cause, count) in counts {
            let cause = format!(",cause=\"{}\"", escaped(cause));
            self.sample(&format!("{name}_total"), &cause, *count as f64);
        }
    }

    fn summary(&mut self, name: &str, help: &str, summary: &Summary) {
        self.head(name, "summary", "seconds", help);
        let last = &summary.last;
        let quantiles = [
            ("0.5", last.p50),
            ("0.9", last.p90),
            ("0.99", last.p99),
            ("0.999", last.p999),
        ];
        for (quantile, value) in quantiles {
            if let Some(ns) = value.filter(|ns| !last.is_lower_bound(*ns)) {
                self.sample(name, &format!(",quantile=\"{quantile}\""), ns as f64 / 1e9);
            }
        }
        self.sample(&format!("{name}_sum"), "", summary.sum_s);
        self.sample(&format!("{name}_count"), "", summary.count as f64);
    }
}

/// A label's value, as both formats write it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::load::flags::{LoadFlags, RunFlags, ShapeFlags};
    use crate::tally::live::SCHEMA;

    /// A sample's name, its labels in order, and its value.
    type Sample = (String, Vec<(String, String)>, f64);

    /// Reads a name: letters, digits and `_`, no digit first.
    fn name_of(text: &str) -> (&str, &str) {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        assert!(
            name.starts_with(|c: char| c.is_ascii_alphabetic()),
            "no name: {text}"
        );
        (name, rest)
    }

    fn sample_of(line: &str) -> Sample {
        let (name, mut rest) = name_of(line);
        rest = rest.strip_prefix('{').expect("labels");
        let mut labels = Vec::new();
        loop {
            let (label, after) = name_of(rest);
            let mut after = after.strip_prefix("=\"").expect("a value").chars();
            let mut value = String::new();
            loop {
                match after.next().expect("the end of a value") {
                    '"' => break,
                    '\\' => match after.next() {
                        Some('n') => value.push('\n'),
                        Some(c @ ('\\' | '"')) => value.push(c),
                        other => panic!("escaped {other:?}"),
                    },
                    c => value.push(c),
                }
            }
            labels.push((label.to_owned(), value));
            rest = after.as_str();
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        let value = rest.strip_prefix("} ").expect("a value");
        let keys: BTreeSet<&String> = labels.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), labels.len(), "a label twice: {line}");
        (name.to_owned(), labels, value.parse().expect("a number"))
    }

    /// Reads OpenMetrics text as strictly as its specification is: metadata before samples, a family in one place, the
    /// suffixes that its type allows, no sample twice, and the end.
    fn parse(text: &str) -> BTreeMap<String, Vec<Sample>> {
        let body = text.strip_suffix("# EOF\n").expect("the end");
        let mut families: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        let (mut family, mut kind) = (String::new(), String::new());
        for line in body.lines() {
            if let Some(meta) = line.strip_prefix("# ") {
                let (word, rest) = meta.split_once(' ').expect("metadata");
                let (name, value) = rest.split_once(' ').expect("metadata of a family");
                match word {
                    "TYPE" => {
                        assert!(["counter", "gauge", "summary"].contains(&value), "{line}");
                        (family, kind) = (name.to_owned(), value.to_owned());
                        assert!(
                            families.insert(family.clone(), Vec::new()).is_none(),
                            "{name} twice"
                        );
                    }
                    "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                    "HELP" => {}
                    _ => panic!("{line}"),
                }
                assert_eq!(name, family, "metadata apart from its family");
                assert!(families[&family].is_empty(), "metadata after samples");
                continue;
            }
            let sample = sample_of(line);
            let suffix = sample
                .0
                .strip_prefix(&family)
                .expect("a sample of this family");
            let quantile = sample.1.iter().any(|(key, _)| key == "quantile");
            match (kind.as_str(), suffix, quantile) {
                ("counter", "_total", false) | ("summary", "_count" | "_sum", false) => {
                    assert!(sample.2 >= 0.0, "{line}");
                }
                ("gauge", "", false) | ("summary", "", true) => {}
                _ => panic!("{line} in a {kind}"),
            }
            let samples = families.get_mut(&family).expect("its family");
            assert!(
                !samples
                    .iter()
                    .any(|s| (&s.0, &s.1) == (&sample.0, &sample.1)),
                "{line} twice"
            );
            samples.push(sample);
        }
        families
    }

    fn record(second: u64) -> SecondRecord {
        let mut histogram = crate::tally::latency::new_histogram();
        (1..=20_000u64).for_each(|ns| histogram.saturating_record(ns * 1000));
        let quantiles = Quantiles::of(&histogram, 0, None);
        SecondRecord {
            schema: SCHEMA.into(),
            written_unix_ns: 1_700_000_000_000_000_000,
            target: "127.0.0.1:1".into(),
            labels: BTreeMap::new(),
            second,
            asked: Some(25_000.0),
            sent: 20_010,
            completed: 20_000,
            requests_failed: BTreeMap::from([("TIMEOUT".into(), 3), ("EOF".into(), 7)]),
            connections_failed: BTreeMap::new(),
            connections_open: 50,
            bytes_sent: 1 << 20,
            bytes_received: 1 << 21,
            response_ns: quantiles.clone(),
            service_ns: Some(quantiles.clone()),
            slip_ns: Some(quantiles),
        }
    }

    fn metrics(path: &Path) -> Metrics {
        let labels = ["commit=a\\b\"c", "cause=mine"].map(|text| text.parse().expect("a label"));
        let flags = LoadFlags {
            label: labels.to_vec(),
            ..LoadFlags::default()
        };
        let (shape, run) = (ShapeFlags::default(), RunFlags::default());
        let load = Load::new("127.0.0.1:1", &shape, &flags, &run).expect("a load");
        Metrics::new(path, &load)
    }

    #[test]
    fn the_file_is_open_metrics_and_counters_only_grow() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tenk.prom");
        let mut metrics = metrics(&path);
        let mut totals = Vec::new();
        for second in 0..3 {
            metrics.write().expect("written");
            let families = parse(&std::fs::read_to_string(&path).expect("read"));
            totals.push(families["tenk_load_requests_completed"][0].2);
            metrics.add(&record(second));
        }
        metrics.is_running = false;
        metrics.write().expect("written");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
        let families = parse(&std::fs::read_to_string(&path).expect("read"));
        assert_eq!(totals, [0.0, 20_000.0, 40_000.0]);
        let value = |family: &str| families[family][0].2;
        assert_eq!(value("tenk_load_running"), 0.0);
        assert_eq!(value("tenk_load_requests_completed"), 60_000.0);
        assert_eq!(value("tenk_load_sent_bytes"), 3.0 * 1_048_576.0);
        let causes = &families["tenk_load_requests_failed"];
        assert_eq!(causes.len(), 2);
        let labels: BTreeMap<_, _> = causes[1].1.iter().cloned().collect();
        assert_eq!((labels["cause"].as_str(), causes[1].2), ("TIMEOUT", 9.0));
        assert_eq!(labels["commit"], "a\\b\"c");
        assert_eq!(labels["label_cause"], "mine");
        let response = &families["tenk_load_response_seconds"];
        assert!((response[0].2 - 0.01).abs() < 1e-4, "{response:?}");
        // Of 20 000 requests a hundred lie beyond the 0.99 quantile, twenty beyond the 0.999.
        assert_eq!(response.len(), 3 + 2);
    }
}
