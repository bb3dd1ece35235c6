//! Divided bars: who got how much of a whole.

use super::draw::look_of;
use crate::render::chart::canvas::{Axis, Stack, Texts};
use crate::render::chart::{Chart, Plot};

/// A bar per label, divided as the parts are; `None` where nobody got anything.
pub fn chart(
    name: &str,
    texts: Texts,
    label: &str,
    data: Vec<(String, Vec<u64>)>,
) -> Option<Chart> {
    let stacks: Vec<Stack> = data.into_iter().enumerate().filter_map(stack).collect();
    if stacks.is_empty() {
        return None;
    }
    let value = Axis::of_shares(label);
    Some(Chart {
        name: name.into(),
        texts,
        plot: Plot::Stacks { value, stacks },
        table: None,
    })
}

fn stack((place, (label, parts)): (usize, (String, Vec<u64>))) -> Option<Stack> {
    let whole = Some(parts.iter().sum::<u64>()).filter(|whole| *whole > 0)?;
    let parts_in_words: Vec<String> = parts.iter().map(u64::to_string).collect();
    Some(Stack {
        arm: label.clone(),
        look: look_of(&label, place),
        label,
        shares: parts
            .iter()
            .map(|part| *part as f64 * 100.0 / whole as f64)
            .collect(),
        note: parts_in_words.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::tools::draw::texts;

    #[test]
    fn shares_are_parts_of_a_whole() {
        let data = vec![
            ("prefork".to_string(), vec![30, 10]),
            ("none".into(), vec![0, 0]),
        ];
        let chart = chart("a", texts("Who accepts", "", ""), "share", data).unwrap();
        let Plot::Stacks { stacks, .. } = &chart.plot else {
            panic!("{chart:?}")
        };
        assert_eq!(stacks.len(), 1);
        assert_eq!(
            (stacks[0].shares.as_slice(), stacks[0].note.as_str()),
            ([75.0, 25.0].as_slice(), "30, 10")
        );
        assert!(chart.svg().unwrap().contains("prefork"));
        assert!(super::chart("a", texts("", "", ""), "", Vec::new()).is_none());
    }
}
