//! A checkpoint's cut without a long stop of the line. What changed is copied in slices between batches; what changes again meanwhile
//! is copied again, in rounds, until little is left: that is copied at once, and there the cut lies.

use engine::{Changed, Engine, Listed, Name};
use hashbrown::HashMap;
use std::time::{Duration, Instant};

/// The line may stand still for about so long at the cut.
const STOP_MAX: Duration = Duration::from_millis(10);
/// Records between two looks at the clock.
const RECORDS: usize = 64;
/// Longest slice.
const SLICE_MAX: Duration = Duration::from_millis(2);
/// While there is input, copying gets so much of the time ...
const SHARE: f64 = 0.15;
const SHARE_MAX: f64 = 0.9;
/// ... and twice as much whenever it has lasted so long again ...
const PRESSED_EVERY: Duration = Duration::from_secs(4);
/// ... and with every round that leaves more than this of what it began with. Such a round at the highest share was the last.
const HEADWAY: f64 = 0.8;
const ROUNDS_MAX: u32 = 24;
/// After so long without input, copying may have all of the time.
const QUIET: Duration = Duration::from_millis(20);
/// With a cut under way, input is waited for no longer than this at a time.
pub const TURN: Duration = Duration::from_millis(1);
/// Copies lie one after the other in blocks of this size, or their own where they are longer.
const BLOCK: usize = 1 << 20;

/// Where a copy lies: block, from, to; `None`: the record is gone.
type Place = Option<(usize, usize, usize)>;

/// Copies of records. Their names come from outside; the seed of the map's hash is random and never leaves the process.
#[derive(Debug, Default)]
pub struct Copies {
    blocks: Vec<Vec<u8>>,
    places: HashMap<Name, Place>,
    spare: Vec<Vec<u8>>,
}

impl Copies {
    fn put(&mut self, name: Name, value: Option<&[u8]>) {
        let place = value.map(|value| {
            let room = |block: &Vec<u8>| block.capacity() - block.len() >= value.len();
            if !self.blocks.last().is_some_and(room) {
                let spare = self.spare.pop().filter(room);
                let size = BLOCK.max(value.len());
                self.blocks.push(spare.unwrap_or_else(|| Vec::with_capacity(size)));
            }
            let number = self.blocks.len() - 1;
            let block = &mut self.blocks[number];
            let from = block.len();
            block.extend_from_slice(value);
            (number, from, block.len())
        });
        self.places.insert(name, place);
    }

    /// The newest copy of each record.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, Option<&[u8]>)> {
        let value = |&(block, from, to): &(usize, usize, usize)| {
            self.blocks.get(block).and_then(|block| block.get(from..to)).unwrap_or_default()
        };
        self.places.iter().map(move |(name, place)| (name, place.as_ref().map(value)))
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.places.values().flatten().map(|(_, from, to)| (to - from) as u64).sum()
    }

    /// Forgets all copies and keeps their memory for the next cut, but no more than that: fresh memory costs as much as copying.
    pub fn clear(&mut self) {
        self.places.clear();
        self.spare = std::mem::take(&mut self.blocks);
        self.spare.iter_mut().for_each(Vec::clear);
    }
}

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
        let began_with = left.len() + to_take.len();
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
    /// comes to an end however fast the line is. True: what is left can be copied at once.
    pub fn go_on(&mut self, engine: &mut Engine, had_input: bool) -> bool {
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
        while begun.elapsed() < self.credit && !self.is_round_over() {
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
        let left = self.left.len() + self.to_take.len();
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
        let (before, copies) = (self.left.len(), &mut self.copies);
        engine.save_some(&mut self.left, most, &mut |name, value| copies.put(name, value));
        self.copied += before - self.left.len();
    }

    /// Copies the rest: the records are those of the state as it is now. Also says for how long the line stood still, and in
    /// which round that was.
    pub fn cut(mut self, engine: &mut Engine) -> (Copies, Duration, u32) {
        let begun = Instant::now();
        self.copy(engine, usize::MAX);
        self.left = engine.take_changed();
        self.copy(engine, usize::MAX);
        let copies = &mut self.copies;
        engine.save_globals(&mut |name, value| copies.put(name, value));
        (self.copies, begun.elapsed(), self.rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_copy_counts_and_memory_is_used_again() {
        let mut copies = Copies::default();
        let name = |n: u32| Name::Global(n.to_string().into());
        for round in 0..3u8 {
            for n in 0..3000 {
                copies.put(name(n), Some(&[round; 500]));
            }
        }
        copies.put(name(7), None);
        copies.put(name(8), Some(&vec![9; 3 * BLOCK]));
        copies.put(name(9), Some(&[]));
        assert_eq!(copies.len(), 3000);
        for (name, value) in copies.iter() {
            let Name::Global(number) = name else { panic!("{name:?}") };
            match number.as_str() {
                "7" => assert_eq!(value, None),
                "8" => assert_eq!(value, Some(&vec![9; 3 * BLOCK][..])),
                "9" => assert_eq!(value, Some(&[][..])),
                _ => assert_eq!(value, Some(&[2; 500][..]), "{number}"),
            }
        }
        assert_eq!(copies.bytes(), (2997 * 500 + 3 * BLOCK) as u64);
        copies.clear();
        assert!(copies.is_empty() && copies.bytes() == 0 && !copies.spare.is_empty());
        copies.put(name(1), Some(&[1]));
        assert_eq!(copies.iter().next().map(|(_, value)| value), Some(Some(&[1u8][..])));
    }
}
