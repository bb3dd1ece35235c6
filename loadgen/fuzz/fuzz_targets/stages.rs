//! Whatever is typed as stages: no panic, what is understood survives its own words, and its schedule never goes back.
//! `loadgen/fuzz/run 60 stages`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::load::stages::{Conns, Rates, Stages, TypedStages};

fuzz_target!(|input: (bool, bool, u32, u64, &str)| {
    let (conns, shuffled, warmup_ms, at, text) = input;
    let stages = match conns {
        true => text.parse::<TypedStages<Conns>>().and_then(|typed| typed.expand(shuffled, at)),
        false => text.parse::<TypedStages<Rates>>().and_then(|typed| typed.expand(shuffled, at)),
    };
    let Ok(stages) = stages else { return };
    assert_eq!(Stages::try_from(stages.to_string()).as_ref(), Ok(&stages));
    let warmup_ns = u64::from(warmup_ms % 600_000) * 1_000_000;
    let course = stages.course(warmup_ns);
    let end_ns = warmup_ns + stages.total_ns();
    let all = course.events_by(end_ns);
    let position = at % (all + 2);
    let [due_ns, next_ns] = [position, position + 1].map(|position| course.due_ns(position));
    assert!(due_ns <= next_ns, "{position}: {due_ns} and {next_ns}");
    let at_ns = at % (end_ns + 1);
    assert!(course.events_by(at_ns) <= all);
    assert!(course.events_between(at_ns.min(due_ns), at_ns.max(due_ns)) >= 0.0);
    assert!(course.after_ns(at_ns, 1.0) >= at_ns);
    assert!(course.next_active_ns(position, at_ns) >= at_ns);
});
