//! The building blocks of a profile. Each works on its own range of the profile's bytes, as the [`Layout`](crate::layout::Layout) places
//! it, and shares the profile's one timestamp (labels excepted). A block of zero bytes is an empty block.

pub mod counters;
pub mod distinct;
pub mod head;
pub mod hours;
pub mod labels;
pub mod neighbours;
pub mod numeric;
pub mod rhythm;
pub mod robust;
pub mod sessions;
pub mod windows;

use crate::decay::HalfLives;
use crate::limits::VALUE_ABS_MAX;
use head::Head;

/// How an event stands to what its profile has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The profile was empty.
    First,
    /// At or after the profile's last event.
    InOrder,
    /// Before the last event, within the allowed lateness: everything but rhythm, sessions and robust means takes it.
    Late,
    /// Later than that: only lifetime counts take it.
    TooLate,
}

/// One event's place in a profile's time, worked out once for all blocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The event's own time, milliseconds.
    pub ts_ms: i64,
    /// The time that values are as of: the later of the event and the profile's last.
    pub at_ms: i64,
    /// How the event stands to the last one.
    pub order: Order,
    /// Milliseconds since the last event, if there was one and this is not earlier.
    pub gap_ms: Option<i64>,
    /// What is left of the state at `at_ms`, per half-life.
    pub advance: [f32; 4],
    /// What the event itself counts at `at_ms`, per half-life: 1 unless late, 0 when too late.
    pub weight: [f32; 4],
}

impl Moment {
    /// Where an event at `ts_ms` falls, given the profile's head. Four powers of two; no errors (a negative time counts as 0).
    pub fn of(head: &Head, ts_ms: i64, half_lives: &HalfLives, lateness_max_ms: i64) -> Moment {
        let ts_ms = ts_ms.max(0);
        let one = [1.0; 4];
        if head.events == 0 {
            return Moment {
                ts_ms,
                at_ms: ts_ms,
                order: Order::First,
                gap_ms: None,
                advance: one,
                weight: one,
            };
        }
        let last_ms = head.last_ms.max(0);
        if ts_ms >= last_ms {
            let gap_ms = ts_ms - last_ms;
            return Moment {
                ts_ms,
                at_ms: ts_ms,
                order: Order::InOrder,
                gap_ms: Some(gap_ms),
                advance: half_lives.factors(gap_ms),
                weight: one,
            };
        }
        let age_ms = last_ms - ts_ms;
        let late = age_ms <= lateness_max_ms;
        Moment {
            ts_ms,
            at_ms: last_ms,
            order: if late { Order::Late } else { Order::TooLate },
            gap_ms: None,
            advance: one,
            weight: if late { half_lives.factors(age_ms) } else { [0.0; 4] },
        }
    }

    /// Whether anything but lifetime counts takes the event.
    pub fn accepted(&self) -> bool {
        self.order != Order::TooLate
    }
}

/// The value if it is a number, cut to [`VALUE_ABS_MAX`]; infinite and NaN are "absent".
#[inline]
pub fn number(value: f32) -> Option<f32> {
    value.is_finite().then(|| value.clamp(-VALUE_ABS_MAX, VALUE_ABS_MAX))
}

/// Writes columns one after the other into a slice whose length was checked before.
pub(crate) struct Out<'a> {
    slice: &'a mut [f32],
    at: usize,
}

impl<'a> Out<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Out { slice, at: 0 }
    }

    #[inline]
    pub(crate) fn push(&mut self, value: f32) {
        if let Some(cell) = self.slice.get_mut(self.at) {
            *cell = value;
        }
        self.at += 1;
    }

    /// The next `count` cells, to be filled by the caller (empty if there are not as many).
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> &mut [f32] {
        let from = self.at;
        self.at += count;
        self.slice.get_mut(from..from + count).unwrap_or_default()
    }
}
