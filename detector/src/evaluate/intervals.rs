//! How sure the measures are: 95 % intervals by drawing whole accounts (Efron 1979; clusters as Field and Welsh 2007).
//!
//! The ranking measures come from [`training::resample`]. Measures at a fixed threshold are sums over rows, so a draw
//! only needs each account's own sums: O(accounts) instead of O(rows).

use super::measure::Measured;
use serde::Serialize;
use training::chance::Chance;
use training::resample::{Interval, Measure, interval};

/// Intervals of the measures of a set of rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Intervals {
    /// Draws.
    pub repeats: usize,
    /// Area under the ROC curve; only over all rows, as slices would cost too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auc: Option<Interval>,
    /// Average precision; as `auc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<Interval>,
    /// Precision at the threshold.
    pub precision: Interval,
    /// Recall at the threshold.
    pub recall: Interval,
    /// F1 at the threshold.
    pub f1: Interval,
    /// False positive rate at the threshold.
    pub fpr: Interval,
    /// Brier score.
    pub brier: Interval,
}

/// Intervals of all measures. O(draws x rows).
pub fn all(measured: &Measured, threshold: f64, repeats: usize, seed: u64) -> Intervals {
    let ranked = |measure| {
        interval(measure, &measured.score, &measured.bad, &measured.account, repeats, seed)
    };
    let every: Vec<u32> = (0..measured.row.len() as u32).collect();
    Intervals {
        auc: Some(ranked(Measure::Auc)),
        average_precision: Some(ranked(Measure::AveragePrecision)),
        ..at_threshold(measured, &every, threshold, repeats, seed)
    }
}

/// An account's rows, summed.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    true_positives: f64,
    false_positives: f64,
    false_negatives: f64,
    true_negatives: f64,
    squared_error: f64,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
        self.true_negatives += other.true_negatives;
        self.squared_error += other.squared_error;
    }

    /// Precision, recall, F1, FPR and Brier; NaN where there is nothing to divide by.
    fn measures(&self) -> [f64; 5] {
        let (tp, fp) = (self.true_positives, self.false_positives);
        let (missed, passed) = (self.false_negatives, self.true_negatives);
        // As in `training::metrics`: the precision of no alert at all is 1.
        let precision = if tp + fp == 0.0 { 1.0 } else { tp / (tp + fp) };
        [
            precision,
            tp / (tp + missed),
            2.0 * tp / (2.0 * tp + fp + missed),
            fp / (fp + passed),
            self.squared_error / (tp + fp + missed + passed),
        ]
    }
}

/// Intervals of what is measured at a threshold, over some of the rows. O(rows + draws x accounts).
pub fn at_threshold(
    measured: &Measured,
    rows: &[u32],
    threshold: f64,
    repeats: usize,
    seed: u64,
) -> Intervals {
    let mut accounts: Vec<u32> = rows.iter().map(|row| measured.account[*row as usize]).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let mut sums = vec![Sums::default(); accounts.len()];
    for row in rows.iter().map(|row| *row as usize) {
        let own = &mut sums[accounts.partition_point(|a| *a < measured.account[row])];
        let (score, bad) = (measured.score[row], measured.bad[row]);
        match (score >= threshold, bad) {
            (true, true) => own.true_positives += 1.0,
            (true, false) => own.false_positives += 1.0,
            (false, true) => own.false_negatives += 1.0,
            (false, false) => own.true_negatives += 1.0,
        }
        own.squared_error += (score - f64::from(u8::from(bad))).powi(2);
    }
    let total = |draw: &mut dyn FnMut() -> usize| {
        let mut total = Sums::default();
        for _ in 0..sums.len() {
            total.add(&sums[draw()]);
        }
        total.measures()
    };
    let mut next = 0..sums.len();
    let values = total(&mut || next.next().unwrap_or_default());
    let mut chance = Chance::new(seed, 0xc1a5);
    let mut drawn: [Vec<f64>; 5] = std::array::from_fn(|_| Vec::with_capacity(repeats));
    for _ in 0..repeats {
        let measures = total(&mut || chance.below(sums.len()));
        for (list, value) in drawn.iter_mut().zip(measures) {
            list.push(value);
        }
    }
    let [precision, recall, f1, fpr, brier] =
        std::array::from_fn(|i| quantiles(values[i], std::mem::take(&mut drawn[i])));
    Intervals { repeats, auc: None, average_precision: None, precision, recall, f1, fpr, brier }
}

fn quantiles(value: f64, mut drawn: Vec<f64>) -> Interval {
    drawn.retain(|v| v.is_finite());
    drawn.sort_unstable_by(f64::total_cmp);
    let at = |q: f64| match drawn.len() {
        0 => f64::NAN,
        n => drawn[((n - 1) as f64 * q).round() as usize],
    };
    Interval { value, low: at(0.025), high: at(0.975) }
}
