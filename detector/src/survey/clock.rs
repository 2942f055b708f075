//! How the stream's time runs: range, order, ties, grain, rhythm of the day.

use super::durations::{D, H};
use super::sketch::Magnitudes;
use serde::Serialize;

/// A `ts` that jumps further ahead than this is taken for an error, not for a moment: ten years.
const JUMP_MS_MAX: i64 = 3650 * D as i64;
/// Until so many events were seen, a jump ahead or back is taken for the real clock, after events without one.
const JUMP_EVENTS_MIN: u64 = 16;

/// Collects moments in the order of the stream.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    events: u64,
    first_ms: i64,
    last_ms: i64,
    previous_ms: i64,
    previous_step_ms: i64,
    steps: u64,
    steps_equal: u64,
    grain_ms: u64,
    tied: u64,
    tie_now: u64,
    tie_max: u64,
    late: Magnitudes,
    jump_max_ms: u64,
    jumps_refused: u64,
    hours: [u64; 24],
}

/// What the clock showed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClockReport {
    /// The earliest moment.
    pub first_ms: i64,
    /// The latest moment.
    pub last_ms: i64,
    /// From the earliest to the latest.
    pub span_ms: u64,
    /// All moments lie on multiples of this after the first (0: they are all the same).
    pub grain_ms: u64,
    /// Share of events with the same moment as the event before them.
    pub tied_share: f64,
    /// The longest run of events with one moment, as a share of all.
    pub tie_share_max: f64,
    /// Share of events that are earlier than one before them.
    pub late_share: f64,
    /// How late: 99 in 100 of the late ones are not later than this.
    pub late_p99_ms: u64,
    /// The latest of all.
    pub late_max_ms: u64,
    /// The longest step ahead of everything before.
    pub jump_max_ms: u64,
    /// Events set aside because they were more than ten years away from the others.
    pub jumps_refused: u64,
    /// Events come at equal steps: the clock numbers them more than it times them.
    pub metronome: bool,
    /// Activity follows the hour of the day.
    pub daily: bool,
    /// First UTC hour of the quietest six.
    pub quiet_hour: u8,
}

impl Clock {
    /// Takes the next moment; false when it is a jump that cannot be a moment of this stream.
    pub fn observe(&mut self, ts_ms: i64) -> bool {
        if self.events == 0 {
            self.first_ms = ts_ms;
            self.last_ms = ts_ms;
            self.previous_ms = ts_ms;
        }
        let mut ahead_ms = ts_ms - self.last_ms;
        if ahead_ms.abs() > JUMP_MS_MAX && self.events < JUMP_EVENTS_MIN {
            let jumps_refused = self.jumps_refused + self.events;
            *self = Self { jumps_refused, first_ms: ts_ms, last_ms: ts_ms, ..Self::default() };
            ahead_ms = 0;
        } else if ahead_ms > JUMP_MS_MAX {
            self.jumps_refused += 1;
            return false;
        }
        if self.events > 0 {
            let step_ms = ts_ms - self.previous_ms;
            if step_ms == 0 {
                self.tied += 1;
                self.tie_now += 1;
            } else {
                self.steps += 1;
                self.steps_equal += u64::from(step_ms == self.previous_step_ms);
                self.previous_step_ms = step_ms;
                self.grain_ms = gcd(self.grain_ms, step_ms.unsigned_abs());
                self.tie_now = 0;
            }
            self.tie_max = self.tie_max.max(self.tie_now + 1);
        }
        if ahead_ms < 0 {
            self.late.add(ahead_ms.unsigned_abs());
        } else {
            self.jump_max_ms = self.jump_max_ms.max(ahead_ms.unsigned_abs());
        }
        self.events += 1;
        self.first_ms = self.first_ms.min(ts_ms);
        self.last_ms = self.last_ms.max(ts_ms);
        self.previous_ms = ts_ms;
        self.hours[(ts_ms / H as i64).rem_euclid(24) as usize] += 1;
        true
    }

    /// What was seen; all zero when nothing was.
    pub fn report(&self) -> ClockReport {
        let share = |part: u64| part as f64 / self.events.max(1) as f64;
        let span_ms = self.last_ms.abs_diff(self.first_ms);
        let metronome = self.steps >= 100 && self.steps_equal * 2 >= self.steps;
        let quiet_hour = self.quiet_hour();
        ClockReport {
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            span_ms,
            grain_ms: self.grain_ms,
            tied_share: share(self.tied),
            tie_share_max: share(self.tie_max),
            late_share: share(self.late.count()),
            late_p99_ms: self.late.quantile(0.99).unwrap_or(0),
            late_max_ms: self.late.max(),
            jump_max_ms: self.jump_max_ms,
            jumps_refused: self.jumps_refused,
            metronome,
            daily: !metronome
                && span_ms >= 3 * D
                && self.events >= 500
                && self.grain_ms <= H
                && self.six_hours_from(quiet_hour) * 100 < self.events * 17,
            quiet_hour,
        }
    }

    fn six_hours_from(&self, hour: u8) -> u64 {
        (0..6).map(|ahead| self.hours[(usize::from(hour) + ahead) % 24]).sum()
    }

    /// Six hours hold a quarter of the events when there is no day; the quietest six say how far from that.
    /// Of equally quiet ones, those with quiet hours around them.
    fn quiet_hour(&self) -> u8 {
        let around =
            |hour: u8| self.six_hours_from((hour + 21) % 24) + self.six_hours_from((hour + 3) % 24);
        (0..24).min_by_key(|hour| (self.six_hours_from(*hour), around(*hour))).unwrap_or(0)
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(moments: impl IntoIterator<Item = i64>) -> ClockReport {
        let mut clock = Clock::default();
        for ts_ms in moments {
            clock.observe(ts_ms);
        }
        clock.report()
    }

    #[test]
    fn grain_ties_and_steps() {
        let equal = clock((0..1000).map(|n| n * 1000));
        assert!(
            equal.metronome && equal.grain_ms == 1000 && equal.tied_share == 0.0 && !equal.daily
        );
        let same = clock([5; 100]);
        assert_eq!((same.grain_ms, same.span_ms, same.tie_share_max), (0, 0, 1.0));
        let tied = clock([0, 0, 2000, 2000, 2000, 5000, 9000, 9000]);
        assert_eq!((tied.grain_ms, tied.tied_share, tied.tie_share_max), (1000, 0.5, 0.375));
    }

    #[test]
    fn order_and_jumps() {
        let late = clock([0, 100, 90, 300, 0, 400]);
        assert_eq!((late.late_max_ms, late.jump_max_ms), (300, 200));
        assert!((late.late_share - 2.0 / 6.0).abs() < 1e-9);
        let year_2200 = clock((0..50).chain([7_258_118_400_000]).chain(50..60));
        assert_eq!((year_2200.jumps_refused, year_2200.last_ms), (1, 59));
        let starts_at_zero = clock([0, 1_600_000_000_000, 1_600_000_000_500]);
        assert_eq!((starts_at_zero.jumps_refused, starts_at_zero.jump_max_ms), (1, 500));
        let starts_in_2200 = clock([7_258_118_400_000].into_iter().chain(0..60));
        assert_eq!((starts_in_2200.jumps_refused, starts_in_2200.late_max_ms), (1, 0));
    }

    #[test]
    fn the_day_is_found() {
        let day = |n: i64| (n / 10) * D as i64 + (9 + n % 10) * H as i64 + n * 977 % 3_600_000;
        let daily = clock((0..2000).map(day));
        assert!(
            daily.daily && (19..=21).contains(&daily.quiet_hour) || daily.quiet_hour <= 3,
            "{daily:?}"
        );
        let even = clock((0..2000).map(|n| n * (3 * H as i64 + 1717) + n * n % 977));
        assert!(!even.daily);
    }
}
