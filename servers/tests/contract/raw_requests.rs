//! One table of raw HTTP requests, to which all models answer byte for byte
//! alike: what the service makes of them when it is asked directly, however the
//! bytes are cut on their way.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use servers::http;

use crate::support::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// What the client sends before it finishes, and the statuses of the answers.
fn table() -> Vec<(String, &'static str)> {
    let mut table = complete();
    table.extend(bodies());
    table.extend(refused());
    table.extend(smuggled());
    table.extend(cut_off());
    table
}

fn complete() -> Vec<(String, &'static str)> {
    let head = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n");
    vec![
        (GET.into(), "200"),
        (GET.repeat(2), "200 200"),
        (GET.repeat(40), "200 ".repeat(40).leak().trim_end()),
        (LAST.into(), "200"),
        (head("HEAD / HTTP/1.1", "Host: x\r\n"), "200"),
        (head("HEAD / HTTP/1.1", "Host: x\r\n") + GET, "200 200"),
        (head("OPTIONS * HTTP/1.1", "Host: x\r\n"), "200"),
        (head("BREW /pot HTTP/1.1", "Host: x\r\n"), "200"),
        (head("GET / HTTP/1.0", ""), "200"),
        (head("GET / HTTP/1.0", "") + GET, "200"),
        (
            head("GET / HTTP/1.0", "Connection: keep-alive\r\n") + GET,
            "200 200",
        ),
        (
            head("GET / HTTP/1.0", "Connection: Keep-Alive, x\r\n"),
            "200",
        ),
        (head("GET / HTTP/1.1", "host: x\r\n"), "200"),
        (head("GET / HTTP/1.1", "HOST:x\r\n"), "200"),
        (head("GET / HTTP/1.1", "Host:\r\n"), "200"),
        (
            head("GET / HTTP/1.1", "Host: x\r\nConnection: CLOSE\r\n"),
            "200",
        ),
        (
            head("GET / HTTP/1.1", "Host: x\r\nConnection: a, close\r\n") + GET,
            "200",
        ),
        (
            head("GET / HTTP/1.1", "Host: x\r\nConnection: closed\r\n") + GET,
            "200 200",
        ),
        (head("GET http://x/ HTTP/1.1", "Host: x\r\n"), "200"),
        (head("GET /?a=b%20c HTTP/1.1", "Host: x\r\n"), "200"),
        (head("GET / HTTP/1.1", "Host: x\r\nX-Empty:\r\n"), "200"),
        ("GET / HTTP/1.1\nHost: x\n\n".into(), "200"),
        (format!("\r\n{GET}"), "200"),
    ]
}

fn bodies() -> Vec<(String, &'static str)> {
    let post = |length: &str, rest: &str| {
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{rest}")
    };
    let expecting = |length: usize, body: &str| {
        format!(
            "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    vec![
        (post("0", ""), "200"),
        (post("4", "body"), "200"),
        (post("4", "body") + &post("4", "body") + GET, "200 200 200"),
        (post("5000", &"z".repeat(5000)), "200"),
        (post("100000", &"z".repeat(100_000)) + GET, "200 200"),
        (post("0004", "body"), "200"),
        (post("28", GET) + LAST, "200 200"),
        (expecting(4, "body"), "100 200"),
        (expecting(0, ""), "200"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody"
                .into(),
            "200",
        ),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n".into(), "200"),
    ]
}

fn refused() -> Vec<(String, &'static str)> {
    let with = |header: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n");
    let length = |value: &str| with(&format!("Content-Length: {value}"));
    vec![
        ("GET / HTTP/1.1\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned() + GET, "400"),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.2\r\nHost: x\r\n\r\n".into(), "400"),
        ("GET /\r\n\r\n".into(), "400"),
        ("GET\r\n\r\n".into(), "400"),
        ("G\0T / HTTP/1.1\r\nHost: x\r\n\r\n".into(), "400"),
        ("nonsense\r\n\r\n".into(), "400"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01".into(), "400"),
        (with("No colon"), "400"),
        (with("Bad Name: x"), "400"),
        (with("X : y"), "400"),
        (with(" folded: x"), "400"),
        (with("X: a\0b"), "400"),
        (length("-1"), "400"),
        (length("+1"), "400"),
        (length("1 1"), "400"),
        (length("0x10"), "400"),
        (length(""), "400"),
        (length("1, 1"), "400"),
        (length("18446744073709551616"), "400"),
        (length("1\r\nContent-Length: 2"), "400"),
        (with(&format!("X: {}", "y".repeat(9000))), "431"),
        (
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(9000)),
            "431",
        ),
        (with(&["A: b"; 70].join("\r\n")), "431"),
        (
            with(&format!("X: {}", "y".repeat(9000))) + &GET.repeat(2000),
            "431",
        ),
        (format!("{GET}nonsense\r\n\r\n{GET}"), "200 400"),
    ]
}

fn smuggled() -> Vec<(String, &'static str)> {
    let chunked = |more: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {more}\r\n\r\n{body}")
    };
    let admin = "GET /admin HTTP/1.1\r\nHost: x\r\n\r\n";
    let padded = chunked("chunked", "");
    let padded = padded.clone() + &"0".repeat(8192 - padded.len()) + admin;
    vec![
        (chunked("chunked", "0\r\n\r\n"), "411"),
        (chunked("chunked", "4\r\nbody\r\n0\r\n\r\n") + admin, "411"),
        (chunked("gzip, chunked", "0\r\n\r\n") + admin, "411"),
        (chunked("xchunked", "") + admin, "411"),
        (
            chunked("chunked\r\nContent-Length: 5", "0\r\n\r\n") + admin,
            "411",
        ),
        (chunked("identity\r\nContent-Length: 0", "") + admin, "411"),
        (padded, "411"),
        (format!("{LAST}{admin}"), "200"),
        (LAST.to_owned() + &admin.repeat(500), "200"),
        (
            format!("GET / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc{admin}"),
            "200",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc{admin}"
            ),
            "200",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc{admin}"),
            "400",
        ),
    ]
}

/// The client finishes before its request is whole.
fn cut_off() -> Vec<(String, &'static str)> {
    vec![
        (String::new(), ""),
        ("G".into(), ""),
        (GET[..GET.len() - 1].into(), ""),
        (GET.to_owned() + &GET[..10], "200"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nbody".into(),
            "",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
                .into(),
            "100",
        ),
        (format!("GET /{}", "y".repeat(8000)), ""),
        ("\r\n\r\n".into(), ""),
    ]
}

/// What the service makes of it.
fn expected(request: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    if !request.is_empty() {
        http::Session::default().take_in(request.as_bytes(), &mut answer);
    }
    answer
}

fn statuses(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let codes = text.split("HTTP/1.1 ").skip(1).map(|head| &head[..3]);
    codes.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_table_is_what_the_service_says() {
    let table = table();
    assert!(table.len() >= 60, "{} requests", table.len());
    for (request, codes) in &table {
        let shown: String = request.chars().take(120).collect();
        assert_eq!(statuses(&expected(request)), *codes, "{shown:?}");
    }
}

/// Everything that comes until the server closes. A reset after the answer is
/// none of the answer's affair: it says that the client went on talking.
fn answer(client: &mut TcpStream) -> Vec<u8> {
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match client.read(&mut piece) {
            Ok(0) => return answer,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!("{error}"),
        }
    }
}

pub fn raw_requests_are_answered_alike(model: &str) {
    let server = spawn(model).arg("--service").arg("http").start();
    for (request, _) in table() {
        let wanted = expected(&request);
        let whole = [request.len().max(1)];
        // At every byte, where that does not take too long.
        let cuts = if request.len() <= 120 { &[1][..] } else { &[] };
        for &size in whole.iter().chain(cuts) {
            let mut client = server.connect();
            for piece in request.as_bytes().chunks(size) {
                // The server may have said its last word meanwhile.
                if client.write_all(piece).is_err() {
                    break;
                }
            }
            let _ = client.shutdown(std::net::Shutdown::Write);
            let got = answer(&mut client);
            let shown: String = request.chars().take(120).collect();
            assert_eq!(
                String::from_utf8_lossy(&got),
                String::from_utf8_lossy(&wanted),
                "{shown:?} in pieces of {size}"
            );
        }
    }
    server.wait_for("all are gone", |tally| tally.open() == 0);
}

/// A client that is refused while it still sends reads its answer in peace: the
/// server reads on until the client has finished, and sends no reset. One that
/// never finishes is cut off soon.
pub fn a_refusal_is_not_lost_to_a_reset(model: &str) {
    let server = spawn(model).arg("--service").arg("http").start();
    for refused in [
        format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(9000)),
        "nonsense\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
    ] {
        let mut client = server.connect();
        client.write_all(refused.as_bytes()).unwrap();
        let head = expected(&refused);
        assert_received(&mut client, &head);
        // The end of the answer, while the server still listens.
        assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
        for _ in 0..8 {
            client.write_all(&pattern(64 * 1024)).unwrap();
        }
        finish(&client);
        assert_eq!(client.read(&mut [0; 16]).unwrap(), 0, "no reset");
    }
    server.wait_for("all are gone", |tally| tally.open() == 0);
    let mut endless = server.connect();
    endless.write_all(b"nonsense\r\n\r\n").unwrap();
    assert!(read_to_end(&mut endless).starts_with(b"HTTP/1.1 400 "));
    server.wait_for("it is cut off", |tally| tally.open() == 0);
}
