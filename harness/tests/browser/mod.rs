//! Headless Chromium over the DevTools protocol: JSON messages that end with a NUL, through two named pipes.

use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CHROMIUM: &str = "/usr/bin/chromium";
/// Starting takes seconds on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

/// One browser with one page.
pub struct Browser {
    child: Child,
    requests: File,
    messages: Receiver<Value>,
    session: Option<String>,
    next: u64,
    /// Everything the browser told without being asked.
    pub events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts Chromium; none where it is not installed, which is said.
    pub fn start() -> Option<Browser> {
        if !Path::new(CHROMIUM).exists() {
            println!("skipped: {CHROMIUM} is not installed (apt-get install chromium)");
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        let pipes = ["requests", "answers"].map(|name| profile.path().join(name));
        for pipe in &pipes {
            nix::unistd::mkfifo(pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        // Opened both ways, so that no side waits for the other to open its end.
        let open = |pipe: &Path| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(pipe)
                .unwrap()
        };
        let (requests, answers) = (open(&pipes[0]), open(&pipes[1]));
        let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                     --disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe";
        let child = Command::new("sh")
            .args([
                "-c",
                r#"in=$1 out=$2; shift 2; exec "$@" 3<"$in" 4>"$out""#,
                "sh",
            ])
            .args(&pipes)
            .arg(CHROMIUM)
            .args(flags.split_whitespace())
            .arg(format!(
                "--user-data-dir={}",
                profile.path().join("profile").display()
            ))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap_or(Value::Null);
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Browser {
            child,
            requests,
            messages,
            session: None,
            next: 0,
            events: Vec::new(),
            _profile: profile,
        };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({"url": "about:blank"}));
        let session = self.call(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        );
        self.session = session["sessionId"].as_str().map(String::from);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Calls a method and waits for its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let bytes = serde_json::to_vec(&message).unwrap();
        self.requests
            .write_all(&[&bytes[..], b"\0"].concat())
            .unwrap();
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.receive(deadline, method);
            if answer["id"] == json!(id) {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn receive(&self, deadline: Instant, what: &str) -> Value {
        let left = deadline.saturating_duration_since(Instant::now());
        self.messages
            .recv_timeout(left)
            .unwrap_or_else(|e| panic!("{what}: {e}"))
    }

    /// Goes to a file and waits until it is loaded.
    pub fn open(&mut self, file: &Path) {
        self.events.clear();
        self.call(
            "Page.navigate",
            json!({"url": format!("file://{}", file.display())}),
        );
        let deadline = Instant::now() + LIMIT;
        while !self
            .events
            .iter()
            .any(|e| e["method"] == "Page.loadEventFired")
        {
            let event = self.receive(deadline, "load");
            self.events.push(event);
        }
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true}),
        );
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// What the page fetched.
    pub fn fetched(&self) -> Vec<String> {
        let sent = self
            .events
            .iter()
            .filter(|e| e["method"] == "Network.requestWillBeSent");
        sent.filter_map(|e| e["params"]["request"]["url"].as_str().map(String::from))
            .collect()
    }

    /// What was said on the console, by the page or about it.
    pub fn console(&self) -> Vec<&Value> {
        let told = [
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
        ];
        self.events
            .iter()
            .filter(|e| told.iter().any(|name| e["method"] == *name))
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to close, it ends its own children; killed, they end with its pipes.
        let _ = self
            .requests
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
