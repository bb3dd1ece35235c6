//! Whether two runs were made on one machine in one state: every fact that figures depend on, with the difference that
//! such a fact may have. What one of them does not know is unknown, and not equal.

use crate::base::text::visible;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is read of a machine as it stands in the environment, and what people call it.
const MACHINE: [(&str, &str); 6] = [
    ("kernel", "the kernel"),
    ("cpu_model", "the CPU model"),
    ("cpus", "the number of CPUs"),
    ("memory_kib", "the memory in KiB"),
    ("server_cpus", "the list of the server's CPUs"),
    ("client_cpus", "the list of the generator's CPUs"),
];

/// How a figure was measured: only the columns that begin like this depend on it.
const METHODS: [(&str, &str, &[&str]); 2] = [
    ("memory_method", "memory", &["server_memory"]),
    (
        "cpu_method",
        "CPU time",
        &["server_cpu", "server_user", "server_system"],
    ),
];

/// Facts that the kernel derives from how much memory it found, or that are measured: two that differ by less are one
/// machine's.
const MEASURED: [&str; 6] = [
    "the memory in KiB",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "the tightest memory.max of control groups",
];
const TOLERANCE: f64 = 0.02;

/// Words of the kernel's command line that name one boot or one disk, and change nothing that is measured.
const OF_ONE_BOOT: [&str; 12] = [
    "BOOT_IMAGE",
    "console",
    "earlycon",
    "earlyprintk",
    "hostname",
    "initrd",
    "ip",
    "quiet",
    "root",
    "rootflags",
    "rootfstype",
    "splash",
];

/// Limits of control groups, in v2's names and v1's, and whether the smallest of all levels is what counts. Paths of
/// groups are named after containers and sessions: they are others in every run.
const GROUP_LIMITS: [(&str, &str, bool); 6] = [
    ("cpu.max", "cpu.cfs_quota_us", true),
    ("cpu.weight", "cpu.shares", false),
    ("cpuset.cpus.effective", "cpuset.effective_cpus", false),
    ("memory.max", "memory.limit_in_bytes", true),
    ("memory.high", "memory.soft_limit_in_bytes", true),
    ("pids.max", "pids.max", true),
];

/// What two runs' environments say of each other.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What makes every figure of the two incomparable, a sentence each.
    pub different: Vec<String>,
    /// What is not known of one of them, and what else should be known of the difference, a sentence each.
    pub notes: Vec<String>,
    /// How the columns begin that were measured in two ways.
    pub apart: Vec<&'static str>,
}

impl Comparison {
    /// Whether a column of both runs was measured alike.
    pub fn compares(&self, column: &str) -> bool {
        !self.apart.iter().any(|start| column.starts_with(start))
    }
}

/// Holds the environments of runs A and B against each other.
pub fn compare(a: &Value, b: &Value) -> Comparison {
    let (facts_a, facts_b) = (facts(a), facts(b));
    let mut found = Comparison::default();
    for (name, x) in &facts_a {
        match facts_b.get(name) {
            Some(y) if !is_same(name, x, y) => found.different.push(in_words(name, x, y)),
            _ => {}
        }
    }
    let missing = |of: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let names = other.keys().filter(|name| !of.contains_key(*name));
        names.cloned().collect::<Vec<_>>()
    };
    let unknown = [
        ("A", missing(&facts_a, &facts_b)),
        ("B", missing(&facts_b, &facts_a)),
    ];
    found.notes = unknown
        .into_iter()
        .filter_map(|(run, names)| not_known(run, &names))
        .collect();
    for (key, what, columns) in METHODS {
        let (x, y) = (a[key].as_str(), b[key].as_str());
        if let (Some(x), Some(y)) = (x, y)
            && x != y
        {
            found.apart.extend(columns);
            found.notes.push(visible(&format!(
                "{what} was measured by {x} in A and by {y} in B, so that figures of it are not compared"
            )));
        }
    }
    found.notes.extend(generators(a, b));
    found
}

/// What says that two runs were made on one machine in one state, whatever else is compared: every fact that is the same
/// in each run there, which those that are measured are not.
pub fn identity(environment: &Value) -> BTreeMap<String, String> {
    let mut facts = facts(environment);
    facts.retain(|name, _| !MEASURED.contains(&name.as_str()));
    let gib = |kib: u64| format!("{:.1} GiB", kib as f64 / f64::from(1 << 20));
    let memory = environment["memory_kib"].as_u64().map(gib);
    facts.extend(memory.map(|memory| ("the memory".to_string(), memory)));
    for (key, what, _) in METHODS {
        let method = environment[key].as_str();
        facts.extend(method.map(|method| (format!("how {what} is measured"), method.to_string())));
    }
    facts
}

/// The generator is half of every measurement.
fn generators(a: &Value, b: &Value) -> Option<String> {
    let digest = |environment: &Value| {
        environment["sha256"]["loadgen"]
            .as_str()
            .map(str::to_string)
    };
    let (x, y) = (digest(a)?, digest(b)?);
    (x != y).then(|| {
        "the load generators of A and B are different programs: what they themselves cost may be in every difference"
            .into()
    })
}

fn not_known(run: &str, names: &[String]) -> Option<String> {
    const NAMED: usize = 4;
    let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    (!named.is_empty()).then(|| {
        visible(&format!(
            "{run} did not record {}{more}, and the other run did: whether they were the same is not known",
            named.join(", ")
        ))
    })
}

fn in_words(name: &str, a: &str, b: &str) -> String {
    let remedy = match name.starts_with("net.") || name.starts_with("kernel.") {
        true => format!(" (`sudo sysctl -w {name}='{a}'` makes it what it was in A)"),
        false => String::new(),
    };
    visible(&format!("{name} was {a} in A and is {b} in B{remedy}"))
}

/// Everything that a run knows of where it was made, by the names that people look for it under.
fn facts(environment: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let machine = MACHINE
        .iter()
        .filter_map(|(key, name)| Some((name.to_string(), text(&environment[*key])?)));
    let mut facts: BTreeMap<String, String> = machine.collect();
    let server = ("the server's host".to_string(), &environment["server_host"]);
    let load_hosts = environment["load_hosts"].as_object().into_iter().flatten();
    let load_hosts = load_hosts.map(|(name, host)| (format!("the load host {name}"), host));
    for (whose, host) in std::iter::once(server).chain(load_hosts) {
        let of_host = MACHINE.iter().filter(|(key, _)| *key != "memory_kib");
        facts
            .extend(of_host.filter_map(|(key, name)| {
                Some((format!("{name} of {whose}"), text(&host[*key])?))
            }));
    }
    let network = &environment["trial_network"];
    if let Some(private) = network["private"].as_bool() {
        let words = if private {
            "their own"
        } else {
            "the machine's"
        };
        facts.insert("the network of the trials".into(), words.into());
    }
    // What was in force where the trials ran; a server that ran already was in the machine's own network.
    let in_force = network["sysctls"].as_object().filter(|all| !all.is_empty());
    let sysctls = in_force.or(environment["host_sysctls"].as_object());
    let named = |(name, value): (&String, &Value)| Some((sysctl(name), text(value)?));
    facts.extend(sysctls.into_iter().flatten().filter_map(named));
    let settings = environment["settings"].as_object();
    for (name, value) in settings.into_iter().flatten() {
        let Some(value) = text(value) else { continue };
        match name.as_str() {
            name if name.starts_with("cgroup ") => {}
            "kernel command line" => drop(facts.insert(name.clone(), of_every_boot(&value))),
            name => drop(facts.insert(sysctl(name), value)),
        }
    }
    if let Some(settings) = settings {
        facts.extend(group_limits(settings));
    }
    facts
}

/// `net/ipv4/tcp_rmem` is net.ipv4.tcp_rmem to sysctl(8).
fn sysctl(name: &str) -> String {
    match name.contains(' ') {
        true => name.to_string(),
        false => name.replace('/', "."),
    }
}

fn of_every_boot(command_line: &str) -> String {
    let names_a_boot = |word: &&str| {
        let key = word.split_once('=').map_or(*word, |(key, _)| key);
        !OF_ONE_BOOT.contains(&key)
    };
    let words = command_line.split_whitespace().filter(names_a_boot);
    words.collect::<Vec<_>>().join(" ")
}

/// One fact for each kind of limit: the tightest of all levels, or what the levels say in order. A run that recorded its
/// settings and none of a kind had none.
fn group_limits(settings: &serde_json::Map<String, Value>) -> BTreeMap<String, String> {
    let values = |v2: &str, v1: &str| -> Vec<String> {
        let of_kind = settings.iter().filter(|(name, _)| {
            let rest = name.strip_prefix("cgroup ").unwrap_or_default();
            let file = rest.split_once(" of ").map_or(rest, |(file, _)| file);
            file == v2 || file == v1
        });
        of_kind
            .filter_map(|(_, value)| value.as_str().map(str::to_string))
            .collect()
    };
    let fact = |(v2, v1, by_the_tightest): &(&str, &str, bool)| {
        let values = values(v2, v1);
        let name = match by_the_tightest {
            true => format!("the tightest {v2} of control groups"),
            false => format!("{v2} of control groups"),
        };
        let value = match by_the_tightest {
            true => tightest(&values),
            false => values
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
                .join(", "),
        };
        let value = Some(value).filter(|value| !value.is_empty());
        (name, value.unwrap_or_else(|| "none".into()))
    };
    GROUP_LIMITS.iter().map(fact).collect()
}

/// `150000 100000` is time per period, in v1 alone the time of a period of 100 ms.
fn tightest(values: &[String]) -> String {
    let size = |text: &str| {
        let mut words = text
            .split_whitespace()
            .map_while(|word| word.parse::<f64>().ok());
        let first = words.next()?;
        Some(
            words
                .next()
                .map_or(first, |period| first / period * 100_000.0),
        )
    };
    let known = values.iter().filter_map(|text| size(text));
    let least = known.min_by(f64::total_cmp);
    least.map_or_else(|| values.join(", "), |least| least.to_string())
}

/// Words that are numbers may differ as much as the fact allows.
fn is_same(name: &str, a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (
        a.split_whitespace().collect(),
        b.split_whitespace().collect(),
    );
    let near = |(x, y): (&&str, &&str)| match (x.parse::<f64>(), y.parse::<f64>()) {
        (Ok(x), Ok(y)) => (x - y).abs() <= TOLERANCE * x.abs().max(y.abs()),
        _ => x == y,
    };
    MEASURED.contains(&name) && a.len() == b.len() && a.iter().zip(&b).all(near)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn different(a: &Value, b: &Value) -> Vec<String> {
        compare(a, b).different
    }

    #[test]
    fn machines_are_told_apart_by_what_differs() {
        let machine = |kernel: &str, memory_kib: u64, congestion: &str| {
            json!({
                "kernel": kernel,
                "cpu_model": null,
                "memory_kib": memory_kib,
                "host_sysctls": {"net/ipv4/tcp_congestion_control": congestion},
            })
        };
        let a = machine("a", 8_000_000, "bbr");
        assert_eq!(compare(&a, &a), Comparison::default());
        assert_eq!(compare(&Value::Null, &Value::Null), Comparison::default());
        assert!(different(&a, &machine("a", 8_000_004, "bbr")).is_empty());
        assert_eq!(different(&a, &machine("a", 16_000_000, "bbr")).len(), 1);
        let other = different(&a, &machine("b\u{1b}[2J", 8_000_000, "bbr"));
        assert!(
            other.len() == 1 && !other[0].contains('\u{1b}'),
            "{other:?}"
        );
        assert_eq!(
            different(&a, &machine("a", 8_000_000, "cubic")),
            [
                "net.ipv4.tcp_congestion_control was bbr in A and is cubic in B (`sudo sysctl -w \
                 net.ipv4.tcp_congestion_control='bbr'` makes it what it was in A)"
            ]
        );
    }

    #[test]
    fn a_servers_host_is_a_part_of_where_a_run_was_made() {
        let on =
            |kernel: &str| json!({"kernel": "a", "server_host": {"kernel": kernel, "cpus": 4}});
        assert_eq!(compare(&on("b"), &on("b")), Comparison::default());
        assert_eq!(
            different(&on("b"), &on("c")),
            ["the kernel of the server's host was b in A and is c in B"]
        );
        let here = compare(&on("b"), &json!({"kernel": "a"}));
        assert!(here.notes[0].contains("of the server's host"), "{here:?}");
    }

    #[test]
    fn load_hosts_are_a_part_of_where_a_run_was_made() {
        let with = |model: &str| json!({"load_hosts": {"h1": {"cpu_model": model, "cpus": 4}}});
        assert_eq!(compare(&with("b"), &with("b")), Comparison::default());
        assert_eq!(
            different(&with("b"), &with("c")),
            ["the CPU model of the load host h1 was b in A and is c in B"]
        );
        let other = json!({"load_hosts": {"h2": {"cpus": 4}}});
        let other = compare(&with("b"), &other);
        assert!(other.notes[0].contains("of the load host h2"), "{other:?}");
    }

    #[test]
    fn every_setting_is_compared_within_what_makes_sense_for_it() {
        let with = |name: &str, value: &str| json!({"settings": {name: value}});
        for (name, x, y) in [
            ("timer HZ", "250", "1000"),
            ("clock source", "tsc", "hpet"),
            ("transparent huge pages", "always", "never"),
            ("CPU governor", "performance", "powersave"),
            ("mitigation meltdown", "Mitigation: PTI", "Vulnerable"),
            ("net/core/rmem_max", "212992", "212993"),
            ("kernel command line", "quiet mitigations=off", "quiet"),
            ("cgroup cpu.max of /a", "50000 100000", "150000 100000"),
            ("cgroup memory.max of /a", "1000000", "2000000"),
            ("cgroup pids.max of /a", "100", "200"),
        ] {
            let found = different(&with(name, x), &with(name, y));
            assert_eq!(found.len(), 1, "{name}: {found:?}");
        }
        for (name, x, y) in [
            ("kernel command line", "root=UUID=1 quiet", "root=UUID=2"),
            ("cgroup memory.max of /a", "1000000", "1004096"),
        ] {
            assert_eq!(different(&with(name, x), &with(name, y)), [""; 0], "{name}");
        }
        let sysctl = |name: &str, value: &str| json!({"host_sysctls": {name: value}});
        let rmem = |most| sysctl("net/ipv4/tcp_rmem", most);
        assert!(different(&rmem("4096 131072 6291456"), &rmem("4096 131072 6290000")).is_empty());
        assert_eq!(
            different(&rmem("4096 131072 6291456"), &rmem("4096 16384 6291456")).len(),
            1
        );
        let syn = |text| sysctl("net/ipv4/tcp_syn_retries", text);
        assert_eq!(
            different(&syn("600"), &syn("601")).len(),
            1,
            "no tolerance here"
        );
    }

    #[test]
    fn limits_of_control_groups_are_compared_whatever_the_groups_are_called() {
        let run = |limits: Value| json!({"settings": limits});
        let first = run(
            json!({"cgroup cpu.max of /docker/1f": "200000 100000", "cgroup cpu.max of /": "50000 100000"}),
        );
        let second = run(json!({"cgroup cpu.max of /docker/2e/job": "25000 50000"}));
        assert_eq!(compare(&first, &second), Comparison::default());
        let unlimited = run(json!({}));
        assert_eq!(
            different(&first, &unlimited),
            ["the tightest cpu.max of control groups was 50000 in A and is none in B"]
        );
        let old = json!({"kernel": "a"});
        assert_eq!(
            different(&first, &old),
            [""; 0],
            "an older run does not know"
        );
    }

    #[test]
    fn what_was_in_force_in_the_trials_counts_and_not_what_the_host_had() {
        let run = |host: &str, inside: Option<&str>| {
            let key = "net/ipv4/tcp_congestion_control";
            let network = inside.map(|value| json!({"private": true, "sysctls": {key: value}}));
            json!({"host_sysctls": {key: host}, "trial_network": network})
        };
        assert!(different(&run("bbr", Some("cubic")), &run("cubic", Some("cubic"))).is_empty());
        assert_eq!(
            different(&run("bbr", Some("bbr")), &run("bbr", Some("cubic"))).len(),
            1
        );
        let shared = json!({"trial_network": {"private": false}});
        let private = json!({"trial_network": {"private": true}});
        assert_eq!(
            different(&private, &shared),
            ["the network of the trials was their own in A and is the machine's in B"]
        );
    }

    #[test]
    fn what_an_older_run_did_not_record_is_named_and_no_difference() {
        let old = json!({"kernel": "a"});
        let new = json!({"kernel": "a", "host_sysctls": {"net/core/somaxconn": "4096"}});
        let found = compare(&old, &new);
        assert_eq!(found.different, [""; 0]);
        assert_eq!(
            found.notes,
            [
                "A did not record net.core.somaxconn, and the other run did: whether they were the same is not known"
            ]
        );
    }

    #[test]
    fn figures_that_were_measured_in_two_ways_are_left_out() {
        let run = |method: &str, digest: &str| json!({"cpu_method": method, "sha256": {"loadgen": digest}});
        let found = compare(&run("cgroup", "1"), &run("clock", "2"));
        assert_eq!(found.different, [""; 0]);
        assert!(!found.compares("server_cpu_us_per_request") && found.compares("requests_per_s"));
        assert!(found.notes[0].contains("measured by cgroup in A and by clock in B"));
        assert!(found.notes[1].contains("load generators of A and B are different programs"));
    }
}
