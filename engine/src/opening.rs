//! Where a stream's time begins: one wrong moment in front must not make all that follows wrong.

use crate::step::Engine;

/// Events at the head of a stream that say when it begins.
pub const OPENING_EVENTS: usize = 64;

impl Engine {
    /// The first of a stream's first events (see [`OPENING_EVENTS`]) that can be its beginning. An event cannot when
    /// the ones behind it would mostly be refused or too late after it, and after a later one they would not. The
    /// events before it are to be refused with `ts_jump`. Always 0 once an event was taken. Cost: the square of the
    /// events, a few microseconds.
    pub fn opening(&self, ts_ms: &[i64]) -> usize {
        let head = &ts_ms[..ts_ms.len().min(OPENING_EVENTS)];
        if self.first_ms.is_some() {
            return 0;
        }
        let fits: Vec<usize> = (0..head.len()).map(|from| self.fitting(&head[from..])).collect();
        let best = fits.iter().copied().max().unwrap_or(0);
        fits.iter().position(|fit| fit * 2 >= best).unwrap_or(0)
    }

    /// How many events would be taken in time after the first one.
    fn fitting(&self, ts_ms: &[i64]) -> usize {
        let Some((&first, rest)) = ts_ms.split_first() else { return 0 };
        let mut newest_ms = first;
        let mut fit = 0;
        for &ts in rest {
            if ts.saturating_sub(newest_ms) > self.jump_max_ms {
                continue;
            }
            fit += usize::from(newest_ms.saturating_sub(ts) <= self.lateness_max_ms);
            newest_ms = newest_ms.max(ts);
        }
        fit
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::{Engine, Options};

    const NOW: i64 = 1_767_225_600_000;
    const YEAR_2200: i64 = 7_258_118_400_000;

    fn opening(ts: &[i64]) -> usize {
        Engine::new(Config::default(), None, Options::default()).unwrap().opening(ts)
    }

    #[test]
    fn a_wrong_moment_in_front_is_not_the_beginning() {
        let rising: Vec<i64> = (0..40).map(|n| NOW + n * 60_000).collect();
        let behind = |wrong: &[i64]| [wrong, &rising].concat();
        assert_eq!(opening(&rising), 0);
        assert_eq!(opening(&behind(&[YEAR_2200])), 1);
        assert_eq!(opening(&behind(&[0])), 1, "no clock yet");
        assert_eq!(opening(&behind(&[YEAR_2200, 0, YEAR_2200])), 3);
        assert_eq!(opening(&behind(&[NOW, YEAR_2200])), 0, "what leaps later is refused by itself");
    }

    #[test]
    fn what_cannot_be_told_begins_with_the_first() {
        assert_eq!(opening(&[]), 0);
        assert_eq!(opening(&[YEAR_2200, NOW]), 0);
        let falling: Vec<i64> = (0..64).map(|n| NOW - n * 1000).collect();
        assert_eq!(opening(&falling), 0);
        let years_apart: Vec<i64> = (0..64).map(|n| n * 63_072_000_000).collect();
        assert_eq!(opening(&years_apart), 0);
    }
}
