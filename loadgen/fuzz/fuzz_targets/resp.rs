//! Whatever a Redis server says, in whatever pieces. `cargo +nightly fuzz run resp` in `loadgen/`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::load::PayloadSize;
use loadgen::protocol::echo::Payload;
use loadgen::protocol::resp::Resp;
use loadgen::protocol::{Framing, Received, RequestId};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (size, with_payload, bytes) = input;
    let resp = Resp::new(with_payload.then(|| Payload::new(PayloadSize { min: 1, max: 100 }, 7)));
    let id = RequestId {
        connection: 1,
        sequence: 2,
        last: false,
    };
    let mut framing = Framing::default();
    for piece in bytes.chunks(usize::from(size).max(1)) {
        match resp.receive(&mut framing, id, piece) {
            Received::Done { consumed, ok, .. } => {
                assert!(consumed <= piece.len());
                assert!(ok || !framing.take_words().is_empty());
            }
            Received::Garbage | Received::Mismatch => return,
            Received::More => {}
        }
        assert!(framing.held.len() <= 4096);
    }
});
