//! Whatever is typed as a command: no panic, and what is sent is framed as Redis reads it.
//! `loadgen/fuzz/run 60 command`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::load::choice::Order;
use loadgen::load::commands::{CommandFlags, Commands, KeyDistribution, parse};
use loadgen::protocol::resp::Resp;
use loadgen::protocol::{Framing, Received, RequestId};

fuzz_target!(|input: (bool, &str)| {
    let (verify_values, command) = input;
    if parse(command).is_err() {
        return;
    }
    // With values that their keys determine, the flags refuse what they cannot be determined of.
    let flags = CommandFlags {
        command: vec![command.into()],
        verify_values,
        ..CommandFlags::default()
    };
    if verify_values && Commands::of(&flags, None).is_err() {
        return;
    }
    let asked = Commands {
        commands: vec![command.into()],
        ratios: vec![1],
        order: Order::Sequential,
        keys: 10,
        key_distribution: KeyDistribution::Zipf(1.0),
        key_prefix: "key:".into(),
        value_sizes: "64:9,0:1,1000:1".parse().expect("sizes"),
        verify_values,
    };
    let resp = Resp::commands(&asked, 7, 1);
    let id = RequestId {
        connection: 1,
        sequence: 2,
        last: false,
    };
    let mut bytes = vec![0; resp.request_len(id) as usize];
    assert_eq!(resp.fill(id, 0, &mut bytes), bytes.len());
    // A command is an array of strings: what it is to Redis, its own answer would be to us; where a value is expected, it
    // is none.
    let received = resp.receive(&mut Framing::default(), id, &bytes);
    if verify_values && received == Received::Mismatch {
        return;
    }
    let consumed = bytes.len();
    assert!(matches!(received, Received::Done { consumed: all, ok: true, .. } if all == consumed));
});
