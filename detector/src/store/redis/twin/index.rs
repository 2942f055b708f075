//! A shard's index in the twin: what `scripts/index.lua` does, in Rust.

use super::super::index::{BETWEEN, ROOM};
use std::collections::BTreeMap;

/// The names of a shard's records, in blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Index {
    blocks: BTreeMap<u16, Vec<String>>,
    fill: u16,
    top: u16,
    /// Half empty blocks, the one that is filled next last.
    free: Vec<u16>,
    /// Whether anything was ever in it.
    begun: bool,
}

/// What one call does to an index. Names are what stands behind a key's hash tag.
pub struct Changes {
    full: usize,
    /// Of the block that is filled, with what comes into it.
    bytes: Option<usize>,
    added: Lists,
    removed: Lists,
}

/// Names by block, in the order in which blocks first came.
type Lists = Vec<(u16, Vec<String>)>;

impl Changes {
    /// None yet; a block is full at so many bytes.
    pub fn new(block_bytes: u32) -> Self {
        Self { full: block_bytes as usize, bytes: None, added: Vec::new(), removed: Vec::new() }
    }

    /// A new name; gives its block.
    pub fn add(&mut self, index: &mut Index, name: &str) -> u16 {
        let mut bytes = self.bytes.unwrap_or_else(|| index.bytes(index.fill));
        if bytes >= self.full {
            bytes = index.next();
        }
        self.bytes = Some(bytes.max(1) + name.len() + 1);
        note(&mut self.added, index.fill, name);
        index.fill
    }

    /// A name goes from its block.
    pub fn remove(&mut self, name: &str, block: u16) {
        note(&mut self.removed, block, name);
    }

    /// Makes the changes; gives how many names there are more.
    pub fn write(self, index: &mut Index) -> i64 {
        let mut more = 0;
        for (block, names) in self.added {
            index.begun = true;
            more += names.len() as i64;
            index.blocks.entry(block).or_default().extend(names);
        }
        for (block, gone) in self.removed {
            let before = index.bytes(block);
            let names = index.blocks.entry(block).or_default();
            for name in gone {
                if let Some(at) = names.iter().position(|n| *n == name) {
                    names.remove(at);
                    more -= 1;
                }
            }
            if names.is_empty() {
                index.blocks.remove(&block);
            }
            let after = index.bytes(block).max(1);
            if 2 * before.max(1) >= self.full && 2 * after < self.full && block != index.fill {
                index.free.push(block);
                index.begun = true;
            }
        }
        more
    }
}

fn note(lists: &mut Lists, block: u16, name: &str) {
    let at = lists.iter().position(|(b, _)| *b == block).unwrap_or_else(|| {
        lists.push((block, Vec::new()));
        lists.len() - 1
    });
    lists[at].1.push(name.to_owned());
}

impl Index {
    /// What Redis keeps for a block; 0 for one without names.
    fn bytes(&self, block: u16) -> usize {
        let names = self.blocks.get(&block);
        names.map_or(0, |names| 1 + names.iter().map(|n| n.len() + 1).sum::<usize>())
    }

    /// Goes on to the next block; gives its bytes, as if it were empty when there are no more.
    fn next(&mut self) -> usize {
        if let Some(free) = self.free.pop() {
            self.fill = free;
            return self.bytes(free);
        }
        self.fill = match self.top.checked_add(1) {
            Some(top) => {
                self.top = top;
                top
            }
            None => self.fill.wrapping_add(1),
        };
        0
    }

    /// All names, in the order in which they are read.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.blocks.values().flatten().map(String::as_str)
    }

    /// The hash as it is in Redis.
    pub fn fields(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut fields = BTreeMap::new();
        for (block, names) in &self.blocks {
            let mut bytes = vec![BETWEEN];
            for name in names {
                bytes.extend(name.as_bytes());
                bytes.push(BETWEEN);
            }
            fields.insert(block.to_string().into_bytes(), bytes);
        }
        if self.begun {
            let numbers = [self.fill, self.top].into_iter().chain(self.free.iter().copied());
            let bytes = numbers.flat_map(u16::to_le_bytes).collect();
            fields.insert(ROOM.as_bytes().to_vec(), bytes);
        }
        fields
    }
}
