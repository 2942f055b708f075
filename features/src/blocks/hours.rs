//! Habits of the day: a histogram over local hours, halved when a bin is full. Size: 24 bytes.

use super::{Moment, Out};
use crate::decay::{bump, entropy};

/// Columns of the block: the habit before this event, and how usual this event's hour is.
pub const COLUMNS: [(&str, &str); 3] =
    [("hours.entropy", "bits"), ("hours.night", "share"), ("hours.usual", "probability")];

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;

/// What hour and night mean here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Added to UTC, milliseconds.
    pub utc_offset_ms: i64,
    /// Bit per hour that is night.
    pub night: u32,
}

impl LocalTime {
    /// Night from the first hour up to, not including, the second; over midnight when the second is not greater. Equal: no night.
    pub fn new(utc_offset_ms: i64, night: [u8; 2]) -> LocalTime {
        let mut mask = 0;
        let mut hour = night[0] % 24;
        while hour != night[1] % 24 {
            mask |= 1 << hour;
            hour = (hour + 1) % 24;
        }
        LocalTime { utc_offset_ms, night: mask }
    }

    /// Local hour of day, 0 to 23.
    pub fn hour(&self, ts_ms: i64) -> usize {
        (ts_ms.saturating_add(self.utc_offset_ms).div_euclid(HOUR_MS)).rem_euclid(24) as usize
    }

    /// Local hour of day with its fraction, 0 up to 24.
    pub fn hour_fraction(&self, ts_ms: i64) -> f32 {
        let day_ms = ts_ms.saturating_add(self.utc_offset_ms).rem_euclid(24 * HOUR_MS);
        day_ms as f32 / HOUR_MS as f32
    }

    /// Whether the local hour is a night hour.
    pub fn is_night(&self, ts_ms: i64) -> bool {
        self.night >> self.hour(ts_ms) & 1 == 1
    }

    /// Whether the local day is a Saturday or Sunday.
    pub fn is_weekend(&self, ts_ms: i64) -> bool {
        // Day 0 of the epoch was a Thursday.
        let day = ts_ms.saturating_add(self.utc_offset_ms).div_euclid(24 * HOUR_MS);
        matches!((day + 4).rem_euclid(7), 0 | 6)
    }
}

/// Takes an event that is not too late.
pub fn observe(bins: &mut [u8], moment: &Moment, local: &LocalTime) {
    if moment.accepted() {
        bump(bins, local.hour(moment.ts_ms));
    }
}

/// Entropy (0 to 4.58 bits), share of events at night, and the smoothed probability of this event's hour. NaN before the first event,
/// but for the probability, which then is a 24th.
pub(crate) fn extract(bins: &[u8], moment: &Moment, local: &LocalTime, out: &mut Out) {
    let total: u32 = bins.iter().map(|c| u32::from(*c)).sum();
    let mut night = 0;
    let mut hours = local.night;
    while hours != 0 {
        night += u32::from(bins.get(hours.trailing_zeros() as usize).copied().unwrap_or(0));
        hours &= hours - 1;
    }
    let here = bins.get(local.hour(moment.ts_ms)).copied().unwrap_or(0);
    out.push(entropy(bins));
    out.push(if total == 0 { f32::NAN } else { night as f32 / total as f32 });
    out.push((f32::from(here) + 1.0) / (total as f32 + 24.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_hours_nights_and_weekends() {
        let utc = LocalTime::new(0, [0, 6]);
        let west = LocalTime::new(-5 * HOUR_MS, [22, 6]);
        // 2024-03-02T03:30:00Z, a Saturday.
        let ts_ms = 1_709_350_200_000;
        assert_eq!((utc.hour(ts_ms), utc.is_night(ts_ms), utc.is_weekend(ts_ms)), (3, true, true));
        assert_eq!(
            (west.hour(ts_ms), west.is_night(ts_ms), west.is_weekend(ts_ms)),
            (22, true, false)
        );
        assert_eq!(utc.hour_fraction(ts_ms), 3.5);
        assert_eq!(west.hour(0), 19);
        for ts_ms in [0, i64::MAX / 2, i64::MAX, 7_258_118_400_000] {
            assert!(west.hour(ts_ms) < 24 && (0.0..24.001).contains(&west.hour_fraction(ts_ms)));
        }
        assert_eq!(LocalTime::new(0, [6, 6]).night, 0);
    }
}
