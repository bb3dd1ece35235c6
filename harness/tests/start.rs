//! `tenk serve` and `tenk load`: one name is enough to start the other programs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

/// `tenk` with these words, building what it starts with the cargo of the test.
fn tenk(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
    command.args(words).env("CARGO", env!("CARGO"));
    command
}

fn load(words: &[&str]) -> Output {
    let words = [&["load"], words].concat();
    tenk(&words).output().expect("tenk runs")
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_and_the_generator_are_started_by_tenk() {
    let mut command = tenk(&["serve", "epoll", "--listen", "127.0.0.1:0"]);
    let mut server = Server(command.stdout(Stdio::piped()).spawn().expect("tenk runs"));
    let mut line = String::new();
    let stdout = server.0.stdout.take().expect("a pipe");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("a ready line");
    let addr = line.trim().strip_prefix("listening ").expect("ready");
    let shown = std::fs::read_link(format!("/proc/{}/exe", server.0.id())).expect("the program");
    assert!(shown.ends_with("release/epoll"), "{}", shown.display());
    let output = load(&[
        "--target",
        addr,
        "--conns",
        "3",
        "--duration",
        "200ms",
        "--warmup",
        "50ms",
        "--format",
        "json",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an outcome");
    assert_eq!(outcome["connections"]["served"], 3);
}

#[test]
fn help_and_mistakes_are_those_of_the_program_started() {
    let help = load(&["--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("--target"));
    let wrong = load(&["--no-such-flag"]);
    assert_eq!(wrong.status.code(), Some(2));
    let unknown = tenk(&["serve", "epol"]).output().expect("tenk runs");
    assert_eq!(unknown.status.code(), Some(2));
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("did you mean"), "{said}");
}
