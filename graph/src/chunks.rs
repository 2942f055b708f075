//! A growing array of records that never moves them: no stall while it grows, no copy.

const BITS: u32 = 12;
const CHUNK: usize = 1 << BITS;

/// Records by dense index, in chunks of 4096; a chunk exists once one of its records does.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
    bound: u32,
    /// In a trial: what was changed, as it was; and the bound before.
    log: Option<(Vec<(u32, T)>, u32)>,
}

impl<T: Clone + Default> Chunks<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), bound: 0, log: None }
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.chunks.get((index >> BITS) as usize)?.get(index as usize & (CHUNK - 1))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        if self.log.is_some() {
            self.note(index);
        }
        self.chunks.get_mut((index >> BITS) as usize)?.get_mut(index as usize & (CHUNK - 1))
    }

    /// The record, made if there is none yet.
    pub(crate) fn ensure(&mut self, index: u32) -> &mut T {
        let at = (index >> BITS) as usize;
        if at >= self.chunks.len() {
            self.chunks.resize_with(at + 1, Vec::new);
        }
        self.bound = self.bound.max(index.saturating_add(1));
        let chunk = &mut self.chunks[at];
        if chunk.is_empty() {
            *chunk = vec![T::default(); CHUNK];
        }
        if self.log.is_some() {
            self.note(index);
        }
        &mut self.chunks[at][index as usize & (CHUNK - 1)]
    }

    /// One more than the largest index ever ensured.
    pub(crate) fn bound(&self) -> u32 {
        self.bound
    }

    /// All records up to the bound, with their indices.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> + Clone {
        let chunks = self.chunks.iter().enumerate();
        chunks.flat_map(|(at, chunk)| {
            chunk.iter().enumerate().map(move |(i, record)| ((at << BITS | i) as u32, record))
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        if let Some((log, _)) = &mut self.log {
            for (at, chunk) in self.chunks.iter().enumerate() {
                let index = |i: usize| (at << BITS | i) as u32;
                log.extend(chunk.iter().enumerate().map(|(i, record)| (index(i), record.clone())));
            }
        }
        self.chunks.iter_mut().flatten()
    }

    #[cold]
    fn note(&mut self, index: u32) {
        let old = self.get(index).cloned();
        if let (Some((log, _)), Some(old)) = (&mut self.log, old) {
            log.push((index, old));
        }
    }

    /// From here on, changes are noted.
    pub(crate) fn begin(&mut self) {
        self.log = Some((Vec::new(), self.bound));
    }

    /// Puts back what was noted.
    pub(crate) fn undo(&mut self) {
        let Some((log, bound)) = self.log.take() else { return };
        for (index, old) in log.into_iter().rev() {
            if let Some(record) = self.get_mut(index) {
                *record = old;
            }
        }
        self.bound = bound;
    }

    /// Drops all records; not in a trial.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.bound = 0;
    }

    pub(crate) fn bytes(&self) -> usize {
        let records: usize = self.chunks.iter().map(Vec::capacity).sum();
        records * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_indices_cost_one_chunk_each() {
        let mut chunks: Chunks<u64> = Chunks::new();
        assert_eq!((chunks.get(0), chunks.bound()), (None, 0));
        *chunks.ensure(9_000_000) = 7;
        *chunks.ensure(3) = 5;
        assert_eq!((chunks.get(3), chunks.get(4), chunks.get(4096)), (Some(&5), Some(&0), None));
        assert_eq!(chunks.bound(), 9_000_001);
        assert!(chunks.bytes() < 200_000);
        let set: Vec<_> = chunks.iter().filter(|r| *r.1 != 0).map(|(i, r)| (i, *r)).collect();
        assert_eq!(set, [(3, 5), (9_000_000, 7)]);
    }
}
