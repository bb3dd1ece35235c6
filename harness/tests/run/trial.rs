//! Trials of servers that are not as they should be, on machines that lack something: whose process, whose limit, whose
//! fault.

use super::*;
use std::os::unix::fs::{PermissionsExt, chown};

fn epoll() -> String {
    built("servers", ["--bin", "epoll"]).display().to_string()
}

/// A run of a server program that is given as one word.
fn of_server(command: &str, words: &str) -> Harness {
    let mut run = harness(words);
    run.command.args(["--server", command]);
    run
}

fn reasons(run: &Value) -> &str {
    trials(run)[0]["reasons"].as_str().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The same command line with another in front of it, such as `prlimit`, and its results where they were.
fn behind(first: &[&str], run: &mut Harness) -> Command {
    let mut command = Command::new(first[0]);
    command
        .args(&first[1..])
        .arg(run.command.get_program())
        .args(run.command.get_args())
        .env("CARGO", env!("CARGO"))
        .stdin(Stdio::null());
    command
}

fn is_root(what: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: {what} needs root");
    }
    is_root
}

fn is_running(program: &str, argument: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| {
        let line = String::from_utf8_lossy(&line).into_owned();
        line.starts_with(program) && line.contains(argument)
    })
}

/// Starts a server for each address that is written to the FIFO: nothing that descends from the harness.
fn started_elsewhere(fifo: &Path, program: String) -> std::thread::JoinHandle<Child> {
    let fifo = fifo.to_owned();
    std::thread::spawn(move || {
        let address = fs::read_to_string(fifo).unwrap();
        Command::new(program)
            .args(["--listen", address.trim()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    })
}

#[test]
fn a_server_that_was_started_elsewhere_has_no_figures_and_no_gate() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("addresses");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let command = format!("echo {{addr}} > {}; exec sleep 99", fifo.display());
    let elsewhere = started_elsewhere(&fifo, epoll());
    let (code, run) = of_server(&command, &format!("--conns 2 --rate 200 {SHORT}")).json();
    let mut server = elsewhere.join().unwrap();
    let pid = server.id();
    server.kill().and_then(|()| server.wait()).unwrap();
    let row = &trials(&run)[0];
    assert_eq!(
        (code, &row["status"]),
        (Some(0), &Value::from("ok")),
        "{row:#}"
    );
    assert!(
        reasons(&run).contains(&format!("process {pid} (epoll)")),
        "{row:#}"
    );
    assert!(reasons(&run).contains(&format!("`kill {pid}`")), "{row:#}");
    for figure in [
        "server_cpu_us_per_request",
        "server_memory_kib",
        "server_processes",
    ] {
        assert!(row[figure].is_null(), "{figure}: {row:#}");
    }
    assert!(row["requests_completed"].as_u64().unwrap() > 0);

    let elsewhere = started_elsewhere(&fifo, epoll());
    let mut gate = harness("gate --conns 2 --rate 200 --warmup 20ms --duration 100ms --blocks 4");
    gate.command
        .args(["--base-cmd", &command, "--head-cmd", &command]);
    let output = gate.output();
    let mut server = elsewhere.join().unwrap();
    server.kill().and_then(|()| server.wait()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert!(errors(&output).contains("W10"), "{}", errors(&output));
}

#[test]
fn a_server_that_goes_to_the_background_is_measured_there_and_ended() {
    let marker = "--idle-timeout=7177s".to_string();
    // The shell is gone before the window: one that leaves in it would make the server's CPU time unknown.
    let command = format!("setsid {} --listen {{addr}} {marker} &", epoll());
    let (code, run) = of_server(&command, &format!("--conns 2 {SHORT}")).json();
    assert_made(code, &run);
    let row = &trials(&run)[0];
    assert_eq!(row["status"], "ok", "{row:#}");
    assert!(row["server_cpu_us_per_request"].is_number(), "{row:#}");
    wait_for("the server to end", || !is_running(&epoll(), &marker));
}

#[test]
fn what_goes_on_in_the_background_and_is_no_server_is_named() {
    let command = "sleep 717.6 & echo {port}";
    let (code, run) =
        of_server(command, &format!("--conns 2 --start-timeout 500ms {SHORT}")).json();
    assert_eq!(code, Some(1), "{run:#}");
    assert_eq!(trials(&run)[0]["status"], "hung");
    let reasons = reasons(&run);
    for words in [
        "(sleep) went on in the background",
        "start the server in the foreground",
        "`--target ADDR --pid PID`",
    ] {
        assert!(reasons.contains(words), "{words}: {run:#}");
    }
    wait_for("the rest to end", || !is_running("sleep", "717.6"));
}

#[test]
fn a_foreign_server_has_the_users_environment_and_what_it_is_given() {
    let command = format!(
        "test \"$MINE\" = yes && test \"$PORT\" -gt 0 && exec {} --listen 127.0.0.1:$PORT",
        epoll()
    );
    let mut run = of_server(
        &command,
        &format!("--conns 2 --env PORT={{port}} --name mine {SHORT}"),
    );
    run.command.env("MINE", "yes");
    let (code, run) = run.json();
    assert_made(code, &run);
    let row = &trials(&run)[0];
    assert_eq!(
        (&row["status"], &row["arm"]),
        (&"ok".into(), &"mine".into()),
        "{row:#}"
    );
}

#[test]
fn a_server_that_needs_its_time_gets_what_was_asked_for() {
    let command = format!("sleep 1; exec {} --listen {{addr}}", epoll());
    let (_, run) = of_server(
        &command,
        &format!("--conns 2 --start-timeout 100ms {SHORT}"),
    )
    .json();
    assert_eq!(trials(&run)[0]["status"], "hung");
    assert!(reasons(&run).contains("100ms (--start-timeout)"), "{run:#}");
    let (code, run) = of_server(&command, &format!("--conns 2 --start-timeout 60s {SHORT}")).json();
    assert_made(code, &run);
    assert_eq!(trials(&run)[0]["status"], "ok", "{run:#}");
}

#[test]
fn servers_start_with_every_descriptor_they_may_have() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        return eprintln!("skipped: needs prlimit");
    }
    let mut run = harness(&format!("--conns 1200 --model epoll --format json {SHORT}"));
    run.command
        .args(["--server", &format!("exec {} --listen {{addr}}", epoll())]);
    let output = behind(&["prlimit", "--nofile=1024:5000"], &mut run)
        .output()
        .unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    for row in trials(&value) {
        assert_eq!(
            (&row["status"], &row["conns_served"]),
            (&"ok".into(), &1200.into()),
            "{row:#}"
        );
    }
}

#[test]
fn a_killed_harness_leaves_no_process_and_its_folder_goes_with_the_next_run() {
    let place = tempfile::tempdir().unwrap();
    let marker = "--idle-timeout=7178s";
    let command = format!("sleep 717.8 | {} --listen {{addr}} {marker}", epoll());
    let mut run = of_server(
        &command,
        "--conns 2 --repeat 1 --duration 60s --warmup 20ms",
    );
    run.command.env("TMPDIR", place.path());
    let mut running = run.spawn();
    wait_for("the server to run", || is_running(&epoll(), marker));
    running.signal("-KILL");
    running.end();
    wait_for("the pipe to end", || {
        !is_running(&epoll(), marker) && !is_running("sleep", "717.8")
    });
    let folders = || fs::read_dir(place.path()).unwrap().count();
    assert_eq!(folders(), 1);
    let mut run = harness(&format!("--model epoll --conns 1 {SHORT}"));
    run.command.env("TMPDIR", place.path());
    assert!(run.output().status.code().is_some());
    assert_eq!(folders(), 0);
}

#[test]
fn a_place_from_which_no_program_can_be_started_is_said_before_the_first_trial() {
    if !is_root("a mount") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o noexec none {0} && TMPDIR={0} exec \"$0\" \"$@\"",
        place.path().display()
    );
    let mut runs = [
        harness(&format!("--model epoll,thread --conns 2 {SHORT}")),
        of_server(
            &format!("{} --listen {{addr}}", epoll()),
            &format!("--conns 2 {SHORT}"),
        ),
    ];
    for run in &mut runs {
        let output = behind(&["unshare", "-m", "sh", "-c", &script], run)
            .output()
            .unwrap();
        let words = errors(&output);
        if words.contains("unshare") {
            return eprintln!("skipped: no mount namespace: {words}");
        }
        assert_eq!(output.status.code(), Some(3), "{words}");
        assert!(
            words.contains("mounted noexec") && words.contains("TMPDIR"),
            "{words}"
        );
    }
}

#[test]
fn a_private_network_that_can_only_be_half_made_is_not_used() {
    if !is_root("a mount") {
        return;
    }
    // A place, and programs in it, that another user may use.
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (program, name) in [
        (PathBuf::from(env!("CARGO_BIN_EXE_tenk")), "tenk"),
        (built("servers", ["--bin", "epoll"]), "epoll"),
        (built("loadgen", ["--bin", "loadgen"]), "loadgen"),
    ] {
        fs::copy(program, place.path().join(name)).unwrap();
    }
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(65534), Some(65534)).unwrap();
    let script = "mount --bind /proc /proc && mount -o remount,ro,bind /proc && exec setpriv --reuid=65534 \
                  --regid=65534 --clear-groups \"$@\"";
    let words = format!("--model epoll --conns 2 {SHORT} --format json --results results");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(place.path().join("tenk"))
        .args(words.split(' '))
        .current_dir(&own)
        .env("XDG_CACHE_HOME", &own)
        .env("TMPDIR", &own)
        .env_remove("CARGO")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = errors(&output);
    let Ok(run) = serde_json::from_slice::<Value>(&output.stdout) else {
        assert!(
            words.contains("unshare") || words.contains("mount"),
            "{words}"
        );
        return eprintln!("skipped: no mount namespace: {words}");
    };
    assert_eq!(trials(&run)[0]["status"], "ok", "{run:#}");
    let network = &run["environment"]["trial_network"];
    assert_eq!(network["private"], false);
    assert!(
        network["fallback"].as_str().unwrap().contains("Read-only"),
        "{network:#}"
    );
    assert!(
        words.contains("trials share this machine's network"),
        "{words}"
    );
    assert_eq!(run["environment"]["cpu_method"], "clock");
}

#[test]
fn a_limit_of_any_level_is_named_where_it_is_set() {
    let parent = Path::new("/sys/fs/cgroup/pids").join(format!("tenk-test-{}", std::process::id()));
    let inner = parent.join("inner");
    if fs::create_dir_all(&inner).is_err() || fs::write(parent.join("pids.max"), "120").is_err() {
        return eprintln!("skipped: no control group with pids.max can be made here");
    }
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"",
        inner.display()
    );
    let output = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_tenk")])
        .args(["--model", "process", "--conns", "300", "--dry-run"])
        .output()
        .unwrap();
    for group in [&inner, &parent] {
        wait_for("the group to be empty", || fs::remove_dir(group).is_ok());
    }
    let words = errors(&output);
    let name = parent.file_name().unwrap().to_str().unwrap();
    assert!(
        words.contains(&format!("pids.max of /{name} is 120")),
        "{words}"
    );
}

/// What `cargo install --path harness` makes: the program alone, in a `bin` of its own.
#[test]
fn a_program_that_was_installed_alone_says_first_how_to_get_what_measures() {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let alone = bin.join("tenk");
    fs::copy(env!("CARGO_BIN_EXE_tenk"), &alone).unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(&alone);
        command
            .args(words)
            .current_dir(root.path())
            .env_remove("CARGO");
        let output = command.stdin(Stdio::null()).output().unwrap();
        let words = errors(&output);
        (
            output.status.code(),
            words.lines().next().unwrap_or_default().to_string(),
        )
    };
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for words in [
        &["--model", "epoll", "--conns", "2"][..],
        &["--server", "nc -l {port}", "--conns", "2"],
        &["gate", "--base-cmd", "true", "--head-cmd", "false"],
        &["calibrate"],
        &["load", "--target", "127.0.0.1:1"],
    ] {
        let (code, first) = run(words);
        assert_eq!(code, Some(3), "{words:?}: {first}");
        let command = format!(
            "cargo install --locked --root {} --path {}/loadgen",
            root.path().display(),
            sources.display()
        );
        assert!(first.contains(&command), "{words:?}: {first}");
    }
    let runs = fs::read_dir(root.path().join("results"));
    assert_eq!(
        runs.map_or(0, Iterator::count),
        0,
        "no folder of a run that was not made"
    );
    // Once they lie beside it, it measures.
    for name in ["epoll", "loadgen"] {
        let package = if name == "loadgen" { name } else { "servers" };
        fs::copy(built(package, ["--bin", name]), bin.join(name)).unwrap();
    }
    let (code, first) = run(&[
        "-q",
        "--model",
        "epoll",
        "--conns",
        "2",
        "--repeat",
        "1",
        "--duration",
        "100ms",
    ]);
    assert_eq!(code, Some(0), "{first}");
}

/// A control group with one setting, for a harness and all that it starts.
struct Group(PathBuf);

impl Group {
    /// None where no such group can be made.
    fn with(controller: &str, file: &str, value: &str) -> Option<Group> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("tenk-limit-{}-{number}", std::process::id());
        let group = Group(Path::new("/sys/fs/cgroup").join(controller).join(name));
        let made = fs::create_dir(&group.0).and_then(|()| fs::write(group.0.join(file), value));
        match made {
            Ok(()) => Some(group),
            Err(why) => {
                eprintln!("skipped: no control group with {file} can be made here: {why}");
                None
            }
        }
    }

    fn name(&self) -> String {
        format!("/{}", self.0.file_name().unwrap().to_str().unwrap())
    }

    /// Runs the harness in it; what it printed as JSON, and its errors.
    fn run(&self, run: &mut Harness) -> (Value, String) {
        let script = format!(
            "echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"",
            self.0.display()
        );
        run.command.args(["--format", "json"]);
        let output = behind(&["sh", "-c", &script], run).output().unwrap();
        let words = errors(&output);
        let value = serde_json::from_slice(&output.stdout);
        (value.unwrap_or_else(|e| panic!("{e}: {words}")), words)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_server_that_the_kernel_ended_for_want_of_memory_is_said_to_have_been() {
    let Some(group) = Group::with("memory", "memory.limit_in_bytes", "300M") else {
        return;
    };
    let limit = format!(
        "memory was short (memory.limit_in_bytes of {} is 300 MiB)",
        group.name()
    );
    // What reads a line without an end keeps all of it.
    let words = format!("--conns 2 --start-timeout 60s {SHORT}");
    let (run, _) = group.run(&mut of_server("exec tail /dev/zero {port}", &words));
    assert_eq!(trials(&run)[0]["status"], "crashed", "{run:#}");
    assert!(
        reasons(&run).contains(&format!("the kernel ended the server because {limit}")),
        "{run:#}"
    );
    let command = format!("tail /dev/zero & exec {} --listen {{addr}}", epoll());
    let words = "--conns 2 --repeat 1 --warmup 20ms --duration 4s";
    let (run, _) = group.run(&mut of_server(&command, words));
    let row = &trials(&run)[0];
    assert_eq!(
        (&row["status"], &row["server_oom_kills"]),
        (&"limited".into(), &1.into()),
        "{row:#}"
    );
    assert!(reasons(&run).contains(&limit), "{row:#}");
}

#[test]
fn a_quota_of_cpu_time_that_is_used_up_in_the_window_is_named() {
    let Some(group) = Group::with("cpu", "cpu.cfs_quota_us", "40000") else {
        return;
    };
    let run = "--model epoll --conns 4 --repeat 1 --warmup 20ms --duration 500ms";
    let (run, errors) = group.run(&mut harness(run));
    let quota = format!("cpu.cfs_quota_us of {}", group.name());
    assert!(
        errors.contains(&format!("note: {quota} allows the time of 0.4 CPUs")),
        "{errors}"
    );
    let row = &trials(&run)[0];
    let reasons = reasons(&run);
    assert!(
        reasons.contains("W07 ") && reasons.contains(&format!("{quota} was used up")),
        "{row:#}"
    );
    assert_eq!(row["verdict"], "suspect", "{row:#}");
    assert!(row["throttled_s"].as_f64().unwrap() > 0.0, "{row:#}");
    let settings = &run["environment"]["settings"];
    assert_eq!(settings[format!("cgroup {quota}")], "40000", "{settings:#}");
}

#[test]
fn a_setting_that_a_private_network_cannot_have_is_said() {
    if !is_root("a mount") {
        return;
    }
    // A network whose settings are not the kernel's defaults, and in it a /proc/sys that nobody can write to, as in a
    // container.
    let script = "echo 17 > /proc/sys/net/ipv4/tcp_fin_timeout && mount --bind /proc/sys /proc/sys && \
                  mount -o remount,ro,bind /proc/sys && exec \"$0\" \"$@\"";
    let mut run = harness(&format!("--model epoll --conns 2 --format json {SHORT}"));
    let output = behind(&["unshare", "-nm", "sh", "-c", script], &mut run)
        .output()
        .unwrap();
    let words = errors(&output);
    let Ok(run) = serde_json::from_slice::<Value>(&output.stdout) else {
        return eprintln!("skipped: no such namespaces here: {words}");
    };
    assert_eq!(
        run["environment"]["trial_network"]["private"], true,
        "{words}"
    );
    assert!(
        words.contains("net.ipv4.tcp_fin_timeout (60 there, 17 on this machine)")
            && words.contains("`--netns off`"),
        "{words}"
    );
    assert_eq!(
        words.matches("tcp_fin_timeout").count(),
        1,
        "said once: {words}"
    );
}

#[test]
fn a_server_that_listens_elsewhere_is_found_there() {
    let command = format!("exec {} --listen [::1]:{{port}}", epoll());
    let (code, run) = of_server(
        &command,
        &format!("--conns 2 --start-timeout 500ms {SHORT}"),
    )
    .json();
    if Path::new("/proc/net/if_inet6").exists() {
        assert_eq!(code, Some(1), "{run:#}");
        assert!(
            reasons(&run).contains("its processes listen on [::1]:"),
            "{run:#}"
        );
    }
    let command = "exec sh -c 'sleep 717.5; : {port}'";
    let (_, run) = of_server(command, &format!("--conns 2 --start-timeout 500ms {SHORT}")).json();
    let reasons = reasons(&run);
    assert!(
        reasons.contains("none of its processes listens on a TCP port"),
        "{run:#}"
    );
}
