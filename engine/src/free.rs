//! Free ids, lowest first, of which any can be taken out.

/// Levels of bitmaps of which each bit stands for a word of the level below: enough for 30 bits of id.
const LEVELS: usize = 5;

/// A set of ids. All calls cost one word per level.
#[derive(Debug, Default)]
pub(crate) struct FreeIds {
    levels: [Vec<u64>; LEVELS],
}

impl FreeIds {
    /// Adds an id.
    pub fn insert(&mut self, id: u32) {
        if self.contains(id) {
            return;
        }
        let mut at = id as usize;
        for level in &mut self.levels {
            let (word, bit) = (at / 64, 1 << (at % 64));
            if level.len() <= word {
                level.resize(word + 1, 0);
            }
            let before = level[word];
            level[word] |= bit;
            if before != 0 {
                return;
            }
            at = word;
        }
    }

    /// Takes an id out, if it is there.
    pub fn remove(&mut self, id: u32) {
        if !self.contains(id) {
            return;
        }
        let mut at = id as usize;
        for level in &mut self.levels {
            let (word, bit) = (at / 64, 1u64 << (at % 64));
            level[word] &= !bit;
            if level[word] != 0 {
                return;
            }
            at = word;
        }
    }

    /// Whether an id is free.
    #[inline]
    pub fn contains(&self, id: u32) -> bool {
        let at = id as usize;
        self.levels[0].get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// Takes the lowest id out.
    pub fn take_lowest(&mut self) -> Option<u32> {
        let mut at = 0;
        for level in self.levels.iter().rev() {
            let word = *level.get(at)?;
            if word == 0 {
                return None;
            }
            at = at * 64 + word.trailing_zeros() as usize;
        }
        let id = at as u32;
        self.remove(id);
        Some(id)
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.capacity() * 8).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_sorted_set(ops in prop::collection::vec((0u8..4, prop_oneof![0u32..200, 0u32..300_000, Just((1 << 27) - 1)]), 0..200)) {
            let (mut free, mut naive) = (FreeIds::default(), BTreeSet::new());
            for (op, id) in ops {
                match op {
                    0 => prop_assert_eq!(free.take_lowest(), naive.pop_first()),
                    1 => {
                        free.remove(id);
                        naive.remove(&id);
                    }
                    _ => {
                        free.insert(id);
                        naive.insert(id);
                    }
                }
                prop_assert_eq!(free.contains(id), naive.contains(&id));
            }
            while let Some(lowest) = naive.pop_first() {
                prop_assert_eq!(free.take_lowest(), Some(lowest));
            }
            prop_assert_eq!(free.take_lowest(), None);
        }
    }
}
