//! A checkpoint's cut without a long stop of the line. What changed is copied in slices between batches; what changes again meanwhile
//! is copied again, in rounds, until little is left: that is copied at once, and there the cut lies.

use super::names;
use crate::store::redis::Name;
use engine::{Changed, Engine};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The line may stand still for about so long at the cut.
const STOP_MAX: Duration = Duration::from_millis(10);
/// Records between two looks at the clock.
const RECORDS: usize = 64;
/// A round that leaves more than this share of what it began with makes no headway; the line is then faster than the copying.
const HEADWAY: f64 = 0.8;
const ROUNDS_MAX: u32 = 8;

/// A cut that is being made.
pub struct Cutting {
    left: Changed,
    records: HashMap<Name, Option<Vec<u8>>>,
    rounds: u32,
    began_with: usize,
    copied: usize,
    spent: Duration,
}

impl Cutting {
    /// Takes the list of what changed.
    pub fn begin(engine: &mut Engine) -> Self {
        let left = engine.take_changed();
        Self {
            began_with: left.len(),
            left,
            records: HashMap::new(),
            rounds: 1,
            copied: 0,
            spent: Duration::ZERO,
        }
    }

    /// Copies for about `slice`. True: what is left can be copied at once.
    pub fn go_on(&mut self, engine: &mut Engine, slice: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < slice && !self.left.is_empty() {
            self.copy(engine, RECORDS);
        }
        self.spent += begun.elapsed();
        if !self.left.is_empty() {
            return false;
        }
        self.left = engine.take_changed();
        let left = self.left.len();
        let per_record = self.spent.as_secs_f64() / self.copied.max(1) as f64;
        let short = left as f64 * per_record <= STOP_MAX.as_secs_f64();
        let no_headway = left as f64 > self.began_with as f64 * HEADWAY;
        self.began_with = left;
        self.rounds += 1;
        short || no_headway || self.rounds > ROUNDS_MAX
    }

    fn copy(&mut self, engine: &Engine, most: usize) {
        let (before, records) = (self.left.len(), &mut self.records);
        engine.save_some(&mut self.left, most, &mut |name, value| {
            records.insert(names::of_store(&name), value);
        });
        self.copied += before - self.left.len();
    }

    /// Copies the rest: the records are those of the state as it is now. Also says for how long the line stood still, and in
    /// which round that was.
    pub fn cut(mut self, engine: &mut Engine) -> (Vec<(Name, Option<Vec<u8>>)>, Duration, u32) {
        let begun = Instant::now();
        self.copy(engine, usize::MAX);
        self.left = engine.take_changed();
        self.copy(engine, usize::MAX);
        let records = &mut self.records;
        engine.save_globals(&mut |name, value| {
            records.insert(names::of_store(&name), value);
        });
        let stood = begun.elapsed();
        (self.records.into_iter().collect(), stood, self.rounds)
    }
}
