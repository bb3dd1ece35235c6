//! What is read back and was not written by tenk: run folders, outcomes and configurations, each damaged at random.

use super::Amount;
use super::place::{Ended, Place, TINY, is_whole};
use super::table::Line;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Memory that no reader needs: what asks for more ends.
const MOST_KIB: u64 = 4_000_000;

const CONFIGURATION: &str = "\
model = [\"epoll\", \"prefork:workers=4\"]
conns = [50, 1000]
repeat = 3
duration = \"1500ms\"
rate = [\"1k\", \"50%\"]
payload = \"16-64\"
threshold = [\"response_p99_ns<5ms\"]
[scenario.mine]
conns = 10000
requests-per-conn = 1
close = \"client\"
[gate]
budget = \"2m\"
gate = [\"server_cpu_us_per_request:3%\"]
";

pub fn hostile(place: &Place, amount: Amount, seed: u64) -> Vec<Line> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut lines = vec![
        runs(place, amount.of(20, 500), &mut random),
        outcomes(place, amount.of(20, 250), &mut random),
        configurations(place, amount.of(20, 250), &mut random),
        histories(place, amount.of(20, 250), &mut random),
    ];
    for line in &mut lines {
        let what = line.fault.clone();
        place.book_leftovers(line, &what);
    }
    lines
}

/// A program whose memory is bounded.
fn bounded(place: &Place, program: &str, words: &[&str], files: &[&Path]) -> Ended {
    let script = format!("ulimit -v {MOST_KIB} && exec \"$0\" \"$@\"");
    let mut command = place.command("sh");
    command.args(["-c", &script]).arg(place.program(program));
    command.args(words).args(files);
    place.run(&mut command, |_| ())
}

/// Books a reader: it read, or said what it could not read.
fn book(place: &Place, line: &mut Line, what: &str, ended: &Ended, codes: &[i32]) {
    place.book(line, what, ended, None);
    let is_known = ended.code().is_some_and(|code| codes.contains(&code));
    let is_said = ended.code() == Some(0) || !ended.err.trim().is_empty();
    if !is_known || !is_said {
        line.unsaid += 1;
        line.faults.push(format!("{what}: {}", ended.in_words()));
    }
}

fn runs(place: &Place, times: usize, random: &mut fastrand::Rng) -> Line {
    let mut line = Line::new(
        "a hostile run folder",
        "`tenk report`, a mutation of this and of the oldest format",
    );
    let made = place.run(&mut place.tenk_into(TINY, "good"), |_| ());
    let new = fs::read_dir(place.path("good"))
        .ok()
        .and_then(|mut d| d.next()?.ok());
    let Some(new) = new else {
        line.faults
            .push(format!("no run to damage: {}", made.in_words()));
        return line;
    };
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/reference");
    let bases = [
        (new.path(), vec!["trials.jsonl", "environment.json"]),
        (
            old,
            vec![
                "run.json",
                "trials.csv",
                "latency.hlog",
                "timeline.csv",
                "workers.csv",
            ],
        ),
    ];
    for i in 0..times {
        let (base, names) = &bases[i % bases.len()];
        let folder = place.path("hostile");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        for name in names {
            let _ = fs::copy(base.join(name), folder.join(name));
        }
        let name = names[random.usize(..names.len())];
        let damage = damage(&folder.join(name), random);
        let what = format!("run {i}: {name}: {damage}");
        let ended = bounded(place, "tenk", &["report"], &[&folder]);
        book(place, &mut line, &what, &ended, &[0, 1, 2]);
    }
    line
}

fn outcomes(place: &Place, times: usize, random: &mut fastrand::Rng) -> Line {
    let mut line = Line::new("a hostile outcome", "`loadgen merge`");
    let good = place.path("outcome.json");
    let Some(bytes) = outcome(place, &good) else {
        return Line::skipped("a hostile outcome", "the generator saved none");
    };
    let bad = place.path("bad.json");
    for i in 0..times {
        remove(&bad);
        fs::write(&bad, &bytes).unwrap();
        let what = format!("outcome {i}: {}", damage(&bad, random));
        let ended = bounded(place, "loadgen", &["merge"], &[&good, &bad]);
        book(place, &mut line, &what, &ended, &[0, 1, 2]);
    }
    line
}

/// What the generator saves of a short run.
fn outcome(place: &Place, file: &Path) -> Option<Vec<u8>> {
    let mut server = place.command(place.program("epoll"));
    server
        .args(["--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped());
    let mut server = server.spawn().ok()?;
    let mut line = String::new();
    let mut out = std::io::BufReader::new(server.stdout.take()?);
    std::io::BufRead::read_line(&mut out, &mut line).ok()?;
    let address = line
        .trim()
        .strip_prefix("listening ")
        .unwrap_or_default()
        .to_string();
    place.keep(Some(server.id()));
    let mut command = place.command(place.program("loadgen"));
    command.args([
        "--target",
        &address,
        "--conns",
        "4",
        "--warmup",
        "20ms",
        "--duration",
        "100ms",
        "--save",
    ]);
    place.run(command.arg(file), |_| ());
    let _ = server.kill();
    let _ = server.wait();
    place.keep(None);
    fs::read(file).ok()
}

fn configurations(place: &Place, times: usize, random: &mut fastrand::Rng) -> Line {
    let mut line = Line::new("a hostile configuration", "`tenk --config FILE --dry-run`");
    let file = place.path("tenk.toml");
    for i in 0..times {
        remove(&file);
        fs::write(&file, CONFIGURATION).unwrap();
        let what = format!("configuration {i}: {}", damage(&file, random));
        let ended = bounded(
            place,
            "tenk",
            &["--dry-run", "--scenario", "mine", "--config"],
            &[&file],
        );
        book(place, &mut line, &what, &ended, &[0, 1, 2, 3, 4]);
    }
    line
}

fn histories(place: &Place, times: usize, random: &mut fastrand::Rng) -> Line {
    let mut line = Line::new("a hostile history", "`tenk history plot`");
    let file = place.path("history.jsonl");
    let page = place.path("history.html");
    let good: Vec<String> = (0..12).map(history_line).collect();
    for i in 0..times {
        remove(&file);
        fs::write(&file, good.concat()).unwrap();
        let what = format!("history {i}: {}", damage(&file, random));
        let ended = bounded(
            place,
            "tenk",
            &["history", "plot", "--page", "history.html", "--into"],
            &[&file],
        );
        book(place, &mut line, &what, &ended, &[0, 1]);
        if fs::read(&page).is_ok_and(|bytes| !is_whole("history.html", &bytes, false)) {
            line.damaged += 1;
        }
    }
    line
}

fn history_line(i: u64) -> String {
    let figure = serde_json::json!({ "median": 3.0 + i as f64 * 0.01, "low": 2.9, "high": 3.3, "trials": 8, "change": null });
    let line = serde_json::json!({
        "schema": "tenk.history/1", "run_id": format!("r{i}"), "commit": format!("{i:040x}"), "title": "a change",
        "committed_s": 1_700_000_000 + i, "against": null,
        "machine": { "id": "a", "what": "a machine", "facts": { "the kernel": "Linux" } },
        "figures": [{ "arm": "epoll", "model": "epoll", "workload": "c50/echo64",
                      "metrics": { "server_cpu_us_per_request": figure } }],
    });
    format!("{line}\n")
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

/// Damages a file; says how.
fn damage(path: &PathBuf, random: &mut fastrand::Rng) -> String {
    let whole = fs::read(path).unwrap_or_default();
    if random.u8(..12) == 0 {
        return replaced(path, random);
    }
    let mut bytes = whole;
    let mut words = Vec::new();
    for _ in 0..random.usize(1..=3) {
        words.push(mutate(&mut bytes, random));
    }
    fs::write(path, &bytes).unwrap();
    words.join(", ")
}

/// Something else than a file is in its place.
fn replaced(path: &PathBuf, random: &mut fastrand::Rng) -> String {
    remove(path);
    match random.u8(..6) {
        0 => fs::create_dir(path).map(|()| "a folder"),
        1 => symlink(path, path).map(|()| "a link to itself"),
        2 => symlink("/nonexistent/file", path).map(|()| "a link to nothing"),
        3 => symlink("/dev/zero", path).map(|()| "a file without an end"),
        4 => fs::write(path, "").map(|()| "nothing in it"),
        _ => fs::write(path, vec![b'['; 1 << 20]).map(|()| "a million brackets"),
    }
    .unwrap()
    .to_string()
}

/// Numbers and words that no reader expects.
const ODD: [&str; 14] = [
    "-1",
    "0",
    "1e308",
    "1e999",
    "-1e-999",
    "18446744073709551616",
    "NaN",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "\"\\u0000\\ud800\"",
    "[[[[[[[[[[[[[[[[",
];

/// One change of some bytes; says which.
fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) -> String {
    let length = bytes.len();
    let at = random.usize(..length.max(1));
    let some = random
        .usize(1..=(length / 4).max(1))
        .min(length - at.min(length));
    match random.u8(..8) {
        0 => {
            bytes.truncate(at);
            format!("cut off at {at}")
        }
        1 => {
            for _ in 0..random.usize(1..=8) {
                let at = random.usize(..length.max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.u8(..8);
                }
            }
            format!("bits flipped of {length} bytes")
        }
        2 => {
            bytes.drain(at.min(length)..at.min(length) + some);
            format!("{some} bytes taken out at {at}")
        }
        3 => {
            let part = bytes[at.min(length)..at.min(length) + some].to_vec();
            let to = random.usize(..=length);
            bytes.splice(to..to, part);
            format!("{some} bytes of {at} again at {to}")
        }
        4 => {
            let noise: Vec<u8> = (0..random.usize(1..64)).map(|_| random.u8(..)).collect();
            bytes.splice(at.min(length)..at.min(length), noise);
            format!("noise at {at}")
        }
        5 => {
            let line = bytes
                .split_inclusive(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default()
                .to_vec();
            (0..random.usize(1..20)).for_each(|_| bytes.extend_from_slice(&line));
            "its first line many times".into()
        }
        _ => {
            let odd = ODD[random.usize(..ODD.len())];
            let is_digit = |i: &usize| bytes[*i].is_ascii_digit();
            let Some(from) = (at..length).find(is_digit) else {
                return "nothing".into();
            };
            let end = (from..length).find(|i| !is_digit(i)).unwrap_or(length);
            bytes.splice(from..end, odd.bytes());
            format!("{odd} for the number at {from}")
        }
    }
}
