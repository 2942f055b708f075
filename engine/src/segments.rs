//! Values by dense index in segments: growing never moves what is there.

const BITS: u32 = 12;
const SEGMENT: usize = 1 << BITS;

/// A vector that grows a segment at a time.
#[derive(Debug, Default)]
pub(crate) struct Segments<T> {
    segments: Vec<Vec<T>>,
    len: usize,
}

impl<T: Default> Segments<T> {
    /// How many values there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value at an index, if there is one.
    #[inline]
    pub fn get(&self, at: usize) -> Option<&T> {
        self.segments.get(at >> BITS)?.get(at & (SEGMENT - 1))
    }

    /// Adds a value.
    pub fn push(&mut self, value: T) {
        if self.len & (SEGMENT - 1) == 0 && self.segments.len() == self.len >> BITS {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        self.segments[self.len >> BITS].push(value);
        self.len += 1;
    }

    /// Makes it at least this long, with default values.
    pub fn grow(&mut self, len: usize) {
        while self.len < len {
            self.push(T::default());
        }
    }

    /// Drops all values from an index on.
    pub fn truncate(&mut self, len: usize) {
        while self.len > len {
            self.len -= 1;
            self.segments[self.len >> BITS].pop();
        }
    }

    /// Values in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.segments.iter().flatten()
    }

    /// Heap bytes held, without what values hold themselves.
    pub fn bytes(&self) -> usize {
        self.segments.len() * SEGMENT * size_of::<T>()
            + self.segments.capacity() * size_of::<Vec<T>>()
    }
}

impl<T> std::ops::Index<usize> for Segments<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.segments[at >> BITS][at & (SEGMENT - 1)]
    }
}

impl<T> std::ops::IndexMut<usize> for Segments<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.segments[at >> BITS][at & (SEGMENT - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_place_in_memory_while_it_grows() {
        let mut values: Segments<u64> = Segments::default();
        values.push(7);
        let place = std::ptr::from_ref(&values[0]);
        values.grow(3 * SEGMENT + 5);
        values[3 * SEGMENT + 4] = 9;
        assert_eq!(place, std::ptr::from_ref(&values[0]));
        assert_eq!(
            (values[0], values.get(3 * SEGMENT + 4), values.len()),
            (7, Some(&9), 3 * SEGMENT + 5)
        );
        assert_eq!((values.get(3 * SEGMENT + 5), values.get(usize::MAX)), (None, None));
        values.truncate(SEGMENT);
        values.truncate(1);
        values.push(8);
        assert_eq!(values.iter().copied().collect::<Vec<_>>(), [7, 8]);
    }
}
