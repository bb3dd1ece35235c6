//! Whatever stands in a file of requests: no panic, and every request can be sent. `loadgen/fuzz/run 60 requests`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::load::http::parse;
use loadgen::protocol::RequestId;
use loadgen::protocol::http::Http;

fuzz_target!(|text: &str| {
    let requests = match parse(text, &[]) {
        Ok(requests) => requests,
        Err(words) => {
            let line = words.split(':').next().unwrap_or_default();
            assert!(line.parse::<usize>().is_ok(), "{words}");
            return;
        }
    };
    assert!(!requests.is_empty());
    let id = RequestId {
        connection: 1,
        sequence: 2,
        last: false,
    };
    for request in &requests {
        let bytes = Http::only("127.0.0.1:80", request).request(id).to_vec();
        // No line but those that were meant: the head ends where the body begins.
        let body = request.body.as_deref().unwrap_or_default();
        let head = bytes.strip_suffix(body).expect("the body comes last");
        let end = head.windows(4).position(|four| four == b"\r\n\r\n");
        assert_eq!(end, Some(head.len() - 4));
    }
});
