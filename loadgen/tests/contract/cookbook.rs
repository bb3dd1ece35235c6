//! The recipes of docs/PROTOCOLS.md, run as they stand there against the servers that they are for.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadgen::tally::outcome::Outcome;

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOLS.md");

/// One section: how its server is started, and the loads, one after the other.
#[derive(Debug)]
struct Recipe {
    title: String,
    server: String,
    loads: Vec<String>,
}

/// The lines of the first block in a section that begins with this fence.
fn block(section: &str, fence: &str) -> Option<Vec<String>> {
    let lines = section.lines().skip_while(|line| *line != fence).skip(1);
    let lines: Vec<&str> = lines.take_while(|line| *line != "```").collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let commands: Vec<String> = joined.lines().map(str::to_owned).collect();
    (!commands.is_empty()).then_some(commands)
}

fn recipes() -> Vec<Recipe> {
    let sections = DOCUMENT.split("\n## ").skip(1);
    let recipe = |section: &str| {
        Some(Recipe {
            title: section.lines().next()?.to_owned(),
            server: block(section, "```sh server")?.join("\n"),
            loads: block(section, "```sh load")?,
        })
    };
    sections.filter_map(recipe).collect()
}

/// A server with all that it starts; they end with it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Starts a recipe's server and waits until it accepts; or why it is not here.
fn start(command: &str, port: u16) -> Result<Server, String> {
    let line = command.replace("9000", &port.to_string());
    let child = Command::new("sh")
        .args(["-c", &format!("exec {line}")])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut server = Server(child.expect("a shell"));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        if server.0.try_wait().expect("a child").is_some() {
            let mut words = String::new();
            let mut stderr = server.0.stderr.take().expect("piped");
            stderr.read_to_string(&mut words).expect("text");
            let absent = ["not found", "No module named"];
            assert!(
                absent.iter().any(|word| words.contains(word)),
                "{line}: {words}"
            );
            return Err(words.trim().to_owned());
        }
        assert!(Instant::now() < deadline, "{line} does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}

/// Runs one load for a moment, as it stands in the document.
fn load(command: &str, port: u16) -> Outcome {
    let line = command.replace("9000", &port.to_string());
    let words = line.strip_prefix("tenk load ").expect("a load");
    let program = env!("CARGO_BIN_EXE_loadgen");
    let times = "--warmup 50ms --duration 300ms --threads 1 --poll sleep --format json";
    let output = Command::new("sh")
        .args(["-c", &format!("exec '{program}' {words} {times}")])
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {said}"))
}

fn follow(recipe: &Recipe, salt: u32) {
    let ports = (0..1000).map(|n| 10_000 + ((std::process::id() * 7 + salt + n) % 20_000) as u16);
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let port = free.next().expect("a free port");
    let _server = match start(&recipe.server, port) {
        Ok(server) => server,
        Err(why) => return println!("skipped: {}: {why}", recipe.title),
    };
    for command in &recipe.loads {
        let outcome = load(command, port);
        let requests = &outcome.requests;
        assert!(
            requests.completed > 0 && requests.errors() == 0,
            "{command}: {requests:?}"
        );
        assert!(
            outcome.failures.is_empty(),
            "{command}: {:?}",
            outcome.failures
        );
        assert_eq!(outcome.connections.unasked, 0, "{command}");
    }
}

#[test]
fn every_recipe_works_as_it_is_written() {
    let recipes = recipes();
    assert_eq!(recipes.len(), 4, "{recipes:?}");
    std::thread::scope(|scope| {
        for (at, recipe) in recipes.iter().enumerate() {
            scope.spawn(move || follow(recipe, 3000 + at as u32 * 1000));
        }
    });
}
