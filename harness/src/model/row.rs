//! The row: one trial's settings, judgement and figures. The spine of the program: whatever is shown later is
//! computed from saved rows alone.

use loadgen::tally::code::Code;
pub use loadgen::tally::outcome::{Reason, Verdict};
use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// What the server did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Served everything that was asked.
    #[default]
    Ok,
    /// Met a wall and said so: descriptors, FD_SETSIZE, processes.
    Limited,
    /// Connections were up but not served in time.
    Starved,
    /// Ended by itself.
    Crashed,
    /// Alive, and silent even after the load had gone.
    Hung,
    /// Sent bytes that were not the ones it was sent.
    Wrong,
    /// Cannot run on this host.
    Skipped,
}

impl Status {
    /// Whether the trial failed, which makes the whole run end with exit code 1.
    pub fn is_failure(self) -> bool {
        matches!(self, Status::Crashed | Status::Hung | Status::Wrong)
    }
}

/// Whose CPUs were used up (at least 90 %) during the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bottleneck {
    /// The server's only.
    Server,
    /// The generator's only.
    Generator,
    /// Both.
    Both,
    /// Neither: the load, a wait, or something else set the pace.
    Neither,
}

macro_rules! display_as_serialised {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.serialize(f)
            }
        }
    )*};
}
display_as_serialised!(Status Bottleneck);

/// All reasons of a row; one cell of text, the reasons divided by ` | `. One without a code explains the status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", from = "String")]
#[schemars(with = "String")]
pub struct Reasons(pub Vec<Reason>);

impl From<Reasons> for String {
    fn from(reasons: Reasons) -> String {
        let texts: Vec<String> = reasons.0.iter().map(in_words).collect();
        texts.join(" | ")
    }
}

/// A reason as people read it: its code first, if it has one.
pub fn in_words(reason: &Reason) -> String {
    format!("{} {}", reason.code, reason.text)
        .trim_start()
        .to_string()
}

impl From<String> for Reasons {
    fn from(text: String) -> Self {
        let parse = |part: &str| {
            let (code, text) = match part.split_once(' ') {
                Some((code, text)) if is_code(code) => (code, text),
                _ => ("", part),
            };
            Reason {
                code: code.into(),
                text: text.into(),
            }
        };
        let parts = text.split(" | ").filter(|part| !part.is_empty());
        Reasons(parts.map(parse).collect())
    }
}

fn is_code(word: &str) -> bool {
    let digits = word.strip_prefix('W').unwrap_or_default();
    digits.len() == 2 && u8::from_str(digits).is_ok()
}

/// Columns that this version does not know, with the values that they were read with.
pub type Unknown = BTreeMap<String, Value>;

/// Names the columns once: the struct, its CSV header and its JSON keys are the same list.
macro_rules! row {
    (
        $($(#[doc = $who_doc:literal])* $who:ident: $who_kind:ty,)*
        @asked $($(#[doc = $asked_doc:literal])* $asked:ident: $asked_kind:ty,)*
        @found $($(#[doc = $found_doc:literal])* $found:ident: $found_kind:ty,)*
    ) => {
        row! {
            @all
            $($(#[doc = $who_doc])* $who: $who_kind,)*
            $($(#[doc = $asked_doc])* $asked: $asked_kind,)*
            $($(#[doc = $found_doc])* $found: $found_kind,)*
        }

        /// The columns that say what was asked: of which load, of which service.
        #[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
        pub struct Asked {
            $($(#[doc = $asked_doc])* pub $asked: $asked_kind,)*
        }

        impl Row {
            /// What was asked.
            pub fn asked(&self) -> Asked {
                Asked { $($asked: self.$asked.clone(),)* }
            }
        }
    };
    (@all $($(#[doc = $doc:literal])* $name:ident: $kind:ty,)*) => {
        /// One trial. A figure that was not measured is `None`: `null` in JSON, an empty cell in CSV.
        ///
        /// A column added later is an `Option`: then a run that was saved before has none of it, and is still read.
        #[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
        pub struct Row {
            $($(#[doc = $doc])* pub $name: $kind,)*
            /// Columns of a newer version, or of somebody's own: kept as they are.
            #[serde(skip)]
            pub unknown: Unknown,
        }

        impl Row {
            /// A row with nothing in it, to be filled in.
            pub fn blank() -> Row {
                Row { $($name: Default::default(),)* unknown: Unknown::new() }
            }
        }

        impl Serialize for Row {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(COLUMNS.len() + self.unknown.len()))?;
                $(map.serialize_entry(stringify!($name), &self.$name)?;)*
                for (name, value) in &self.unknown {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }

        /// The columns in their order.
        pub const COLUMNS: &[&str] = &[$(stringify!($name)),*];
    };
}

row! {
    /// The run's name, which is also its folder's.
    run_id: String,
    /// Block number from 1: one workload with every model once.
    block: u32,
    /// Trial number from 1 in the order of running.
    trial: u32,
    /// Seed of the trial's random parts.
    seed: u64,
    /// Label under which rows are compared: the model with its variant.
    arm: String,
    /// The model's name.
    model: String,
    /// The variant's words, as given.
    variant: Option<String>,
    /// What the run was given to be found again by (`--label`), as `key=value;key=value`.
    labels: Option<String>,
    @asked
    /// What the server does with bytes.
    service: String,
    /// What the generator speaks.
    protocol: String,
    /// Active connections asked for.
    conns: u64,
    /// Idle connections asked for beside them.
    idle: u64,
    /// Bytes per request.
    payload_bytes: u64,
    /// What requests say, in words that end in a digest where they are long; none: what the service is asked by default.
    requests: Option<String>,
    /// Requests after which a connection is closed and replaced; none: long-lived.
    requests_per_conn: Option<u64>,
    /// Offered requests per second; none: closed loop.
    rate_per_s: Option<f64>,
    /// Course of the rate through the window, in place of one rate (`--stages`).
    stages: Option<String>,
    /// Course of the number of connections through the window (`--conn-stages`); `conns` is the most of them.
    conn_stages: Option<String>,
    /// Share of the arm's own capacity that `rate_per_s` was asked to be; none: a rate was asked for, or a closed loop.
    capacity_fraction: Option<f64>,
    /// `closed`, `fixed` or `poisson`.
    arrival: String,
    /// Pause between a reply and the next request, ns.
    think_ns: u64,
    /// Requests in flight on one connection.
    pipeline: u64,
    /// CPU work per request asked of the server, ns.
    work_ns: Option<u64>,
    /// Blocking call per request asked of the server, ns.
    block_ns: Option<u64>,
    @found
    /// Workers asked of the server.
    workers: Option<u64>,
    /// CPUs of the server, as a list like `0-1,3`.
    server_cpus: String,
    /// CPUs of the generator.
    client_cpus: String,
    /// Length of the measured window, s.
    duration_s: f64,
    /// What the server did: `ok`, `limited`, `starved`, `crashed`, `hung`, `wrong` or `skipped`.
    status: Status,
    /// Whether the figures are to be believed: `valid`, `suspect` or `invalid`.
    verdict: Verdict,
    /// Why the status and the verdict are what they are; codes as in the README.
    reasons: Reasons,
    /// The condition of `--abort-on` that ended the trial early; its figures are of what there was until then.
    aborted: Option<String>,
    /// Whose CPUs were used up (90 % or more): `server`, `generator`, `both` or `neither`.
    bottleneck: Option<Bottleneck>,
    /// Connections whose connect completed, replacements included: the kernel completes it before the server accepts.
    conns_established: Option<u64>,
    /// Connections whose first exchange was verified: at the barrier when long-lived, over the whole run when short-lived.
    conns_served: Option<u64>,
    /// Connections the server turned away at a limit.
    conns_shed: Option<u64>,
    /// Connects refused.
    conns_refused: Option<u64>,
    /// Connects that took too long.
    conns_timed_out: Option<u64>,
    /// Established connections ended by a reset.
    conns_reset: Option<u64>,
    /// Connections that the server closed although neither the load nor an answer had said that it would.
    conns_closed_unasked: Option<u64>,
    /// Silent connections (`--idle`) that the server ended: each an error.
    conns_idle_lost: Option<u64>,
    /// Connections that failed in the generator's own system.
    local_failures: Option<u64>,
    /// Connections served per second: over the window when short-lived, over the ramp when long-lived.
    conns_per_s: Option<f64>,
    /// Requests due in the window.
    requests_offered: Option<u64>,
    /// Requests answered and verified.
    requests_completed: Option<u64>,
    /// Requests due and never sent.
    requests_dropped: Option<u64>,
    /// How often a request was sent again, since its connection was closed before a byte of its answer: no failure.
    requests_resent: Option<u64>,
    /// Requests sent and not answered in time.
    requests_timed_out: Option<u64>,
    /// Requests ended by an error of the connection.
    requests_failed: Option<u64>,
    /// Replies with wrong bytes.
    requests_mismatched: Option<u64>,
    /// Everything asked for and not given.
    errors: Option<u64>,
    /// Requests completed in the window per second.
    requests_per_s: Option<f64>,
    /// Payload bytes completed in the window per second.
    bytes_per_s: Option<f64>,
    /// Bytes that the generator sent in the window per second, heads and all.
    bytes_sent_per_s: Option<f64>,
    /// Bytes that it received in the window per second, heads and all.
    bytes_received_per_s: Option<f64>,
    /// Response time, median, ns.
    response_p50_ns: Option<u64>,
    /// Response time, 90th percentile, ns.
    response_p90_ns: Option<u64>,
    /// Response time, 99th percentile, ns.
    response_p99_ns: Option<u64>,
    /// Response time, 99.9th percentile, ns.
    response_p999_ns: Option<u64>,
    /// Response time, the longest, ns.
    response_max_ns: Option<u64>,
    /// Service time, median, ns.
    service_p50_ns: Option<u64>,
    /// Service time, 99th percentile, ns.
    service_p99_ns: Option<u64>,
    /// Time to connect, median, ns.
    connect_p50_ns: Option<u64>,
    /// Time to connect, 99th percentile, ns.
    connect_p99_ns: Option<u64>,
    /// How late requests were sent (open loop), 99th percentile, ns.
    slip_p99_ns: Option<u64>,
    /// Jain's fairness index over connections: 1 is fair.
    jain: Option<f64>,
    /// Requests completed in the second half of the window ÷ those in the first − 1 (closed loop).
    window_drift: Option<f64>,
    /// CPU of the server and all its children per request completed in the window, µs.
    server_cpu_us_per_request: Option<f64>,
    /// User part of the server's CPU time in the window, s (sampled at ticks).
    server_user_s: Option<f64>,
    /// System part, s (sampled at ticks).
    server_system_s: Option<f64>,
    /// Memory of the server at the window's end less the ready server's, KiB.
    server_memory_kib: Option<u64>,
    /// `server_memory_kib` per connection served at the barrier, in bytes; none when they are short-lived.
    server_memory_per_conn_bytes: Option<f64>,
    /// Threads of the server at the window's end.
    server_threads: Option<u64>,
    /// Processes of the server at the window's end; a connection that waits to be accepted has none yet.
    server_processes: Option<u64>,
    /// Context switches of the server per request; none where its tasks changed during the window.
    ctx_switches_per_request: Option<f64>,
    /// Times the server's loop woke up per request, by its ledger.
    wakeups_per_request: Option<f64>,
    /// CPU of the generator per request, µs.
    generator_cpu_us_per_request: Option<f64>,
    /// Useful share of the generator's CPUs, 0 to 1.
    generator_utilisation: Option<f64>,
    /// Addresses that connections came from, in words; none where the kernel chose.
    sources_used: Option<String>,
    /// SYNs that this trial's connections had to send again: each waited for a second or more.
    syns_sent_again: Option<u64>,
    /// TcpExt ListenOverflows during the trial.
    listen_overflows: Option<u64>,
    /// TcpExt ListenDrops during the trial.
    listen_drops: Option<u64>,
    /// Tcp RetransSegs during the trial.
    tcp_retransmits: Option<u64>,
    /// Share of the machine's CPU time in the window in which the hypervisor did not run this machine (steal).
    steal_fraction: Option<f64>,
    /// Share of the machine's CPU time in the window used by processes of neither side.
    foreign_cpu_fraction: Option<f64>,
    /// CPU time that the quota of a control group withheld in the window, s; 0 where none was used up.
    throttled_s: Option<f64>,
    /// Processes of the server that the kernel ended because memory was short.
    server_oom_kills: Option<u64>,
}

impl Row {
    /// The row of these columns. One that is missing is `None`, one that this version does not know is kept.
    ///
    /// # Errors
    /// Without a column that every run has, and with a value that is none of its column's.
    pub fn from_json(columns: &Map<String, Value>) -> Result<Row, serde_json::Error> {
        let unknown = columns.iter().filter(|(name, _)| !is_column(name));
        let unknown = unknown.map(|(name, value)| (name.clone(), value.clone()));
        let row = Row::deserialize(columns)?;
        Ok(Row {
            unknown: unknown.collect(),
            ..row
        })
    }

    /// Whether the figures may be drawn and go into medians.
    pub fn is_usable(&self) -> bool {
        let measured = self.requests_completed.is_some();
        measured && self.verdict != Verdict::Invalid && !self.status.is_failure()
    }
}

/// Whether something else used the machine in this trial.
pub fn is_disturbed(row: &Row) -> bool {
    row.reasons.0.iter().any(|reason| reason.is(Code::W07))
}

/// Whether this is one of [`COLUMNS`].
pub fn is_column(name: &str) -> bool {
    static NAMES: LazyLock<BTreeSet<&str>> = LazyLock::new(|| COLUMNS.iter().copied().collect());
    NAMES.contains(name)
}

/// Whether this column holds words, in which nothing can be more or less.
pub fn is_text(column: &str) -> bool {
    static TEXTS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let schema = schemars::schema_for!(Row);
        let columns = schema.get("properties").and_then(Value::as_object);
        let is_number = |kind: &Value| kind == "integer" || kind == "number";
        let is_text = |schema: &Value| match &schema["type"] {
            Value::Array(kinds) => !kinds.iter().any(is_number),
            kind => !is_number(kind),
        };
        let texts = columns.into_iter().flatten();
        let texts = texts.filter(|(_, schema)| is_text(schema));
        texts.map(|(name, _)| name.clone()).collect()
    });
    TEXTS.contains(column)
}

/// The rows as CSV, header first; columns that this version does not know come last.
pub fn to_csv(rows: &[Row]) -> Result<Vec<u8>, csv::Error> {
    to_csv_of_texts(rows, str::to_string)
}

/// The same with every text, the names of unknown columns included, changed by `text`.
pub fn to_csv_of_texts(rows: &[Row], text: impl Fn(&str) -> String) -> Result<Vec<u8>, csv::Error> {
    let unknown: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.unknown.keys().map(String::as_str))
        .collect();
    let names: Vec<&str> = COLUMNS.iter().copied().chain(unknown).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(names.iter().map(|name| text(name)))?;
    for row in rows {
        let columns = serde_json::to_value(row).map_err(std::io::Error::other)?;
        let cell = |name: &&str| match &columns[*name] {
            Value::Null => String::new(),
            Value::String(content) => text(content),
            Value::Array(_) | Value::Object(_) => text(&columns[*name].to_string()),
            figure => figure.to_string(),
        };
        writer.write_record(names.iter().map(cell))?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

/// Any lines as CSV under this header, which is there even without lines.
pub fn csv_of<T: Serialize>(columns: &[&str], lines: &[T]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(Vec::new());
    writer.write_record(columns)?;
    for line in lines {
        writer.serialize(line)?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_words_are_told_from_columns_of_figures() {
        let json = serde_json::to_value(Row::blank()).unwrap();
        for column in COLUMNS {
            // What may be missing is of a kind that only its schema tells.
            if !json[*column].is_null() {
                assert_eq!(json[*column].is_string(), is_text(column), "{column}");
            }
        }
        assert!(is_text("variant") && is_text("bottleneck"));
        assert!(!is_text("requests_per_s") && !is_text("work_ns"));
    }

    #[test]
    fn csv_and_json_have_the_same_names_and_give_the_row_back() {
        let mut row = Row::blank();
        row.variant = Some("accept=mutex,workers=64".into());
        row.requests_per_s = Some(123_456.5);
        row.reasons = Reasons(vec![
            Reason {
                code: "".into(),
                text: "FD_SETSIZE at 1020 of 5000".into(),
            },
            Reason {
                code: "W08".into(),
                text: "the listen queue overflowed, \"15\" times".into(),
            },
        ]);
        let text = to_csv(&[row.clone()]).unwrap();
        let mut reader = csv::Reader::from_reader(&text[..]);
        assert_eq!(reader.headers().unwrap(), COLUMNS);
        let again: Vec<Row> = reader.deserialize().collect::<Result<_, _>>().unwrap();
        assert_eq!(again, vec![row.clone()]);
        let json = serde_json::to_value(&row).unwrap();
        assert!(json["response_p50_ns"].is_null());
        assert_eq!(json.as_object().unwrap().len(), COLUMNS.len());
    }

    #[test]
    fn an_empty_file_still_has_its_header() {
        let text = String::from_utf8(to_csv(&[]).unwrap()).unwrap();
        assert!(text.starts_with("run_id,block,trial,seed,arm,model,variant,"));
    }

    #[test]
    fn a_row_without_a_figure_and_with_a_column_of_somebody_else_is_read() {
        let row = Row {
            jain: Some(0.5),
            ..Row::blank()
        };
        let Ok(Value::Object(mut columns)) = serde_json::to_value(&row) else {
            panic!("a row is an object");
        };
        columns.remove("jain");
        columns.insert("colour".into(), "=red".into());
        let read = Row::from_json(&columns).unwrap();
        assert_eq!(read.jain, None);
        assert_eq!(read.unknown["colour"], "=red");
        let again = serde_json::to_value(&read).unwrap();
        assert_eq!(
            (&again["colour"], &again["jain"]),
            (&"=red".into(), &Value::Null)
        );
        let text = String::from_utf8(to_csv(&[row, read]).unwrap()).unwrap();
        let last: Vec<&str> = text.lines().filter_map(|l| l.rsplit(',').next()).collect();
        assert_eq!(last, ["colour", "", "=red"]);
        columns.remove("arm");
        let why = Row::from_json(&columns).unwrap_err().to_string();
        assert_eq!(why, "missing field `arm`");
    }

    /// Columns without which nothing is said, and which every run ever made has. Whoever adds a column makes it an
    /// `Option`, so that this list stays as it is.
    #[test]
    fn only_these_columns_must_be_there() {
        let needed = "run_id block trial seed arm model service protocol conns idle payload_bytes arrival think_ns \
            pipeline server_cpus client_cpus duration_s status verdict reasons";
        let Ok(Value::Object(all)) = serde_json::to_value(Row::blank()) else {
            panic!("a row is an object");
        };
        let is_needed = |name: &&&str| {
            let mut columns = all.clone();
            columns.remove(**name);
            Row::from_json(&columns).is_err()
        };
        let found: Vec<&str> = COLUMNS.iter().filter(is_needed).copied().collect();
        assert_eq!(found, needed.split_whitespace().collect::<Vec<_>>());
    }
}
