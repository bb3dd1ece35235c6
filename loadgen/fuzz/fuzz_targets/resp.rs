//! Whatever a Redis server says, in whatever pieces. `loadgen/fuzz/run 60 resp`.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use loadgen::load::PayloadSize;
use loadgen::load::choice::Order;
use loadgen::load::commands::{Commands, KeyDistribution, ValueSizes};
use loadgen::protocol::echo::Payload;
use loadgen::protocol::resp::Resp;
use loadgen::protocol::{Framing, Received, RequestId};

/// What the server is asked.
#[derive(Debug, Arbitrary)]
enum Asked {
    Ping,
    PingWithPayload,
    Commands,
    VerifiedValues,
}

fn commands(verify_values: bool) -> Commands {
    let command = match verify_values {
        true => "GET __key__",
        false => "SET __key__ __value__",
    };
    Commands {
        commands: vec![command.into()],
        ratios: vec![1],
        order: Order::Sequential,
        keys: 10,
        key_distribution: KeyDistribution::Uniform,
        key_prefix: "key:".into(),
        value_sizes: ValueSizes::default(),
        verify_values,
    }
}

fuzz_target!(|input: (u8, Asked, &[u8])| {
    let (size, asked, bytes) = input;
    let payload = Payload::new(PayloadSize { min: 1, max: 100 }, 7);
    let resp = match asked {
        Asked::Ping => Resp::ping(None),
        Asked::PingWithPayload => Resp::ping(Some(payload)),
        Asked::Commands => Resp::commands(&commands(false), 7, 1),
        Asked::VerifiedValues => Resp::commands(&commands(true), 7, 1),
    };
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
