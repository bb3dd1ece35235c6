//! The running of one lab from outside of its namespace: its process is started, listened to, and ended with everything
//! that it started, whether it is done, takes too long, or nobody wants it any more.

use super::Entry;
use super::inside::Spec;
use super::message::Message;
use super::report::Report;
use super::trouble::Trouble;
use crate::base::child::{Group, ended};
use crate::base::error::Failure;
use crate::base::settings::network_sysctls;
use crate::base::text::visible;
use crate::trial::binaries::Binaries;
use crate::trial::server::{describe, own_program};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long what a lab left may take to end.
const REAP_LIMIT: Duration = Duration::from_secs(12);
/// How much of what a process says on stderr is kept, bytes.
const MOST_WORDS: usize = 4096;

/// A lab to run, and the programs that it starts.
pub struct Run<'a> {
    /// The lab.
    pub lab: &'static Entry,
    /// Its programs.
    pub binaries: &'a Binaries,
}

/// Runs it to its end. Dropped before, everything that it started ends too.
pub async fn run(run: &Run<'_>, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
    let about = &run.lab.about;
    let began = Instant::now();
    let mut report = Report {
        lab: about.name.into(),
        at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        took_s: 0.0,
        settings: None,
        evidence: None,
        trouble: None,
    };
    let mut child = start(run)?;
    let group = Group::of(&child);
    let listening = listen(&mut child, &mut report, progress);
    let heard = timeout(about.limit, listening).await;
    // What it has started ends with it, and is waited for below.
    drop(group);
    let _ = ended(&mut child).await;
    match heard {
        Err(_) => {
            report.evidence = None;
            let limit = humantime::format_duration(about.limit);
            report.trouble = Some(Trouble::denied(
                format!("it was not done after {limit}"),
                "run the lab on a machine that has less else to do",
            ));
        }
        Ok(Err(why)) => report.trouble = Some(Trouble::failed(why)),
        Ok(Ok(())) => {}
    }
    await_the_rest().await;
    report.took_s = (began.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    Ok(report)
}

fn start(run: &Run) -> Result<Child, Failure> {
    let cannot = |e: &dyn std::fmt::Display| Failure::failed(format!("cannot start a lab: {e}"));
    let spec = Spec {
        lab: run.lab.about.name.into(),
        parent: std::process::id() as i32,
        folder: run.binaries.scratch().into(),
        sysctls: network_sysctls(),
    };
    let spec = serde_json::to_string(&spec).map_err(|e| cannot(&e))?;
    let mut command = Command::new(own_program().map_err(|e| cannot(&e))?);
    command.env_clear();
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
        .args(["measure", &spec])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().map_err(|e| cannot(&e))
}

/// Takes down what the process says until it ends; an error is why it said nothing of use.
async fn listen(
    child: &mut Child,
    report: &mut Report,
    progress: &dyn Fn(&str),
) -> Result<(), String> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let words = tokio::spawn(async move {
        let mut words = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = stderr.read_to_end(&mut words).await;
        }
        words.truncate(MOST_WORDS);
        visible(String::from_utf8_lossy(&words).trim())
    });
    let mut lines = BufReader::new(stdout.ok_or("it has no output")?).lines();
    while let Some(line) = lines.next_line().await.map_err(|e| e.to_string())? {
        match serde_json::from_str(&line).map_err(|e| format!("it said {line:?}: {e}"))? {
            Message::Settings(settings) => report.settings = Some(settings),
            Message::Progress(text) => progress(&text),
            Message::Evidence(evidence) => report.evidence = Some(evidence),
            Message::Trouble(trouble) => report.trouble = Some(trouble),
        }
    }
    if report.evidence.is_some() || report.trouble.is_some() {
        return Ok(());
    }
    let status = ended(child).await.map_err(|e| e.to_string())?;
    let words = words.await.unwrap_or_default();
    Err(format!("it ended with {}: {words}", describe(status)))
}

/// Waits for what the lab's process has left to this one: servers' supervisors, which end by themselves when they see
/// that nobody wants their server any more.
pub async fn await_the_rest() {
    let deadline = Instant::now() + REAP_LIMIT;
    while Instant::now() < deadline {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(nix::sys::wait::WaitStatus::StillAlive) => sleep(Duration::from_millis(5)).await,
            _ => {}
        }
    }
}
