//! Sessions: runs of events with no pause longer than the declared gap. Takes events in order only. Size: 24 bytes.

use super::{Moment, Order, Out};
use bytemuck::{Pod, Zeroable};

/// Columns of the block, with this event (unless it is out of order).
pub const COLUMNS: [(&str, &str); 4] = [
    ("session.events", "events"),
    ("session.length_s", "s"),
    ("session.count", "sessions"),
    ("session.events_mean", "events"),
];

/// State: `count == 0` is empty.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Sessions {
    /// Start of the current session, milliseconds.
    pub start_ms: i64,
    /// Events in the current session.
    pub events: u32,
    /// Sessions so far, the current one too.
    pub count: u32,
    /// Events in the sessions before.
    pub events_before: u32,
    /// Zero.
    pub reserved: u32,
}

impl Sessions {
    /// Takes an event, unless it is out of order.
    pub fn observe(&mut self, moment: &Moment, session_gap_ms: i64) {
        match moment.order {
            Order::First => self.start(moment.ts_ms),
            Order::InOrder if self.count == 0 => self.start(moment.ts_ms),
            Order::InOrder if moment.gap_ms.is_some_and(|gap_ms| gap_ms > session_gap_ms) => {
                self.events_before = self.events_before.saturating_add(self.events);
                self.start(moment.ts_ms);
            }
            Order::InOrder => self.events = self.events.saturating_add(1),
            Order::Late | Order::TooLate => {}
        }
    }

    fn start(&mut self, ts_ms: i64) {
        (self.start_ms, self.events) = (ts_ms, 1);
        self.count = self.count.saturating_add(1);
    }

    /// The session that this event belongs to (`own`), or the last one. The mean is over the sessions before; NaN without any.
    pub(crate) fn extract(&self, moment: &Moment, session_gap_ms: i64, own: bool, out: &mut Out) {
        let mut seen = *self;
        if own {
            seen.observe(moment, session_gap_ms);
        }
        if seen.count == 0 {
            (0..COLUMNS.len()).for_each(|_| out.push(f32::NAN));
            return;
        }
        out.push(seen.events as f32);
        out.push(moment.at_ms.saturating_sub(seen.start_ms).max(0) as f32 / 1e3);
        out.push(seen.count as f32);
        out.push(if seen.count > 1 {
            seen.events_before as f32 / (seen.count - 1) as f32
        } else {
            f32::NAN
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::head::Head;
    use crate::decay::HalfLives;

    #[test]
    fn pauses_start_sessions() {
        let half_lives = HalfLives { ms: [1, 2, 3, 4] };
        let (mut head, mut state) = (Head::default(), Sessions::default());
        let expected = [
            // ts, events, length_s, count, mean before
            (0, 1.0, 0.0, 1.0, f32::NAN),
            (1_000, 2.0, 1.0, 1.0, f32::NAN),
            (11_001, 1.0, 0.0, 2.0, 2.0),
            (5_000, 1.0, 0.0, 2.0, 2.0),
            (21_001, 2.0, 10.0, 2.0, 2.0),
            (40_000, 1.0, 0.0, 3.0, 2.0),
        ];
        for (ts_ms, events, length_s, count, mean) in expected {
            let moment = Moment::of(&head, ts_ms, &half_lives, 100_000);
            let mut row = [0.0; 4];
            state.extract(&moment, 10_000, true, &mut Out::new(&mut row));
            assert_eq!(row[..3], [events, length_s, count], "{ts_ms}");
            assert!(row[3] == mean || row[3].is_nan() && mean.is_nan(), "{ts_ms}");
            state.observe(&moment, 10_000);
            head.observe(&moment, 0);
        }
    }
}
