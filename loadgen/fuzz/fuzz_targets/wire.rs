//! Whatever another host says, in whatever pieces: no panic, nothing after an error, and what is understood is said again
//! in the same way. `loadgen/fuzz/run 60 wire`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::fleet::wire::{Order, Reader, SMALL, Said, lines_of};

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (from_head, size, bytes) = input;
    let mut reader = Reader::default();
    for piece in bytes.chunks(usize::from(size).max(1)) {
        reader.push(piece);
        loop {
            let again = match from_head {
                true => reader.take::<Order>().map(|order| order.map(|order| said_again(&order))),
                false => reader.take::<Said>().map(|said| said.map(|said| said_again(&said))),
            };
            match again {
                Ok(Some((lines, value))) => assert_eq!(value_of(&lines), value),
                Ok(None) => break,
                Err(error) => {
                    reader.push(b"\"alive\"\n");
                    assert_eq!(reader.take::<Order>(), Err(error));
                    return;
                }
            }
        }
    }
});

fn said_again(message: &impl serde::Serialize) -> (Vec<u8>, serde_json::Value) {
    let value = serde_json::to_value(message).expect("a message can be written");
    (lines_of(message), value)
}

/// What the lines of one message say.
fn value_of(lines: &[u8]) -> serde_json::Value {
    let mut reader = Reader::default();
    reader.expect(4 * SMALL);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        reader.push(line);
        if let Some(value) = reader.take().expect("what we say is a message") {
            return value;
        }
    }
    panic!("no message in {} bytes", lines.len());
}
