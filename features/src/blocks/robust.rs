//! What is usual for one numeric attribute of an account, whatever a few strange values are: a mean and a mean absolute deviation that
//! a value can only pull so far, and decayed counts of values outside of them.
//!
//! An M-estimate of location with a clipped influence (Huber, 1964), one step per value. A burst of strange values inflates the
//! deviation of [`numeric`](super::numeric) and hides the next one; here it does not. Depends on the order, so late events are left
//! out. Size: 20 bytes per attribute.

use super::{Moment, Order, Out, number};
use bytemuck::{Pod, Zeroable};

/// Columns per attribute before those per half-life, with units (`value` is the attribute's own unit).
pub const COLUMNS: [(&str, &str); 3] = [
    ("robust_mean", "value"),
    ("robust_z", "mean absolute deviations"),
    ("robust_ratio", "share of robust mean"),
];
/// Half-lives at which outliers are counted, by their places.
pub const OUTLIERS_AT: [usize; 2] = [1, 2];

/// A value moves the estimates as if it were at most so many deviations away.
const CLIP: f32 = 3.0;
/// A value so many deviations away is an outlier.
const OUTLIER: f32 = 5.0;
/// So many values are needed before one can be strange.
const VALUES_MIN: u32 = 3;
/// A value's least weight in the estimates: what is usual may change.
const SHARE_MIN: f32 = 0.01;
/// Scores are cut here.
const Z_MAX: f32 = 100.0;

/// State of one attribute; `count == 0` is empty.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Robust {
    /// Values seen in order; stops at the maximum.
    pub count: u32,
    /// Robust mean.
    pub mean: f32,
    /// Robust mean absolute deviation.
    pub deviation: f32,
    /// Decayed number of outliers, per [`OUTLIERS_AT`], as of the profile's last event.
    pub outliers: [f32; 2],
}

impl Robust {
    /// Moves the counts to the moment and takes the value, if the event is in order. Not-a-number and infinite values are absent.
    pub fn observe(&mut self, moment: &Moment, value: f32) {
        if !matches!(moment.order, Order::First | Order::InOrder) {
            return;
        }
        for (outliers, at) in self.outliers.iter_mut().zip(OUTLIERS_AT) {
            *outliers *= moment.advance[at];
            if *outliers < 1e-12 {
                *outliers = 0.0;
            }
        }
        let Some(x) = number(value) else { return };
        if self.z(x).abs() > OUTLIER {
            self.outliers.iter_mut().for_each(|outliers| *outliers += 1.0);
        }
        self.count = self.count.saturating_add(1);
        let share = (1.0 / self.count as f32).max(SHARE_MIN);
        if self.count <= VALUES_MIN {
            self.mean += (x - self.mean) * share;
            if self.count > 1 {
                self.deviation += ((x - self.mean).abs() - self.deviation) * share;
            }
            return;
        }
        let reach = CLIP * self.scale();
        let off = (x - self.mean).clamp(-reach, reach);
        self.deviation += (off.abs() - self.deviation) * share;
        self.mean += off * share;
    }

    /// The deviation; one of nothing is taken as a thousandth of the mean.
    fn scale(&self) -> f32 {
        self.deviation.max(1e-3 * self.mean.abs() + 1e-6)
    }

    fn z(&self, x: f32) -> f32 {
        if self.count < VALUES_MIN {
            return f32::NAN;
        }
        ((x - self.mean) / self.scale()).clamp(-Z_MAX, Z_MAX)
    }

    /// The history before this event, and the event's value against it. NaN: nothing seen yet, no value now, or (the score) fewer than
    /// three before; outliers are 0 then.
    pub(crate) fn extract(&self, moment: &Moment, value: f32, out: &mut Out) {
        let x = number(value).unwrap_or(f32::NAN);
        let known = self.count > 0;
        out.push(if known { self.mean } else { f32::NAN });
        out.push(self.z(x));
        let has_ratio = known && self.mean.abs() > 1e-12;
        out.push(if has_ratio { (x / self.mean).clamp(-1e6, 1e6) } else { f32::NAN });
        for (outliers, at) in self.outliers.iter().zip(OUTLIERS_AT) {
            out.push(outliers * moment.advance[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::head::Head;
    use crate::decay::HalfLives;
    use proptest::prelude::*;

    const HALF_LIVES: HalfLives = HalfLives { ms: [1_000, 10_000, 100_000, 1_000_000] };

    fn run(values: &[(i64, f32)]) -> (Head, Robust) {
        let (mut head, mut state) = (Head::default(), Robust::default());
        for &(ts_ms, x) in values {
            let moment = Moment::of(&head, ts_ms, &HALF_LIVES, i64::MAX);
            state.observe(&moment, x);
            head.observe(&moment, 0);
        }
        (head, state)
    }

    fn row(values: &[(i64, f32)], ts_ms: i64, x: f32) -> [f32; 5] {
        let (head, state) = run(values);
        let mut row = [0.0; 5];
        let moment = Moment::of(&head, ts_ms, &HALF_LIVES, i64::MAX);
        state.extract(&moment, x, &mut Out::new(&mut row));
        row
    }

    /// Values around 10, between 8 and 12.
    fn ordinary(n: i64) -> Vec<(i64, f32)> {
        (0..n).map(|i| (i, 8.0 + (i * 7 % 41) as f32 / 10.0)).collect()
    }

    #[test]
    fn a_burst_of_strange_values_does_not_hide_the_next() {
        let mut values = ordinary(60);
        values.extend((0..4).map(|i| (60 + i, 50.0)));
        let after = row(&values, 64, 50.0);
        assert!((after[0] - 10.0).abs() < 1.0, "{after:?}");
        assert!(after[1] > 20.0 && (after[2] - 5.0).abs() < 0.6, "{after:?}");
        assert!(after[3] > 3.9 && after[4] > 3.9, "{after:?}");
        let later = row(&values, 10_063, 10.0);
        assert!(
            (later[3] - 2.0).abs() < 0.01 && later[4] > 3.7 && later[1].abs() < 1.0,
            "{later:?}"
        );
    }

    #[test]
    fn what_is_usual_may_change() {
        let mut values = ordinary(60);
        values.extend((0..600).map(|i| (60 + i, 50.0 + (i % 5) as f32)));
        assert!(row(&values, 700, 52.0)[1].abs() < 3.0);
    }

    #[test]
    fn too_few_values_are_no_measure() {
        assert!(row(&[], 5, 1.0)[..3].iter().all(|x| x.is_nan()));
        assert!(row(&[(0, 1.0), (1, 1.0)], 5, 9.0)[1].is_nan());
        let same = row(&[(0, 1.0), (1, 1.0), (2, 1.0)], 5, 9.0);
        assert_eq!((same[0], same[1], same[2]), (1.0, Z_MAX, 9.0));
        assert!(row(&ordinary(9), 20, f32::NAN)[1..3].iter().all(|x| x.is_nan()));
    }

    proptest! {
        #[test]
        fn nothing_poisons_it(values in proptest::collection::vec((any::<i64>(), any::<f32>()), 0..60), x in any::<f32>()) {
            let (head, s) = run(&values);
            prop_assert!(s.mean.is_finite() && s.deviation.is_finite() && s.deviation >= 0.0);
            let mut row = [0.0; 5];
            s.extract(&Moment::of(&head, 9, &HALF_LIVES, i64::MAX), x, &mut Out::new(&mut row));
            prop_assert!(row.iter().all(|x| !x.is_infinite()) && row[3] >= 0.0 && row[4] >= 0.0);
        }

        #[test]
        fn ordinary_values_stay_within_their_range(values in proptest::collection::vec(-1e6f32..1e6, 3..80)) {
            let timed: Vec<(i64, f32)> = values.iter().enumerate().map(|(i, x)| (i as i64, *x)).collect();
            let (_, s) = run(&timed);
            let least = values.iter().copied().fold(f32::INFINITY, f32::min);
            let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            prop_assert!(s.mean >= least - 1.0 && s.mean <= most + 1.0, "{} {least} {most}", s.mean);
        }
    }
}
