//! Rhythm: how evenly events follow each other. Takes events in order only.
//!
//! Exponentially weighted (the last 32 gaps or so) mean and variance of the gap and of its logarithm, and a histogram of the logarithm.
//! Burstiness after Goh and Barabasi (2008). Size: 40 bytes.

use super::{Moment, Out};
use crate::decay::{bump, entropy, log2};
use bytemuck::{Pod, Zeroable};

/// Columns of the block. Gaps before this event; `gap_z` and `gap_previous_s` set this event against them.
pub const COLUMNS: [(&str, &str); 7] = [
    ("rhythm.gap_z", "sd"),
    ("rhythm.gap_previous_s", "s"),
    ("rhythm.log_gap_mean", "log2 ms"),
    ("rhythm.log_gap_sd", "log2 ms"),
    ("rhythm.cv", "ratio"),
    ("rhythm.burstiness", "-1 to 1"),
    ("rhythm.entropy", "bits"),
];

/// Weight of one gap, once there are enough.
const STEP: f32 = 1.0 / 32.0;

/// State: `gaps == 0` is empty.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Rhythm {
    /// Gaps seen; stops at the maximum.
    pub gaps: u32,
    /// The last gap, seconds.
    pub gap_s: f32,
    /// Mean of the gap, seconds.
    pub mean_s: f32,
    /// Variance of the gap, seconds squared.
    pub variance_s2: f32,
    /// Mean of log2(1 + gap in ms).
    pub log_mean: f32,
    /// Variance of log2(1 + gap in ms).
    pub log_variance: f32,
    /// Gaps by floor(log2(1 + ms) / 2): the last bin starts at 12 days.
    pub bins: [u8; 16],
}

fn log_gap(gap_ms: i64) -> f32 {
    log2(gap_ms.max(0) as f64 + 1.0) as f32
}

impl Rhythm {
    /// Takes the gap before this event, if it has one.
    pub fn observe(&mut self, moment: &Moment) {
        let Some(gap_ms) = moment.gap_ms else { return };
        self.gaps = self.gaps.saturating_add(1);
        let step = (1.0 / self.gaps as f32).max(STEP);
        self.gap_s = gap_ms as f32 / 1e3;
        follow(&mut self.mean_s, &mut self.variance_s2, self.gap_s, step);
        follow(&mut self.log_mean, &mut self.log_variance, log_gap(gap_ms), step);
        bump(&mut self.bins, ((gap_ms as u64 + 1).ilog2() as usize / 2).min(15));
    }

    /// NaN until there is a gap; deviations until there are two.
    pub(crate) fn extract(&self, moment: &Moment, out: &mut Out) {
        if self.gaps == 0 {
            (0..COLUMNS.len()).for_each(|_| out.push(f32::NAN));
            return;
        }
        let enough = self.gaps > 1;
        let log_sd = if enough { self.log_variance.sqrt() } else { f32::NAN };
        let sd = if enough { self.variance_s2.sqrt() } else { f32::NAN };
        out.push(match moment.gap_ms {
            // A quarter of a doubling is the least deviation worth calling one.
            Some(gap_ms) if enough => (log_gap(gap_ms) - self.log_mean) / log_sd.max(0.25),
            _ => f32::NAN,
        });
        out.push(self.gap_s);
        out.push(self.log_mean);
        out.push(log_sd);
        out.push(if self.mean_s > 0.0 { sd / self.mean_s } else { f32::NAN });
        let both = sd + self.mean_s;
        out.push(if both > 0.0 { (sd - self.mean_s) / both } else { f32::NAN });
        out.push(entropy(&self.bins));
    }
}

/// Exponentially weighted mean and variance (Finch 2009).
fn follow(mean: &mut f32, variance: &mut f32, x: f32, step: f32) {
    let off = x - *mean;
    *mean += step * off;
    *variance = (1.0 - step) * (*variance + step * off * off);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::head::Head;
    use crate::decay::HalfLives;

    const HALF_LIVES: HalfLives = HalfLives { ms: [1_000, 10_000, 100_000, 1_000_000] };

    fn row(times: &[i64]) -> [f32; 7] {
        let (mut head, mut state, mut row) = (Head::default(), Rhythm::default(), [0.0; 7]);
        for &ts_ms in times {
            let moment = Moment::of(&head, ts_ms, &HALF_LIVES, 10_000);
            state.extract(&moment, &mut Out::new(&mut row));
            state.observe(&moment);
            head.observe(&moment, 0);
        }
        row
    }

    #[test]
    fn a_clock_is_even_and_a_burst_is_not() {
        let clock: Vec<i64> = (0..50).map(|i| i * 60_000).collect();
        let even = row(&clock);
        assert!(even[4].abs() < 1e-3 && (even[5] + 1.0).abs() < 1e-3 && even[6] == 0.0);
        assert!(even[0].abs() < 0.01 && even[1] == 60.0);
        let bursts: Vec<i64> = (0..90).map(|i| i / 9 * 10_000_000 + i % 9 * 10).collect();
        let uneven = row(&bursts);
        assert!(uneven[4] > 1.5 && uneven[5] > 0.2 && uneven[6] > 0.3, "{uneven:?}");
    }

    #[test]
    fn out_of_order_events_do_not_move_it() {
        assert_eq!(row(&[0, 1_000, 2_500, 3_000]).map(f32::to_bits), {
            let (mut head, mut state, mut row) = (Head::default(), Rhythm::default(), [0.0; 7]);
            for ts_ms in [0, 1_000, 2_500, 700, 1_900, 3_000] {
                let moment = Moment::of(&head, ts_ms, &HALF_LIVES, 10_000);
                state.extract(&moment, &mut Out::new(&mut row));
                state.observe(&moment);
                head.observe(&moment, 0);
            }
            assert_eq!(head.late, 2);
            row.map(f32::to_bits)
        });
        assert!(row(&[5]).iter().all(|x| x.is_nan()));
    }

    #[test]
    fn the_longest_gaps_stay_finite() {
        let r = row(&[0, i64::MAX / 2, i64::MAX / 2 + 1, i64::MAX]);
        assert!(r.iter().all(|x| x.is_finite()), "{r:?}");
    }
}
