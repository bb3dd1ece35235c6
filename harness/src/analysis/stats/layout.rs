//! Which trials there are: arms × blocks, some cells perhaps empty.

/// Arms × blocks, as lists both ways.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Blocks of each arm, in rising order.
    pub blocks_of: Vec<Vec<usize>>,
    /// Arms of each block, in rising order.
    pub arms_of: Vec<Vec<usize>>,
}

impl Layout {
    /// Of the figures of each arm, one per block, none where there is none.
    pub fn of(figures: &[Vec<Option<f64>>]) -> Layout {
        let blocks = figures.iter().map(Vec::len).max().unwrap_or(0);
        let has = |arm: usize, block: usize| figures[arm].get(block).is_some_and(Option::is_some);
        let arms = 0..figures.len();
        Layout {
            blocks_of: arms
                .clone()
                .map(|arm| (0..blocks).filter(|&block| has(arm, block)).collect())
                .collect(),
            arms_of: (0..blocks)
                .map(|block| arms.clone().filter(|&arm| has(arm, block)).collect())
                .collect(),
        }
    }

    /// Every arm once in each of so many blocks.
    pub fn complete(arms: usize, blocks: usize) -> Layout {
        Layout {
            blocks_of: vec![(0..blocks).collect(); arms],
            arms_of: vec![(0..arms).collect(); blocks],
        }
    }

    /// Arms.
    pub fn arms(&self) -> usize {
        self.blocks_of.len()
    }

    /// Blocks.
    pub fn blocks(&self) -> usize {
        self.arms_of.len()
    }

    /// Whether every arm ran in every block.
    pub fn is_complete(&self) -> bool {
        self.arms_of.iter().all(|arms| arms.len() == self.arms())
    }

    /// The largest set of arms that can be compared with each other: through blocks that they share, or that others
    /// share with both.
    pub fn comparable(&self) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.arms()).collect();
        let mut largest = Vec::new();
        while let Some(&first) = left.first() {
            let set = self.reached_from(first);
            left.retain(|arm| !set.contains(arm));
            if set.len() > largest.len() {
                largest = set;
            }
        }
        largest
    }

    fn reached_from(&self, first: usize) -> Vec<usize> {
        let (mut set, mut next) = (vec![first], 0);
        while let Some(&arm) = set.get(next) {
            next += 1;
            for &other in self.blocks_of[arm].iter().flat_map(|&b| &self.arms_of[b]) {
                if !set.contains(&other) {
                    set.push(other);
                }
            }
        }
        set.sort_unstable();
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_cells_are_known_both_ways() {
        let layout = Layout::of(&[vec![Some(1.0), None], vec![Some(1.0), Some(2.0)]]);
        assert_eq!(layout.blocks_of, [vec![0], vec![0, 1]]);
        assert_eq!(layout.arms_of, [vec![0, 1], vec![1]]);
        assert!(!layout.is_complete() && Layout::complete(3, 2).is_complete());
    }

    #[test]
    fn arms_without_a_common_block_are_compared_through_others_or_not_at_all() {
        let (yes, no) = (Some(1.0), None);
        let through = Layout::of(&[vec![yes, no], vec![yes, yes], vec![no, yes]]);
        assert_eq!(through.comparable(), [0, 1, 2]);
        let apart = Layout::of(&[vec![yes, no, no], vec![no, yes, yes], vec![no, no, yes]]);
        assert_eq!(apart.comparable(), [1, 2]);
        assert!(Layout::of(&[]).comparable().is_empty());
    }
}
