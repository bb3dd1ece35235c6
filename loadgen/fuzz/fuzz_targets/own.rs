//! Rules as they are typed, and whatever a server says to them, in whatever pieces.
//! `loadgen/fuzz/run 60 own`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::load::own::{Message, Rule};
use loadgen::protocol::own::Own;
use loadgen::protocol::{Framing, Received, RequestId};

fuzz_target!(|input: (&str, &str, bool, u8, &[u8])| {
    let (send, expect, is_greeting, size, bytes) = input;
    let (Ok(send), Ok(expect)) = (Message::read(send), expect.parse::<Rule>()) else {
        return;
    };
    assert_eq!(Message::read(&send.to_string()).as_ref(), Ok(&send));
    assert_eq!(expect.to_string().parse::<Rule>().as_ref(), Ok(&expect));
    let own = Own::new(Some(&send), &expect, Some(&expect));
    let id = RequestId {
        connection: 1,
        sequence: 2,
        last: false,
    };
    let mut request = vec![0; own.request_len(id) as usize];
    assert_eq!(own.fill(id, 0, &mut request), request.len());
    let mut framing = Framing::default();
    for piece in bytes.chunks(usize::from(size).max(1)) {
        let received = match is_greeting {
            true => own.receive_greeting(&mut framing, id, piece),
            false => own.receive(&mut framing, id, piece),
        };
        match received {
            Received::Done { consumed, ok, .. } => {
                assert!(ok && consumed <= piece.len() && framing.is_untouched());
            }
            Received::Garbage | Received::Mismatch => {
                assert!(!framing.take_words().is_empty());
                return;
            }
            Received::More => {}
        }
        assert!(framing.held.len() <= 16 * 1024);
    }
});
