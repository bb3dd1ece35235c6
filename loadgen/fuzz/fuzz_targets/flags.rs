//! Whatever is typed as the value of a flag: no panic, and what is understood is written so that it is read again.
//! `loadgen/fuzz/run 60 flags`.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use loadgen::base::address::Address;
use loadgen::base::units::{
    format_count, format_rate, parse_count, parse_duration, parse_rate,
};
use loadgen::fleet::hosts::flags::{HostList, Via, Words};
use loadgen::load::abort::Condition;
use loadgen::load::commands::{KeyDistribution, ValueSizes};
use loadgen::load::http::{Header, StatusSet};
use loadgen::load::labels::{Label, by_key, in_one_cell, of_cell};
use loadgen::load::own::{Message, Rule};
use loadgen::load::{CpuList, PayloadSize, Processes, Segment, Sources};

/// What is understood survives its own words.
fn survives<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        let again = written.parse::<T>().ok();
        assert_eq!(again, Some(value), "{text:?} was written {written:?}");
    }
}

fuzz_target!(|input: (u8, &str)| {
    let (which, text) = input;
    match which % 16 {
        0 => survives::<StatusSet>(text),
        1 => survives::<KeyDistribution>(text),
        2 => survives::<ValueSizes>(text),
        3 => survives::<Condition>(text),
        4 => survives::<Address>(text),
        5 => survives::<Sources>(text),
        6 => survives::<CpuList>(text),
        7 => survives::<PayloadSize>(text),
        8 => survives::<Processes>(text),
        9 => survives::<Segment>(text),
        10 => survives::<HostList>(text),
        11 => survives::<Words>(text),
        12 => survives::<Via>(text),
        13 => {
            survives::<Message>(text);
            survives::<Rule>(text);
        }
        14 => label_and_header(text),
        _ => numbers(text),
    }
});

fn label_and_header(text: &str) {
    survives::<Label>(text);
    if let Ok(label) = text.parse::<Label>() {
        let pair = (label.key.clone(), label.value.clone());
        let cell = in_one_cell(&by_key(&[label]).expect("one label"));
        assert_eq!(of_cell(&cell).collect::<Vec<_>>(), [(&*pair.0, &*pair.1)]);
    }
    if let Ok(header) = Header::parse(text) {
        let written = format!("{}: {}", header.name, header.value);
        assert!(!written.contains(['\r', '\n']));
        assert_eq!(Header::parse(&written), Ok(header));
    }
}

fn numbers(text: &str) {
    if let Ok(count) = parse_count(text) {
        assert_eq!(parse_count(&format_count(count)), Ok(count));
    }
    if let Ok(rate) = parse_rate(text) {
        // People are told two decimals of what is small, and whole numbers of the rest.
        let told = format_rate(rate);
        assert!(rate < 0.005 || parse_rate(&told).is_ok(), "{told}");
    }
    let _ = parse_duration(text);
}
