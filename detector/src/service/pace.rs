//! Work in the background that leaves the line most of the time: it rests after each piece, the longer the longer that took.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Work between two rests.
const PIECE: Duration = Duration::from_millis(2);
/// Longest rest: one call that took long must not hold up everything.
const REST_MAX: Duration = Duration::from_millis(50);

/// Shares out time. Clones share it, too.
#[derive(Clone, Debug)]
pub struct Pace {
    rest_per_work: u32,
    hurry: Arc<AtomicBool>,
    /// When the last rest ended.
    since: Arc<Mutex<Instant>>,
}

impl Pace {
    /// So many times the work is rest, until there is a hurry.
    pub fn new(rest_per_work: u32, hurry: Arc<AtomicBool>) -> Self {
        Self { rest_per_work, hurry, since: Arc::new(Mutex::new(Instant::now())) }
    }

    /// What was before was no work.
    pub fn begin(&self) {
        *self.since() = Instant::now();
    }

    /// Between two bits of work; rests when it is time to.
    pub fn step(&self) {
        let hurry = self.hurry.load(Ordering::Relaxed);
        let mut since = self.since();
        if let Some(rest) = rest(since.elapsed(), self.rest_per_work, hurry) {
            std::thread::sleep(rest);
            *since = Instant::now();
        }
    }

    fn since(&self) -> MutexGuard<'_, Instant> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rest that is due after work of some time.
fn rest(worked: Duration, rest_per_work: u32, hurry: bool) -> Option<Duration> {
    (worked >= PIECE && !hurry).then(|| (worked * rest_per_work).min(REST_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_many_times_the_work_up_to_a_bound_and_none_in_a_hurry() {
        let ms = Duration::from_millis;
        let table = [
            (ms(1), false, None),
            (ms(2), false, Some(ms(8))),
            (ms(5), false, Some(ms(20))),
            (ms(900), false, Some(REST_MAX)),
            (ms(5), true, None),
        ];
        for (worked, hurry, expected) in table {
            assert_eq!(rest(worked, 4, hurry), expected, "{worked:?} {hurry}");
        }
    }
}
