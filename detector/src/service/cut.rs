//! A checkpoint's cut without a long stop of the line. What changed is copied in slices between batches; what changes again meanwhile
//! is copied again, in rounds, until little is left: that is copied at once, and there the cut lies.

use engine::{Changed, Engine, Name};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The line may stand still for about so long at the cut.
const STOP_MAX: Duration = Duration::from_millis(10);
/// A slice while no input waits.
const SLICE_IDLE: Duration = Duration::from_micros(500);
/// Records between two looks at the clock.
const RECORDS: usize = 64;
/// Longest slice while input waits.
const SLICE_MAX: Duration = Duration::from_millis(5);
/// While input waits, copying gets so much of the line's own time ...
const SHARE: f64 = 0.25;
/// ... and twice as much with every second, and with every round that met no pause of the input or left more than [`HEADWAY`] of what
/// it began with, up to so many times; such a round was the last then.
const PRESSURE_MAX: u32 = 6;
const HEADWAY: f64 = 0.8;
const ROUNDS_MAX: u32 = 24;
/// Copies lie one after the other in blocks of this size, or their own where they are longer.
const BLOCK: usize = 1 << 20;
/// Blocks that are kept to be used again.
const SPARE_MAX: usize = 64;

/// Where a copy lies: block, from, to; `None`: the record is gone.
type Place = Option<(usize, usize, usize)>;

/// Copies of records.
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

    /// Forgets all copies and keeps some of the memory, for the next cut.
    pub fn clear(&mut self) {
        self.places.clear();
        self.spare.append(&mut self.blocks);
        self.spare.truncate(SPARE_MAX);
        self.spare.iter_mut().for_each(Vec::clear);
    }
}

/// A cut that is being made.
pub struct Cutting {
    left: Changed,
    copies: Copies,
    rounds: u32,
    began_with: usize,
    /// No input waited at some time of this round.
    paused: bool,
    pressure: u32,
    begun: Instant,
    copied: usize,
    spent: Duration,
}

impl Cutting {
    /// Takes the list of what changed; `copies` is empty memory.
    pub fn begin(engine: &mut Engine, copies: Copies) -> Self {
        let left = engine.take_changed();
        let (began_with, spent) = (left.len(), Duration::ZERO);
        let (rounds, paused, pressure, copied) = (1, false, 0, 0);
        let begun = Instant::now();
        Self { left, copies, rounds, began_with, paused, pressure, begun, copied, spent }
    }

    /// Copies for a moment: for some of the time that the line `worked` since the last time, or where it had no input, in that pause.
    /// It comes to an end however fast the line is. True: what is left can be copied at once.
    pub fn go_on(&mut self, engine: &mut Engine, worked: Option<Duration>) -> bool {
        let begun = Instant::now();
        self.paused |= worked.is_none();
        let seconds = u32::try_from(self.begun.elapsed().as_secs()).unwrap_or(u32::MAX);
        let pressure = self.pressure.saturating_add(seconds).min(PRESSURE_MAX);
        let share = SHARE * f64::from(1u32 << pressure);
        let slice = worked.map_or(SLICE_IDLE, |worked| worked.mul_f64(share).min(SLICE_MAX));
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
        let headway = left as f64 <= self.began_with as f64 * HEADWAY;
        if short || !headway && pressure >= PRESSURE_MAX || self.rounds >= ROUNDS_MAX {
            return true;
        }
        self.pressure += u32::from(!self.paused || !headway);
        (self.began_with, self.paused) = (left, false);
        self.rounds += 1;
        false
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
