//! Whatever stands in a plan: no panic, and one that is read says the same load to every host. `loadgen/fuzz/run 60 plan`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::cmd::plan::Plan;
use loadgen::load::{Load, Segment};
use loadgen::load::flags::RunFlags;

fuzz_target!(|text: &[u8]| {
    let Ok(plan) = Plan::parse(text) else { return };
    let written = serde_json::to_vec(&plan).expect("a plan can be written");
    let again = Plan::parse(&written).expect("what was written is a plan");
    assert_eq!((again.digest(), &again), (plan.digest(), &plan));
    let value: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    let count = value["segments"].as_u64().expect("segments") as u32;
    let segments = [0, count - 1].map(|index| Segment { index, count });
    let loads = segments.map(|segment| plan.command(&RunFlags::default(), segment));
    if let [Ok(first), Ok(last)] = loads {
        assert_eq!(first.run.plan_digest, last.run.plan_digest);
        assert_eq!((&first.shape, &first.load), (&last.shape, &last.load));
        // Whatever it names as its target, no resolver is asked.
        if let Ok(load) = Load::new("127.0.0.1:9000", &first.shape, &first.load, &first.run) {
            assert_eq!(load.plan_digest, Some(plan.digest()));
            assert!(!load.to_args().is_empty());
        }
    }
});
