//! Servers that are looked into: in trials of their own, beside those that count.

use super::*;

fn lines_of(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("trials.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What is missing of what was asked for; a test that needs it is skipped then.
fn missing(line: &Value, of: &str) -> Option<String> {
    let notes = line["instrumented"]["notes"].as_array().unwrap();
    let notes = notes.iter().filter_map(Value::as_str);
    notes
        .filter(|note| note.starts_with(of))
        .map(str::to_string)
        .next()
}

#[test]
fn no_perf_event_is_open_in_a_window_that_counts_and_calls_are_counted_in_one_that_does_not() {
    let mut run = harness(
        "--model epoll,thread --conns 4 --syscalls --duration 300ms --warmup 100ms --repeat 2",
    );
    let (code, value) = run.json();
    assert_made(code, &value);
    assert_eq!(trials(&value).len(), 4);
    let folder = run.folder().unwrap();
    let lines = lines_of(&folder);
    let is_ranked = |line: &&Value| line["row"].is_object();
    let ranked: Vec<&Value> = lines.iter().filter(is_ranked).collect();
    // More, where something disturbed a block and it was run again.
    assert!(ranked.len() >= 4);
    assert!(
        ranked.iter().all(|line| line["perf_events_open"] == 0),
        "{ranked:#?}"
    );
    let looked: Vec<&Value> = lines
        .iter()
        .filter(|line| line["instrumented"].is_object())
        .collect();
    assert_eq!(looked.len(), 2);
    let last_ranked = lines.iter().rposition(|line| is_ranked(&line)).unwrap();
    let first_looked = lines
        .iter()
        .position(|line| line["instrumented"].is_object())
        .unwrap();
    assert!(last_ranked < first_looked);
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.contains("## What a request costs"), "{report}");
    if let Some(why) = missing(looked[0], "system calls were not counted: ") {
        assert!(report.contains("n/a"), "{report}");
        return eprintln!("skipped: {why}");
    }
    for line in looked {
        assert!(line["perf_events_open"].as_u64().unwrap() > 0, "{line:#}");
    }
    for cost in value["request_costs"].as_array().unwrap() {
        let calls = cost["syscalls"].as_array().unwrap();
        let of = |name: &str| {
            let call = calls.iter().find(|call| call["name"] == name);
            call.map_or(0.0, |call| call["per_request"].as_f64().unwrap())
        };
        // One answer is one call that sends, whatever the model.
        assert!((0.8..1.3).contains(&of("sendto")), "{cost:#}");
        let all = cost["syscalls_per_request"].as_f64().unwrap();
        assert!(all >= of("sendto") + of("recvfrom"), "{cost:#}");
        assert_eq!(of("epoll_wait") > 0.0, cost["arm"] == "epoll", "{cost:#}");
    }
    let chart = fs::read_to_string(folder.join("charts/request-cost.svg")).unwrap();
    assert!(
        chart.contains("sendto") && report.contains("sendto 1."),
        "{report}"
    );
}

#[test]
fn a_profile_is_a_flame_graph_beside_the_page_and_its_absence_a_sentence() {
    let mut run =
        harness("--model epoll --conns 4 --profile --duration 1s --warmup 100ms --repeat 1");
    let output = run.output();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let folder = run.folder().unwrap();
    let lines = lines_of(&folder);
    let looked = lines
        .iter()
        .find(|line| line["instrumented"].is_object())
        .unwrap();
    if let Some(why) = missing(looked, "no flame graph: ") {
        assert!(printed.contains(&why), "{printed}");
        return eprintln!("skipped: {why}");
    }
    let folded = looked["instrumented"]["profile"]["folded"]
        .as_str()
        .unwrap();
    assert!(
        folded.lines().all(|line| line.starts_with("epoll;")),
        "{folded}"
    );
    assert!(printed.contains("flame-epoll.svg"), "{printed}");
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("href=\"charts/flame-epoll.svg\""));
    // The picture is made of what is kept of the trial, like every other file.
    let graph = fs::read_to_string(folder.join("charts/flame-epoll.svg")).unwrap();
    assert!(graph.contains("<svg") && graph.contains("epoll"));
    fs::remove_file(folder.join("charts/flame-epoll.svg")).unwrap();
    let mut again = Command::new(env!("CARGO_BIN_EXE_tenk"));
    let status = again
        .arg("report")
        .arg(&folder)
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    assert_eq!(
        fs::read_to_string(folder.join("charts/flame-epoll.svg")).unwrap(),
        graph
    );
}
