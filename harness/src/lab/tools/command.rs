//! Programs of the machine's that labs need.

use crate::lab::trouble::Trouble;
use std::io;
use std::process::{Command, Stdio};

/// Runs a program to its end; what it printed.
pub fn run(program: &str, args: &[&str]) -> Result<String, Trouble> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Trouble::denied(
            format!("there is no program `{program}` here"),
            install(program),
        ),
        _ => Trouble::failed(format!("cannot start {program}: {e}")),
    })?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let words = String::from_utf8_lossy(&output.stderr);
            let line = words
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("");
            let what = format!("`{program} {}` failed: {}", args.join(" "), line.trim());
            Err(Trouble::failed(what))
        }
    }
}

fn install(program: &str) -> String {
    let package = match program {
        "nft" => "nftables",
        "ip" => "iproute2",
        other => other,
    };
    format!("install it, as with `apt-get install {package}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_no_contradiction() {
        assert_eq!(run("echo", &["a"]).unwrap(), "a\n");
        let missing = run("no-such-program", &[]).unwrap_err();
        assert!(matches!(missing, Trouble::Denied { .. }), "{missing:?}");
        let failed = run("ls", &["/no-such-folder"]).unwrap_err();
        assert!(matches!(&failed, Trouble::Failed(why) if why.contains("no-such-folder")));
    }
}
