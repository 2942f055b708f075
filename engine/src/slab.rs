//! Fixed-size records in 8-byte aligned segments: growing never moves what is there, so that no event
//! pays for copying an arena.

const SEGMENT_BYTES: usize = 1 << 20;

/// Records of one size, by index.
#[derive(Debug)]
pub struct Slab {
    words: usize,
    /// Records per segment: two to the power of this.
    bits: u32,
    segments: Vec<Vec<u64>>,
    len: u32,
}

impl Slab {
    /// A slab of records of `record_bytes` (rounded up to 8).
    pub fn new(record_bytes: usize) -> Self {
        let words = record_bytes.div_ceil(8).max(1);
        Self {
            words,
            bits: (SEGMENT_BYTES / (words * 8)).max(1).ilog2(),
            segments: Vec::new(),
            len: 0,
        }
    }

    /// How many records there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Makes sure that records below `len` exist; new ones are zero.
    pub fn grow(&mut self, len: u32) {
        while (self.segments.len() << self.bits) < len as usize {
            self.segments.push(vec![0; self.words << self.bits]);
        }
        self.len = self.len.max(len);
    }

    #[inline]
    fn place(&self, index: u32) -> (usize, usize) {
        let index = index as usize;
        (index >> self.bits, (index & ((1 << self.bits) - 1)) * self.words)
    }

    /// One record's bytes.
    #[inline]
    pub fn get(&self, index: u32) -> &[u8] {
        let (segment, at) = self.place(index);
        bytemuck::cast_slice(&self.segments[segment][at..at + self.words])
    }

    /// One record's bytes, to change.
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> &mut [u8] {
        let (segment, at) = self.place(index);
        let words = self.words;
        bytemuck::cast_slice_mut(&mut self.segments[segment][at..at + words])
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|s| s.capacity() * 8).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_their_bytes_while_the_slab_grows() {
        let mut slab = Slab::new(500);
        slab.grow(1);
        slab.get_mut(0)[499] = 7;
        slab.grow(10_000);
        slab.get_mut(9_999)[0] = 9;
        assert_eq!(slab.get(0)[499], 7);
        assert_eq!(slab.get(9_999)[0], 9);
        assert_eq!(slab.get(5_000).len(), 504);
        assert!(slab.get(5_000).iter().all(|&b| b == 0));
    }
}
