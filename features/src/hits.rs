//! Which counters one event moves, and by how much: worked out once per event, used by all roles.

use crate::limits::COUNTERS_MAX;

/// The counters that an event moves, with their weights (1 for counts, the attribute's value for sums). A fixed array: no allocation.
#[derive(Clone, Debug)]
pub struct CounterHits {
    mask: u64,
    weights: [f32; COUNTERS_MAX],
}

impl Default for CounterHits {
    fn default() -> Self {
        CounterHits { mask: 0, weights: [0.0; COUNTERS_MAX] }
    }
}

impl CounterHits {
    /// Sets one counter's weight. Weights that are 0 or not finite, and indices beyond the cap, leave the counter alone.
    #[inline]
    pub fn set(&mut self, counter: usize, weight: f32) {
        if let Some(cell) = self.weights.get_mut(counter)
            && weight.is_finite()
            && weight != 0.0
        {
            *cell = weight;
            self.mask |= 1 << counter;
        }
    }

    /// Forgets all weights. The array itself is left as it is: the mask says what counts.
    #[inline]
    pub fn clear(&mut self) {
        self.mask = 0;
    }

    /// Bit per counter that is moved.
    #[inline]
    pub fn mask(&self) -> u64 {
        self.mask
    }

    /// One counter's weight, 0 when it is not moved.
    #[inline]
    pub fn weight(&self, counter: usize) -> f32 {
        match self.weights.get(counter) {
            Some(weight) if self.mask >> counter & 1 == 1 => *weight,
            _ => 0.0,
        }
    }

    /// `(counter, weight)` of the moved counters in the given mask, by index.
    #[inline]
    pub fn among(&self, mask: u64) -> impl Iterator<Item = (usize, f32)> + '_ {
        let mut left = self.mask & mask;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let counter = left.trailing_zeros() as usize;
            left &= left - 1;
            Some((counter, self.weights[counter & (COUNTERS_MAX - 1)]))
        })
    }
}
