//! How many actions of each kind were published this hour of event time.

use super::bytes::{Reader, Writer};
use super::config::{ActionKind, KINDS};
use super::error::StateError;

const HOUR_MS: i64 = 3_600_000;
const VERSION: u8 = 1;

/// Counts of the current hour over all accounts, and what the caps did so far. The hour is that of the
/// newest action; a late event counts in it, so that no order of events passes a cap. Each action says in which
/// hour it counted: those of the newest hour are the counts, in whatever order they are put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapState {
    hour: i64,
    published: [u32; KINDS],
    degraded: [u64; KINDS],
    dropped: u64,
}

impl CapState {
    /// Length of [`CapState::to_bytes`].
    pub const BYTES: usize = 1 + 7 + 8 + KINDS * 4 + KINDS * 8 + 8;

    /// Actions of a kind that were made milder by a cap, since the state began.
    pub fn degraded_total(&self, action: ActionKind) -> u64 {
        self.degraded[action as usize]
    }

    /// Actions that no kind had room for, since the state began.
    pub fn dropped_total(&self) -> u64 {
        self.dropped
    }

    /// Actions of a kind that were published in the current hour.
    pub fn published_this_hour(&self, action: ActionKind) -> u32 {
        self.published[action as usize]
    }

    /// What a kind becomes under the caps at the time of an event; `None`: there is room for nothing.
    pub(crate) fn admitted(
        &self,
        wanted: ActionKind,
        ts_ms: i64,
        caps: &[Option<u32>; KINDS],
    ) -> Option<ActionKind> {
        let new_hour = Self::hour_of(ts_ms) > self.hour;
        let mut action = wanted;
        while let Some(cap) = caps[action as usize] {
            let published = if new_hour { 0 } else { self.published[action as usize] };
            if published < cap {
                break;
            }
            action = action.degraded()?;
        }
        Some(action)
    }

    /// Counts an action; a newer hour starts with it. Returns the hour in which it counts.
    pub(crate) fn note_published(&mut self, action: ActionKind, ts_ms: i64) -> i64 {
        let hour = self.hour_now(ts_ms);
        self.put_back(action, hour);
        hour
    }

    /// The hour in which an action would count now.
    pub(crate) fn hour_now(&self, ts_ms: i64) -> i64 {
        Self::hour_of(ts_ms).max(self.hour)
    }

    /// Counts an action that was counted in some hour before.
    pub(crate) fn put_back(&mut self, action: ActionKind, hour: i64) {
        if hour > self.hour {
            self.hour = hour;
            self.published = [0; KINDS];
        }
        if hour == self.hour {
            let count = &mut self.published[action as usize];
            *count = count.saturating_add(1);
        }
    }

    /// The hour of event time that a moment lies in.
    fn hour_of(ts_ms: i64) -> i64 {
        ts_ms.div_euclid(HOUR_MS)
    }

    pub(crate) fn note_degraded(&mut self, wanted: ActionKind) {
        self.degraded[wanted as usize] += 1;
    }

    pub(crate) fn note_dropped(&mut self) {
        self.dropped += 1;
    }

    /// The record of a checkpoint: fixed length, little-endian.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut out = Writer::new(&mut bytes);
        out.put(&[VERSION, 0, 0, 0, 0, 0, 0, 0]);
        out.put(&self.hour.to_le_bytes());
        for count in self.published {
            out.put(&count.to_le_bytes());
        }
        for count in self.degraded {
            out.put(&count.to_le_bytes());
        }
        out.put(&self.dropped.to_le_bytes());
        bytes
    }

    /// Reads the record of a checkpoint.
    ///
    /// # Errors
    ///
    /// Another length or another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let mut from = Reader::new(bytes, Self::BYTES, VERSION)?;
        let _padding: [u8; 7] = from.take();
        let mut state = Self { hour: from.time(), ..Self::default() };
        for count in &mut state.published {
            *count = from.u32();
        }
        for count in &mut state.degraded {
            *count = from.u64();
        }
        state.dropped = from.u64();
        Ok(state)
    }
}
