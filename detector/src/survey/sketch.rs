//! Small summaries with a fixed memory: key fingerprints, samples by hash, histograms of magnitudes,
//! and sets that grow from a list to an estimate.
//!
//! All of them give the same answer for the same input sequence; none lets the order of a hash map out.

use std::collections::hash_map::HashMap;
use std::hash::{BuildHasher, Hasher};

/// Hash of a key's text: FNV-1a, then the finaliser of splitmix64 so that the high bits are usable as
/// a sampling rule. Accounts, targets and keys of entities share it, so that their samples can be met.
pub fn fingerprint(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

/// The finaliser of splitmix64.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hashes keys that are fingerprints already: fixed, so that nothing depends on the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedState;

/// See [`FixedState`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedHasher(u64);

impl BuildHasher for FixedState {
    type Hasher = FixedHasher;
    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(0)
    }
}

impl Hasher for FixedHasher {
    fn finish(&self) -> u64 {
        mix(self.0)
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }
}

/// Keeps a value per key for all keys while they fit, and for a fair share of them after that: whenever
/// the cap is passed, the half of the keys whose hash has its next high bit set is dropped. A key that is
/// still there was there from its first appearance, so its value is complete.
#[derive(Clone, Debug)]
pub struct Sample<V> {
    values: HashMap<u64, V, FixedState>,
    entries_max: usize,
    halvings: u32,
}

impl<V> Sample<V> {
    /// An empty sample of at most `entries_max` keys.
    pub fn new(entries_max: usize) -> Self {
        Self {
            values: HashMap::with_hasher(FixedState),
            entries_max: entries_max.max(1),
            halvings: 0,
        }
    }

    /// Whether a key with this hash belongs to the sample.
    pub fn holds(&self, hash: u64) -> bool {
        hash.leading_zeros() >= self.halvings
    }

    /// The key's value, made by `first` when it is new; `None` when the key is not in the sample.
    pub fn entry(&mut self, hash: u64, first: impl FnOnce() -> V) -> Option<&mut V> {
        if !self.holds(hash) {
            return None;
        }
        if self.values.len() >= self.entries_max && !self.values.contains_key(&hash) {
            self.shrink_to(self.entries_max - 1);
            if !self.holds(hash) {
                return None;
            }
        }
        Some(self.values.entry(hash).or_insert_with(first))
    }

    /// Lowers the cap (never raises it) and drops keys until they fit.
    pub fn lower_cap(&mut self, entries_max: usize) {
        self.entries_max = self.entries_max.min(entries_max.max(1));
        self.shrink_to(self.entries_max);
    }

    fn shrink_to(&mut self, entries: usize) {
        while self.values.len() > entries && self.halvings < 63 {
            self.halvings += 1;
            let zeros = self.halvings;
            self.values.retain(|hash, _| hash.leading_zeros() >= zeros);
        }
    }

    /// The value of a key that is in the sample.
    pub fn get(&self, hash: u64) -> Option<&V> {
        self.values.get(&hash)
    }

    /// How many distinct keys there were: exact while they all fitted.
    pub fn distinct(&self) -> u64 {
        (self.values.len() as u64) << self.halvings
    }

    /// Whether all keys are in the sample.
    pub fn is_complete(&self) -> bool {
        self.halvings == 0
    }

    /// One over the share of keys that are kept.
    pub fn scale(&self) -> u64 {
        1 << self.halvings
    }

    /// How many times the kept share was halved.
    pub fn halvings(&self) -> u32 {
        self.halvings
    }

    /// Keys and values in the order of the hashes.
    pub fn sorted(&self) -> Vec<(u64, &V)> {
        let mut all: Vec<(u64, &V)> =
            self.values.iter().map(|(hash, value)| (*hash, value)).collect();
        all.sort_unstable_by_key(|(hash, _)| *hash);
        all
    }

    /// How many keys are kept.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no key is kept.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

const OCTAVE_BITS: u32 = 3;
const BINS: usize = ((64 - OCTAVE_BITS as usize) + 1) << OCTAVE_BITS;

/// Histogram of whole numbers over their magnitude, eight bins per octave: quantiles are high by at
/// most one part in eight, exact below 16, and exact where a bin holds one value only.
#[derive(Clone, Debug)]
pub struct Magnitudes {
    bins: Vec<u64>,
    greatest: Vec<u64>,
    count: u64,
}

impl Default for Magnitudes {
    fn default() -> Self {
        Self { bins: vec![0; BINS], greatest: vec![0; BINS], count: 0 }
    }
}

impl Magnitudes {
    fn bin(value: u64) -> usize {
        if value < 1 << OCTAVE_BITS {
            return value as usize;
        }
        let octave = 63 - value.leading_zeros();
        let step = (value >> (octave - OCTAVE_BITS)) & ((1 << OCTAVE_BITS) - 1);
        (((octave - OCTAVE_BITS + 1) << OCTAVE_BITS) as usize) + step as usize
    }

    fn low(bin: usize) -> u64 {
        if bin < 1 << OCTAVE_BITS {
            return bin as u64;
        }
        let octave = (bin >> OCTAVE_BITS) as u32 - 1 + OCTAVE_BITS;
        let step = (bin & ((1 << OCTAVE_BITS) - 1)) as u64;
        (1 << octave) | (step << (octave - OCTAVE_BITS))
    }

    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        let bin = Self::bin(value);
        self.bins[bin] += 1;
        self.greatest[bin] = self.greatest[bin].max(value);
        self.count += 1;
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest value, exactly.
    pub fn max(&self) -> u64 {
        self.greatest.iter().copied().max().unwrap_or(0)
    }

    /// A value that a share `q` of all do not exceed; `None` when there is none.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((self.count as f64 * q).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        for (count, greatest) in self.bins.iter().zip(&self.greatest) {
            seen += count;
            if seen >= rank {
                return Some(*greatest);
            }
        }
        Some(self.max())
    }

    /// The share of values below `value` (by whole bins); 0 when there is none.
    pub fn share_below(&self, value: u64) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let below: u64 = self.bins[..Self::bin(value)].iter().sum();
        below as f64 / self.count as f64
    }

    /// Counts per half octave with the lowest value of each, for looking at the shape.
    pub fn half_octaves(&self) -> Vec<(u64, u64)> {
        self.bins
            .chunks(1 << (OCTAVE_BITS - 1))
            .enumerate()
            .map(|(index, bins)| (Self::low(index << (OCTAVE_BITS - 1)), bins.iter().sum()))
            .collect()
    }
}

const FEW: usize = 6;
const LISTED_MAX: usize = 48;
const REGISTERS: usize = 64;

/// How many distinct things there were: a list while they are few, then a HyperLogLog of 64 registers
/// (Flajolet et al. 2007), about 13 % off.
#[derive(Clone, Debug)]
pub enum Members {
    /// Up to six fingerprints in place.
    Few(u8, [u32; FEW]),
    /// Up to 48 fingerprints.
    Listed(Vec<u32>),
    /// Too many to list.
    Counted(Box<[u8; REGISTERS]>),
}

impl Default for Members {
    fn default() -> Self {
        Members::Few(0, [0; FEW])
    }
}

impl Members {
    /// Adds one; true when it surely was not there before.
    pub fn add(&mut self, hash: u64) -> bool {
        let short = hash as u32;
        match self {
            Members::Few(count, list) => {
                let used = usize::from(*count);
                if list[..used].contains(&short) {
                    return false;
                }
                if used < FEW {
                    list[used] = short;
                    *count += 1;
                } else {
                    let mut longer = list.to_vec();
                    longer.push(short);
                    *self = Members::Listed(longer);
                }
                true
            }
            Members::Listed(list) => {
                if list.contains(&short) {
                    return false;
                }
                if list.len() < LISTED_MAX {
                    list.push(short);
                } else {
                    let mut registers = Box::new([0_u8; REGISTERS]);
                    for known in list.iter() {
                        count_into(&mut registers, mix(u64::from(*known)));
                    }
                    count_into(&mut registers, mix(u64::from(short)));
                    *self = Members::Counted(registers);
                }
                true
            }
            Members::Counted(registers) => count_into(registers, mix(u64::from(short))),
        }
    }

    /// How many, exactly up to 48.
    pub fn count(&self) -> u64 {
        match self {
            Members::Few(count, _) => u64::from(*count),
            Members::Listed(list) => list.len() as u64,
            Members::Counted(registers) => {
                let inverse: f64 =
                    registers.iter().map(|rank| 1.0 / (1_u64 << (*rank).min(62)) as f64).sum();
                let m = REGISTERS as f64;
                let raw = 0.709 * m * m / inverse;
                let empty = registers.iter().filter(|rank| **rank == 0).count();
                let counted =
                    if raw <= 2.5 * m && empty > 0 { m * (m / empty as f64).ln() } else { raw };
                (counted.round() as u64).max(LISTED_MAX as u64 + 1)
            }
        }
    }

    /// The members, when they are listed.
    pub fn list(&self) -> Option<&[u32]> {
        match self {
            Members::Few(count, list) => Some(&list[..usize::from(*count)]),
            Members::Listed(list) => Some(list),
            Members::Counted(_) => None,
        }
    }
}

fn count_into(registers: &mut [u8; REGISTERS], hash: u64) -> bool {
    let register = (hash & (REGISTERS as u64 - 1)) as usize;
    let rank = ((hash >> 6) | (1 << 58)).trailing_zeros() as u8 + 1;
    let grown = rank > registers[register];
    if grown {
        registers[register] = rank;
    }
    grown
}

/// Longer names are not followed.
const NAME_BYTES_MAX: usize = 256;

/// Names in the order of their first appearance, up to a cap, with a guess for the next one: fields come
/// in the same order in most events.
#[derive(Clone, Debug)]
pub struct Names {
    list: Vec<String>,
    places: HashMap<u64, usize, FixedState>,
    names_max: usize,
    beyond: u64,
}

impl Names {
    /// No name yet, at most `names_max`.
    pub fn new(names_max: usize) -> Self {
        Self { list: Vec::new(), places: HashMap::with_hasher(FixedState), names_max, beyond: 0 }
    }

    /// The place of a name, which gets one if there is room; `guess` is tried first.
    pub fn place(&mut self, name: &str, guess: usize) -> Option<usize> {
        if self.list.get(guess).is_some_and(|known| known == name) {
            return Some(guess);
        }
        let hash = fingerprint(name);
        if let Some(place) = self.places.get(&hash) {
            return Some(*place);
        }
        if self.list.len() >= self.names_max || name.len() > NAME_BYTES_MAX {
            self.beyond += 1;
            return None;
        }
        self.places.insert(hash, self.list.len());
        self.list.push(name.to_owned());
        Some(self.list.len() - 1)
    }

    /// All names, by place.
    pub fn list(&self) -> &[String] {
        &self.list
    }

    /// How many appearances of names found no room.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn bins_are_in_order_and_invertible() {
        let mut last = 0;
        for value in (0..4096).chain([1 << 20, (1 << 40) + 5, u64::MAX / 2, u64::MAX]) {
            let bin = Magnitudes::bin(value);
            assert!(bin >= last && bin < BINS, "{value}");
            last = bin;
            assert!(Magnitudes::low(bin) <= value);
            assert!(value - Magnitudes::low(bin) <= value / 8);
        }
    }

    proptest! {
        #[test]
        fn quantiles_are_close(mut values in prop::collection::vec(0_u64..1_000_000, 1..300), q in 0.01_f64..1.0) {
            let mut sketch = Magnitudes::default();
            for value in &values {
                sketch.add(*value);
            }
            values.sort_unstable();
            let rank = ((values.len() as f64 * q).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let got = sketch.quantile(q).unwrap_or(0);
            prop_assert!(got >= exact && got <= exact + exact / 8, "{got} for {exact}");
        }

        #[test]
        fn samples_keep_whole_values(keys in prop::collection::vec(0_u64..500, 1..800), cap in 1_usize..64) {
            let mut sample: Sample<u32> = Sample::new(cap);
            for key in &keys {
                if let Some(count) = sample.entry(mix(*key), || 0) {
                    *count += 1;
                }
            }
            prop_assert!(sample.len() <= cap);
            for (hash, count) in sample.sorted() {
                let exact = keys.iter().filter(|key| mix(**key) == hash).count();
                prop_assert_eq!(exact, *count as usize);
            }
            let distinct: BTreeSet<u64> = keys.iter().copied().collect();
            if distinct.len() <= cap {
                prop_assert_eq!(sample.distinct(), distinct.len() as u64);
            }
        }

        #[test]
        fn members_count_what_they_saw(count in 0_u64..2000) {
            let mut members = Members::default();
            for value in 0..count {
                members.add(mix(value));
                members.add(mix(value / 2));
            }
            let error = members.count().abs_diff(count);
            prop_assert!(if count <= 48 { error == 0 } else { error <= count * 6 / 10 }, "{error} of {count}");
        }
    }
}
