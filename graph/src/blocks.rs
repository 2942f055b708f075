//! Short sorted lists, packed: blocks of four sizes per doubling, with a free list per size.

const BITS: u32 = 14;
const CHUNK: usize = 1 << BITS;

/// The longest list.
pub(crate) const BLOCK_MAX: usize = CHUNK;

/// Offset of an empty list.
pub(crate) const NO_BLOCK: u32 = u32::MAX;

const CLASSES: usize = 52;

/// Class of a list of `n` records: 1 to 8 exactly, then 10, 12, 14, 16, 20, 24, 28, 32, 40 …
fn class_of(n: usize) -> usize {
    if n <= 8 {
        return n.max(1) - 1;
    }
    let p = (n - 1).ilog2();
    8 + (p as usize - 3) * 4 + (((n - 1) >> (p - 2)) - 4)
}

fn capacity_of(class: usize) -> usize {
    if class < 8 { class + 1 } else { (class % 4 + 5) << (class / 4 - 1) }
}

/// An arena of lists. The caller keeps each list's offset and length; its capacity follows from the
/// length, so that nothing else is stored. Operations cost O(length), never more than one copy.
#[derive(Clone, Debug)]
pub(crate) struct Blocks<T> {
    /// Records moved or copied for others.
    pub(crate) moved: u64,
    chunks: Vec<Vec<T>>,
    free: Vec<Vec<u32>>,
    /// In a trial: what was changed, as it was.
    log: Option<Log<T>>,
}

/// What a trial changed.
#[derive(Clone, Debug)]
struct Log<T> {
    /// Runs of records, as they were.
    old: Vec<(u32, Vec<T>)>,
    /// Class and offset of each block that was taken from its free list (true) or given to it.
    moved: Vec<(bool, usize, u32)>,
    /// Chunks there were, and how long the last one was.
    chunks: (usize, usize),
}

impl<T: Copy + Default> Blocks<T> {
    pub(crate) fn new() -> Self {
        Self { moved: 0, chunks: Vec::new(), free: vec![Vec::new(); CLASSES], log: None }
    }

    #[inline]
    pub(crate) fn slice(&self, offset: u32, n: usize) -> &[T] {
        let at = offset as usize & (CHUNK - 1);
        self.chunks.get((offset >> BITS) as usize).and_then(|c| c.get(at..at + n)).unwrap_or(&[])
    }

    #[inline]
    pub(crate) fn slice_mut(&mut self, offset: u32, n: usize) -> &mut [T] {
        if self.log.is_some() {
            self.note(offset, n);
        }
        let at = offset as usize & (CHUNK - 1);
        let chunk = self.chunks.get_mut((offset >> BITS) as usize);
        chunk.and_then(|c| c.get_mut(at..at + n)).unwrap_or(&mut [])
    }

    /// Puts `value` at `at` of a list of `n`; returns the list's new offset.
    pub(crate) fn insert(&mut self, offset: u32, n: usize, at: usize, value: T) -> u32 {
        let class = class_of(n + 1);
        let offset = if n > 0 && class_of(n) == class {
            offset
        } else {
            let new = self.take(class);
            self.copy(offset, new, n);
            self.give(offset, n);
            new
        };
        self.moved += (n - at) as u64;
        let list = self.slice_mut(offset + at as u32, n + 1 - at);
        list.copy_within(..n - at, 1);
        list[0] = value;
        offset
    }

    /// Removes the record at `at` of a list of `n`; returns the list's new offset.
    pub(crate) fn remove(&mut self, offset: u32, n: usize, at: usize) -> u32 {
        self.moved += (n - at - 1) as u64;
        self.slice_mut(offset + at as u32, n - at).copy_within(1.., 0);
        self.shrink(offset, n, n - 1)
    }

    /// Cuts a list of `n` to its first `left`; returns the list's new offset.
    pub(crate) fn shrink(&mut self, offset: u32, n: usize, left: usize) -> u32 {
        if left > 0 && class_of(left) == class_of(n) {
            return offset;
        }
        let new = if left == 0 { NO_BLOCK } else { self.take(class_of(left)) };
        self.copy(offset, new, left);
        self.give(offset, n);
        new
    }

    /// A list of these records.
    pub(crate) fn place(&mut self, list: &[T]) -> u32 {
        if list.is_empty() {
            return NO_BLOCK;
        }
        let offset = self.take(class_of(list.len()));
        self.slice_mut(offset, list.len()).copy_from_slice(list);
        offset
    }

    /// Gives a list of `n` back.
    pub(crate) fn give(&mut self, offset: u32, n: usize) {
        if n > 0 {
            self.free_push(class_of(n), offset);
        }
    }

    /// A block of the class. Offsets are 32 bits: 2^32 records are beyond any memory this runs in.
    fn take(&mut self, class: usize) -> u32 {
        if let Some(offset) = self.free[class].pop() {
            if let Some(log) = &mut self.log {
                log.moved.push((true, class, offset));
            }
            return offset;
        }
        let need = capacity_of(class);
        let room = self.chunks.last().map_or(0, |c| CHUNK - c.len());
        if room < need {
            self.split_tail(room);
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let at = self.chunks.len() - 1;
        let chunk = &mut self.chunks[at];
        let offset = at << BITS | chunk.len();
        chunk.resize(chunk.len() + need, T::default());
        offset as u32
    }

    /// What is left of the last chunk becomes free blocks.
    fn split_tail(&mut self, mut room: usize) {
        while room > 0 {
            let mut class = class_of(room);
            if capacity_of(class) > room {
                class -= 1;
            }
            let at = self.chunks.len() - 1;
            let chunk = &mut self.chunks[at];
            let offset = (at << BITS | chunk.len()) as u32;
            chunk.resize(chunk.len() + capacity_of(class), T::default());
            self.free_push(class, offset);
            room -= capacity_of(class);
        }
    }

    fn copy(&mut self, from: u32, to: u32, n: usize) {
        if n == 0 {
            return;
        }
        self.moved += n as u64;
        if self.log.is_some() {
            self.note(to, n);
        }
        let (a, b) = ((from >> BITS) as usize, (to >> BITS) as usize);
        let (i, j) = (from as usize & (CHUNK - 1), to as usize & (CHUNK - 1));
        if a == b {
            self.chunks[a].copy_within(i..i + n, j);
        } else if let Ok([a, b]) = self.chunks.get_disjoint_mut([a, b]) {
            b[j..j + n].copy_from_slice(&a[i..i + n]);
        }
    }

    fn free_push(&mut self, class: usize, offset: u32) {
        self.free[class].push(offset);
        if let Some(log) = &mut self.log {
            log.moved.push((false, class, offset));
        }
    }

    #[cold]
    fn note(&mut self, offset: u32, n: usize) {
        let old = self.slice(offset, n).to_vec();
        if let Some(log) = &mut self.log {
            log.old.push((offset, old));
        }
    }

    /// From here on, changes are noted.
    pub(crate) fn begin(&mut self) {
        let chunks = (self.chunks.len(), self.chunks.last().map_or(0, Vec::len));
        self.log = Some(Log { old: Vec::new(), moved: Vec::new(), chunks });
    }

    /// Puts back what was noted.
    pub(crate) fn undo(&mut self) {
        let Some(log) = self.log.take() else { return };
        for (offset, old) in log.old.into_iter().rev() {
            self.slice_mut(offset, old.len()).copy_from_slice(&old);
        }
        for (taken, class, offset) in log.moved.into_iter().rev() {
            if taken {
                self.free[class].push(offset);
            } else {
                self.free[class].pop();
            }
        }
        let (chunks, last) = log.chunks;
        self.chunks.truncate(chunks);
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.truncate(last);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let free: usize = self.free.iter().map(|f| f.capacity() * size_of::<u32>()).sum();
        let records: usize = self.chunks.iter().map(Vec::capacity).sum();
        records * size_of::<T>() + free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_fit_closely() {
        for n in 1..=BLOCK_MAX {
            let class = class_of(n);
            let capacity = capacity_of(class);
            assert!(capacity >= n && capacity <= n + n / 4 + 1, "{n} in {capacity}");
            assert!(class == 0 || capacity_of(class - 1) < n, "{n} would fit a smaller class");
            assert!(class < CLASSES);
        }
        assert_eq!(capacity_of(class_of(BLOCK_MAX)), BLOCK_MAX);
    }

    proptest! {
        #[test]
        fn behaves_like_a_vec_of_vecs(ops in prop::collection::vec((0usize..8, any::<u16>(), 0u8..3), 1..400)) {
            let mut blocks: Blocks<u32> = Blocks::new();
            let mut lists: Vec<(u32, Vec<u32>)> = vec![(NO_BLOCK, Vec::new()); 8];
            for (i, (list, pick, op)) in ops.into_iter().enumerate() {
                let (offset, want) = &mut lists[list];
                let at = pick as usize % (want.len() + 1);
                if op > 0 {
                    *offset = blocks.insert(*offset, want.len(), at, i as u32);
                    want.insert(at, i as u32);
                } else if at < want.len() {
                    *offset = blocks.remove(*offset, want.len(), at);
                    want.remove(at);
                }
                for (offset, want) in &lists {
                    prop_assert_eq!(blocks.slice(*offset, want.len()), &want[..]);
                }
            }
        }
    }

    #[test]
    fn a_full_chunk_is_split_and_used_up() {
        let mut blocks: Blocks<u8> = Blocks::new();
        let big = vec![1; 10_000];
        let a = blocks.place(&big);
        let b = blocks.place(&big);
        let tail = blocks.place(&[2; 300]);
        assert!(tail < 2 << BITS);
        assert_eq!(blocks.slice(a, 10_000), &big[..]);
        assert_eq!(blocks.slice(b, 10_000), &big[..]);
        assert_eq!(blocks.slice(tail, 300), &[2; 300]);
        assert_eq!(blocks.slice(NO_BLOCK, 0), &[0u8; 0]);
    }
}
