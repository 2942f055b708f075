//! Decayed counts and sums: `f32 [counter][half-life]` with the profile's one timestamp.
//!
//! A value is the sum over events of `w * 2^(-age / half-life)` (forward decay: Cormode et al., ICDE 2009). It takes out-of-order events
//! exactly, up to rounding. Size: 16 bytes per counter.

use super::Moment;
use crate::hits::CounterHits;
use crate::limits::{COUNTERS_MAX, DECAYED_MIN};

/// Which of the schema's counters a role keeps, and where.
#[derive(Clone, Debug)]
pub struct Slots {
    /// Bit per counter of the schema.
    pub mask: u64,
    /// Position within the role, per counter of the schema.
    pub slot_of: [u8; COUNTERS_MAX],
    /// Number of counters kept.
    pub count: usize,
}

impl Slots {
    /// Positions for the given counters of the schema, in their order. Indices beyond the cap are left out.
    pub fn new(counters: &[usize]) -> Slots {
        let mut slots = Slots { mask: 0, slot_of: [0; COUNTERS_MAX], count: 0 };
        for &counter in counters.iter().filter(|c| **c < COUNTERS_MAX) {
            slots.mask |= 1 << counter;
            slots.slot_of[counter] = slots.count as u8;
            slots.count += 1;
        }
        slots
    }

    /// `(slot, weight)` of every counter of this role that the event moves.
    #[inline]
    pub fn hits<'a>(&'a self, hits: &'a CounterHits) -> impl Iterator<Item = (usize, f32)> + 'a {
        hits.among(self.mask)
            .map(|(c, weight)| (usize::from(self.slot_of[c & (COUNTERS_MAX - 1)]), weight))
    }
}

#[inline]
fn decayed(value: f32, factor: f32) -> f32 {
    let left = value * factor;
    if left.abs() < DECAYED_MIN { 0.0 } else { left }
}

/// Moves the state to the moment and adds the event. One pass over the slice.
pub fn observe(state: &mut [f32], moment: &Moment, slots: &Slots, hits: &CounterHits) {
    if !moment.accepted() {
        return;
    }
    let rows = state.as_chunks_mut::<4>().0;
    for row in rows.iter_mut() {
        for (value, factor) in row.iter_mut().zip(moment.advance) {
            *value = decayed(*value, factor);
        }
    }
    for (slot, weight) in slots.hits(hits) {
        if let Some(row) = rows.get_mut(slot) {
            for (value, share) in row.iter_mut().zip(moment.weight) {
                *value += weight * share;
            }
        }
    }
}

/// The values at the moment, with the event's own weight if `own`: `out` has the shape of the state.
pub fn extract(
    state: &[f32],
    moment: &Moment,
    slots: &Slots,
    own: Option<&CounterHits>,
    out: &mut [f32],
) {
    let rows = out.as_chunks_mut::<4>().0;
    for (row, kept) in rows.iter_mut().zip(state.as_chunks::<4>().0) {
        for ((value, was), factor) in row.iter_mut().zip(kept).zip(moment.advance) {
            *value = decayed(*was, factor);
        }
    }
    if let Some(hits) = own
        && moment.accepted()
    {
        for (slot, weight) in slots.hits(hits) {
            if let Some(row) = rows.get_mut(slot) {
                for (value, share) in row.iter_mut().zip(moment.weight) {
                    *value += weight * share;
                }
            }
        }
    }
}

/// Rate at the shorter half-life over the rate at the longer one: 1 for a steady stream, 0 when nothing is left of the longer.
#[inline]
pub fn acceleration(short: f32, long: f32, long_over_short: f32) -> f32 {
    if long > 1e-9 { short / long * long_over_short } else { 0.0 }
}

/// Decayed sum over decayed count: the mean amount; NaN when the count is (nearly) gone.
#[inline]
pub fn mean(sum: f32, count: f32) -> f32 {
    if count > 1e-9 { sum / count } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::head::Head;
    use crate::decay::HalfLives;
    use proptest::prelude::*;

    const HALF_LIVES: HalfLives = HalfLives { ms: [600_000, 7_200_000, 86_400_000, 1_209_600_000] };

    fn run(events: &[(i64, f32)]) -> (Head, [f32; 4]) {
        let slots = Slots::new(&[0]);
        let (mut head, mut state) = (Head::default(), [0.0; 4]);
        for &(ts_ms, weight) in events {
            let moment = Moment::of(&head, ts_ms, &HALF_LIVES, i64::MAX);
            let mut hits = CounterHits::default();
            hits.set(0, weight);
            observe(&mut state, &moment, &slots, &hits);
            head.observe(&moment, 0);
        }
        (head, state)
    }

    proptest! {
        /// Against the naive sum over all events, and in any order.
        #[test]
        fn is_the_sum_over_all_events(mut events in proptest::collection::vec((0i64..200_000_000, 0.1f32..100.0), 1..60)) {
            let (head, state) = run(&events);
            let last = events.iter().map(|e| e.0).max().unwrap_or(0);
            prop_assert_eq!(head.last_ms, last);
            for (i, h) in HALF_LIVES.ms.iter().enumerate() {
                let naive: f64 = events.iter().map(|(ts, w)| f64::from(*w) * (-((last - ts) as f64) / *h as f64).exp2()).sum();
                prop_assert!((f64::from(state[i]) - naive).abs() <= 2e-5 * naive + 1e-20, "{} {}", state[i], naive);
            }
            events.sort_by_key(|e| e.0);
            let (_, sorted) = run(&events);
            for i in 0..4 {
                prop_assert!((state[i] - sorted[i]).abs() <= 4e-5 * sorted[i] + 1e-20);
            }
        }
    }

    #[test]
    fn a_steady_stream_neither_speeds_up_nor_slows_down() {
        let events: Vec<_> = (0..200_000).map(|i| (i * 10_000, 1.0)).collect();
        let (_, s) = run(&events);
        let ratio = acceleration(s[0], s[1], 12.0);
        assert!((ratio - 1.0).abs() < 0.02, "{ratio}");
        assert_eq!(acceleration(1.0, 0.0, 12.0), 0.0);
        assert!(mean(1.0, 0.0).is_nan());
    }
}
