//! A checkpoint's cut without a long stop of the line. What changed is copied in slices between batches; what changes again meanwhile
//! is copied again, in rounds, until little is left: that is copied at once, and there the cut lies.

use super::copies::Copies;
use engine::{Changed, Engine, Listed};
use std::time::{Duration, Instant};

/// The line may stand still for about so long at the cut.
const STOP_MAX: Duration = Duration::from_millis(10);
/// Records between two looks at the clock.
const RECORDS: usize = 64;
/// Longest slice; what copying has saved up for one is spent although input waits, and as much again may be saved up.
const SLICE_MAX: Duration = Duration::from_millis(2);
/// While there is input, copying gets so much of the time, in gaps where none waits if there are any ...
const SHARE: f64 = 0.2;
const SHARE_MAX: f64 = 0.9;
/// ... and twice as much whenever it has lasted so long again ...
const PRESSED_EVERY: Duration = Duration::from_secs(8);
/// ... and with every round that leaves more than this of what it began with. Such a round at the highest share was the last.
const HEADWAY: f64 = 0.8;
const ROUNDS_MAX: u32 = 24;
/// After so long without input, copying may have all of the time.
const QUIET: Duration = Duration::from_millis(20);
/// With a cut under way, input is waited for no longer than this at a time.
pub const TURN: Duration = Duration::from_millis(1);

/// A cut that is being made.
pub struct Cutting {
    /// Taken off the engine's lists, and to be copied.
    left: Changed,
    copies: Copies,
    rounds: u32,
    /// What there was to copy when the round began, and the ids of it that are still to be taken.
    began_with: usize,
    to_take: Listed,
    /// Rounds without headway.
    pressure: u32,
    begun: Instant,
    last_input: Instant,
    /// Up to when time was shared out, and what copying has of it.
    shared: Instant,
    credit: Credit,
    copied: usize,
    spent: Duration,
}

impl Cutting {
    /// Begins with what the engine lists as changed; `copies` is empty memory.
    pub fn begin(engine: &mut Engine, copies: Copies) -> Self {
        engine.gather_changed();
        let left = engine.take_changed_beside();
        let to_take = engine.listed();
        let began_with = left.work() + to_take.len();
        let now = Instant::now();
        Self {
            left,
            copies,
            rounds: 1,
            began_with,
            to_take,
            pressure: 0,
            begun: now,
            last_input: now,
            shared: now,
            credit: Credit::default(),
            copied: 0,
            spent: Duration::ZERO,
        }
    }

    /// Copies for a moment: for some of the time that went by since the last one, and for a whole slice while there is no input. It
    /// ends early once input `waits`, unless a whole slice was saved up. It comes to an end however fast the line is. True: what is
    /// left can be copied at once.
    pub fn go_on(
        &mut self,
        engine: &mut Engine,
        had_input: bool,
        waits: impl Fn() -> bool,
    ) -> bool {
        let begun = Instant::now();
        if had_input {
            self.last_input = begun;
        }
        let pressed = (begun - self.begun).as_secs_f64() / PRESSED_EVERY.as_secs_f64();
        let share = (SHARE * (f64::from(self.pressure) + pressed.floor()).exp2()).min(SHARE_MAX);
        let quiet = begun - self.last_input > QUIET;
        self.credit.earn(begun - self.shared, if quiet { None } else { Some(share) });
        self.shared = begun;
        let (slice, is_overdue) = self.credit.slice();
        while begun.elapsed() < slice && !self.is_round_over() && (is_overdue || !waits()) {
            if self.left.is_empty() {
                self.left = engine.take_some_changed(&mut self.to_take, RECORDS);
            }
            self.copy(engine, RECORDS);
        }
        let took = begun.elapsed();
        self.credit.spend(took);
        self.spent += took;
        if !self.is_round_over() {
            return false;
        }
        self.left = engine.take_changed_beside();
        self.to_take = engine.listed();
        let left = self.left.work() + self.to_take.len();
        let per_record = self.spent.as_secs_f64() / self.copied.max(1) as f64;
        let short = left as f64 * per_record <= STOP_MAX.as_secs_f64();
        let headway = left as f64 <= self.began_with as f64 * HEADWAY;
        if short || !headway && share >= SHARE_MAX || self.rounds >= ROUNDS_MAX {
            return true;
        }
        self.pressure += u32::from(!headway);
        self.began_with = left;
        self.rounds += 1;
        false
    }

    fn is_round_over(&self) -> bool {
        self.to_take.is_empty() && self.left.is_empty()
    }

    fn copy(&mut self, engine: &Engine, most: usize) {
        let (before, copies) = (self.left.work(), &mut self.copies);
        engine.save_some(&mut self.left, most, &mut |name, value| copies.put(&name, value));
        self.copied += before - self.left.work();
    }

    /// Copies the rest: the records are those of the state as it is now. Also says for how long the line stood still, and in
    /// which round that was.
    pub fn cut(mut self, engine: &mut Engine) -> (Copies, Duration, u32) {
        let begun = Instant::now();
        self.copy(engine, usize::MAX);
        self.left = engine.take_changed();
        self.copy(engine, usize::MAX);
        let copies = &mut self.copies;
        engine.save_globals(&mut |name, value| copies.put(&name, value));
        (self.copies, begun.elapsed(), self.rounds)
    }
}

/// Time that copying has saved up.
#[derive(Default)]
struct Credit {
    saved: Duration,
    is_quiet: bool,
}

impl Credit {
    /// So much time went by, of which copying gets this share; without input, a slice however much it was.
    fn earn(&mut self, went_by: Duration, share: Option<f64>) {
        self.is_quiet = share.is_none();
        self.saved = share
            .map_or(SLICE_MAX, |share| (self.saved + went_by.mul_f64(share)).min(SLICE_MAX * 2));
    }

    /// How long copying may take now, and whether it does although input waits: under full load some always does.
    fn slice(&self) -> (Duration, bool) {
        (self.saved.min(SLICE_MAX), !self.is_quiet && self.saved >= SLICE_MAX)
    }

    fn spend(&mut self, took: Duration) {
        self.saved = self.saved.saturating_sub(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of the time that copying gets between batches that take so long, when input always waits or never does.
    fn share_of(step: Duration, always_waits: bool) -> f64 {
        let (mut credit, mut copied, mut all) = (Credit::default(), Duration::ZERO, Duration::ZERO);
        let mut before = Duration::ZERO;
        for _ in 0..10_000 {
            credit.earn(before + step, Some(SHARE));
            let (slice, is_overdue) = credit.slice();
            let took = if always_waits && !is_overdue { Duration::ZERO } else { slice };
            credit.spend(took);
            (copied, all, before) = (copied + took, all + step + took, took);
        }
        copied.as_secs_f64() / all.as_secs_f64()
    }

    #[test]
    fn copying_gets_its_share_whether_input_waits_or_not() {
        for step_us in [50, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 7900] {
            for always_waits in [false, true] {
                let share = share_of(Duration::from_micros(step_us), always_waits);
                assert!((share - SHARE).abs() < 0.01, "{step_us} us, {always_waits}: {share}");
            }
        }
    }

    #[test]
    fn without_input_a_slice_is_whole_and_ends_when_input_comes() {
        let mut credit = Credit::default();
        credit.earn(Duration::from_micros(1), None);
        assert_eq!(credit.slice(), (SLICE_MAX, false));
        // What was saved up in an hour is one slice and another.
        credit.earn(Duration::from_secs(3600), Some(SHARE));
        assert_eq!(credit.slice(), (SLICE_MAX, true));
        credit.spend(SLICE_MAX);
        assert_eq!(credit.slice(), (SLICE_MAX, true));
        credit.spend(SLICE_MAX);
        assert_eq!(credit.slice(), (Duration::ZERO, false));
    }
}
