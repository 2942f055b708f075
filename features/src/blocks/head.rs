//! The head of every profile: when it was first and last seen, and how often.

use super::{Moment, Order};
use bytemuck::{Pod, Zeroable};

/// 32 bytes at offset 0 of every profile. `events == 0` means "never seen", whatever the times say.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Head {
    /// Earliest event, milliseconds.
    pub first_ms: i64,
    /// Latest event that was not too late, milliseconds: the shared timestamp of all decayed values.
    pub last_ms: i64,
    /// Events ever, late ones too; stops at the maximum.
    pub events: u32,
    /// How many of them came out of order.
    pub late: u32,
    /// Type of the latest event: its index, 65535 for undeclared.
    pub last_type: u32,
    /// Whether the latest event was ahead of the stream's clock, and counted as of it: 1, or 0. Not in the field table.
    pub ahead: u32,
}

/// Columns that every profile starts with, with their units.
pub const COLUMNS: [(&str, &str); 4] =
    [("age_s", "s"), ("gap_s", "s"), ("events", "events"), ("last_type", "index")];

impl Head {
    /// Takes an event.
    pub fn observe(&mut self, moment: &Moment, type_id: u16) {
        match moment.order {
            Order::First => {
                self.first_ms = moment.ts_ms;
                self.last_ms = moment.ts_ms;
                self.last_type = u32::from(type_id);
            }
            Order::InOrder => {
                self.last_ms = moment.ts_ms;
                self.last_type = u32::from(type_id);
            }
            Order::Late | Order::TooLate => {
                self.first_ms = self.first_ms.min(moment.ts_ms);
                self.late = self.late.saturating_add(1);
            }
        }
        self.events = self.events.saturating_add(1);
    }

    /// Age in seconds (0 at the first event), seconds since the last event (NaN at the first and for late ones), events with this one,
    /// and the index of the type before this one (NaN at the first; `types` for undeclared).
    pub(crate) fn extract(&self, moment: &Moment, own: bool, types: usize, out: &mut super::Out) {
        let never = self.events == 0;
        out.push(match (never, own) {
            (true, true) => 0.0,
            (true, false) => f32::NAN,
            (false, _) => moment.ts_ms.saturating_sub(self.first_ms).max(0) as f32 / 1e3,
        });
        out.push(moment.gap_ms.map_or(f32::NAN, |gap_ms| gap_ms as f32 / 1e3));
        out.push(self.events as f32 + f32::from(u8::from(own)));
        out.push(if never { f32::NAN } else { (self.last_type as usize).min(types) as f32 });
    }
}
