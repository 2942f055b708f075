//! Sliding windows exact enough for rules: a ring of tiles, each a 24th of the window.
//!
//! The value is the sum of the tiles of the last window, the oldest weighted by the share of it that the window still covers; about 0.6 %
//! mean error on bursty streams. Late events land in their own tile while it is live. Size: 64 bytes per count, 112 per sum.

use super::Moment;
use bytemuck::{Pod, Zeroable};

/// Tiles per window.
pub const TILES: usize = 24;
/// Tiles kept: the window's own, and the one that it partly covers.
const RING: usize = TILES + 1;

/// A window over a count. Tiles stop at 65535.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct CountRing {
    /// Number of the newest tile since the epoch.
    pub newest: i64,
    /// Counts, at tile number modulo 25.
    pub tiles: [u16; RING],
    /// Zero.
    pub reserved: [u16; 3],
}

/// A window over a sum.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct SumRing {
    /// Number of the newest tile since the epoch.
    pub newest: i64,
    /// Sums, at tile number modulo 25.
    pub tiles: [f32; RING],
    /// Zero.
    pub reserved: f32,
}

/// Milliseconds of one tile: the window's 24th, to the nearest millisecond, at least 1.
pub fn tile_ms(window_ms: i64) -> i64 {
    (window_ms.max(0).saturating_add(TILES as i64 / 2) / TILES as i64).max(1)
}

/// What a tile holds.
trait Tile: Copy + Default {
    fn plus(self, weight: f32) -> Self;
    fn value(self) -> f32;
}

impl Tile for u16 {
    #[inline]
    fn plus(self, weight: f32) -> u16 {
        self.saturating_add(weight as u16)
    }
    #[inline]
    fn value(self) -> f32 {
        f32::from(self)
    }
}

impl Tile for f32 {
    #[inline]
    fn plus(self, weight: f32) -> f32 {
        self + weight
    }
    #[inline]
    fn value(self) -> f32 {
        self
    }
}

#[inline]
fn place(tile: i64) -> usize {
    tile.rem_euclid(RING as i64) as usize
}

fn add<T: Tile>(newest: &mut i64, tiles: &mut [T; RING], tile: i64, weight: f32) {
    if tile > *newest {
        let passed = tile - *newest;
        if passed >= RING as i64 {
            *tiles = [T::default(); RING];
        } else {
            for gone in 1..=passed {
                tiles[place(*newest + gone)] = T::default();
            }
        }
        *newest = tile;
    } else if *newest - tile >= RING as i64 {
        return;
    }
    let cell = &mut tiles[place(tile)];
    *cell = cell.plus(weight);
}

/// A point in time, in tiles.
#[derive(Clone, Copy)]
struct Now {
    /// Tile that it falls in.
    tile: i64,
    /// Share of the oldest tile that a window ending here covers.
    oldest: f32,
}

impl Now {
    fn of(at_ms: i64, tile_ms: i64) -> Now {
        let tile = at_ms / tile_ms;
        Now { tile, oldest: 1.0 - (at_ms - tile * tile_ms) as f32 / tile_ms as f32 }
    }
}

fn sum<T: Tile>(newest: i64, tiles: &[T; RING], now: Now) -> f32 {
    let passed = now.tile.saturating_sub(newest);
    if passed >= RING as i64 {
        return 0.0;
    }
    let oldest = tiles[place(now.tile - TILES as i64)].value();
    if passed <= 0 {
        let all: f32 = tiles.iter().map(|t| t.value()).sum();
        return all - oldest * (1.0 - now.oldest);
    }
    let mut total = oldest * now.oldest;
    for tile in now.tile - TILES as i64 + 1..=newest {
        total += tiles[place(tile)].value();
    }
    total
}

/// What the event itself adds to the window at the moment, per unit of weight.
fn own_share(moment: &Moment, tile_ms: i64, now: Now) -> f32 {
    if !moment.accepted() {
        return 0.0;
    }
    if moment.ts_ms == moment.at_ms {
        return 1.0;
    }
    match now.tile - moment.ts_ms / tile_ms {
        behind if behind < TILES as i64 => 1.0,
        behind if behind == TILES as i64 => now.oldest,
        _ => 0.0,
    }
}

macro_rules! ring {
    ($name:ident) => {
        impl $name {
            /// Takes an event of this weight. Tiles that have passed are cleared; an event older than the ring is left out.
            pub fn observe(&mut self, moment: &Moment, tile_ms: i64, weight: f32) {
                if moment.accepted() {
                    add(&mut self.newest, &mut self.tiles, moment.ts_ms / tile_ms.max(1), weight);
                }
            }

            /// The window's value at the moment, with the event's own weight (0 for none).
            pub fn extract(&self, moment: &Moment, tile_ms: i64, weight: f32) -> f32 {
                let tile_ms = tile_ms.max(1);
                let now = Now::of(moment.at_ms, tile_ms);
                let kept = sum(self.newest, &self.tiles, now);
                if weight == 0.0 { kept } else { kept + weight * own_share(moment, tile_ms, now) }
            }
        }
    };
}
ring!(CountRing);
ring!(SumRing);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::head::Head;
    use crate::decay::HalfLives;
    use proptest::prelude::*;

    const HALF_LIVES: HalfLives = HalfLives { ms: [1_000, 10_000, 100_000, 1_000_000] };

    proptest! {
        /// Against a list of timestamps: never less than what surely lies in the window, never more than what may.
        #[test]
        fn lies_between_the_bounds(
            gaps in proptest::collection::vec((0i64..3_000, 0i64..8_000), 1..120),
            window_ms in 24i64..20_000,
        ) {
            let tile = tile_ms(window_ms);
            let (mut head, mut counts, mut sums) = (Head::default(), CountRing::default(), SumRing::default());
            let (mut clock, mut list) = (0i64, Vec::new());
            for (gap, back) in gaps {
                clock += gap;
                let ts_ms = if gap % 5 == 0 { (clock - back).max(0) } else { clock };
                let moment = Moment::of(&head, ts_ms, &HALF_LIVES, i64::MAX);
                let (with, with_sum) = (counts.extract(&moment, tile, 1.0), sums.extract(&moment, tile, 1.0));
                counts.observe(&moment, tile, 1.0);
                sums.observe(&moment, tile, 1.0);
                head.observe(&moment, 0);
                list.push(ts_ms);
                let now = moment.at_ms;
                let surely = list.iter().filter(|t| **t >= now / tile * tile - (TILES as i64 - 1) * tile).count() as f32;
                let maybe = list.iter().filter(|t| **t >= (now / tile - TILES as i64) * tile).count() as f32;
                prop_assert!(with >= surely - 1e-3 && with <= maybe + 1e-3, "{surely} <= {with} <= {maybe}");
                prop_assert!((with - with_sum).abs() < 1e-2);
                let after = Moment::of(&head, now, &HALF_LIVES, i64::MAX);
                prop_assert!((counts.extract(&after, tile, 0.0) - with).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn forgets_after_the_window_and_survives_any_time() {
        let tile = tile_ms(2_400);
        let head = Head::default();
        let mut ring = CountRing::default();
        let at = |ts_ms| Moment::of(&head, ts_ms, &HALF_LIVES, i64::MAX);
        for ts_ms in [0, 0, 50] {
            ring.observe(&at(ts_ms), tile, 1.0);
        }
        assert_eq!(ring.extract(&at(2_399), tile, 0.0), 3.0);
        assert_eq!(ring.extract(&at(2_450), tile, 0.0), 1.5);
        assert_eq!(ring.extract(&at(2_500), tile, 0.0), 0.0);
        for ts_ms in [i64::MAX / 2, i64::MAX, 0, 7_258_118_400_000] {
            ring.observe(&at(ts_ms), tile, 1.0);
            assert!(ring.extract(&at(ts_ms), tile, 1.0).is_finite());
        }
    }
}
