//! A file of requests: one JSON object a line, as this program or as vegeta writes it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::super::choice::MAX_WEIGHTS;
use super::super::error::LoadError;
use super::request::{Header, HttpRequest};

/// The largest file of requests.
const MAX_FILE: u64 = 256 << 20;

/// The most requests of a file.
const MAX_REQUESTS: usize = 1_000_000;

/// What a line looks like, for whoever wrote another.
const SUCH_AS: &str = r#"a line is such as {"method": "POST", "path": "/a", "headers": {"Accept": "*/*"}, "body": "text"}"#;

/// One line. With `url` it is a target of vegeta's, whose body is base64.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    method: Option<String>,
    path: Option<String>,
    url: Option<String>,
    #[serde(default, alias = "header")]
    headers: Fields,
    body: Option<String>,
    body_base64: Option<String>,
    weight: Option<u64>,
}

/// Header fields in the order in which they stand.
#[derive(Default)]
struct Fields(Vec<(String, Values)>);

/// The values of one field.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of headers, each a text or a list of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Reads the requests of a file; each has these headers besides its own.
pub(super) fn read(file: &Path, headers: &[Header]) -> Result<Vec<HttpRequest>, LoadError> {
    let bytes = contents("requests", file, MAX_FILE)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let before = bytes[..error.valid_up_to()].iter();
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        format!("{line}: this is not UTF-8 text")
    });
    let requests = text.and_then(|text| parse(text, headers));
    requests.map_err(|what| LoadError::Range(format!("--requests {}:{what}", file.display())))
}

/// Reads the requests of a text.
///
/// # Errors
/// The number of the line, and a sentence that says what is wrong with it.
pub fn parse(text: &str, headers: &[Header]) -> Result<Vec<HttpRequest>, String> {
    let (mut requests, mut weights) = (Vec::new(), 0);
    for (number, line) in text.lines().enumerate() {
        let said = |what: String| format!("{}: {what}", number + 1);
        if line.trim().is_empty() {
            continue;
        }
        let request = request_of(line, headers).map_err(said)?;
        weights += request.weight;
        requests.push(request);
        if requests.len() > MAX_REQUESTS || weights > MAX_WEIGHTS {
            return Err(said(format!(
                "more than {MAX_REQUESTS} requests, or weights of more than {MAX_WEIGHTS} together: leave some out"
            )));
        }
    }
    match requests.is_empty() {
        true => Err(format!("1: no request in the file; {SUCH_AS}")),
        false => Ok(requests),
    }
}

fn request_of(line: &str, headers: &[Header]) -> Result<HttpRequest, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| {
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or_default();
        format!("{words} (column {}); {SUCH_AS}", error.column())
    })?;
    let (path, host) = match (&line.path, &line.url) {
        (Some(_), Some(_)) => {
            return Err("`path` and `url` name one thing twice: give one of them".into());
        }
        (Some(path), None) => (path.clone(), None),
        (None, Some(url)) => split_url(url)?,
        (None, None) => {
            return Err(format!(
                "neither `path` nor `url` says what is asked for; {SUCH_AS}"
            ));
        }
    };
    let body = body_of(&line)?;
    let usual = if body.is_some() && line.url.is_none() {
        "POST"
    } else {
        "GET"
    };
    let weight = line.weight.unwrap_or(1);
    if weight == 0 || weight > MAX_WEIGHTS {
        return Err(format!(
            "`weight` {weight}: from 1 to {MAX_WEIGHTS}; leave the line out instead of 0"
        ));
    }
    let mut all = headers.to_vec();
    for (name, values) in line.headers.0 {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Many(values) => values,
        };
        for value in values {
            all.push(Header::new(&name, &value)?);
        }
    }
    let method = line.method.as_deref().unwrap_or(usual);
    let mut request = HttpRequest::new(method, &path, all, body, weight)?;
    request.host = request.host.or(host);
    Ok(request)
}

fn body_of(line: &Line) -> Result<Option<Vec<u8>>, String> {
    let decoded = |name: &str, text: &str, remedy: &str| {
        STANDARD
            .decode(text)
            .map_err(|error| format!("`{name}` is no base64 ({error}){remedy}"))
    };
    match (&line.body, &line.body_base64) {
        (Some(_), Some(_)) => {
            Err("`body` and `body_base64` are two bodies: give one of them".into())
        }
        (None, Some(text)) => decoded("body_base64", text, "").map(Some),
        (Some(text), None) if line.url.is_some() => {
            let remedy =
                ", which it is beside `url`, as vegeta writes it: give `path` and the body as text";
            decoded("body", text, remedy).map(Some)
        }
        (Some(text), None) => Ok(Some(text.as_bytes().to_vec())),
        (None, None) => Ok(None),
    }
}

/// The path and the host of a URL.
fn split_url(url: &str) -> Result<(String, Option<String>), String> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Err(format!(
            "`url` {url:?}: give one that begins with http://, or a `path`"
        ));
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if host.is_empty() || host.contains('@') || !host.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("`url` {url:?}: no host after http://"));
    }
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    Ok((path, Some(host.to_owned())))
}

/// All bytes of a regular file: it is read again by every process of a load.
pub(super) fn contents(flag: &'static str, path: &Path, most: u64) -> Result<Vec<u8>, LoadError> {
    let file = path.display().to_string();
    let said = |source| LoadError::File {
        flag,
        file: file.clone(),
        source,
    };
    let is_regular = std::fs::metadata(path).map_err(said)?.is_file();
    if !is_regular {
        return Err(said(io::Error::other(
            "this is no regular file, and is read more than once: write it to one",
        )));
    }
    let mut bytes = Vec::new();
    let opened = File::open(path).map_err(said)?;
    opened
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(said)?;
    match bytes.len() as u64 > most {
        true => Err(said(io::Error::other(format!("more than {most} bytes")))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Result<HttpRequest, String> {
        parse(line, &[]).map(|mut requests| requests.remove(0))
    }

    #[test]
    fn lines_of_ours_and_of_vegetas_are_read() {
        let text = concat!(
            r#"{"path": "/a"}"#,
            "\n\n",
            r#"{"method": "PUT", "path": "/b?c", "headers": {"B": "1", "A": ["2", "3"]}, "body": "text", "weight": 9}"#,
            "\r\n",
            r#"{"method":"POST","url":"http://a.test:80/d?e#f","body":"aGk=","header":{"X-A":["b"]}}"#,
            "\n",
            r#"{"path": "/e", "body_base64": "AAE="}"#,
        );
        let all = Header::new("All", "x").expect("a header");
        let requests = parse(text, std::slice::from_ref(&all)).expect("requests");
        let said: Vec<_> = requests
            .iter()
            .map(|r| (r.method.as_str(), r.path.as_str(), r.weight))
            .collect();
        assert_eq!(
            said,
            [
                ("GET", "/a", 1),
                ("PUT", "/b?c", 9),
                ("POST", "/d?e", 1),
                ("POST", "/e", 1)
            ]
        );
        assert!(requests.iter().all(|request| request.headers[0] == all));
        let names = |at: usize| {
            requests[at].headers[1..]
                .iter()
                .map(|h| format!("{}={}", h.name, h.value))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(1), ["B=1", "A=2", "A=3"]);
        assert_eq!(names(2), ["X-A=b"]);
        assert_eq!(requests[2].host.as_deref(), Some("a.test:80"));
        let bodies: Vec<_> = requests.iter().map(|r| r.body.as_deref()).collect();
        assert_eq!(
            bodies,
            [None, Some(b"text".as_slice()), Some(b"hi"), Some(b"\0\x01")]
        );
        assert_eq!(
            one(r#"{"url": "http://a"}"#).map(|r| r.path),
            Ok("/".into())
        );
        assert_eq!(
            one(r#"{"url": "http://a?b"}"#).map(|r| r.path),
            Ok("/?b".into())
        );
    }

    #[test]
    fn every_mistake_has_its_line_and_a_remedy() {
        let table = [
            ("", "1: no request in the file; a line is such as {"),
            (
                "{\"path\": \"/\"}\n\n{",
                "3: EOF while parsing an object (column 1); a line is such as {",
            ),
            ("GET /", "1: expected value (column 1)"),
            (
                r#"{"pth": "/"}"#,
                "1: unknown field `pth`, expected one of `method`, `path`",
            ),
            (r#"{"method": "GET"}"#, "1: neither `path` nor `url`"),
            (
                r#"{"path": "/", "url": "http://a/"}"#,
                "1: `path` and `url`",
            ),
            (r#"{"url": "/a"}"#, "begins with http://, or a `path`"),
            (r#"{"url": "https://a/"}"#, "begins with http://"),
            (r#"{"url": "http:///a"}"#, "no host after http://"),
            (
                r#"{"url": "http://a/", "body": "no base64"}"#,
                "give `path` and the body as text",
            ),
            (
                r#"{"path": "/", "body_base64": "?"}"#,
                "`body_base64` is no base64",
            ),
            (
                r#"{"path": "/", "weight": 0}"#,
                "leave the line out instead of 0",
            ),
            (r#"{"path": "/", "weight": -1}"#, "1: invalid value"),
            (r#"{"path": "a"}"#, "1: \"a\": a request path starts with /"),
            (
                r#"{"path": "/", "headers": {"A": 1}}"#,
                "1: data did not match",
            ),
            (r#"{"path": "/", "headers": ["A"]}"#, "an object of headers"),
            (r#"{"path": "/", "path": "/"}"#, "1: duplicate field `path`"),
        ];
        for (text, expected) in table {
            let error = parse(text, &[]).expect_err(text);
            assert!(
                error.contains(expected),
                "{text}\n{error}\ninstead of\n{expected}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "(\\{\"(path|url|body|weight|headers)\": ?[^}]{0,20}\\}?\n?){0,4}") {
            let _ = parse(&text, &[]);
        }
    }
}
