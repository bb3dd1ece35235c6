//! How processes end, in words.

use super::super::supervise::End;
use nix::sys::signal::Signal;
use std::process::ExitStatus;

/// How a server's own process ended, and what became of the rest.
pub(super) fn in_words(end: &End) -> String {
    let how = match (end.code, end.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(number)) => signal_in_words(number),
        _ => "an unknown end".into(),
    };
    match end.left.first() {
        Some((pid, name)) if end.is_in_background() => format!(
            "{how}, and process {pid} ({name}) went on in the background: start the server in the foreground, as with \
             `--daemonize no` (redis), `daemon off;` (nginx) or without `&`; or start it yourself, and give \
             `--target ADDR --pid PID` instead of --server"
        ),
        _ => how,
    }
}

/// "exit code 1" or "signal 9 (SIGKILL)".
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(number)) => signal_in_words(number),
        _ => "an unknown end".into(),
    }
}

fn signal_in_words(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => format!("signal {number} ({signal})"),
        Err(_) => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn ends_are_described_in_words() {
        assert_eq!(describe(ExitStatus::from_raw(3 << 8)), "exit code 3");
        assert_eq!(describe(ExitStatus::from_raw(9)), "signal 9 (SIGKILL)");
        let background = End {
            code: Some(0),
            signal: None,
            left: vec![(7, "redis-server".into())],
        };
        assert!(in_words(&background).contains("7 (redis-server) went on in the background"));
        let killed = End {
            code: None,
            signal: Some(9),
            left: vec![(7, "worker".into())],
        };
        assert_eq!(in_words(&killed), "signal 9 (SIGKILL)");
    }
}
