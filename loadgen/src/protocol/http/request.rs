//! The bytes of a request, built before the load begins.

use std::io::Write;

use crate::load::http::{HttpRequest, HttpVersion};

/// What the load decides of every request.
pub(super) struct Way<'a> {
    /// The value of the Host field.
    pub host: &'a str,
    /// Whether that was asked for, over what a request itself says.
    pub is_host_asked: bool,
    /// The version of HTTP.
    pub version: HttpVersion,
    /// Whether there are requests that end their connection.
    pub has_last: bool,
}

impl<'a> Way<'a> {
    /// To this host, in HTTP/1.1.
    pub(super) fn to(host: &'a str) -> Self {
        Self {
            host,
            is_host_asked: false,
            version: HttpVersion::V1_1,
            has_last: true,
        }
    }
}

/// One request as it is sent: so that the connection goes on, and so that it ends.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub keep: Vec<u8>,
    /// Empty where there is none: bodies are not held twice for nothing.
    pub last: Vec<u8>,
    /// Whether its answer has no body whatever it says of one.
    pub is_head: bool,
}

impl Ready {
    pub(super) fn new(request: &HttpRequest, way: &Way<'_>) -> Self {
        let keep = match way.version {
            HttpVersion::V1_0 if !names_connection(request) => Some("keep-alive"),
            _ => None,
        };
        Self {
            keep: bytes_of(request, way, keep),
            last: match way.has_last {
                true => bytes_of(request, way, Some("close")),
                false => Vec::new(),
            },
            is_head: request.method == "HEAD",
        }
    }
}

fn names_connection(request: &HttpRequest) -> bool {
    request.headers.iter().any(|header| header.is("connection"))
}

/// `connection`: what the load itself says of the connection, instead of what the request does.
fn bytes_of(request: &HttpRequest, way: &Way<'_>, connection: Option<&str>) -> Vec<u8> {
    let version = match way.version {
        HttpVersion::V1_0 => "1.0",
        HttpVersion::V1_1 => "1.1",
    };
    let own_host = request.host.as_deref().filter(|_| !way.is_host_asked);
    let host = own_host.unwrap_or(way.host);
    let mut bytes = Vec::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        // A Vec takes whatever is written.
        let _ = bytes.write_fmt(text);
        bytes.extend_from_slice(b"\r\n");
    };
    line(format_args!(
        "{} {} HTTP/{version}",
        request.method, request.path
    ));
    line(format_args!("Host: {host}"));
    for header in &request.headers {
        if connection.is_none() || !header.is("connection") {
            line(format_args!("{}: {}", header.name, header.value));
        }
    }
    if let Some(length) = request.content_length() {
        line(format_args!("Content-Length: {length}"));
    }
    if let Some(connection) = connection {
        line(format_args!("Connection: {connection}"));
    }
    line(format_args!(""));
    bytes.extend_from_slice(request.body.as_deref().unwrap_or_default());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::http::Header;

    fn ready(headers: &[&str], way: &Way<'_>) -> (String, String) {
        let headers = headers
            .iter()
            .map(|line| Header::parse(line).expect("a header"));
        let request = HttpRequest::new("POST", "/a", headers.collect(), Some(b"hi".to_vec()), 1);
        let Ready { keep, last, .. } = Ready::new(&request.expect("a request"), way);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (text(keep), text(last))
    }

    #[test]
    fn a_request_says_what_was_asked_and_how_its_body_is_framed() {
        let (keep, last) = ready(&["A: b", "C:"], &Way::to("h:1"));
        assert_eq!(
            keep,
            "POST /a HTTP/1.1\r\nHost: h:1\r\nA: b\r\nC: \r\nContent-Length: 2\r\n\r\nhi"
        );
        assert!(
            last.ends_with("Content-Length: 2\r\nConnection: close\r\n\r\nhi"),
            "{last}"
        );
        let asked = Way {
            is_host_asked: true,
            ..Way::to("h:1")
        };
        assert!(
            ready(&["Host: own"], &Way::to("h:1"))
                .0
                .contains("\r\nHost: own\r\n")
        );
        assert!(
            ready(&["Host: own"], &asked)
                .0
                .contains("\r\nHost: h:1\r\n")
        );
    }

    #[test]
    fn one_connection_field_says_what_becomes_of_the_connection() {
        let old = Way {
            version: HttpVersion::V1_0,
            ..Way::to("h")
        };
        let count = |text: &str| text.matches("onnection:").count();
        for way in [Way::to("h"), old] {
            let (keep, last) = ready(&["Connection: upgrade"], &way);
            assert!(
                keep.contains("Connection: upgrade\r\n") && count(&keep) == 1,
                "{keep}"
            );
            assert!(
                last.contains("Connection: close\r\n") && count(&last) == 1,
                "{last}"
            );
        }
        let old = Way {
            version: HttpVersion::V1_0,
            ..Way::to("h")
        };
        let (keep, last) = ready(&[], &old);
        assert!(
            keep.contains(" HTTP/1.0\r\n") && keep.contains("Connection: keep-alive\r\n"),
            "{keep}"
        );
        assert!(
            last.contains("Connection: close\r\n") && count(&last) == 1,
            "{last}"
        );
    }
}
