//! What the accounts met were like: running mean, greatest, and decayed mean (longest half-life) of chosen values of the other side.
//! Size: 24 bytes per value.

use super::{Moment, Out, number};
use bytemuck::{Pod, Zeroable};

/// Columns per value: what was met before this event.
pub const COLUMNS: [(&str, &str); 3] =
    [("mean", "value"), ("max", "value"), ("recent_mean", "value")];

/// State of one value: `count == 0` is empty.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Neighbour {
    /// Values met; stops at the maximum.
    pub count: u32,
    /// Their mean.
    pub mean: f32,
    /// The greatest.
    pub max: f32,
    /// Decayed number, as of the profile's last event.
    pub recent_weight: f32,
    /// Decayed mean.
    pub recent_mean: f32,
    /// Zero.
    pub reserved: u32,
}

impl Neighbour {
    /// Moves the decayed mean to the moment and takes the value, unless it is absent.
    pub fn observe(&mut self, moment: &Moment, value: f32) {
        if !moment.accepted() {
            return;
        }
        self.recent_weight *= moment.advance[3];
        if self.recent_weight < 1e-12 {
            self.recent_weight = 0.0;
        }
        let Some(x) = number(value) else { return };
        self.max = if self.count == 0 { x } else { self.max.max(x) };
        self.count = self.count.saturating_add(1);
        let wide = f64::from(x);
        self.mean += ((wide - f64::from(self.mean)) / f64::from(self.count)) as f32;
        let weight = self.recent_weight + moment.weight[3];
        if weight > 1e-12 {
            let share = f64::from(moment.weight[3] / weight);
            self.recent_mean += ((wide - f64::from(self.recent_mean)) * share) as f32;
            self.recent_weight = weight;
        }
    }

    /// NaN before the first value.
    pub(crate) fn extract(&self, out: &mut Out) {
        let known = |present: bool, x: f32| if present { x } else { f32::NAN };
        out.push(known(self.count > 0, self.mean));
        out.push(known(self.count > 0, self.max));
        out.push(known(self.recent_weight > 0.0, self.recent_mean));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::head::Head;
    use crate::decay::HalfLives;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn follows_the_naive_mean(values in proptest::collection::vec((0i64..3_000_000, -100f32..100.0), 1..60)) {
            let half_lives = HalfLives { ms: [1, 10, 100, 1_000_000] };
            let (mut head, mut state) = (Head::default(), Neighbour::default());
            for &(ts_ms, x) in &values {
                let moment = Moment::of(&head, ts_ms, &half_lives, i64::MAX);
                state.observe(&moment, if x > 99.0 { f32::NAN } else { x });
                head.observe(&moment, 0);
            }
            let kept: Vec<_> = values.iter().filter(|v| v.1 <= 99.0).collect();
            prop_assert_eq!(state.count as usize, kept.len());
            if !kept.is_empty() {
                let last = values.iter().map(|v| v.0).max().unwrap_or(0);
                let mean = kept.iter().map(|v| f64::from(v.1)).sum::<f64>() / kept.len() as f64;
                let w: f64 = kept.iter().map(|v| (-((last - v.0) as f64) / 1e6).exp2()).sum();
                let recent = kept.iter().map(|v| f64::from(v.1) * (-((last - v.0) as f64) / 1e6).exp2()).sum::<f64>() / w;
                prop_assert!((f64::from(state.mean) - mean).abs() < 1e-3);
                prop_assert!((f64::from(state.recent_mean) - recent).abs() < 1e-2);
                prop_assert_eq!(state.max, kept.iter().map(|v| v.1).fold(f32::MIN, f32::max));
            }
        }
    }
}
