//! A checkpoint's cut without a long stop of the line. What changed is copied in slices between batches; what changes again meanwhile
//! is copied again, in rounds, until little is left: that is copied at once, and there the cut lies.

use super::copies::Copies;
use engine::{Changed, Engine, Listed};
use std::time::{Duration, Instant};

/// The line may stand still for about so long at the cut.
const STOP_MAX: Duration = Duration::from_millis(10);
/// Records between two looks at the clock.
const RECORDS: usize = 64;
/// Longest slice.
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
    credit: Duration,
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
            credit: Duration::ZERO,
            copied: 0,
            spent: Duration::ZERO,
        }
    }

    /// Copies for a moment: for some of the time that went by since the last one, and without a limit while there is no input. It
    /// ends early once input `waits`. It comes to an end however fast the line is. True: what is left can be copied at once.
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
        self.credit += (begun - self.shared).mul_f64(if quiet { 1.0 } else { share });
        self.credit = if quiet { SLICE_MAX } else { self.credit.min(SLICE_MAX) };
        self.shared = begun;
        // Under full load some input always waits: what copying has saved up is spent all the same.
        let is_overdue = !quiet && self.credit >= SLICE_MAX;
        while begun.elapsed() < self.credit && !self.is_round_over() && (is_overdue || !waits()) {
            if self.left.is_empty() {
                self.left = engine.take_some_changed(&mut self.to_take, RECORDS);
            }
            self.copy(engine, RECORDS);
        }
        let took = begun.elapsed();
        self.credit = self.credit.saturating_sub(took);
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
