//! `tenk report` on saved runs: every file made again, and the page in a real browser.

mod browser;
mod saved_run;

use browser::Browser;
use saved_run::{MANY_WORKLOADS, models};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn the_readme_shows_what_is_said_of_the_reference_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let shown = readme.split("```text\n").nth(1).expect("a sample");
    let shown = shown.split("```").next().unwrap();
    let folder = root.join("results/reference");
    let said = text(&report(&folder).stdout);
    let (before, after) = shown.split_once("[50 connections: left out here]").unwrap();
    assert!(said.starts_with(before.trim_end()), "{said}");
    assert!(said.contains(after.trim()), "{said}");
}

/// A label that would be obeyed by a careless page.
const HOSTILE: &str = "epoll:x=</script><img src=x onerror=document.title='owned'>\u{1b}[31m";

fn report(folder: &Path) -> Output {
    report_with(folder, &[])
}

fn report_with(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tenk"))
        .arg("report")
        .arg(folder)
        .args(words)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn made(folder: &Path) {
    let output = report(folder);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// All files of a folder with their contents, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |dir: &Path| {
        fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect::<Vec<_>>()
    };
    let paths = read(folder)
        .into_iter()
        .flat_map(|p| if p.is_dir() { read(&p) } else { vec![p] });
    let mut files: Vec<(String, Vec<u8>)> = paths
        .map(|p| {
            (
                p.strip_prefix(folder).unwrap().display().to_string(),
                fs::read(&p).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

/// The levels that a load is offered at, as shares.
const SHARES: [f64; 7] = [0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 1.0];

#[test]
fn a_load_at_several_rates_is_drawn_and_its_promise_is_answered_in_every_report() {
    let folder = tempfile::tempdir().unwrap();
    saved_run::write_levels(folder.path(), &["epoll", "poll", "thread"], &SHARES, 3);
    let slo = "response_p99_ns<2ms";
    let output = report_with(folder.path(), &["--slo", slo, "--write"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let screen = text(&output.stdout);
    let first = screen.split("Take ").next().unwrap().replace('\n', " ");
    assert!(
        first.starts_with("Under response_p99_ns<2ms, the highest rate held: `"),
        "{screen}"
    );
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let run: serde_json::Value = serde_json::from_str(&read("run.json")).unwrap();
    let curve = &run["answer"]["load_curves"][0];
    assert_eq!(
        (&curve["workload"], &curve["in_shares"]),
        (&json!("c50/echo64"), &json!(true))
    );
    let mut held = 0;
    for arm in curve["arms"].as_array().unwrap() {
        let rate = arm["slo_held_per_s"].as_f64().unwrap();
        let levels = arm["levels"].as_array().unwrap();
        let level = levels
            .iter()
            .find(|level| level["rate_per_s"] == rate)
            .unwrap();
        assert_eq!(
            (&level["slo_kept"], &level["held"]),
            (&json!(true), &json!(true))
        );
        held += 1;
    }
    assert_eq!(held, 3);
    // One sentence, told alike; Markdown escapes its letters and the page its markup.
    let sentence = run["answer"]["sentences"][0].as_str().unwrap();
    assert_eq!(first.trim(), sentence, "{screen}");
    let names = sentence
        .replace('<', "&lt;")
        .replace('`', "\\`")
        .replace('_', "\\_");
    assert!(read("report.md").contains(&names), "{names}");
    assert!(
        read("report.md").contains("## Latency against load: 50 connections, open loop, echo 64 B")
    );
    let in_page = sentence.replace('<', "&lt;").replace('/', "&#x2f;");
    assert!(read("report.html").contains(&in_page), "{in_page}");
    for percentile in ["p50", "p99", "p999"] {
        let svg = read(&format!("charts/latency-against-load-{percentile}.svg"));
        assert!(
            svg.contains("epoll") && svg.contains("r=\"9\""),
            "a knee has its ring"
        );
    }
    assert!(read("charts/latency-against-load-p99.svg").contains("breaks response_p99_ns&lt;2ms"));
    // Every arm has its map, and of the levels the lowest, the middle and the highest have a chart each.
    let maps = fs::read_dir(folder.path().join("charts")).unwrap();
    let maps = maps.filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("latency-over-time-")
    });
    assert_eq!(maps.count(), 3);
}

#[test]
fn everything_is_made_again_and_the_same() {
    let folder = tempfile::tempdir().unwrap();
    saved_run::write(
        folder.path(),
        &["epoll", "poll", "prefork", HOSTILE],
        &[(50, 0), (50, 100), (50, 1000)],
        6,
    );
    made(folder.path());
    let first = files(folder.path());
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    for expected in [
        "run.json",
        "trials.csv",
        "timeline.csv",
        "workers.csv",
        "latency.hlog",
        "hgrm/epoll-c50-t1.hgrm",
        "report.html",
        "report.md",
        "charts/heat-requests.svg",
        "charts/response-p99-by-idle.svg",
        "charts/memory-per-connection.svg",
        "charts/request-cost-idle100.svg",
        "charts/connections-served.svg",
        "charts/accepts-per-worker.svg",
        "charts/timeline-c50_echo64.svg",
        "charts/latency-by-percentile-c50_echo64_idle100.svg",
    ] {
        assert!(
            names.contains(&expected),
            "{expected} is not among {names:?}"
        );
    }
    let sources = ["trials.jsonl", "environment.json"];
    for (name, _) in first
        .iter()
        .filter(|(name, _)| !sources.contains(&name.as_str()))
    {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    made(folder.path());
    assert!(
        files(folder.path()) == first,
        "a second report differs from the first"
    );
    let md = fs::read_to_string(folder.path().join("report.md")).unwrap();
    assert!(!md.contains('\u{1b}') && md.len() < 900 * 1024);
    // Between fences text is only shown.
    assert!(
        md.split("```")
            .step_by(2)
            .all(|text| !text.contains("<img")),
        "{md}"
    );
}

#[test]
fn a_damaged_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    saved_run::write(folder.path(), &["epoll", "poll"], &[(50, 0)], 2);
    let file = folder.path().join("trials.jsonl");
    let lines = fs::read_to_string(&file).unwrap();
    let damaged = lines
        .replacen("HISTFAAA", "HISTFZZZ", 2)
        .replacen("HISTFZZZ", "HISTFAAA", 1);
    fs::write(&file, damaged).unwrap();
    let output = report(folder.path());
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors.contains("trials.jsonl:2: ") && !errors.contains("panicked"),
        "{errors}"
    );
    let older = tempfile::tempdir().unwrap();
    saved_run::write_older(older.path(), &["epoll", "poll"], &[(50, 0)], 2);
    fs::remove_file(older.path().join("latency.hlog")).unwrap();
    let output = report(older.path());
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("latency.hlog is not there"));
    assert!(
        fs::read_to_string(older.path().join("report.html"))
            .unwrap()
            .contains("latency.hlog is not there")
    );
}

/// The same run kept in both ways is told in the same words.
#[test]
fn an_older_run_says_what_a_new_one_says() {
    let (new, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let arms = ["epoll", "prefork", "select"];
    saved_run::write(new.path(), &arms, &[(50, 0), (50, 1000)], 6);
    saved_run::write_older(older.path(), &arms, &[(50, 0), (50, 1000)], 6);
    let sources = files(older.path());
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (run, into) in [(&new, &a), (&older, &b)] {
        let into = into.path().display().to_string();
        let output = report_with(run.path(), &["--into", &into]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    assert!(
        files(older.path()) == sources,
        "the run's own folder was changed"
    );
    for name in [
        "trials.csv",
        "timeline.csv",
        "workers.csv",
        "latency.hlog",
        "charts/latency-by-percentile-c50_echo64.svg",
        "charts/accepts-per-worker.svg",
    ] {
        let read = |folder: &Path| fs::read(folder.join(name)).unwrap();
        assert!(read(a.path()) == read(b.path()), "{name}");
    }
}

/// A column that was taken away is missing, one that was added is named and kept: in both formats of a run, and in
/// csv and json.
#[test]
fn columns_may_be_missing_or_more() {
    let (new, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (folder, write) in [
        (
            &new,
            saved_run::write as fn(&Path, &[&str], &[(u64, u64)], u64) -> usize,
        ),
        (&older, saved_run::write_older),
    ] {
        write(folder.path(), &["epoll", "poll"], &[(50, 0)], 3);
    }
    for name in ["trials.jsonl", "trials.csv", "run.json"] {
        let folder = if name == "trials.jsonl" { &new } else { &older };
        let file = folder.path().join(name);
        let content = fs::read_to_string(&file).unwrap();
        let changed = match name {
            "trials.csv" => content
                .replacen(",jain,", ",colour,", 1)
                .replacen("\n", ",lost\n", 1),
            _ => content.replace("\"jain\"", "\"colour\""),
        };
        let changed = match name {
            // A column at the end, with a figure in every line.
            "trials.csv" => {
                let (head, rows) = changed.split_once('\n').unwrap();
                let rows: String = rows.lines().map(|line| format!("{line},7.5\n")).collect();
                format!("{head}\n{rows}")
            }
            _ => changed
                .replace("\"block_ns\": ", "\"lost\": 7.5, \"block_ns\": ")
                .replace("\"block_ns\":n", "\"lost\":7.5,\"block_ns\":n"),
        };
        fs::write(&file, changed).unwrap();
    }
    for folder in [&new, &older] {
        let into = tempfile::tempdir().unwrap();
        let place = into.path().display().to_string();
        let output = report_with(folder.path(), &["--format", "json", "--into", &place]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{errors}");
        assert!(errors.contains("column `jain` is not there"), "{errors}");
        assert!(
            errors.contains("`colour`, `lost` are not known"),
            "{errors}"
        );
        let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(run["trials"][0]["lost"], json!(7.5), "{run:#}");
        assert_eq!(run["trials"][0]["jain"], json!(null));
        let csv = fs::read_to_string(into.path().join("trials.csv")).unwrap();
        let head = csv.lines().next().unwrap();
        assert!(
            head.contains(",jain,") && head.ends_with(",colour,lost"),
            "{head}"
        );
        assert!(
            csv.lines().skip(1).all(|line| line.ends_with(",,7.5")),
            "{csv}"
        );
    }
}

/// Every run that is kept in the repository is read.
#[test]
fn the_committed_runs_are_read_and_left_as_they_are() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    for (run, rows) in [
        ("reference", 90),
        ("gate", 400),
        ("gate/busy-hour", 400),
        ("gate/busy-hour/closed-loop", 200),
        ("gate/quiet", 400),
    ] {
        let folder = results.join(run);
        let into = tempfile::tempdir().unwrap();
        let place = into.path().display().to_string();
        let output = report_with(&folder, &["--format", "csv", "--into", &place]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let csv = text(&output.stdout);
        assert_eq!(csv.lines().count(), rows + 1, "{run}");
        // Nothing but columns of newer versions is added, and no figure is changed by reading it.
        let kept = fs::read_to_string(folder.join("trials.csv")).unwrap();
        assert!(columns_of(&csv, &kept) == kept, "{run}");
    }
}

/// The columns of a CSV that another one has.
fn columns_of(csv: &str, like: &str) -> String {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let mut like = csv::Reader::from_reader(like.as_bytes());
    let (all, wanted) = (reader.headers().unwrap().clone(), like.headers().unwrap());
    let at: Vec<usize> = wanted
        .iter()
        .map(|name| all.iter().position(|n| n == name).unwrap())
        .collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(wanted).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        writer
            .write_record(at.iter().map(|&at| &record[at]))
            .unwrap();
    }
    text(&writer.into_inner().unwrap())
}

/// A folder that nothing can be written into is printed; only files that were asked for are a failure.
#[test]
fn a_read_only_folder_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    saved_run::write(folder.path(), &["epoll", "poll"], &[(50, 0)], 2);
    // Root may write anywhere but on a file system that is read-only.
    let script = format!(
        "mount --bind {0} {0} && mount -o remount,ro,bind {0} || exit 77; {1} report {0} && ! {1} report {0} --write",
        folder.path().display(),
        env!("CARGO_BIN_EXE_tenk")
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) => output,
        _ => return eprintln!("skipped: a read-only mount needs unshare(1) and mount(8) as root"),
    };
    let errors = text(&output.stderr);
    if errors.contains("unshare failed") {
        return eprintln!("skipped: {errors}");
    }
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert_eq!(text(&output.stdout).matches("requests/s").count() % 2, 0);
    assert!(text(&output.stdout).contains("epoll"));
    assert!(
        errors.contains("note: cannot save ") && errors.contains("error: cannot save "),
        "{errors}"
    );
}

/// The sentences are made once: whoever tells the answer tells these.
#[test]
fn terminal_reports_json_and_exports_tell_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    saved_run::write(
        folder.path(),
        &["epoll", "poll", "thread"],
        &[(50, 0), (50, 1000)],
        3,
    );
    let export = folder.path().join("out.md");
    let words = ["report", &folder.path().display().to_string()].map(String::from);
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
        let output = command.args(&words).args(more).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&run(&["--format", "json"])).unwrap();
    let screen = run(&["--export", &format!("md={}", export.display())]);
    let of = |list: &serde_json::Value| -> Vec<String> {
        let sentences = list.as_array().unwrap().iter();
        sentences.map(|s| s.as_str().unwrap().to_string()).collect()
    };
    let mut sentences = of(&json["answer"]["sentences"]);
    for workload in json["answer"]["workloads"].as_array().unwrap() {
        sentences.extend(of(&workload["sentences"]));
    }
    assert!(sentences.len() > 6, "{sentences:?}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    // What a reader sees: without line breaks, escapes and entities.
    let seen = |text: String| {
        let text = text
            .replace('\\', "")
            .replace("&#x2f;", "/")
            .replace("&#x27;", "'");
        let text = text
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (place, text) in [
        ("terminal", screen),
        ("report.md", read("report.md")),
        ("report.html", read("report.html")),
        ("--export md", read("out.md")),
    ] {
        let text = seen(text);
        for sentence in &sentences {
            assert!(
                text.contains(&seen(sentence.clone())),
                "{place} lacks: {sentence}\n{text}"
            );
        }
    }
}

#[test]
fn two_thousand_rows_make_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let rows = saved_run::write(folder.path(), &models(), &MANY_WORKLOADS, 13);
    assert!(rows > 2000);
    made(folder.path());
    assert!(fs::metadata(folder.path().join("report.md")).unwrap().len() < 900 * 1024);
}

#[test]
fn the_page_works_in_a_browser_and_fetches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    saved_run::write(
        folder.path(),
        &["epoll", "poll", "select", "prefork", "process", HOSTILE],
        &[(50, 0), (50, 100), (50, 1000), (50, 5000)],
        6,
    );
    made(folder.path());
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let page = folder.path().join("report.html");
    browser.open(&page);
    assert_eq!(browser.fetched(), [format!("file://{}", page.display())]);

    let drawn = "[...document.querySelectorAll('figure')].filter(f => f.querySelector('.plot:not([hidden]) svg g[data-arm]')).length";
    let figures = browser.value("document.querySelectorAll('figure').length");
    assert!(figures.as_u64().unwrap() > 15);
    assert_eq!(browser.value(drawn), figures, "every chart is drawn");
    assert_eq!(
        browser.value("document.querySelectorAll('figure details table').length"),
        figures,
        "and is a table"
    );
    let told = browser.value("document.querySelectorAll('#answer p').length");
    assert!(
        told.as_u64().unwrap() > 4,
        "over all, and of each workload: {told}"
    );

    arms_are_switched_off_everywhere(&mut browser);
    scales_are_switched(&mut browser);
    values_are_shown_under_the_pointer(&mut browser);
    light_and_dark(&mut browser);

    let title = browser.value("document.title").to_string();
    assert!(title.contains("made-up"), "a label was obeyed: {title}");
    assert_eq!(browser.value("document.images.length"), json!(0));
    // What a label could do at worst is refused by the policy; its complaint is looked for last.
    assert!(browser.console().is_empty(), "{:?}", browser.console());
    browser.value("fetch('http://127.0.0.1:9/').catch(() => 0); 1");
    assert!(
        browser
            .value("document.querySelector('meta[http-equiv]').content")
            .as_str()
            .unwrap()
            .starts_with("default-src 'none'")
    );
    assert_eq!(
        browser.fetched().len(),
        1,
        "the policy let a request through"
    );
}

fn arms_are_switched_off_everywhere(browser: &mut Browser) {
    let seen = |arms: &str| {
        format!(
            "[...document.querySelectorAll('.plot:not([hidden]) g[data-arm{arms}]')].filter(g => g.getBoundingClientRect().width > 0).length"
        )
    };
    let poll = &seen("=\"poll\"");
    let before = browser.value(poll).as_u64().unwrap();
    let click =
        "[...document.querySelectorAll('#legend input')].find(b => b.value === 'poll').click()";
    browser.value(click);
    assert!(before > 10);
    assert_eq!(browser.value(poll), json!(0));
    let visible = "[...document.querySelectorAll('figure tr[data-arm=\"poll\"]')].filter(r => !r.hidden).length";
    assert_eq!(browser.value(visible), json!(0));
    browser.value(click);
    assert_eq!(browser.value(poll), json!(before));
    browser.value("document.getElementById('none').click()");
    assert_eq!(
        browser.value(&seen("]:not([data-arm=\"asked for\"")),
        json!(0)
    );
    browser.value("document.getElementById('all').click()");
    assert_eq!(browser.value(poll), json!(before));
}

fn scales_are_switched(browser: &mut Browser) {
    let ticks = "[...document.querySelectorAll('#requests-per-second .plot:not([hidden]) text')].map(t => t.textContent).join()";
    let linear = browser.value(ticks);
    browser.value("document.querySelector('#requests-per-second .switch').click()");
    assert_eq!(
        browser.value("document.getElementById('requests-per-second').dataset.scale"),
        json!("log")
    );
    assert_ne!(browser.value(ticks), linear);
    browser.value("document.querySelector('#requests-per-second .switch').click()");
    assert_eq!(browser.value(ticks), linear);
}

fn values_are_shown_under_the_pointer(browser: &mut Browser) {
    let text = browser.value(
        "(() => { const m = document.querySelector('#requests-per-second g[data-arm=\"epoll\"] g.figure'); \
         m.scrollIntoView({ block: 'center' }); const b = m.getBoundingClientRect(); \
         m.ownerSVGElement.dispatchEvent(new PointerEvent('pointermove', \
         { clientX: b.x + b.width / 2, clientY: b.y + b.height / 2 })); \
         const h = document.getElementById('hover'); return h.hidden ? '' : h.textContent; })()",
    );
    let text = text.as_str().unwrap();
    assert!(
        text.contains(" to ") && text.contains("idle connections"),
        "{text:?}"
    );
}

fn light_and_dark(browser: &mut Browser) {
    let paper = "getComputedStyle(document.body).backgroundColor";
    let prefer = |browser: &mut Browser, scheme: &str| {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        browser.call("Emulation.setEmulatedMedia", json!({"features": features}));
    };
    prefer(browser, "light");
    let light = browser.value(paper);
    prefer(browser, "dark");
    let dark = browser.value(paper);
    assert_ne!(light, dark, "the page follows what its reader prefers");
    let click = "document.getElementById('theme').click()";
    browser.value(click);
    assert_eq!(browser.value(paper), light, "auto → light");
    browser.value(click);
    assert_eq!(browser.value(paper), dark, "light → dark");
    browser.value(click);
    prefer(browser, "light");
    assert_eq!(browser.value(paper), light, "dark → auto");
}
