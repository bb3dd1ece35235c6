//! TLS, under whatever is spoken: what is typed, and what is recorded.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::LoadError;

/// Whether this build can speak TLS.
pub const IS_BUILT_IN: bool = cfg!(feature = "tls");

/// The command that makes a build which can.
pub const HOW_TO_BUILD: &str = "cargo build --release -p loadgen --features tls";

/// How a server is spoken to over TLS.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct TlsFlags {
    /// Speak TLS, under any protocol
    #[arg(long, help_heading = "TLS")]
    pub tls: bool,
    /// The server's name in TLS: what is asked for (SNI), and what its certificate must be for [default: the target's host]
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub sni: Option<String>,
    /// Certificates of the authorities to trust (PEM): a file, or their text itself [default: this machine's]
    #[arg(
        long,
        value_name = "FILE|PEM",
        allow_hyphen_values = true,
        help_heading = "TLS"
    )]
    pub ca: Option<PathBuf>,
    /// Take any certificate
    #[arg(long, help_heading = "TLS")]
    pub insecure: bool,
    /// Whether connections resume the session of an earlier one, where the server lets them [default: on]
    #[arg(long, value_name = "on|off", help_heading = "TLS")]
    pub tls_resume: Option<Switch>,
}

/// On or off.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It is done.
    #[default]
    On,
    /// It is not.
    Off,
}

/// How a server is spoken to over TLS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's name; absent: the target's host.
    pub sni: Option<String>,
    /// Where the authorities' certificates are, or their text; absent: where this machine keeps them.
    #[schemars(with = "Option<String>")]
    pub ca: Option<PathBuf>,
    /// Whether any certificate is taken.
    pub insecure: bool,
    /// Whether sessions are resumed.
    pub resume: Switch,
}

impl Tls {
    /// What the flags ask for; none without `--tls`.
    pub(super) fn of(flags: &TlsFlags) -> Result<Option<Self>, LoadError> {
        let others = [
            (flags.sni.is_some(), "--sni"),
            (flags.ca.is_some(), "--ca"),
            (flags.insecure, "--insecure"),
            (flags.tls_resume.is_some(), "--tls-resume"),
        ];
        if !flags.tls {
            return match others.iter().find(|(given, _)| *given) {
                Some((_, flag)) => Err(LoadError::Conflict(format!(
                    "{flag} means something only with --tls"
                ))),
                None => Ok(None),
            };
        }
        if !IS_BUILT_IN {
            return Err(LoadError::Conflict(format!(
                "--tls: this build speaks no TLS; a generator that does is made by `{HOW_TO_BUILD}`, a tenk by the same \
                 with `-p harness`"
            )));
        }
        if flags.insecure && flags.ca.is_some() {
            return Err(LoadError::Conflict(
                "--insecure takes any certificate, and --ca says which: give one of the two".into(),
            ));
        }
        Ok(Some(Self {
            sni: flags.sni.clone(),
            ca: flags.ca.as_deref().map(ca_of).transpose()?,
            insecure: flags.insecure,
            resume: flags.tls_resume.unwrap_or_default(),
        }))
    }
}

/// The longest text of certificates: command lines have room for little more.
pub const MAX_PEM: usize = 32 << 10;

/// Whether this is the text of certificates, and no file that holds some.
#[must_use]
pub fn is_pem(ca: &Path) -> bool {
    ca.as_os_str()
        .as_encoded_bytes()
        .starts_with(b"-----BEGIN ")
}

/// The authorities' certificates as they are to be recorded.
fn ca_of(typed: &Path) -> Result<PathBuf, LoadError> {
    let said = |what: String| LoadError::Range(format!("--ca: {what}"));
    match is_pem(typed) {
        true if typed.as_os_str().len() > MAX_PEM => Err(said(format!(
            "a text of more than {MAX_PEM} bytes is given as a file"
        ))),
        true => Ok(typed.to_owned()),
        false => std::path::absolute(typed).map_err(|error| said(error.to_string())),
    }
}

/// The host of what was typed as the target, without its port, its brackets and its interface.
pub(super) fn host_of(typed: &str) -> &str {
    let Some((host, _)) = typed.rsplit_once(':') else {
        return typed;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.split('%').next().unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_nothing_is_refused() {
        let refused = |flags: &TlsFlags| Tls::of(flags).expect_err("refused").to_string();
        assert_eq!(Tls::of(&TlsFlags::default()).expect("nothing"), None);
        let alone = TlsFlags {
            insecure: true,
            ..TlsFlags::default()
        };
        assert!(refused(&alone).contains("--insecure means something only with --tls"));
        let asked = TlsFlags { tls: true, ..alone };
        match IS_BUILT_IN {
            true => assert!(Tls::of(&asked).expect("built in").expect("asked").insecure),
            false => assert!(refused(&asked).contains(HOW_TO_BUILD)),
        }
    }

    #[test]
    fn certificates_are_a_file_or_their_text() {
        let pem = Path::new("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
        assert_eq!(ca_of(pem).expect("a text"), pem);
        assert!(ca_of(Path::new("ca.pem")).expect("a file").is_absolute());
        let long = format!("{}{}", pem.display(), " ".repeat(MAX_PEM));
        let refused = ca_of(Path::new(&long)).expect_err("too long").to_string();
        assert!(refused.contains("given as a file"), "{refused}");
    }

    #[test]
    fn a_targets_host_is_its_name_in_tls() {
        for (typed, host) in [
            ("localhost:443", "localhost"),
            ("127.0.0.1:443", "127.0.0.1"),
            ("[::1]:443", "::1"),
            ("[fe80::1%eth0]:443", "fe80::1"),
        ] {
            assert_eq!(host_of(typed), host);
        }
    }
}
