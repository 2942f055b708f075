//! Keys to dense ids and back. Ids of forgotten keys are used again, lowest first, so that the same
//! history gives the same ids whether or not the process was restarted in between.

use crate::free::FreeIds;
use crate::limits::IDS_MAX;
use crate::segments::Segments;
use crate::shards::Shards;
use compact_str::CompactString;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Hashes keys with a secret, so that nobody can craft keys that collide.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    k0: u64,
    k1: u64,
}

impl KeyHasher {
    /// A hasher under a 128-bit key.
    pub fn new(key: [u8; 16]) -> Self {
        let k0 =
            u64::from_le_bytes([key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7]]);
        let k1 = u64::from_le_bytes([
            key[8], key[9], key[10], key[11], key[12], key[13], key[14], key[15],
        ]);
        Self { k0, k1 }
    }

    /// 64-bit SipHash-1-3 of `text` within a `domain` (the kind), about 20 ns.
    pub fn hash(&self, domain: u8, text: &str) -> u64 {
        let mut hasher = self.hasher(domain);
        hasher.write(text.as_bytes());
        hasher.finish()
    }

    /// Hashes within a domain what is more than one text.
    pub(crate) fn hasher(&self, domain: u8) -> SipHasher13 {
        SipHasher13::new_with_keys(self.k0 ^ u64::from(domain), self.k1)
    }
}

/// Keys in a table that grows by parts of about a thousand; with more keys its parts are larger.
const TABLE_KEYS: usize = 1 << 20;

/// One kind's keys. About 17 to 22 bytes per key beside its text. Growing moves no key, and of the table a part at a time.
#[derive(Debug)]
pub struct Interner {
    table: Shards<u32>,
    hashes: Segments<u64>,
    texts: Segments<CompactString>,
    /// Bytes of texts that do not lie in `texts`, by their lengths: the same after a restart.
    heap_bytes: usize,
    live: Segments<bool>,
    free: FreeIds,
    /// What was forgotten, if somebody wants to know.
    gone: Option<Vec<(u64, CompactString)>>,
    /// In a trial: what was done, in its order.
    log: Option<Vec<Change>>,
}

/// One change of a trial.
#[derive(Debug)]
enum Change {
    /// An id was given; whether there was none like it before.
    Added { id: u32, fresh: bool },
    /// A key was forgotten.
    Forgotten { id: u32, hash: u64, text: CompactString },
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            table: Shards::new(TABLE_KEYS),
            hashes: Segments::default(),
            texts: Segments::default(),
            heap_bytes: 0,
            live: Segments::default(),
            free: FreeIds::default(),
            gone: None,
            log: None,
        }
    }
}

impl Interner {
    /// The id of a key by its hash, if it is known.
    #[inline]
    pub fn find(&self, hash: u64) -> Option<u32> {
        self.table.find(hash, |&id| self.hashes[id as usize] == hash).copied()
    }

    /// Reads what [`Self::find`] will meet, and waits for nothing of it.
    #[inline]
    pub fn warm(&self, hash: u64) {
        self.table.find(hash, |&id| {
            std::hint::black_box(self.hashes[id as usize]);
            false
        });
    }

    /// A new id for a key that [`Self::find`] does not find; `None` when all ids are taken.
    pub fn add(&mut self, hash: u64, text: CompactString) -> Option<u32> {
        let reused = self.free.take_lowest();
        let id = match reused {
            Some(id) => id,
            None => {
                let id = self.hashes.len() as u32;
                if id > IDS_MAX {
                    return None;
                }
                self.hashes.push(0);
                self.texts.push(CompactString::default());
                self.live.push(false);
                id
            }
        };
        self.place(id, hash, text);
        if let Some(log) = &mut self.log {
            log.push(Change::Added { id, fresh: reused.is_none() });
        }
        Some(id)
    }

    /// From here on, what is added and forgotten is noted.
    pub(crate) fn begin_trial(&mut self) {
        self.log = Some(Vec::new());
    }

    /// Takes back what was added and forgotten. Cost: for each, as much as doing it.
    pub(crate) fn undo_trial(&mut self) {
        for change in self.log.take().unwrap_or_default().into_iter().rev() {
            match change {
                Change::Added { id, fresh } => {
                    self.forget(id);
                    if fresh {
                        self.free.remove(id);
                        self.hashes.truncate(id as usize);
                        self.texts.truncate(id as usize);
                        self.live.truncate(id as usize);
                    }
                }
                Change::Forgotten { id, hash, text } => {
                    self.free.remove(id);
                    self.place(id, hash, text);
                }
            }
        }
    }

    fn place(&mut self, id: u32, hash: u64, text: CompactString) {
        let slot = id as usize;
        self.hashes[slot] = hash;
        self.heap_bytes += heap_bytes(&text);
        self.texts[slot] = text;
        self.live[slot] = true;
        let hashes = &self.hashes;
        self.table.insert(hash, id, |&other| hashes[other as usize]);
    }

    /// Puts a key back under the id that it had. The caller ends a series of these with [`Self::seal`].
    pub fn restore(&mut self, id: u32, hash: u64, text: CompactString) -> bool {
        if id > IDS_MAX || self.find(hash).is_some() {
            return false;
        }
        let needed = id as usize + 1;
        self.grow(needed);
        if self.live[id as usize] {
            return false;
        }
        self.place(id, hash, text);
        true
    }

    /// After restoring: ids below `bound` that nobody has become free.
    pub fn seal(&mut self, bound: u32) {
        let bound = (bound.min(IDS_MAX + 1) as usize).max(self.hashes.len());
        self.grow(bound);
        self.free = FreeIds::default();
        for (id, _) in self.live.iter().enumerate().filter(|(_, live)| !**live) {
            self.free.insert(id as u32);
        }
    }

    fn grow(&mut self, bound: usize) {
        self.hashes.grow(bound);
        self.texts.grow(bound);
        self.live.grow(bound);
    }

    /// Forgets a key; its id will be used again.
    pub fn forget(&mut self, id: u32) {
        let slot = id as usize;
        if !self.live.get(slot).copied().unwrap_or(false) {
            return;
        }
        let hash = self.hashes[slot];
        self.table.remove(hash, |&other| other == id);
        self.live[slot] = false;
        // Nothing is left of a key that was to be erased.
        self.hashes[slot] = 0;
        let text = std::mem::take(&mut self.texts[slot]);
        self.heap_bytes -= heap_bytes(&text);
        if let Some(log) = &mut self.log {
            log.push(Change::Forgotten { id, hash, text });
        } else if let Some(gone) = &mut self.gone {
            gone.push((hash, text));
        }
        self.free.insert(id);
    }

    /// Remembers what is forgotten from now on, until [`Self::take_gone`].
    pub fn keep_gone(&mut self) {
        self.gone.get_or_insert_default();
    }

    /// Hash and key of what was forgotten since the last call; it may be known again by now.
    pub fn take_gone(&mut self) -> Vec<(u64, CompactString)> {
        self.gone.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether an id stands for a key now.
    pub fn is_live(&self, id: u32) -> bool {
        self.live.get(id as usize).copied().unwrap_or(false)
    }

    /// The text of a live id.
    pub fn text(&self, id: u32) -> &str {
        &self.texts[id as usize]
    }

    /// The hash of a live id.
    pub fn hash_of(&self, id: u32) -> u64 {
        self.hashes[id as usize]
    }

    /// One more than the highest id ever given.
    pub fn bound(&self) -> u32 {
        self.hashes.len() as u32
    }

    /// How many keys are known.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Entries of its table that growing has moved.
    pub fn moved(&self) -> u64 {
        self.table.moved()
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of texts that are longer than 24 bytes. O(1), and a function of the keys alone.
    pub fn text_bytes(&self) -> u64 {
        self.heap_bytes as u64
    }

    /// Heap bytes held, texts beyond 24 bytes included. Cost: the number of parts of the table.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
            + self.hashes.bytes()
            + self.live.bytes()
            + self.texts.bytes()
            + self.heap_bytes
            + self.free.bytes()
    }
}

fn heap_bytes(text: &CompactString) -> usize {
    text_bytes(text.len())
}

/// Bytes that a text of this length takes beside its place.
pub(crate) fn text_bytes(length: usize) -> usize {
    if length > size_of::<CompactString>() { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_used_again_lowest_first() {
        let hasher = KeyHasher::new([7; 16]);
        let mut keys = Interner::default();
        for name in ["a", "b", "c", "d"] {
            keys.add(hasher.hash(0, name), name.into()).unwrap();
        }
        keys.forget(2);
        keys.forget(0);
        assert_eq!(keys.find(hasher.hash(0, "a")), None);
        assert_eq!(keys.add(hasher.hash(0, "e"), "e".into()), Some(0));
        assert_eq!(keys.add(hasher.hash(0, "f"), "f".into()), Some(2));
        assert_eq!(keys.add(hasher.hash(0, "g"), "g".into()), Some(4));
        assert_eq!(keys.text(2), "f");
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn a_restored_interner_gives_the_same_ids_as_the_old_one() {
        let hasher = KeyHasher::new([1; 16]);
        let mut old = Interner::default();
        for i in 0..100u32 {
            old.add(hasher.hash(3, &i.to_string()), i.to_string().into());
        }
        for id in [3, 50, 99, 98, 7] {
            old.forget(id);
        }
        let mut new = Interner::default();
        for id in (0..old.bound()).rev().filter(|&id| old.is_live(id)) {
            assert!(new.restore(id, old.hash_of(id), old.text(id).into()));
        }
        new.seal(old.bound());
        for i in 1000..1010u32 {
            let hash = hasher.hash(3, &i.to_string());
            assert_eq!(old.add(hash, "x".into()), new.add(hash, "x".into()));
        }
    }

    #[test]
    fn bytes_of_long_keys_are_counted_while_they_are_there() {
        let hasher = KeyHasher::new([2; 16]);
        let mut keys = Interner::default();
        let long = |n: u32| format!("{n:050}");
        let add = |keys: &mut Interner, n| keys.add(hasher.hash(0, &long(n)), long(n).into());
        let counted =
            |keys: &Interner| keys.heap_bytes == keys.texts.iter().map(heap_bytes).sum::<usize>();
        keys.add(hasher.hash(0, "short"), "short".into());
        assert_eq!(keys.heap_bytes, 0);
        (0..10).for_each(|n| assert!(add(&mut keys, n).is_some()));
        let before = keys.heap_bytes;
        assert!(before >= 500 && counted(&keys));
        keys.begin_trial();
        keys.forget(3);
        (10..20).for_each(|n| assert!(add(&mut keys, n).is_some()));
        assert!(keys.heap_bytes > before && counted(&keys));
        keys.undo_trial();
        assert!(keys.heap_bytes == before && counted(&keys));
        (1..=10).for_each(|id| keys.forget(id));
        assert!(keys.heap_bytes == 0 && counted(&keys));
        keys.restore(4, hasher.hash(0, &long(3)), long(3).into());
        assert!(keys.heap_bytes >= 50 && counted(&keys));
    }

    #[test]
    fn the_same_text_under_two_kinds_hashes_apart() {
        let hasher = KeyHasher::new([9; 16]);
        assert_ne!(hasher.hash(1, "x"), hasher.hash(2, "x"));
    }
}
