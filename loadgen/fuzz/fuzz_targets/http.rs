//! Whatever a server says, in whatever pieces: no panic, no input consumed that
//! was not there, bounded memory. `cargo +nightly fuzz run http` in `loadgen/`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::protocol::http::Http;
use loadgen::protocol::{Framing, Received};

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let http = Http::new("127.0.0.1:80", "/");
    let mut framing = Framing::default();
    for piece in bytes.chunks(usize::from(size).max(1)) {
        match http.receive(&mut framing, piece) {
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
