//! A queue in segments: growing never moves what is there.

use crate::limits::RECENT_CHUNK;
use std::collections::VecDeque;

const SEGMENT: u64 = RECENT_CHUNK as u64;

/// Entries by their sequence numbers, oldest first out. A segment holds as many as are saved together.
#[derive(Debug)]
pub(super) struct Ring<T> {
    segments: VecDeque<Vec<T>>,
    first: u64,
    end: u64,
    /// A segment that was emptied, for the next one.
    spare: Vec<T>,
}

impl<T: Default> Ring<T> {
    pub fn new() -> Self {
        Self { segments: VecDeque::new(), first: 0, end: 0, spare: Vec::new() }
    }

    /// Sequence number of the oldest entry.
    #[inline]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Sequence number of the next entry.
    #[inline]
    pub fn end(&self) -> u64 {
        self.end
    }

    #[inline]
    pub fn len(&self) -> usize {
        (self.end - self.first) as usize
    }

    /// Empties it; the next entry will have this number.
    pub fn begin_at(&mut self, first: u64) {
        self.segments.clear();
        (self.first, self.end) = (first, first);
    }

    #[inline]
    fn place(&self, seq: u64) -> (usize, usize) {
        ((seq / SEGMENT).wrapping_sub(self.first / SEGMENT) as usize, (seq % SEGMENT) as usize)
    }

    /// An entry that is there.
    #[inline]
    pub fn get(&self, seq: u64) -> &T {
        let (segment, at) = self.place(seq);
        &self.segments[segment][at]
    }

    #[inline]
    pub fn get_mut(&mut self, seq: u64) -> &mut T {
        let (segment, at) = self.place(seq);
        &mut self.segments[segment][at]
    }

    /// Adds an entry and says its number.
    pub fn push(&mut self, entry: T) -> u64 {
        let seq = self.end;
        let (segment, at) = self.place(seq);
        if segment == self.segments.len() {
            let mut new = std::mem::take(&mut self.spare);
            new.reserve_exact(RECENT_CHUNK);
            // Places of a segment are those of its numbers, also when the queue begins inside of one.
            new.resize_with(at, T::default);
            self.segments.push_back(new);
        }
        self.segments[segment].push(entry);
        self.end += 1;
        seq
    }

    /// Takes the oldest entry out.
    pub fn pop(&mut self) -> Option<T> {
        if self.first == self.end {
            return None;
        }
        let entry = std::mem::take(self.get_mut(self.first));
        self.first += 1;
        if self.first.is_multiple_of(SEGMENT)
            && let Some(mut emptied) = self.segments.pop_front()
        {
            emptied.clear();
            self.spare = emptied;
        }
        Some(entry)
    }

    /// Entries from the oldest on.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (self.first..self.end).map(|seq| self.get(seq))
    }

    /// Heap bytes held, without what entries hold themselves.
    pub fn bytes(&self) -> usize {
        let entries: usize = self.segments.iter().map(Vec::capacity).sum();
        (entries + self.spare.capacity()) * size_of::<T>()
            + self.segments.capacity() * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_place_in_memory_while_the_queue_grows() {
        let mut ring: Ring<u64> = Ring::new();
        ring.begin_at(SEGMENT * 3 + 17);
        let first = ring.push(1);
        assert_eq!(first, SEGMENT * 3 + 17);
        let place = std::ptr::from_ref(ring.get(first));
        for n in 0..SEGMENT * 40 {
            ring.push(n + 2);
        }
        assert_eq!(place, std::ptr::from_ref(ring.get(first)));
        for n in 1..SEGMENT * 30 {
            assert_eq!(ring.pop(), Some(n));
            assert_eq!(ring.get(ring.first()), &(n + 1));
        }
        assert_eq!(ring.iter().count(), ring.len());
        assert!(ring.bytes() < (SEGMENT as usize * 14) * 8, "popped segments are given back");
        while ring.pop().is_some() {}
        assert_eq!((ring.len(), ring.pop()), (0, None));
        assert_eq!(ring.push(9), ring.first());
    }
}
