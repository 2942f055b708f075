//! What became known about a key's events: decayed counts of labelled and of bad ones, by when it became known, with a timestamp of
//! their own. Size: 64 bytes.

use super::Out;
use crate::decay::HalfLives;
use crate::limits::DECAYED_MIN;
use bytemuck::{Pod, Zeroable};

/// Before any label, a key is thought to have this share of bad events, with the weight of two labels.
const PRIOR_RATE: f32 = 0.02;
/// How many labels the prior weighs, for the lifetime rate and again for each half-life's.
const PRIOR_STRENGTH: f32 = 2.0;

/// State: `learned == 0` is empty.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Labels {
    /// When the latest label became known, milliseconds.
    pub last_ms: i64,
    /// Labels ever taken, retractions too; stops at the maximum.
    pub learned: u32,
    /// Labels in a row that say bad, up to the newest; 0 when it says good.
    pub streak: u32,
    /// Decayed number of labelled events, per half-life.
    pub labelled: [f32; 4],
    /// Decayed number of bad events, per half-life.
    pub bad: [f32; 4],
    /// Labelled events ever.
    pub labelled_total: f32,
    /// Bad events ever.
    pub bad_total: f32,
    /// When the first of the streak became known; without one, when the newest good label did. Milliseconds.
    pub streak_ms: i64,
}

/// One label, as a profile learns it.
///
/// A correction is a second one with the opposite deltas; given the first one's `ts_ms` and weight, it takes back exactly what was added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelSeen {
    /// When it became known (for a correction: when the first became known), milliseconds.
    pub ts_ms: i64,
    /// How sure it is, 0 to 1.
    pub weight: f32,
    /// Bad events more, or fewer.
    pub bad_delta: i8,
    /// Labelled events more, or fewer.
    pub labelled_delta: i8,
}

impl Labels {
    /// Takes a label of any age: decayed sums take late ones exactly. Weights are cut to 0..=1; not-a-number counts as 0.
    pub fn learn(&mut self, label: &LabelSeen, half_lives: &HalfLives) {
        let ts_ms = label.ts_ms.max(0);
        let weight = if label.weight > 0.0 { label.weight.min(1.0) } else { 0.0 };
        let mut share = [1.0; 4];
        if self.learned == 0 {
            self.last_ms = ts_ms;
        } else if ts_ms >= self.last_ms {
            let factors = half_lives.factors(ts_ms - self.last_ms);
            for (i, factor) in factors.into_iter().enumerate() {
                self.labelled[i] *= factor;
                self.bad[i] *= factor;
            }
            self.last_ms = ts_ms;
        } else {
            share = half_lives.factors(self.last_ms - ts_ms);
        }
        let labelled = weight * f32::from(label.labelled_delta);
        let bad = weight * f32::from(label.bad_delta);
        for (i, share) in share.into_iter().enumerate() {
            self.labelled[i] = settle(self.labelled[i] + labelled * share);
            self.bad[i] = settle(self.bad[i] + bad * share);
        }
        self.labelled_total += labelled;
        self.bad_total += bad;
        if weight > 0.0 {
            self.follow_streak(ts_ms, label);
        }
        self.learned = self.learned.saturating_add(1);
    }

    /// What is older than the streak, or than the good label that ended the last one, changes nothing; a label taken back leaves the
    /// streak's beginning where it is.
    fn follow_streak(&mut self, ts_ms: i64, label: &LabelSeen) {
        if ts_ms < self.streak_ms {
            return;
        }
        match (label.bad_delta, label.labelled_delta) {
            (1.., _) => {
                if self.streak == 0 {
                    self.streak_ms = ts_ms;
                }
                self.streak = self.streak.saturating_add(1);
            }
            (0, 1..) => (self.streak, self.streak_ms) = (0, ts_ms),
            (..0, _) => self.streak = self.streak.saturating_sub(1),
            _ => {}
        }
    }

    /// Bad events per half-life, smoothed bad rate per half-life, labelled and bad events ever, the length of the streak of bad labels
    /// that the newest ends and seconds since its first became known: twelve columns. Counts are 0 and the rest NaN before the first
    /// label; a streak of nothing has no age.
    ///
    /// The lifetime rate is drawn to 2 %, each half-life's to the lifetime rate, both with the weight of two labels.
    pub(crate) fn extract(&self, at_ms: i64, half_lives: &HalfLives, out: &mut Out) {
        if self.learned == 0 {
            (0..4).for_each(|_| out.push(0.0));
            (0..4).for_each(|_| out.push(f32::NAN));
            (0..3).for_each(|_| out.push(0.0));
            out.push(f32::NAN);
            return;
        }
        let factors = half_lives.factors(at_ms.saturating_sub(self.last_ms));
        let bad = |i: usize| (self.bad[i] * factors[i]).max(0.0);
        (0..4).for_each(|i| out.push(bad(i)));
        let labelled_total = self.labelled_total.max(0.0);
        let bad_total = self.bad_total.clamp(0.0, labelled_total.max(0.0));
        let lifetime =
            (bad_total + PRIOR_STRENGTH * PRIOR_RATE) / (labelled_total + PRIOR_STRENGTH);
        for (i, factor) in factors.iter().enumerate() {
            let labelled = (self.labelled[i] * factor).max(bad(i));
            out.push((bad(i) + PRIOR_STRENGTH * lifetime) / (labelled + PRIOR_STRENGTH));
        }
        out.push(labelled_total);
        out.push(self.bad_total.max(0.0));
        out.push(self.streak as f32);
        let age_ms = at_ms.saturating_sub(self.streak_ms).max(0);
        out.push(if self.streak > 0 { age_ms as f32 / 1000.0 } else { f32::NAN });
    }
}

fn settle(value: f32) -> f32 {
    if value.abs() < DECAYED_MIN { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HALF_LIVES: HalfLives = HalfLives { ms: [1_000, 10_000, 100_000, 1_000_000] };

    fn row(state: &Labels, at_ms: i64) -> [f32; 12] {
        let mut row = [0.0; 12];
        state.extract(at_ms, &HALF_LIVES, &mut Out::new(&mut row));
        row
    }

    #[test]
    fn rates_go_from_the_prior_to_what_is_seen() {
        let mut state = Labels::default();
        let empty = row(&state, 5);
        assert!(empty[..4].iter().all(|x| *x == 0.0) && empty[4..8].iter().all(|x| x.is_nan()));
        for i in 0..50 {
            state.learn(
                &LabelSeen { ts_ms: i, weight: 1.0, bad_delta: 1, labelled_delta: 1 },
                &HALF_LIVES,
            );
        }
        let full = row(&state, 50);
        assert!(full[7] > 0.95 && full[3] > 49.0 && full[8] == 50.0 && full[9] == 50.0, "{full:?}");
        let later = row(&state, 10_000_000);
        assert!(later[4] > 0.9 && later[0] == 0.0, "the lifetime stands in: {later:?}");
    }

    #[test]
    fn a_streak_lasts_until_a_good_label() {
        let mut state = Labels::default();
        let mut learn = |ts_ms, bad_delta, labelled_delta| {
            let label = LabelSeen { ts_ms, weight: 1.0, bad_delta, labelled_delta };
            state.learn(&label, &HALF_LIVES);
            let r = row(&state, 100_000);
            (r[10], r[11])
        };
        assert!(learn(10_000, 0, 1).1.is_nan());
        assert_eq!(learn(20_000, 1, 1), (1.0, 80.0));
        assert_eq!(learn(30_000, 1, 1), (2.0, 80.0));
        assert_eq!(learn(5_000, 0, 1), (2.0, 80.0), "older than the streak");
        assert_eq!(learn(30_000, -1, -1), (1.0, 80.0), "taken back");
        let ended = learn(40_000, 0, 1);
        assert!(ended.0 == 0.0 && ended.1.is_nan());
        assert_eq!(learn(35_000, 1, 1).0, 0.0, "older than what ended it");
        assert_eq!(learn(60_000, 1, 1), (1.0, 40.0));
    }

    proptest! {
        #[test]
        fn a_correction_takes_back_what_was_added(times in proptest::collection::vec((0i64..300_000, 0.1f32..1.0), 1..30), which in 0usize..30) {
            let mut state = Labels::default();
            let mut without = Labels::default();
            let chosen = which % times.len();
            for (i, &(ts_ms, weight)) in times.iter().enumerate() {
                let label = LabelSeen { ts_ms, weight, bad_delta: 1, labelled_delta: 1 };
                state.learn(&label, &HALF_LIVES);
                if i != chosen { without.learn(&label, &HALF_LIVES); }
            }
            let (ts_ms, weight) = times[chosen];
            state.learn(&LabelSeen { ts_ms, weight, bad_delta: -1, labelled_delta: -1 }, &HALF_LIVES);
            let (a, b) = (row(&state, 400_000), row(&without, 400_000));
            for i in 0..4 { prop_assert!((a[i] - b[i]).abs() < 1e-3, "{} {}", a[i], b[i]); }
            prop_assert!((a[8] - b[8]).abs() < 1e-3);
        }

        #[test]
        fn nothing_poisons_it(labels in proptest::collection::vec((any::<i64>(), any::<f32>(), any::<i8>(), any::<i8>()), 0..40), at in any::<i64>()) {
            let mut state = Labels::default();
            for (ts_ms, weight, bad_delta, labelled_delta) in labels {
                state.learn(&LabelSeen { ts_ms, weight, bad_delta, labelled_delta }, &HALF_LIVES);
            }
            let r = row(&state, at);
            prop_assert!(r.iter().all(|x| !x.is_infinite()) && r[..4].iter().all(|x| *x >= 0.0));
            prop_assert!(r[4..8].iter().all(|x| x.is_nan() || (0.0..=1.0).contains(x)), "{:?}", r);
        }
    }
}
