//! One HTTP request: what it says, checked so that a server can read it as it is meant (RFC 9110, RFC 9112).

/// A request without what the load itself decides: the host where it names none, and whether the connection goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: String,
    /// What is asked for: a path with its query, or `*`.
    pub path: String,
    /// The value of the Host field, where the request has one of its own.
    pub host: Option<String>,
    /// All other header fields, in order, without those of the framing.
    pub headers: Vec<Header>,
    /// The body; absent: none, which is not the same as an empty one.
    pub body: Option<Vec<u8>>,
    /// How often it is sent beside the others.
    pub weight: u64,
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name, as it was written.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Header {
    /// Reads `Name: value`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let Some((name, value)) = line.split_once(':') else {
            return Err(format!(
                "{line:?} is no header: write 'Name: value', such as 'Accept: text/html'"
            ));
        };
        Self::new(name, value)
    }

    /// A field of this name and value.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn new(name: &str, value: &str) -> Result<Self, String> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!(
                "{name:?} is no header's name, which has letters, digits and hyphens"
            ));
        }
        let value = value.trim_matches([' ', '\t']);
        if value
            .bytes()
            .any(|byte| byte.is_ascii_control() && byte != b'\t')
        {
            return Err(format!(
                "the value of header {name} has a control character: {value:?}"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }

    /// Whether it is the field of this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

impl HttpRequest {
    /// A request that says this; the fields of the framing, which follow from the body, are taken from the headers.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn new(
        method: &str,
        path: &str,
        headers: Vec<Header>,
        body: Option<Vec<u8>>,
        weight: u64,
    ) -> Result<Self, String> {
        check_method(method)?;
        check_path(path, method)?;
        let (framing, mut headers): (Vec<_>, Vec<_>) =
            headers.into_iter().partition(is_of_the_framing);
        for field in &framing {
            check_framing(field, body.as_deref())?;
        }
        let hosts = headers.extract_if(.., |header| header.is("host"));
        let mut hosts: Vec<Header> = hosts.collect();
        if hosts.len() > 1 {
            return Err("a request has one Host header, not several".into());
        }
        Ok(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            host: hosts.pop().map(|host| host.value),
            headers,
            body,
            weight,
        })
    }

    /// The value of Content-Length, where the request is to have one: also without a body if the method is one that
    /// has a body as a rule (RFC 9110 §8.6).
    #[must_use]
    pub fn content_length(&self) -> Option<usize> {
        let usual = matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        match &self.body {
            Some(body) => Some(body.len()),
            None => usual.then_some(0),
        }
    }

    /// All that it says, in a form that differs if anything of it does.
    pub(super) fn spell(&self, put: &mut impl FnMut(&[u8])) {
        put(format!("{} {} {}\n", self.weight, self.method, self.path).as_bytes());
        if let Some(host) = &self.host {
            put(format!("Host: {host}\n").as_bytes());
        }
        for Header { name, value } in &self.headers {
            put(format!("{name}: {value}\n").as_bytes());
        }
        match &self.body {
            Some(body) => {
                put(format!("\n{}\n", body.len()).as_bytes());
                put(body);
            }
            None => put(b"\n"),
        }
    }
}

fn is_of_the_framing(header: &Header) -> bool {
    header.is("content-length") || header.is("transfer-encoding")
}

fn check_framing(field: &Header, body: Option<&[u8]>) -> Result<(), String> {
    let length = body.map_or(0, <[u8]>::len);
    if field.is("transfer-encoding") {
        return Err(
            "Transfer-Encoding cannot be asked for: bodies are sent with their length; leave the header out".into(),
        );
    }
    match field.value.parse() == Ok(length) {
        true => Ok(()),
        false => Err(format!(
            "Content-Length is {:?}, and the body has {length} bytes: leave the header out, it is sent by itself",
            field.value
        )),
    }
}

fn check_method(method: &str) -> Result<(), String> {
    if method.is_empty() || method.len() > 32 || !method.bytes().all(is_token) {
        return Err(format!(
            "{method:?} is no method, which has letters alone, such as POST"
        ));
    }
    match method.eq_ignore_ascii_case("CONNECT") {
        true => Err("CONNECT makes a tunnel, in which no further request is answered".into()),
        false => Ok(()),
    }
}

fn check_path(path: &str, method: &str) -> Result<(), String> {
    let is_asterisk = path == "*" && method == "OPTIONS";
    if !is_asterisk && (!path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(format!(
            "{path:?}: a request path starts with / and has neither spaces nor control characters"
        ));
    }
    Ok(())
}

/// Characters of a method or field name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(
        method: &str,
        path: &str,
        headers: &[&str],
        body: Option<&str>,
    ) -> Result<HttpRequest, String> {
        let headers: Result<Vec<_>, _> = headers.iter().map(|line| Header::parse(line)).collect();
        let body = body.map(|text| text.as_bytes().to_vec());
        HttpRequest::new(method, path, headers?, body, 1)
    }

    #[test]
    fn the_host_and_the_framing_are_taken_from_the_headers() {
        let headers = ["Host: a.test", "A:b", "content-length: 2", "Empty:"];
        let made = request("PUT", "/a?b", &headers, Some("hi")).expect("a request");
        assert_eq!(made.host.as_deref(), Some("a.test"));
        let names: Vec<_> = made
            .headers
            .iter()
            .map(|h| (h.name.as_str(), h.value.as_str()))
            .collect();
        assert_eq!(names, [("A", "b"), ("Empty", "")]);
        assert_eq!(made.content_length(), Some(2));
        assert_eq!(
            request("POST", "/", &[], None).map(|r| r.content_length()),
            Ok(Some(0))
        );
        assert_eq!(
            request("GET", "/", &[], None).map(|r| r.content_length()),
            Ok(None)
        );
        assert!(request("OPTIONS", "*", &[], None).is_ok());
    }

    #[test]
    fn what_a_server_would_misread_is_refused_with_a_sentence() {
        let table: &[(&str, &str, &[&str], &str)] = &[
            ("G T", "/", &[], "no method"),
            ("", "/", &[], "no method"),
            ("CONNECT", "/", &[], "a tunnel"),
            ("GET", "a", &[], "starts with /"),
            ("GET", "*", &[], "starts with /"),
            ("GET", "/ HTTP/1.1\r\nX: y", &[], "starts with /"),
            ("GET", "/", &["no colon"], "is no header"),
            ("GET", "/", &["A b: c"], "is no header's name"),
            ("GET", "/", &[": c"], "is no header's name"),
            ("GET", "/", &["A: b\r\nC: d"], "a control character"),
            ("GET", "/", &["Host: a", "HOST: b"], "one Host header"),
            ("GET", "/", &["Content-Length: 3"], "the body has 2 bytes"),
            (
                "GET",
                "/",
                &["Transfer-Encoding: chunked"],
                "leave the header out",
            ),
        ];
        for (method, path, headers, expected) in table {
            let error = request(method, path, headers, Some("hi")).expect_err(expected);
            assert!(error.contains(expected), "{error}\ninstead of\n{expected}");
        }
    }

    #[test]
    fn requests_that_differ_are_spelled_differently() {
        let spelled = |made: Result<HttpRequest, String>| {
            let mut text = Vec::new();
            made.expect("a request")
                .spell(&mut |piece| text.extend_from_slice(piece));
            text
        };
        let all = [
            spelled(request("GET", "/", &[], None)),
            spelled(request("GET", "/", &[], Some(""))),
            spelled(request("GET", "/", &["A: b"], None)),
            spelled(request("GET", "/", &["Host: b"], None)),
            spelled(request("HEAD", "/", &[], None)),
            spelled(request("GET", "/a", &[], None)),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }
}
