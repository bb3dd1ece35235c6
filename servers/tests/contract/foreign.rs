//! Clients written by others, run against every model that serves several
//! connections. One that is not installed is skipped, with a line that says so.

use std::process::{Command, Stdio};

use crate::concurrent;
use crate::support::*;

/// The tool, if it can be run here.
pub fn tool(name: &'static str) -> Option<&'static str> {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .stdout(Stdio::null())
        .status();
    if found.is_ok_and(|status| status.success()) {
        return Some(name);
    }
    eprintln!("skipped: {name} is not installed");
    None
}

pub fn foreign_clients(model: &str) {
    if !concurrent(model) {
        return;
    }
    if let Some(redis) = tool("redis-benchmark") {
        // Its pings have the form of their answers, so an echo server will do.
        let mut server = spawn(model).start();
        let port = server.addr.port().to_string();
        let text = output(
            redis,
            &[
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-t",
                "ping_mbulk",
                "-n",
                "2000",
                "-c",
                "20",
                "-q",
            ],
        );
        assert!(text.contains("requests per second"), "{text}");
        server.assert_well();
        assert!(server.tally().bytes_in >= 2000 * 14);
    }
    let mut server = spawn(model).arg("--service").arg("http").start();
    let url = format!("http://{}/", server.addr);
    if let Some(wrk) = tool("wrk") {
        let text = output(wrk, &["-t", "1", "-c", "20", "-d", "1", &url]);
        assert!(text.contains("Requests/sec"), "{text}");
        assert!(
            !text.contains("Socket errors") && !text.contains("Non-2xx"),
            "{text}"
        );
    }
    if let Some(ab) = tool("ab") {
        for keep_alive in ["-q", "-k"] {
            let text = output(ab, &[keep_alive, "-n", "1000", "-c", "20", &url]);
            let failed = text
                .lines()
                .find(|line| line.starts_with("Failed requests:"));
            assert!(failed.is_some_and(|line| line.ends_with(" 0")), "{text}");
        }
    }
    server.wait_for("all are gone", |tally| tally.open() == 0);
    assert_eq!(server.ended(), None);
}

fn output(tool: &str, args: &[&str]) -> String {
    let mut command = Command::new("timeout");
    let output = command
        .args(["--signal=KILL", "60", tool])
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool}: {text}");
    text.into_owned()
}
