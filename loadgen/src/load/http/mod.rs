//! What HTTP requests say: as flags, as the record of them, and as the requests themselves.

mod file;
mod request;
mod status;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use hmac_sha256::Hash as Sha256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choice::Order;
use super::error::LoadError;

pub use file::parse;
pub use request::{Header, HttpRequest};
pub use status::StatusSet;

/// What HTTP requests say besides their path and host; the names are curl's where curl has one.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct HttpFlags {
    /// Method for --protocol http [default: GET, and POST with --body]
    #[arg(long, short = 'X', value_name = "METHOD", help_heading = "Requests")]
    pub method: Option<String>,
    /// Header of every HTTP request, 'Name: value'; may be repeated
    #[arg(
        long,
        short = 'H',
        value_name = "NAME: VALUE",
        help_heading = "Requests"
    )]
    pub header: Vec<String>,
    /// Body of every HTTP request, byte by byte: the text itself or @FILE; its Content-Length is sent, and no type
    #[arg(
        long,
        short = 'd',
        value_name = "TEXT|@FILE",
        help_heading = "Requests"
    )]
    pub body: Option<String>,
    /// Version for --protocol http; 1.0 asks the server to keep the connection [default: 1.1]
    #[arg(long, value_enum, value_name = "VERSION", help_heading = "Requests")]
    pub http_version: Option<HttpVersion>,
    /// Statuses that count as success, such as 2xx,304; any other answer is an error [default: 2xx,3xx]
    #[arg(long, value_name = "LIST", help_heading = "Requests")]
    pub expect_status: Option<StatusSet>,
    /// Different HTTP requests, one JSON object a line: {"method", "path", "headers", "body", "weight"}, or a target
    /// of vegeta's; the lines themselves are known by their first brace
    #[arg(long, value_name = "FILE|LINES", help_heading = "Requests")]
    pub requests: Option<PathBuf>,
    /// How --requests or --command are taken in turn: in order, each weight times in a row, or at random by weight
    /// [default: sequential]
    #[arg(long, value_enum, value_name = "ORDER", help_heading = "Requests")]
    pub requests_order: Option<Order>,
}

impl HttpFlags {
    /// The first flag that was given and means something for HTTP alone.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            (self.method.is_some(), "method"),
            (!self.header.is_empty(), "header"),
            (self.body.is_some(), "body"),
            (self.http_version.is_some(), "http-version"),
            (self.expect_status.is_some(), "expect-status"),
            (self.requests.is_some(), "requests"),
        ];
        given
            .iter()
            .find(|(given, _)| *given)
            .map(|(_, flag)| *flag)
    }

    /// Whether a header of every request names the host.
    pub(super) fn names_host(&self) -> bool {
        let name = |line: &String| line.split(':').next().map(str::to_ascii_lowercase);
        self.header
            .iter()
            .any(|line| name(line).as_deref() == Some("host"))
    }
}

/// The version of HTTP that requests are of.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema,
)]
pub enum HttpVersion {
    /// HTTP/1.0: the connection is kept only where both sides say so.
    #[value(name = "1.0")]
    #[serde(rename = "1.0")]
    V1_0,
    /// HTTP/1.1.
    #[default]
    #[value(name = "1.1")]
    #[serde(rename = "1.1")]
    V1_1,
}

/// The record of what HTTP requests say, beside the load's path and host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpLoad {
    /// The method; absent where requests come from a file.
    pub method: Option<String>,
    /// Headers of every request, `Name: value`.
    pub headers: Vec<String>,
    /// The body: the text itself, or `@` and the file that holds it.
    pub body: Option<String>,
    /// The version.
    pub version: HttpVersion,
    /// Statuses that count as success; absent: 2xx and 3xx.
    pub expect_status: Option<StatusSet>,
    /// The file that holds the requests, or the lines themselves.
    pub requests_file: Option<String>,
    /// How they are taken in turn.
    pub requests_order: Order,
    /// How many different requests there are.
    pub requests: u64,
    /// SHA-256 of all that they say.
    pub sha256: String,
}

impl HttpLoad {
    /// The flags that ask for it.
    fn flags(&self) -> HttpFlags {
        HttpFlags {
            method: self.method.clone(),
            header: self.headers.clone(),
            body: self.body.clone(),
            http_version: Some(self.version),
            expect_status: self.expect_status.clone(),
            requests: self.requests_file.as_ref().map(PathBuf::from),
            requests_order: self.requests_file.is_some().then_some(self.requests_order),
        }
    }

    /// The same without where the texts were read from: their digest says what they are.
    pub(crate) fn without_places(&self) -> Self {
        let is_text = |body: &String| !body.starts_with('@');
        Self {
            requests_file: self.requests_file.as_ref().map(|_| String::new()),
            body: self.body.clone().filter(is_text),
            ..self.clone()
        }
    }

    /// What the requests say in words; two loads have the same words only if their requests say the same. `None`: GET
    /// of `/`, and nothing more.
    pub(super) fn in_words(&self, path: &str, host: Option<&str>) -> Option<String> {
        let mut words = match (&self.requests_file, &self.method) {
            (None, Some(method)) => format!("{method} {path}"),
            _ => {
                let order = match self.requests_order {
                    Order::Sequential => "in order",
                    Order::Random => "at random",
                };
                format!("{} requests {order}", self.requests)
            }
        };
        // Writing to a text cannot fail.
        if !self.headers.is_empty() {
            let plural = if self.headers.len() == 1 { "" } else { "s" };
            let _ = write!(words, ", {} header{plural}", self.headers.len());
        }
        if self.body.is_some() {
            words.push_str(", a body");
        }
        if self.requests_file.is_some() || !self.headers.is_empty() || self.body.is_some() {
            let _ = write!(
                words,
                ", sha256 {}",
                &self.sha256[..16.min(self.sha256.len())]
            );
        }
        if let Some(host) = host {
            let _ = write!(words, ", host {host}");
        }
        if self.version == HttpVersion::V1_0 {
            words.push_str(", HTTP/1.0");
        }
        if let Some(expected) = &self.expect_status {
            let _ = write!(words, ", expecting {expected}");
        }
        (words != "GET /").then_some(words)
    }
}

/// The requests beside the settings that name them: read once, shared by all threads, and no part of what is saved.
#[derive(Clone, Debug, Default)]
pub struct Contents(Arc<[HttpRequest]>);

impl Contents {
    /// The requests; none where the load is a record of what was done.
    #[must_use]
    pub fn requests(&self) -> &[HttpRequest] {
        &self.0
    }
}

impl PartialEq for Contents {
    /// The digest beside it says whether two are the same.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What the flags ask for, with all files read.
pub(super) fn read(
    flags: &HttpFlags,
    path: Option<&str>,
) -> Result<(HttpLoad, Contents), LoadError> {
    check_alone(flags, path)?;
    let said = |flag: &str, what: String| LoadError::Range(format!("--{flag} {what}"));
    let headers: Result<Vec<_>, _> = flags
        .header
        .iter()
        .map(|line| Header::parse(line))
        .collect();
    let headers = headers.map_err(|what| said("header", what))?;
    let order = flags.requests_order.unwrap_or_default();
    let mut load = HttpLoad {
        headers: flags.header.clone(),
        version: flags.http_version.unwrap_or_default(),
        expect_status: flags.expect_status.clone(),
        requests_order: order,
        ..HttpLoad::default()
    };
    let requests = match &flags.requests {
        Some(file) => {
            let (typed, requests) = requests_of(file, &headers)?;
            load.requests_file = Some(typed);
            requests
        }
        None => {
            let (typed, body) = flags.body.as_deref().map(body_of).transpose()?.unzip();
            let usual = if body.is_some() { "POST" } else { "GET" };
            let method = flags.method.as_deref().unwrap_or(usual);
            (load.method, load.body) = (Some(method.to_owned()), typed);
            let path = path.unwrap_or("/");
            let request = HttpRequest::new(method, path, headers, body, 1);
            vec![request.map_err(LoadError::Range)?]
        }
    };
    load.requests = requests.len() as u64;
    load.sha256 = digest(&requests);
    Ok((load, Contents(requests.into())))
}

/// The requests of a record, read anew.
pub(super) fn read_again(load: &HttpLoad, path: Option<&str>) -> Result<Contents, LoadError> {
    let path = path.filter(|_| load.requests_file.is_none());
    let (now, contents) = read(&load.flags(), path)?;
    match now.sha256 == load.sha256 {
        true => Ok(contents),
        false => Err(LoadError::Range(
            "the file of --requests or --body has changed since it was first read: run again"
                .into(),
        )),
    }
}

fn check_alone(flags: &HttpFlags, path: Option<&str>) -> Result<(), LoadError> {
    let beside = [
        (flags.method.is_some(), "method"),
        (flags.body.is_some(), "body"),
        (path.is_some(), "path"),
    ];
    let beside = beside.iter().find(|(given, _)| *given);
    if let (Some(_), Some((_, flag))) = (&flags.requests, beside) {
        return Err(LoadError::Conflict(format!(
            "--{flag} is said by each line of --requests: give one of the two"
        )));
    }
    Ok(())
}

/// Whether these are requests themselves, and no file that holds some.
pub(crate) fn are_lines(typed: &str) -> bool {
    typed.starts_with('{')
}

/// The requests as they are to be recorded, and read.
fn requests_of(typed: &Path, headers: &[Header]) -> Result<(String, Vec<HttpRequest>), LoadError> {
    let said = |what: String| Err(LoadError::Range(format!("--requests{what}")));
    match typed.to_str().filter(|text| are_lines(text)) {
        None => Ok((absolute("requests", typed)?, file::read(typed, headers)?)),
        Some(text) if text.len() > MAX_TEXT => said(format!(
            ": lines of {} bytes; more than {MAX_TEXT} are given as a file",
            text.len()
        )),
        Some(text) => match parse(text, headers) {
            Ok(requests) => Ok((text.to_owned(), requests)),
            Err(what) => said(format!(", line {what}")),
        },
    }
}

/// The largest body.
const MAX_BODY: u64 = 64 << 20;

/// The longest body, and the longest requests, that are given as text: command lines have room for little more.
pub const MAX_TEXT: usize = 32 << 10;

/// The body as it is to be recorded, and its bytes.
fn body_of(typed: &str) -> Result<(String, Vec<u8>), LoadError> {
    let Some(file) = typed.strip_prefix('@') else {
        return match typed.len() <= MAX_TEXT {
            true => Ok((typed.to_owned(), typed.as_bytes().to_vec())),
            false => Err(LoadError::Range(format!(
                "--body: a text of {} bytes; more than {MAX_TEXT} are given as a file, with --body @FILE",
                typed.len()
            ))),
        };
    };
    let path = Path::new(file);
    let bytes = file::contents("body", path, MAX_BODY)?;
    Ok((format!("@{}", absolute("body", path)?), bytes))
}

/// The file's name from everywhere.
fn absolute(flag: &'static str, file: &Path) -> Result<String, LoadError> {
    let shown = file.display().to_string();
    let said = |source| LoadError::File {
        flag,
        file: shown.clone(),
        source,
    };
    let path = std::path::absolute(file).map_err(said)?;
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(LoadError::Range(format!(
            "--{flag} {shown}: a file's name has to be UTF-8"
        ))),
    }
}

fn digest(requests: &[HttpRequest]) -> String {
    let mut hash = Sha256::new();
    for request in requests {
        request.spell(&mut |piece| hash.update(piece));
    }
    hash.finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(flags: &HttpFlags, path: Option<&str>) -> Option<String> {
        let (load, contents) = read(flags, path).expect("valid");
        assert_eq!(contents.requests().len() as u64, load.requests);
        assert!(read_again(&load, path).is_ok());
        load.in_words(path.unwrap_or("/"), None)
    }

    #[test]
    fn words_say_what_is_sent_and_differ_where_it_does() {
        let plain = HttpFlags::default();
        assert_eq!(words(&plain, None), None);
        assert_eq!(words(&plain, Some("/a")).as_deref(), Some("GET /a"));
        let body = |text: &str| HttpFlags {
            body: Some(text.into()),
            header: vec!["A: b".into()],
            ..plain.clone()
        };
        let one = words(&body("hello"), None).expect("words");
        assert!(
            one.starts_with("POST /, 1 header, a body, sha256 "),
            "{one}"
        );
        assert_ne!(Some(one), words(&body("hellO"), None));
        let expecting = HttpFlags {
            expect_status: "404".parse().ok(),
            http_version: Some(HttpVersion::V1_0),
            ..plain
        };
        assert_eq!(
            words(&expecting, None).as_deref(),
            Some("GET /, HTTP/1.0, expecting 404")
        );
    }

    #[test]
    fn a_body_is_a_text_or_a_file_that_must_not_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("body");
        std::fs::write(&file, b"\r\nhi\n\0").expect("written");
        let flags = HttpFlags {
            body: Some(format!("@{}", file.display())),
            ..HttpFlags::default()
        };
        let (load, contents) = read(&flags, None).expect("valid");
        assert_eq!(
            contents.requests()[0].body.as_deref(),
            Some(b"\r\nhi\n\0".as_slice())
        );
        std::fs::write(&file, b"other").expect("written");
        let changed = read_again(&load, None).expect_err("changed").to_string();
        assert!(changed.contains("has changed"), "{changed}");
        let error = |body: &str| {
            let flags = HttpFlags {
                body: Some(body.into()),
                ..HttpFlags::default()
            };
            read(&flags, None).expect_err(body).to_string()
        };
        assert!(error("@/nowhere").starts_with("--body /nowhere: "));
        assert!(error("@/dev/zero").contains("no regular file"));
        assert!(error(&"x".repeat(MAX_TEXT + 1)).contains("--body @FILE"));
    }

    #[test]
    fn requests_may_stand_on_the_command_line_themselves() {
        let of = |text: &str| HttpFlags {
            requests: Some(text.into()),
            ..HttpFlags::default()
        };
        let lines = "{\"path\": \"/a\"}\n{\"path\": \"/b\"}";
        let (load, contents) = read(&of(lines), None).expect("valid");
        assert_eq!(load.requests, 2);
        assert_eq!(contents.requests()[1].path, "/b");
        assert_eq!(read(&load.flags(), None).expect("the same").0, load);
        assert!(read_again(&load, None).is_ok());
        let refused = |text: &str| read(&of(text), None).expect_err(text).to_string();
        let wrong = refused("{\"path\": \"/a\"}\n{\"pth\": 1}");
        assert!(
            wrong.starts_with("--requests, line 2: unknown field `pth`"),
            "{wrong}"
        );
        let long = format!("{{{}", " ".repeat(MAX_TEXT));
        assert!(refused(&long).contains("given as a file"));
    }

    #[test]
    fn what_each_line_says_is_not_said_beside_the_file() {
        let flags = HttpFlags {
            requests: Some("/nowhere".into()),
            method: Some("PUT".into()),
            ..HttpFlags::default()
        };
        let error = read(&flags, None).expect_err("both").to_string();
        assert!(
            error.contains("--method is said by each line of --requests"),
            "{error}"
        );
        let alone = HttpFlags {
            method: None,
            ..flags
        };
        assert!(
            read(&alone, Some("/a"))
                .expect_err("both")
                .to_string()
                .contains("--path")
        );
        let missing = read(&alone, None).expect_err("no file").to_string();
        assert!(
            missing.starts_with("--requests /nowhere: No such file"),
            "{missing}"
        );
    }
}
