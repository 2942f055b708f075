//! A share of a thread's time for work that others ask for.

use std::time::{Duration, Instant};

/// Time that is saved up at most, for questions that come together after a quiet time.
const SAVED_MAX: Duration = Duration::from_millis(100);

/// Grants a share of the time that passes. What was used beyond it has to be waited for.
#[derive(Debug)]
pub(super) struct TimeShare {
    /// One part in `parts` is granted.
    parts: u32,
    saved: Duration,
    owed: Duration,
    since: Instant,
}

impl TimeShare {
    /// One part in `parts` from now on, with all that can be saved up.
    pub fn new(parts: u32, now: Instant) -> Self {
        Self { parts: parts.max(1), saved: SAVED_MAX, owed: Duration::ZERO, since: now }
    }

    /// Whether work may begin.
    pub fn has_time(&mut self, now: Instant) -> bool {
        let mut granted = now.saturating_duration_since(self.since) / self.parts;
        // What is granted in less than a nanosecond is not lost: it is counted with the next.
        if granted > Duration::ZERO {
            self.since = now;
            let paid = granted.min(self.owed);
            self.owed -= paid;
            granted -= paid;
            self.saved = (self.saved + granted).min(SAVED_MAX);
        }
        self.owed == Duration::ZERO && self.saved > Duration::ZERO
    }

    /// Work took this long.
    pub fn used(&mut self, took: Duration) {
        let covered = took.min(self.saved);
        self.saved -= covered;
        self.owed += took - covered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_gets_its_share_and_no_more() {
        let begun = Instant::now();
        let ms = Duration::from_millis;
        for (each_ms, seconds) in [(10, 60), (1, 60), (250, 60)] {
            let mut share = TimeShare::new(50, begun);
            let (mut now, mut worked) = (begun, Duration::ZERO);
            while now < begun + Duration::from_secs(seconds) {
                if share.has_time(now) {
                    share.used(ms(each_ms));
                    worked += ms(each_ms);
                    now += ms(each_ms);
                } else {
                    now += ms(1);
                }
            }
            let most = SAVED_MAX + Duration::from_secs(seconds) / 50 + ms(each_ms);
            let least = Duration::from_secs(seconds) / 50 - ms(1);
            assert!(least <= worked && worked <= most, "{each_ms} ms each: {worked:?}");
        }
    }

    #[test]
    fn a_quiet_time_saves_up_so_much_and_no_more() {
        let begun = Instant::now();
        let mut share = TimeShare::new(50, begun);
        assert!(share.has_time(begun));
        share.used(SAVED_MAX);
        assert!(!share.has_time(begun));
        let later = begun + Duration::from_secs(3600);
        assert!(share.has_time(later));
        share.used(SAVED_MAX + Duration::from_millis(1));
        assert!(!share.has_time(later));
        assert!(!share.has_time(later + Duration::from_millis(49)), "a millisecond is owed");
        assert!(share.has_time(later + Duration::from_millis(52)));
    }
}
