//! Whatever is typed as a command: no panic, and what is sent is framed as Redis reads it. `cargo +nightly fuzz run
//! command` in `loadgen/`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::load::choice::Order;
use loadgen::load::commands::{Commands, KeyDistribution, ValueSizes, parse};
use loadgen::protocol::resp::Resp;
use loadgen::protocol::{Framing, Received, RequestId};

fuzz_target!(|command: &str| {
    if parse(command).is_err() {
        return;
    }
    let asked = Commands {
        commands: vec![command.into()],
        ratios: vec![1],
        order: Order::Sequential,
        keys: 10,
        key_distribution: KeyDistribution::Zipf(1.0),
        key_prefix: "key:".into(),
        value_sizes: ValueSizes::default(),
    };
    let resp = Resp::commands(&asked, 7, 1);
    let id = RequestId {
        connection: 1,
        sequence: 2,
        last: false,
    };
    let mut bytes = vec![0; resp.request_len(id) as usize];
    assert_eq!(resp.fill(id, 0, &mut bytes), bytes.len());
    // A command is an array of strings: what it is to Redis, its own answer would be to us.
    let received = resp.receive(&mut Framing::default(), id, &bytes);
    let consumed = bytes.len();
    assert!(matches!(received, Received::Done { consumed: all, ok: true, .. } if all == consumed));
});
