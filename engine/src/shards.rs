//! A hash table that grows a part at a time: one table that doubles moves all of its entries in one step, and that step is a stall.

use hashbrown::HashTable;

/// Entries that a part holds, about, before another part would be better.
const PART_ENTRIES: usize = 512;
/// Parts of a table at most; 16 bits of the hash choose it.
const PARTS_MAX: usize = 1 << 16;

/// Entries by a hash that the caller computes, in tables of which each grows by itself. The number of parts is fixed when the table is
/// made, so an insertion moves at most the entries of one part.
#[derive(Debug)]
pub(crate) struct Shards<T> {
    parts: Vec<HashTable<T>>,
    len: usize,
    moved: u64,
}

impl<T> Shards<T> {
    /// A table for up to about `entries_max`; more fit, in larger parts.
    pub fn new(entries_max: usize) -> Self {
        let parts = (entries_max / PART_ENTRIES).clamp(1, PARTS_MAX).next_power_of_two();
        Self { parts: (0..parts).map(|_| HashTable::new()).collect(), len: 0, moved: 0 }
    }

    /// A part takes bits of the hash that its own table does not look at first: neither the lowest nor the seven highest.
    #[inline]
    fn part(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.parts.len() - 1)
    }

    /// The entry for which `same` holds.
    #[inline]
    pub fn find(&self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts[self.part(hash)].find(hash, same)
    }

    /// As [`Self::find`], to change. Its hash must stay.
    #[inline]
    pub fn find_mut(&mut self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let part = self.part(hash);
        self.parts[part].find_mut(hash, same)
    }

    /// Adds an entry that is not there. `hash_of` is asked when its part grows.
    #[inline]
    pub fn insert(&mut self, hash: u64, entry: T, hash_of: impl Fn(&T) -> u64) {
        let at = self.part(hash);
        let part = &mut self.parts[at];
        if part.len() == part.capacity() {
            self.moved += part.len() as u64;
        }
        part.insert_unique(hash, entry, hash_of);
        self.len += 1;
    }

    /// Removes the entry for which `same` holds.
    #[inline]
    pub fn remove(&mut self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<T> {
        let part = self.part(hash);
        let entry = self.parts[part].find_entry(hash, same).ok()?;
        self.len -= 1;
        Some(entry.remove().0)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Entries that growing has moved since the table was made.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Heap bytes held. Cost: the number of parts.
    pub fn bytes(&self) -> usize {
        let of_parts: usize = self.parts.iter().map(HashTable::allocation_size).sum();
        of_parts + self.parts.capacity() * size_of::<HashTable<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(n: u64) -> u64 {
        let x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x ^ (x >> 29)
    }

    #[test]
    fn insertion_into_a_large_table_moves_one_part_at_most() {
        let mut table: Shards<u64> = Shards::new(1 << 20);
        let mut before = 0;
        for n in 0..1u64 << 20 {
            table.insert(mixed(n), n, |n| mixed(*n));
            assert!(table.moved() - before <= 2 * PART_ENTRIES as u64, "at {n}");
            before = table.moved();
        }
        assert!(before > 1 << 19, "the parts did grow: {before}");
        assert_eq!(table.len(), 1 << 20);
        for n in (0..1u64 << 20).step_by(997) {
            assert_eq!(table.find(mixed(n), |m| *m == n), Some(&n));
            assert_eq!(table.remove(mixed(n), |m| *m == n), Some(n));
            assert_eq!(table.find(mixed(n), |m| *m == n), None);
        }
    }
}
