//! Whatever a server says, in whatever pieces: no panic, no input consumed that
//! was not there, bounded memory. `loadgen/fuzz/run 60 http`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::load::http::HttpRequest;
use loadgen::protocol::http::Http;
use loadgen::protocol::{Framing, Received, RequestId};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (size, head, bytes) = input;
    let method = if head { "HEAD" } else { "GET" };
    let request = HttpRequest::new(method, "/", Vec::new(), None, 1).expect("a request");
    let http = Http::only("127.0.0.1:80", &request);
    let id = RequestId {
        connection: 1,
        sequence: 2,
        last: false,
    };
    let mut framing = Framing::default();
    for piece in bytes.chunks(usize::from(size).max(1)) {
        match http.receive(&mut framing, id, piece) {
            Received::Done { consumed, ok, .. } => {
                assert!(consumed <= piece.len());
                // An answer that says no has a status line, and what was refused broke a rule.
                assert!(ok || framing.take_words().starts_with("HTTP/"));
            }
            Received::Garbage => {
                assert!(!framing.take_words().is_empty());
                return;
            }
            Received::More | Received::Mismatch => {}
        }
        assert!(framing.held.capacity() <= 64 * 1024);
    }
});
