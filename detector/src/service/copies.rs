//! Copies of records, one behind the other: whoever makes them only appends, and whoever writes them looks up which are the newest.
//!
//! A copy in a block, little-endian: length of the name (u32), length of the value (u32, `0xffff_ffff`: the record is gone), name, value.
//! The name is `p`, the kind's length (1 byte), kind and key of a profile, or `g` and the key of what belongs to none.

use super::memory::{BLOCK, Memory};
use engine::Name;
use hashbrown::HashSet;

/// In place of a length.
const GONE: u32 = u32::MAX;

/// One copy of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied<'a> {
    name: &'a [u8],
    /// What it holds; `None`: the record is gone.
    pub value: Option<&'a [u8]>,
}

/// All copies of a cut. A record may have several, of which the last one counts.
#[derive(Debug, Default)]
pub struct Copies {
    blocks: Vec<Vec<u8>>,
    len: usize,
    spare: Vec<Vec<u8>>,
    memory: Option<Memory>,
}

impl Copies {
    /// None yet, which take their blocks from there.
    pub fn within(memory: Memory) -> Self {
        Self { memory: Some(memory), ..Self::default() }
    }

    /// Appends a copy. O(its bytes), whatever there is already.
    ///
    /// # Panics
    /// When the name or the value has 4 GiB.
    pub fn put(&mut self, name: &Name, value: Option<&[u8]>) {
        let (tag, kind, key) = match name {
            Name::Profile { kind, key } => (b'p', Some(kind.as_bytes()), key.as_bytes()),
            Name::Global(key) => (b'g', None, key.as_bytes()),
        };
        let name_bytes = 1 + kind.map_or(0, |kind| 1 + kind.len()) + key.len();
        let block = self.block(8 + name_bytes + value.map_or(0, <[u8]>::len));
        let short = |n: usize| u32::try_from(n).ok().filter(|n| *n < GONE).expect("under 4 GiB");
        block.extend(short(name_bytes).to_le_bytes());
        block.extend(value.map_or(GONE, |value| short(value.len())).to_le_bytes());
        block.push(tag);
        if let Some(kind) = kind {
            block.push(u8::try_from(kind.len()).expect("names of kinds are short"));
            block.extend_from_slice(kind);
        }
        block.extend_from_slice(key);
        block.extend_from_slice(value.unwrap_or_default());
        self.len += 1;
    }

    /// A block with room for so many bytes.
    fn block(&mut self, bytes: usize) -> &mut Vec<u8> {
        let room = |block: &Vec<u8>| block.capacity() - block.len() >= bytes;
        if !self.blocks.last().is_some_and(room) {
            let ready = || self.memory.as_ref().and_then(Memory::take);
            let block = self.spare.pop().or_else(ready).filter(room);
            self.blocks.push(block.unwrap_or_else(|| Vec::with_capacity(BLOCK.max(bytes))));
        }
        self.blocks.last_mut().expect("there is one")
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Blocks they lie in, all of which the next cut can use again.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes of all of them, names and lengths among them. O(blocks).
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The newest copy of each record; `step` is called after each that was looked at. O(copies).
    pub fn newest(&self, mut step: impl FnMut()) -> Vec<Copied<'_>> {
        let mut seen = HashSet::with_capacity(self.len);
        let mut newest = Vec::with_capacity(self.len);
        let mut of_block = Vec::new();
        for block in self.blocks.iter().rev() {
            let mut rest = &block[..];
            of_block.extend(std::iter::from_fn(|| Copied::take(&mut rest)));
            for copied in of_block.drain(..).rev() {
                if seen.insert(copied.name) {
                    newest.push(copied);
                }
                step();
            }
        }
        newest
    }

    /// Forgets all copies and keeps their memory for the next cut, but no more than that.
    pub fn clear(&mut self) {
        self.len = 0;
        self.spare = std::mem::take(&mut self.blocks);
        self.spare.iter_mut().for_each(Vec::clear);
        if let Some(memory) = &self.memory {
            memory.shrink();
        }
    }
}

impl<'a> Copied<'a> {
    /// The first of those that lie one behind the other.
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let (name, value) = (length(rest)?, length(rest)?);
        let name = rest.split_off(..name as usize)?;
        let value = if value == GONE { None } else { Some(rest.split_off(..value as usize)?) };
        Some(Self { name, value })
    }

    /// What it is a copy of.
    pub fn name(&self) -> Name {
        let text = |bytes| compact_str::CompactString::from_utf8_lossy(bytes);
        match self.name {
            [b'p', kind, rest @ ..] => {
                let (kind, key) = rest.split_at(*kind as usize);
                Name::Profile { kind: text(kind), key: text(key) }
            }
            [_, key @ ..] => Name::Global(text(key)),
            [] => Name::Global("".into()),
        }
    }
}

fn length(rest: &mut &[u8]) -> Option<u32> {
    let bytes = rest.split_off(..4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_newest_copy_counts_and_memory_is_used_again() {
        let mut copies = Copies::default();
        let name = |n: u32| Name::Global(n.to_string().into());
        for round in 0..3u8 {
            for n in 0..3000 {
                copies.put(&name(n), Some(&[round; 500]));
            }
        }
        copies.put(&name(7), None);
        copies.put(&name(8), Some(&vec![9; 3 * BLOCK]));
        copies.put(&name(9), Some(&[]));
        assert_eq!(copies.len(), 9003);
        let mut steps = 0;
        let newest = copies.newest(|| steps += 1);
        assert_eq!((newest.len(), steps), (3000, 9003));
        for copied in newest {
            let Name::Global(number) = copied.name() else { panic!("{copied:?}") };
            match number.as_str() {
                "7" => assert_eq!(copied.value, None),
                "8" => assert_eq!(copied.value, Some(&vec![9; 3 * BLOCK][..])),
                "9" => assert_eq!(copied.value, Some(&[][..])),
                _ => assert_eq!(copied.value, Some(&[2; 500][..]), "{number}"),
            }
        }
        let blocks: Vec<_> = copies.blocks.iter().map(|block| block.as_ptr()).collect();
        copies.clear();
        assert!(copies.is_empty() && copies.newest(|| {}).is_empty());
        copies.put(&name(1), Some(&[1]));
        assert!(blocks.contains(&copies.blocks[0].as_ptr()), "fresh memory");
        assert_eq!(
            copies.newest(|| {}).iter().map(|c| c.value).collect::<Vec<_>>(),
            [Some(&[1u8][..])]
        );
    }

    #[test]
    fn blocks_that_are_ready_are_taken() {
        let block = Vec::with_capacity(BLOCK);
        let at = block.as_ptr();
        let mut copies = Copies::within(Memory::of(vec![block]));
        copies.put(&Name::Global("a".into()), Some(&[1; 100]));
        assert_eq!(copies.blocks[0].as_ptr(), at);
        copies.put(&Name::Global("b".into()), Some(&[2; BLOCK]));
        assert_eq!((copies.blocks(), copies.newest(|| {}).len()), (2, 2));
        assert_eq!(copies.bytes(), 2 * (8 + 2) + 100 + BLOCK);
    }

    proptest! {
        #[test]
        fn as_a_map(puts in prop::collection::vec(
            (prop::option::of("[a-zé]{1,3}"), "[a-c]{0,2}", prop::option::of((any::<u8>(), 0..BLOCK / 3))),
            0..24,
        )) {
            let (mut copies, mut map) = (Copies::default(), BTreeMap::new());
            for (kind, key, value) in puts {
                let value = value.map(|(byte, len)| vec![byte; len]);
                let name = match kind {
                    Some(kind) => Name::Profile { kind: kind.into(), key: key.into() },
                    None => Name::Global(key.into()),
                };
                copies.put(&name, value.as_deref());
                map.insert(name, value);
            }
            let newest = copies.newest(|| {});
            prop_assert_eq!(newest.len(), map.len());
            for copied in newest {
                prop_assert_eq!(copied.value.map(<[u8]>::to_vec), map[&copied.name()].clone());
            }
        }
    }
}
