//! The most recent of many: a bounded set, sorted by id, that forgets the lowest (last seen, id).

use crate::blocks::{Blocks, NO_BLOCK};

/// The largest bound of such a set.
pub(crate) const RECENTS_MAX: usize = 64;

/// One remembered id (an account, or a node's bits) and when it was last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) id: u32,
    // Two halves keep the record at 12 bytes.
    last: [u32; 2],
}

impl Recent {
    #[inline]
    pub(crate) fn new(id: u32, last_ms: i64) -> Self {
        Self { id, last: [last_ms as u32, (last_ms >> 32) as u32] }
    }

    #[inline]
    pub(crate) fn last_ms(&self) -> i64 {
        i64::from(self.last[1] as i32) << 32 | i64::from(self.last[0])
    }

    fn age_key(&self) -> (i64, u32) {
        (self.last_ms(), self.id)
    }
}

/// Where a set is: its block and its length.
pub(crate) struct Set<'a> {
    pub(crate) offset: &'a mut u32,
    pub(crate) n: &'a mut u8,
}

impl Set<'_> {
    /// Remembers `id`, or moves it up. As long as nothing is forgotten by name, the set holds the
    /// `max` highest (last seen, id), whatever the order of the calls: `last_ms` only ever grows.
    pub(crate) fn note(self, blocks: &mut Blocks<Recent>, max: usize, id: u32, last_ms: i64) {
        let n = usize::from(*self.n);
        let list = blocks.slice_mut(*self.offset, n);
        let at = list.partition_point(|r| r.id < id);
        if let Some(found) = list.get_mut(at)
            && found.id == id
        {
            *found = Recent::new(id, last_ms);
            return;
        }
        let new = Recent::new(id, last_ms);
        if n < max {
            *self.offset = blocks.insert(*self.offset, n, at, new);
            *self.n += 1;
            return;
        }
        // In order of id, so the first of the oldest is the one with the lowest id.
        let (mut lowest, mut oldest_ms) = (0, i64::MAX);
        for (i, recent) in list.iter().enumerate() {
            let last_ms = recent.last_ms();
            if last_ms < oldest_ms {
                (lowest, oldest_ms) = (i, last_ms);
            }
        }
        if list.get(lowest).is_some_and(|r| r.age_key() < new.age_key()) {
            if lowest < at {
                list.copy_within(lowest + 1..at, lowest);
                list[at - 1] = new;
            } else {
                list.copy_within(at..lowest, at + 1);
                list[at] = new;
            }
        }
    }

    /// Forgets `id`; true if it was there.
    pub(crate) fn forget(self, blocks: &mut Blocks<Recent>, id: u32) -> bool {
        let n = usize::from(*self.n);
        let Ok(at) = blocks.slice(*self.offset, n).binary_search_by_key(&id, |r| r.id) else {
            return false;
        };
        *self.offset = blocks.remove(*self.offset, n, at);
        *self.n -= 1;
        true
    }

    /// Forgets everything.
    pub(crate) fn clear(self, blocks: &mut Blocks<Recent>) {
        blocks.give(*self.offset, usize::from(*self.n));
        *self.offset = NO_BLOCK;
        *self.n = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn time_survives_the_halves() {
        for ms in [0, 1, 1_700_000_000_000, u32::MAX.into(), i64::MAX] {
            assert_eq!(Recent::new(1, ms).last_ms(), ms);
        }
        assert_eq!(size_of::<Recent>(), 12);
    }

    proptest! {
        #[test]
        fn holds_the_most_recent(touches in prop::collection::vec((0u32..12, 0i64..20), 0..60), max in 1usize..7) {
            let mut blocks = Blocks::new();
            let (mut offset, mut n) = (NO_BLOCK, 0u8);
            let mut last: BTreeMap<u32, i64> = BTreeMap::new();
            for (id, ms) in touches {
                let ms = *last.entry(id).and_modify(|l| *l = (*l).max(ms)).or_insert(ms);
                Set { offset: &mut offset, n: &mut n }.note(&mut blocks, max, id, ms);
            }
            let mut want: Vec<(i64, u32)> = last.iter().map(|(id, ms)| (*ms, *id)).collect();
            want.sort_unstable_by(|a, b| b.cmp(a));
            want.truncate(max);
            want.sort_unstable_by_key(|w| w.1);
            let got: Vec<_> = blocks.slice(offset, n.into()).iter().map(Recent::age_key).collect();
            prop_assert_eq!(got, want);
        }
    }
}
