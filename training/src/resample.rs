//! How sure a measure is: the bootstrap over accounts (Efron 1979; clusters as Field and Welsh 2007).
//!
//! The rows of one account are not independent, so whole accounts are drawn. A draw only changes how often each account
//! counts, so the scores are sorted once and a repetition is one pass over them.

use crate::chance::Chance;
use serde::Serialize;

/// Which measure is resampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Area under the ROC curve.
    Auc,
    /// Average precision.
    AveragePrecision,
}

/// A measure with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The measure on the rows as they are.
    pub value: f64,
    /// 2.5 % quantile over the repetitions.
    pub low: f64,
    /// 97.5 % quantile over the repetitions.
    pub high: f64,
}

/// Two models on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// Second minus first.
    pub difference: Interval,
    /// Two-sided bootstrap p-value of no difference.
    pub p_value: f64,
}

/// Scores in rank order, with the account of each row as an index into a table of counts.
struct Sorted {
    /// (account, bad, whether a higher score ends here), highest score first.
    rows: Vec<(u32, bool, bool)>,
}

impl Sorted {
    fn new(scores: &[f64], labels: &[bool], accounts: &[u32]) -> Self {
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        let key = |row: u32| {
            if scores[row as usize].is_nan() {
                f64::NEG_INFINITY
            } else {
                scores[row as usize] + 0.0
            }
        };
        order.sort_unstable_by(|&a, &b| key(b).total_cmp(&key(a)));
        let rows = order
            .iter()
            .enumerate()
            .map(|(at, &row)| {
                let ends = order.get(at + 1).is_none_or(|&next| key(next) != key(row));
                (accounts[row as usize], labels[row as usize], ends)
            })
            .collect();
        Self { rows }
    }

    /// The measure when account `a` counts `times[a]` times.
    fn measure(&self, measure: Measure, times: &[u32]) -> f64 {
        let (mut caught, mut alarmed) = (0.0f64, 0.0f64);
        let (mut caught_before, mut alarmed_before) = (0.0f64, 0.0f64);
        let mut sum = 0.0;
        for &(account, bad, ends) in &self.rows {
            let count = f64::from(times[account as usize]);
            if bad {
                caught += count;
            } else {
                alarmed += count;
            }
            if ends {
                let (up, right) = (caught - caught_before, alarmed - alarmed_before);
                sum += match measure {
                    Measure::Auc => right * (caught_before + 0.5 * up),
                    Measure::AveragePrecision if up > 0.0 => up * caught / (caught + alarmed),
                    Measure::AveragePrecision => 0.0,
                };
                (caught_before, alarmed_before) = (caught, alarmed);
            }
        }
        match measure {
            Measure::Auc => sum / (caught * alarmed),
            Measure::AveragePrecision => sum / caught,
        }
    }
}

/// The accounts renumbered 0.. in order of their number, and how many there are.
fn clusters(accounts: &[u32]) -> (Vec<u32>, usize) {
    let mut distinct = accounts.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let dense = accounts.iter().map(|a| distinct.partition_point(|d| d < a) as u32).collect();
    (dense, distinct.len())
}

fn draw(chance: &mut Chance, times: &mut [u32]) {
    times.fill(0);
    for _ in 0..times.len() {
        times[chance.below(times.len())] += 1;
    }
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

/// The measure with its 95 % percentile interval over `repeats` draws of accounts. Repetitions without both classes are left out.
/// The three slices must have one length; rows beyond the shortest are ignored. O(n log n + repeats x n).
#[must_use]
pub fn interval(
    measure: Measure,
    scores: &[f64],
    labels: &[bool],
    accounts: &[u32],
    repeats: usize,
    seed: u64,
) -> Interval {
    let rows = scores.len().min(labels.len()).min(accounts.len());
    let (dense, count) = clusters(&accounts[..rows]);
    let sorted = Sorted::new(&scores[..rows], &labels[..rows], &dense);
    let mut times = vec![1u32; count];
    let value = sorted.measure(measure, &times);
    let mut chance = Chance::new(seed, 0xb007);
    let drawn = (0..repeats)
        .map(|_| {
            draw(&mut chance, &mut times);
            sorted.measure(measure, &times)
        })
        .collect();
    quantiles(value, drawn)
}

/// Whether `second` scores the same rows better than `first`: both are measured on the same draws. O(n log n + repeats x n).
#[must_use]
pub fn compare(
    measure: Measure,
    first: &[f64],
    second: &[f64],
    labels: &[bool],
    accounts: &[u32],
    repeats: usize,
    seed: u64,
) -> Comparison {
    let rows = first.len().min(second.len()).min(labels.len()).min(accounts.len());
    let (dense, count) = clusters(&accounts[..rows]);
    let a = Sorted::new(&first[..rows], &labels[..rows], &dense);
    let b = Sorted::new(&second[..rows], &labels[..rows], &dense);
    let mut times = vec![1u32; count];
    let value = b.measure(measure, &times) - a.measure(measure, &times);
    let mut chance = Chance::new(seed, 0xb007);
    let drawn: Vec<f64> = (0..repeats)
        .map(|_| {
            draw(&mut chance, &mut times);
            b.measure(measure, &times) - a.measure(measure, &times)
        })
        .collect();
    let usable = drawn.iter().filter(|d| d.is_finite()).count();
    let below = drawn.iter().filter(|d| **d <= 0.0).count();
    let above = drawn.iter().filter(|d| **d >= 0.0).count();
    // The smaller tail, doubled, with the usual +1 so that a p-value is never 0.
    let p_value = (2.0 * (below.min(above) + 1) as f64 / (usable + 1) as f64).min(1.0);
    Comparison { difference: quantiles(value, drawn), p_value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Ranking;

    fn sample(rows: usize, seed: u64) -> (Vec<f64>, Vec<bool>, Vec<u32>) {
        let mut chance = Chance::new(seed, 0);
        let mut out = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows {
            let bad = chance.unit() < 0.2;
            // Rounded, so that ties occur.
            out.0.push(((chance.unit() + if bad { 0.35 } else { 0.0 }) * 40.0).round() / 40.0);
            out.1.push(bad);
            out.2.push((row / 3) as u32 * 7);
        }
        out
    }

    #[test]
    fn the_plain_value_is_the_measure_itself() {
        let (scores, labels, accounts) = sample(500, 1);
        let ranking = Ranking::new(&scores, &labels);
        for (measure, expected) in [
            (Measure::Auc, ranking.auc()),
            (Measure::AveragePrecision, ranking.average_precision()),
        ] {
            let found = interval(measure, &scores, &labels, &accounts, 200, 9);
            assert!((found.value - expected).abs() < 1e-12);
            assert!(found.low < expected && expected < found.high, "{found:?}");
            assert_eq!(found, interval(measure, &scores, &labels, &accounts, 200, 9));
        }
    }

    #[test]
    fn counting_an_account_twice_is_having_its_rows_twice() {
        let (scores, labels, accounts) = sample(90, 2);
        let (dense, count) = clusters(&accounts);
        let times: Vec<u32> = (0..count as u32).map(|a| a % 3).collect();
        let (mut s, mut l) = (Vec::new(), Vec::new());
        for row in 0..90 {
            for _ in 0..times[dense[row] as usize] {
                s.push(scores[row]);
                l.push(labels[row]);
            }
        }
        let sorted = Sorted::new(&scores, &labels, &dense);
        let ranking = Ranking::new(&s, &l);
        assert!((sorted.measure(Measure::Auc, &times) - ranking.auc()).abs() < 1e-12);
        assert!(
            (sorted.measure(Measure::AveragePrecision, &times) - ranking.average_precision()).abs()
                < 1e-12
        );
    }

    #[test]
    fn a_better_model_is_told_from_a_worse_one_and_not_from_itself() {
        let (scores, labels, accounts) = sample(900, 3);
        let mut chance = Chance::new(5, 5);
        let noise: Vec<f64> = scores.iter().map(|s| s + 2.0 * chance.unit()).collect();
        let found = compare(Measure::AveragePrecision, &noise, &scores, &labels, &accounts, 300, 1);
        assert!(found.p_value < 0.05 && found.difference.low > 0.0, "{found:?}");
        let same = compare(Measure::Auc, &scores, &scores, &labels, &accounts, 100, 1);
        assert!(same.p_value > 0.99 && same.difference.value == 0.0);
    }
}
