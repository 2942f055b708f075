//! Rows to keys: after this, a split is one comparison of two whole numbers.

use std::collections::BTreeMap;

use super::LANES;
use crate::forest::{LIGHTGBM_ZERO, Library, Node, Test};

/// Below the key of every number: always left.
const LEFT: i32 = i32::MIN;
/// Above the key of every number: always right.
const RIGHT: i32 = i32::MAX;
/// A threshold that only [`LEFT`] does not exceed.
const NEVER: i32 = i32::MIN + 1;

/// What a row's keys are made of.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    library: Library,
    positions: Vec<usize>,
    list: Vec<Input>,
    /// The inputs by their position in a row, so that a block takes each column out of its rows once.
    by_position: Vec<u32>,
    known: BTreeMap<Kind, u32>,
    sets: Vec<Vec<u32>>,
    known_sets: BTreeMap<Vec<u32>, u32>,
}

/// One input: a column of the row, and what is made of its value.
#[derive(Debug, Clone, Copy)]
struct Input {
    position: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The value's key, or where a missing value goes.
    Number { column: u32, missing_left: bool, zero_is_missing: bool },
    /// Where a category goes.
    Set { column: u32, set: u32, in_set_left: bool, missing_left: bool },
}

/// A number whose order is that of the floats; both zeros are one. NaN must not come here.
#[inline(always)]
fn key(x: f32) -> i32 {
    // Sign and size, as a two's complement. Whole numbers only: compilers make vectors of that.
    let sign = x.to_bits() as i32 >> 31;
    (size(x) ^ sign) - sign
}

/// The bits of a number's absolute value: their order is that of the sizes. Above [`INFINITY`]: NaN.
#[inline(always)]
fn size(x: f32) -> i32 {
    x.to_bits() as i32 & i32::MAX
}

const INFINITY: i32 = f32::INFINITY.to_bits() as i32;

/// The size above which a number is not missing.
fn least(zero_is_missing: bool) -> i32 {
    if zero_is_missing { LIGHTGBM_ZERO.to_bits() as i32 } else { -1 }
}

/// The key of a number that is not missing, else `missing`.
#[inline(always)]
fn number(x: f32, least: i32, missing: i32) -> i32 {
    let present = (size(x) > least) & (size(x) <= INFINITY);
    if present { key(x) } else { missing }
}

fn side(left: bool) -> i32 {
    if left { LEFT } else { RIGHT }
}

impl Inputs {
    /// No input yet; `positions[c]` is where column `c` of the forest stands in a row.
    pub fn new(library: Library, positions: &[usize]) -> Self {
        Inputs {
            library,
            positions: positions.to_vec(),
            list: Vec::new(),
            by_position: Vec::new(),
            known: BTreeMap::new(),
            sets: Vec::new(),
            known_sets: BTreeMap::new(),
        }
    }

    /// The input and the threshold of a split: right if and only if the input exceeds the threshold.
    pub fn question(&mut self, node: &Node, categories: &[u32]) -> (u32, i32) {
        let column = node.column;
        match node.test {
            Test::AtMost { threshold, missing_left, zero_is_missing } => {
                let kind = Kind::Number { column, missing_left, zero_is_missing };
                let threshold = if threshold.is_nan() { NEVER } else { key(threshold) };
                (self.input(kind), threshold)
            }
            Test::InSet { start, len, in_set_left, missing_left } => {
                let set = &categories[start as usize..(start + len) as usize];
                let set = match self.known_sets.get(set) {
                    Some(&set) => set,
                    None => {
                        let number = self.sets.len() as u32;
                        self.sets.push(set.to_vec());
                        self.known_sets.insert(set.to_vec(), number);
                        number
                    }
                };
                (self.input(Kind::Set { column, set, in_set_left, missing_left }), 0)
            }
        }
    }

    fn input(&mut self, kind: Kind) -> u32 {
        if let Some(&index) = self.known.get(&kind) {
            return index;
        }
        let (Kind::Number { column, .. } | Kind::Set { column, .. }) = kind;
        let position = self.positions.get(column as usize).copied().unwrap_or(usize::MAX);
        let index = self.list.len() as u32;
        self.list.push(Input { position, kind });
        self.known.insert(kind, index);
        index
    }

    /// The key of one input for one value.
    #[inline(always)]
    fn key_of(&self, kind: Kind, x: f32) -> i32 {
        match kind {
            Kind::Number { missing_left, zero_is_missing, .. } => {
                number(x, least(zero_is_missing), side(missing_left))
            }
            Kind::Set { set, in_set_left, missing_left, .. } => {
                let set = &self.sets[set as usize];
                let test =
                    Test::InSet { start: 0, len: set.len() as u32, in_set_left, missing_left };
                side(test.goes_left(x, self.library, set))
            }
        }
    }

    /// One row's keys, one per input. Always at least one, so that a leaf may name input 0.
    pub fn fill_row(&self, row: &[f32], keys: &mut Vec<i32>) {
        keys.clear();
        keys.extend(self.list.iter().map(|input| {
            self.key_of(input.kind, row.get(input.position).copied().unwrap_or(f32::NAN))
        }));
        if keys.is_empty() {
            keys.push(0);
        }
    }

    /// To be called when the last question was asked.
    pub fn finish(&mut self) {
        self.by_position = (0..self.list.len() as u32).collect();
        self.by_position.sort_by_key(|&number| self.list[number as usize].position);
    }

    /// The keys of up to [`LANES`] rows; those of absent rows are arbitrary but harmless. Numbers, nearly all there
    /// is, are taken without a branch: which values are missing cannot be guessed.
    #[inline(always)]
    pub fn fill_block(&self, rows: &[f32], columns: usize, block: &mut Vec<[i32; LANES]>) {
        debug_assert_eq!(self.by_position.len(), self.list.len(), "`finish` was not called");
        block.resize(self.list.len().max(1), [0; LANES]);
        // An absent row is the first one again.
        let starts: [usize; LANES] = std::array::from_fn(|lane| {
            if (lane + 1) * columns <= rows.len() { lane * columns } else { 0 }
        });
        let mut values = [f32::NAN; LANES];
        let mut taken = usize::MAX;
        for &input in &self.by_position {
            let Input { position, kind } = self.list[input as usize];
            if position != taken {
                taken = position;
                values = if position < columns {
                    starts.map(|start| rows[start + position])
                } else {
                    [f32::NAN; LANES]
                };
            }
            let keys = &mut block[input as usize];
            match kind {
                Kind::Number { missing_left, zero_is_missing, .. } => {
                    let (least, missing) = (least(zero_is_missing), side(missing_left));
                    for lane in 0..LANES {
                        keys[lane] = number(values[lane], least, missing);
                    }
                }
                Kind::Set { .. } => *keys = values.map(|x| self.key_of(kind, x)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_the_floats() {
        let smallest = f32::from_bits(1);
        let rising = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.5,
            -1.0,
            -f32::MIN_POSITIVE,
            -smallest,
            0.0,
            smallest,
            1e-35,
            1.0,
            1.5,
            f32::MAX,
            f32::INFINITY,
        ];
        for pair in rising.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
        assert_eq!(key(-0.0), key(0.0));
        assert!(LEFT < NEVER && NEVER < key(f32::NEG_INFINITY) && key(f32::INFINITY) < RIGHT);
    }
}
