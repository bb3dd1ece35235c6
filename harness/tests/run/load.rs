//! What is said to a server, over what and when: the load's flags through runs and a gate, up to rows, tables and
//! charts.

use super::*;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Short, for where the window's length is not the stages'.
const BRIEF: &str = "--duration 200ms --warmup 50ms --repeat 1";

/// A run whose words may hold blanks.
fn run(words: &str, more: &[&str]) -> Harness {
    let mut run = harness(words);
    run.command.args(more);
    run
}

/// The only row of a run that was made.
fn row_of(run: &mut Harness) -> Value {
    let (code, value) = run.json();
    assert_made(code, &value);
    assert_eq!(trials(&value).len(), 1, "{value:#}");
    trials(&value)[0].clone()
}

fn said(output: &Output) -> String {
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A model as any server program.
fn command(model: &str, more: &str) -> String {
    let program = built("servers", ["--bin", model]);
    format!("{} --listen {{addr}} {more}", program.display())
}

/// What a server was sent: one text for each request.
type Heard = Arc<Mutex<BTreeSet<String>>>;

/// How long the first request in some bytes is, once it is whole; and what it is answered.
type Answer = fn(&[u8]) -> Option<(usize, &'static [u8])>;

/// A server of the test's own, which remembers the requests that it was sent.
fn listening(answer: Answer) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Heard::default();
    let all = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let all = all.clone();
            std::thread::spawn(move || answer_each(stream, answer, &all));
        }
    });
    (address, heard)
}

fn answer_each(mut stream: TcpStream, answer: Answer, heard: &Heard) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..n]);
        while let Some((length, words)) = answer(&bytes) {
            let request: Vec<u8> = bytes.drain(..length).collect();
            let text = String::from_utf8_lossy(&request).into_owned();
            heard.lock().unwrap().insert(text);
            if stream.write_all(words).is_err() {
                return;
            }
        }
    }
}

/// HTTP/1.1, bodies by their length: 404 of /missing, 200 of all else.
fn http(bytes: &[u8]) -> Option<(usize, &'static [u8])> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.find("\r\n\r\n")? + 4;
    let lines = || text[..head].lines();
    let length = lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let whole = head + length.map_or(0, |length| length.parse::<usize>().unwrap());
    let answer: &[u8] = match text.contains(" /missing ") {
        true => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        false => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    };
    (bytes.len() >= whole).then_some((whole, answer))
}

/// Redis' protocol, arrays of bulk strings: SET is answered OK, all else with no value.
fn redis(bytes: &[u8]) -> Option<(usize, &'static [u8])> {
    let line = |from: usize| {
        let end = bytes[from..].windows(2).position(|two| two == b"\r\n")?;
        let text = std::str::from_utf8(&bytes[from..from + end]).unwrap();
        Some((text[1..].parse::<usize>().unwrap(), from + end + 2))
    };
    let (words, mut at) = line(0)?;
    for _ in 0..words {
        let (length, begin) = line(at)?;
        at = begin + length + 2;
    }
    let is_set = bytes.windows(5).any(|five| five == b"SET\r\n");
    let answer: &[u8] = if is_set { b"+OK\r\n" } else { b"$-1\r\n" };
    (bytes.len() >= at).then_some((at, answer))
}

#[test]
fn one_model_over_three_transports_is_three_arms_of_one_chart() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return eprintln!("skipped: no IPv6 here");
    }
    let words = format!(
        "--model epoll --transport tcp,tcp6,unix --conns 4 --label commit=3f2a --label host=here {BRIEF}"
    );
    let mut run = harness(&words);
    let (code, value) = run.json();
    assert_made(code, &value);
    let arms: BTreeSet<&str> = trials(&value)
        .iter()
        .map(|row| row["arm"].as_str().unwrap())
        .collect();
    let expected = ["epoll", "epoll:transport=tcp6", "epoll:transport=unix"];
    assert_eq!(arms, BTreeSet::from(expected));
    for row in trials(&value) {
        assert_eq!(
            (&row["status"], &row["errors"], &row["conns_served"]),
            (&"ok".into(), &0.into(), &4.into()),
            "{row:#}"
        );
        assert_eq!(row["labels"], "commit=3f2a;host=here", "{row:#}");
        // What is TCP's is absent at a Unix socket, not zero.
        let is_unix = row["arm"].as_str().unwrap().ends_with("unix");
        assert_eq!(row["tcp_retransmits"].is_null(), is_unix, "{row:#}");
    }
    let folder = run.folder().unwrap();
    let chart = fs::read_to_string(folder.join("charts/requests-per-second.svg")).unwrap();
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    for arm in expected {
        assert!(chart.contains(&format!(">{arm}</text>")), "{arm}");
        assert!(page.contains(arm), "{arm}");
    }
    assert!(page.contains("3f2a"), "the page has no label");
}

/// A network of the command's own with four addresses besides ::1, and a hundred ports for each.
const POOL: &str = "\
    ip link set lo up && \
    for n in 4 5 6 7; do ip -6 address add fd00::$n/128 dev lo nodad || exit 77; done && \
    echo 40000 40099 >/proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";

#[test]
fn connections_over_ipv6_come_from_a_pool_of_addresses() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: a network of its own with more addresses needs root");
    }
    let words = "--model epoll --transport tcp6 --conns 300 --sources fd00::4/126 --netns off";
    let mut inside = run(&format!("{words} {BRIEF} --format json"), &[]);
    let mut command = Command::new("unshare");
    command
        .args(["-n", "sh", "-c", POOL, "sh"])
        .arg(inside.command.get_program())
        .args(inside.command.get_args())
        .env("CARGO", env!("CARGO"))
        .env("XDG_CACHE_HOME", inside.results.path().join("cache"))
        .stdin(Stdio::null());
    inside.command = command;
    let output = inside.output();
    let words = said(&output);
    if output.status.code() == Some(77) || words.contains("not found") {
        return eprintln!("skipped: needs ip(8), and IPv6: {words}");
    }
    let value: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {words}"));
    assert_made(output.status.code(), &value);
    let row = &trials(&value)[0];
    // One address has ports for a hundred of them.
    assert_eq!(
        (&row["status"], &row["conns_served"], &row["errors"]),
        (&"ok".into(), &300.into(), &0.into()),
        "{row:#}"
    );
    let used = row["sources_used"].as_str().unwrap();
    assert!(
        used.contains("4 addresses from fd00::4 to fd00::7"),
        "{used}"
    );
}

#[test]
fn a_private_network_has_the_addresses_that_connections_are_to_come_from() {
    let words = format!("--model epoll --transport tcp6 --conns 8 --sources fd00::4/126 {BRIEF}");
    let mut run = harness(&words);
    let (code, value) = run.json();
    let network = &value["environment"]["trial_network"];
    if network["private"] != true {
        return eprintln!("skipped: no private network here: {network}");
    }
    assert_made(code, &value);
    let row = &trials(&value)[0];
    assert_eq!(
        (&row["status"], &row["errors"]),
        (&"ok".into(), &0.into()),
        "{row:#}"
    );
    assert_eq!(row["sources_used"], "4 addresses from fd00::4 to fd00::7");
}

#[test]
fn stages_have_figures_of_their_own() {
    let words = "--model epoll --warmup 50ms --repeat 1";
    let stages = "200ms@200, 200ms@200..1k/2, 200ms@400";
    let mut rates = run(words, &["--conns", "2", "--stages", stages]);
    let row = row_of(&mut rates);
    assert!(row["stages"].as_str().unwrap().contains("@1000"), "{row:#}");
    let lines = stages_of(&rates);
    assert_eq!(lines.len(), 4, "a staircase is a stage for each step");
    let number = |line: &[String], at: usize| line[at].parse::<f64>().unwrap();
    // The schedule is exact, whatever the machine does: 40, then 20 and 100 of the steps, then 80.
    let offered: Vec<f64> = lines.iter().map(|line| number(line, 10)).collect();
    let due: f64 = row["requests_offered"].as_f64().unwrap();
    assert!((offered.iter().sum::<f64>() - due).abs() < 0.5, "{lines:?}");
    for (line, (from_s, rate)) in lines
        .iter()
        .zip([(0.0, 200.0), (0.2, 200.0), (0.3, 1000.0)])
    {
        assert!((number(line, 4) - from_s).abs() < 1e-6, "{lines:?}");
        assert!((number(line, 6) - rate).abs() < 1e-6, "{lines:?}");
    }

    let charts = rates.folder().unwrap().join("charts");
    let chart = fs::read_dir(charts).unwrap().flatten().find(|file| {
        let name = file.file_name().into_string().unwrap();
        name.starts_with("stages-rate-")
    });
    let chart = fs::read_to_string(chart.expect("a chart").path()).unwrap();
    assert!(chart.contains("offered to all") && chart.contains("epoll"));

    let stages = "200ms@1, 300ms@1..4";
    let mut conns = run(words, &["--conn-stages", stages]);
    let row = row_of(&mut conns);
    assert!(row["conn_stages"].as_str().unwrap().contains("1..4"));
    let lines = stages_of(&conns);
    assert_eq!((lines[1][8].as_str(), lines[1][9].as_str()), ("1.0", "4.0"));
    assert!(number(&lines[1], 11) > 0.0, "{lines:?}");
}

/// The lines of a run's stages.csv.
fn stages_of(run: &Harness) -> Vec<Vec<String>> {
    let text = fs::read_to_string(run.folder().unwrap().join("stages.csv")).unwrap();
    let lines = text.lines().skip(1);
    lines
        .map(|line| line.split(',').map(String::from).collect())
        .collect()
}

#[test]
fn requests_arrive_as_they_were_typed() {
    let (address, heard) = listening(http);
    let words = format!("--target {address} --conns 2 {BRIEF} --protocol http");
    let more = ["-X", "PUT", "-H", "X-A: b c", "-d", "{\"a\": 1}"];
    let row = row_of(&mut run(&format!("{words} --path /items?x=1"), &more));
    assert_eq!((&row["status"], &row["errors"]), (&"ok".into(), &0.into()));
    let requests = row["requests"].as_str().unwrap();
    assert!(
        requests.starts_with("PUT /items?x=1, 1 header, a body, sha256 "),
        "{requests}"
    );
    let all = heard.lock().unwrap().clone();
    assert_eq!(all.len(), 1, "{all:?}");
    let request = all.first().unwrap();
    assert!(
        request.starts_with("PUT /items?x=1 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("\r\nX-A: b c\r\n") && request.ends_with("\r\n\r\n{\"a\": 1}"),
        "{request}"
    );

    // What is not expected is said before a load is wasted on it, with what would expect it.
    let refused = run(&format!("{words} --path /missing"), &[]).output();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("--expect-status"),
        "{}",
        said(&refused)
    );
    let expected = row_of(&mut run(
        &format!("{words} --path /missing --expect-status 404"),
        &[],
    ));
    assert_eq!(expected["errors"], 0, "{expected:#}");
}

#[test]
fn a_file_of_requests_is_sent_line_by_line() {
    let (address, heard) = listening(http);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("requests.jsonl");
    let lines = "{\"path\": \"/a\"}\n{\"path\": \"/b\", \"body\": \"hi\", \"headers\": {\"B\": \"1\"}, \"weight\": 2}\n";
    fs::write(&file, lines).unwrap();
    let words = format!("--target {address} --conns 2 {BRIEF} --protocol http");
    let file = file.display().to_string();
    let row = row_of(&mut run(&words, &["--requests", &file, "-H", "All: x"]));
    let requests = row["requests"].as_str().unwrap();
    assert!(
        requests.starts_with("2 requests in order, 1 header, sha256 "),
        "{requests}"
    );
    let all: Vec<String> = heard.lock().unwrap().iter().cloned().collect();
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|request| request.contains("\r\nAll: x\r\n")));
    assert!(all[0].starts_with("GET /a ") && all[1].starts_with("POST /b "));
    assert!(all[1].contains("\r\nB: 1\r\n") && all[1].ends_with("\r\n\r\nhi"));
}

#[test]
fn commands_are_filled_in_and_sent() {
    let (address, heard) = listening(redis);
    let words = format!("--target {address} --conns 2 {BRIEF} --protocol resp --keys 3");
    let more = ["--command", "SET __key__ __value__"];
    let row = row_of(&mut run(
        &format!("{words} --value-sizes 5"),
        &[&more[..], &["--command", "GET __key__"]].concat(),
    ));
    assert_eq!((&row["status"], &row["errors"]), (&"ok".into(), &0.into()));
    let requests = row["requests"].as_str().unwrap();
    assert!(
        requests.contains("SET __key__ __value__") && requests.contains("GET __key__"),
        "{requests}"
    );
    let all = heard.lock().unwrap().clone();
    for command in ["*3\r\n$3\r\nSET\r\n$16\r\nkey:", "*2\r\n$3\r\nGET\r\n"] {
        assert!(
            all.iter().any(|request| request.starts_with(command)),
            "{all:?}"
        );
    }
}

#[test]
fn an_own_protocol_is_spoken_with_models_and_what_is_wrong_is_shown() {
    let words = format!("--conns 2 {BRIEF}");
    let own = [
        "--send",
        "hello {seq}\\n",
        "--expect",
        "line:^hello [0-9]+$",
    ];
    let row = row_of(&mut run(&format!("--model epoll {words}"), &own));
    assert_eq!(
        (&row["protocol"], &row["status"], &row["errors"]),
        (&"own".into(), &"ok".into(), &0.into()),
        "{row:#}"
    );
    let epoll = command("epoll", "");
    let wrong = [
        "--server",
        &epoll,
        "--send",
        "hello\\n",
        "--expect",
        "line:^bye",
    ];
    let mut run = run(&words, &wrong);
    let (code, value) = run.json();
    assert_eq!(code, Some(1), "{value:#}");
    let row = &trials(&value)[0];
    assert_eq!(row["status"], "wrong", "{row:#}");
    assert!(
        row["reasons"].as_str().unwrap().contains("hello"),
        "{row:#}"
    );
}

#[test]
fn a_trial_that_is_ended_early_says_so_and_is_exit_code_99() {
    let words = "--model epoll --conns 2 --rate 500 --duration 30s --warmup 50ms --repeat 1";
    let mut run = run(words, &["--abort-on", "rate<5k over 1s"]);
    let began = Instant::now();
    let output = run.output();
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "it was not ended"
    );
    assert_eq!(output.status.code(), Some(99), "{}", said(&output));
    assert!(
        said(&output)
            .replace('\n', " ")
            .contains("`rate<5000 over 1s` was met after 1 s"),
        "{}",
        said(&output)
    );
    let rows = fs::read_to_string(run.folder().unwrap().join("trials.jsonl")).unwrap();
    let line: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert_eq!(line["row"]["aborted"], "rate<5000 over 1s");
    assert_eq!(line["row"]["status"], "ok", "it was not the server's fault");
}

#[test]
fn a_gate_says_the_same_to_both_sides_over_one_transport() {
    let program = built("servers", ["--bin", "epoll"]);
    let epoll = format!("{} --listen unix:{{socket}}", program.display());
    let words = "gate --conns 2 --rate 400 --warmup 20ms --duration 100ms --blocks 2 --label pr=7";
    let sides = ["--base-cmd", &epoll, "--head-cmd", &epoll];
    let own = ["--send", "{conn} {seq}\\n", "--expect", "delimiter:\\n"];
    let mut gate = run(words, &[&sides[..], &own].concat());
    gate.command.env_remove("GITHUB_ACTIONS");
    let (code, value) = gate.json();
    assert_eq!(code, Some(98), "{value:#}");
    let lines = fs::read_to_string(gate.folder().unwrap().join("trials.jsonl")).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rows: Vec<Value> = lines
        .map(|line| line["row"].clone())
        .filter(Value::is_object)
        .collect();
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!(
            (&row["protocol"], &row["labels"], &row["errors"]),
            (&"own".into(), &"pr=7".into(), &0.into()),
            "{row:#}"
        );
        assert!(row["tcp_retransmits"].is_null(), "{row:#}");
    }
}

#[test]
fn a_run_of_several_trials_can_be_followed() {
    let folder = tempfile::tempdir().unwrap();
    let [lines, prom] =
        ["lines", "tenk.prom"].map(|name| folder.path().join(name).display().to_string());
    let words = "--model epoll,poll --conns 2 --rate 500 --duration 1200ms --warmup 50ms --repeat 1 --label a=b";
    let more = ["--progress-json", &lines, "--metrics-file", &prom];
    let mut run = run(words, &more);
    let (code, value) = run.json();
    assert_made(code, &value);
    let text = fs::read_to_string(&lines).unwrap();
    let all = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let all: Vec<Value> = all.collect();
    let last = all.last().unwrap();
    assert_eq!(last["phase"], "end");
    // Blocks that something else disturbed are run again.
    assert!(last["trials_over"].as_u64() >= Some(2), "{last:#}");
    for row in trials(&value) {
        let of_trial = all
            .iter()
            .filter(|line| line["trial"] == row["trial"] && line["phase"] != "end");
        let of_trial: Vec<&Value> = of_trial.collect();
        assert_eq!(of_trial[0]["phase"], "start", "{of_trial:#?}");
        let over = of_trial
            .iter()
            .find(|line| line["phase"] == "over")
            .unwrap();
        assert_eq!(over["result"]["requests_per_s"], row["requests_per_s"]);
        for line in &of_trial {
            assert_eq!(
                (
                    &line["schema"],
                    &line["arm"],
                    &line["block"],
                    &line["labels"]["a"]
                ),
                (
                    &"tenk.progress/1".into(),
                    &row["arm"],
                    &row["block"],
                    &"b".into()
                )
            );
        }
        let second = of_trial.iter().find(|line| line["second"]["second"] == 0);
        let second = &second.unwrap_or_else(|| panic!("no second in {of_trial:#?}"))["second"];
        assert!(second["completed"].as_u64().unwrap() > 0, "{second:#}");
        assert_eq!(second["asked"], 500.0);
    }
    let metrics = fs::read_to_string(&prom).unwrap();
    for expected in [
        "tenk_run_running{",
        "tenk_run_trials_over_total{",
        "arm=\"",
        "# EOF",
    ] {
        assert!(metrics.contains(expected), "{expected} in {metrics}");
    }
}

/// A certificate for 127.0.0.1, and of whom it is.
#[cfg(feature = "tls")]
const CERTIFICATES: &str = "\
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 \
      -subj /CN=authority && \
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out request.pem \
      -subj /CN=localhost && \
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' >extensions && \
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem";

#[cfg(feature = "tls")]
#[test]
fn a_server_is_spoken_to_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("sh")
        .args(["-c", CERTIFICATES])
        .current_dir(folder.path())
        .output()
        .unwrap();
    if !made.status.success() {
        return eprintln!("skipped: needs openssl: {}", said(&made));
    }
    let place = folder.path().display().to_string();
    // It answers each line with the same read backwards, one connection after the other.
    let server = format!(
        "openssl s_server -accept {{port}} -cert {place}/cert.pem -key {place}/key.pem -rev -quiet"
    );
    let own = [
        "--server",
        &server,
        "--send",
        "abc\\n",
        "--expect",
        "line:^cba$",
        "--tls",
    ];
    let words = format!("--conns 1 {BRIEF}");
    let ca = format!("{place}/ca.pem");
    let row = row_of(&mut run(&words, &[&own[..], &["--ca", &ca]].concat()));
    assert_eq!(
        (&row["status"], &row["errors"]),
        (&"ok".into(), &0.into()),
        "{row:#}"
    );
    // Without that authority the certificate is nobody's, and that is said.
    let output = run(&words, &own).output();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("certificate"), "{}", said(&output));
}
