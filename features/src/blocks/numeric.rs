//! One numeric attribute: lifetime mean, deviation, minimum and maximum, and the same mean and deviation decayed at the longest half-life.
//!
//! Welford's update (1962), and West's weighted form (1979) for the decayed pair. Size: 32 bytes per attribute.

use super::{Moment, Out, number};
use bytemuck::{Pod, Zeroable};

/// Columns per attribute, with units (`value` is the attribute's own unit).
pub const COLUMNS: [(&str, &str); 8] = [
    ("mean", "value"),
    ("sd", "value"),
    ("min", "value"),
    ("max", "value"),
    ("recent_mean", "value"),
    ("z", "sd"),
    ("recent_z", "sd"),
    ("ratio", "share of mean"),
];

/// Scores are cut here: beyond it, further is no stranger.
const Z_MAX: f32 = 100.0;

/// State of one attribute. Means are over the values present; `count == 0` is empty.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Numeric {
    /// Values seen; stops at the maximum.
    pub count: u32,
    /// Lifetime mean.
    pub mean: f32,
    /// Lifetime sum of squared deviations.
    pub m2: f32,
    /// Least value.
    pub min: f32,
    /// Greatest value.
    pub max: f32,
    /// Decayed number of values, as of the profile's last event.
    pub recent_weight: f32,
    /// Decayed mean.
    pub recent_mean: f32,
    /// Decayed sum of squared deviations.
    pub recent_m2: f32,
}

impl Numeric {
    /// Moves the decayed pair to the moment and takes the value. Not-a-number and infinite values are absent.
    pub fn observe(&mut self, moment: &Moment, value: f32) {
        if !moment.accepted() {
            return;
        }
        self.recent_weight *= moment.advance[3];
        self.recent_m2 *= moment.advance[3];
        if self.recent_weight < 1e-12 {
            (self.recent_weight, self.recent_m2) = (0.0, 0.0);
        }
        let Some(x) = number(value) else { return };
        (self.min, self.max) =
            if self.count == 0 { (x, x) } else { (self.min.min(x), self.max.max(x)) };
        self.count = self.count.saturating_add(1);
        let wide = f64::from(x);
        let off = wide - f64::from(self.mean);
        let mean = f64::from(self.mean) + off / f64::from(self.count);
        self.m2 = squares(f64::from(self.m2) + off * (wide - mean));
        self.mean = mean as f32;

        let share = f64::from(moment.weight[3]);
        let weight = f64::from(self.recent_weight) + share;
        if weight > 1e-12 {
            let off = wide - f64::from(self.recent_mean);
            let mean = f64::from(self.recent_mean) + off * share / weight;
            self.recent_m2 = squares(f64::from(self.recent_m2) + share * off * (wide - mean));
            self.recent_mean = mean as f32;
            self.recent_weight = weight as f32;
        }
    }

    /// The history before this event, and the event's value against it. NaN: nothing seen yet, or (scores) no value now or fewer than
    /// two before.
    pub(crate) fn extract(&self, value: f32, out: &mut Out) {
        if self.count == 0 {
            (0..COLUMNS.len()).for_each(|_| out.push(f32::NAN));
            return;
        }
        let sd = if self.count > 1 { (self.m2 / (self.count - 1) as f32).sqrt() } else { f32::NAN };
        // Weighted variance is biased low for few values; the score's floor below covers that.
        let recent_sd = if self.recent_weight > 0.0 {
            (self.recent_m2 / self.recent_weight).sqrt()
        } else {
            f32::NAN
        };
        let x = number(value).unwrap_or(f32::NAN);
        out.push(self.mean);
        out.push(sd);
        out.push(self.min);
        out.push(self.max);
        out.push(if self.recent_weight > 0.0 { self.recent_mean } else { f32::NAN });
        out.push(score(x, self.mean, sd));
        out.push(if self.count > 1 { score(x, self.recent_mean, recent_sd) } else { f32::NAN });
        out.push(if self.mean.abs() > 1e-12 { (x / self.mean).clamp(-1e6, 1e6) } else { f32::NAN });
    }
}

/// A sum of squares in 32 bits: at their greatest number it stops, so that values beyond 1e18 have a deviation that is too small, and
/// never an infinite one.
fn squares(sum: f64) -> f32 {
    sum.clamp(0.0, f64::from(f32::MAX)) as f32
}

/// How many deviations `x` is from the mean. A deviation of nothing is taken as a thousandth of the mean.
fn score(x: f32, mean: f32, sd: f32) -> f32 {
    let floor = 1e-3 * mean.abs() + 1e-6;
    if sd.is_nan() { f32::NAN } else { ((x - mean) / sd.max(floor)).clamp(-Z_MAX, Z_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::head::Head;
    use crate::decay::HalfLives;
    use proptest::prelude::*;

    const HALF_LIVES: HalfLives = HalfLives { ms: [1_000, 10_000, 100_000, 1_000_000] };

    fn run(values: &[(i64, f32)]) -> Numeric {
        let (mut head, mut state) = (Head::default(), Numeric::default());
        for &(ts_ms, x) in values {
            let moment = Moment::of(&head, ts_ms, &HALF_LIVES, i64::MAX);
            state.observe(&moment, x);
            head.observe(&moment, 0);
        }
        state
    }

    proptest! {
        #[test]
        fn matches_two_passes_in_any_order(values in proptest::collection::vec((0i64..3_000_000, -1e3f32..1e3), 2..80)) {
            let s = run(&values);
            let n = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(v.1)).sum::<f64>() / n;
            let m2 = values.iter().map(|v| (f64::from(v.1) - mean).powi(2)).sum::<f64>();
            prop_assert!((f64::from(s.mean) - mean).abs() < 0.01);
            prop_assert!((f64::from(s.m2) - m2).abs() < 1e-3 * m2 + 0.1);
            let last = values.iter().map(|v| v.0).max().unwrap_or(0);
            let weights: Vec<f64> = values.iter().map(|v| (-((last - v.0) as f64) / 1e6).exp2()).collect();
            let w: f64 = weights.iter().sum();
            let recent = values.iter().zip(&weights).map(|(v, w)| f64::from(v.1) * w).sum::<f64>() / w;
            prop_assert!((f64::from(s.recent_mean) - recent).abs() < 0.02, "{} {}", s.recent_mean, recent);
            prop_assert!((f64::from(s.recent_weight) - w).abs() < 1e-4 * w);
        }

        #[test]
        fn nothing_poisons_it(values in proptest::collection::vec((any::<i64>(), any::<f32>()), 0..60)) {
            let s = run(&values);
            for x in [s.mean, s.m2, s.min, s.max, s.recent_weight, s.recent_mean, s.recent_m2] {
                prop_assert!(x.is_finite());
            }
            let mut row = [0.0; 8];
            s.extract(1.0, &mut Out::new(&mut row));
            prop_assert!(row.iter().all(|x| !x.is_infinite()));
        }
    }

    #[test]
    fn scores_use_the_history_before() {
        let s = run(&[(0, 10.0), (1, 12.0), (2, 14.0)]);
        let mut row = [0.0; 8];
        s.extract(18.0, &mut Out::new(&mut row));
        assert_eq!(&row[..4], &[12.0, 2.0, 10.0, 14.0]);
        assert_eq!(row[5], 3.0);
        assert_eq!(row[7], 1.5);
        s.extract(f32::NAN, &mut Out::new(&mut row));
        assert!(row[5].is_nan() && row[6].is_nan() && row[7].is_nan() && row[0] == 12.0);
    }
}
