//! How good scores are: ranking, decisions, probabilities.
//!
//! Everything is computed in f64 from `(score, label)` pairs in O(n log n). A higher score means more likely bad. Scores that
//! are equal are never put in an order of their own: a threshold takes all of them or none. NaN ranks below everything.
//! A measure that needs a class which is absent is NaN.

use serde::Serialize;

/// Scores sorted once, from which every measure is read.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// One entry per distinct score, highest first.
    steps: Vec<Step>,
    positives: u64,
    negatives: u64,
}

/// All rows with one score, and everything above them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    score: f64,
    /// Rows labelled bad with a score >= `score`.
    caught: u64,
    /// Rows labelled good with a score >= `score`.
    alarmed: u64,
}

/// One threshold and what comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Rows with a score >= this are flagged.
    pub threshold: f64,
    /// Share of the bad rows that is flagged.
    pub recall: f64,
    /// Share of the flagged rows that is bad.
    pub precision: f64,
    /// Share of the good rows that is flagged.
    pub fpr: f64,
}

/// The confusion of one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Confusion {
    /// Rows with a score >= this are flagged.
    pub threshold: f64,
    /// Bad rows flagged.
    pub true_positives: u64,
    /// Good rows flagged.
    pub false_positives: u64,
    /// Bad rows missed.
    pub false_negatives: u64,
    /// Good rows let through.
    pub true_negatives: u64,
    /// Share of the flagged rows that is bad; 1 when nothing is flagged.
    pub precision: f64,
    /// Share of the bad rows that is flagged.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Share of the good rows that is flagged.
    pub fpr: f64,
}

/// Replaces NaN by a value below every other, so that scores have one total order.
fn ranked(score: f64) -> f64 {
    if score.is_nan() { f64::NEG_INFINITY } else { score }
}

impl Ranking {
    /// Sorts `scores`; rows beyond the shorter of the two slices are ignored. O(n log n).
    #[must_use]
    pub fn new(scores: &[f64], labels: &[bool]) -> Self {
        let mut order: Vec<(f64, bool)> =
            scores.iter().zip(labels).map(|(&s, &l)| (ranked(s) + 0.0, l)).collect();
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut steps: Vec<Step> = Vec::new();
        let (mut caught, mut alarmed) = (0u64, 0u64);
        for (score, label) in order {
            if label {
                caught += 1;
            } else {
                alarmed += 1;
            }
            match steps.last_mut() {
                Some(step) if step.score == score => {
                    (step.caught, step.alarmed) = (caught, alarmed)
                }
                _ => steps.push(Step { score, caught, alarmed }),
            }
        }
        Self { steps, positives: caught, negatives: alarmed }
    }

    /// Rows labelled bad.
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.positives
    }

    /// Rows labelled good.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.negatives
    }

    /// Area under the ROC curve: the chance that a bad row outranks a good one, ties counting one half (Hanley and McNeil 1982). O(n).
    #[must_use]
    pub fn auc(&self) -> f64 {
        if self.positives == 0 || self.negatives == 0 {
            return f64::NAN;
        }
        let (mut area, mut before) = (0.0, (0u64, 0u64));
        for step in &self.steps {
            let (up, right) = (step.caught - before.0, step.alarmed - before.1);
            area += right as f64 * (before.0 as f64 + 0.5 * up as f64);
            before = (step.caught, step.alarmed);
        }
        area / (self.positives as f64 * self.negatives as f64)
    }

    /// Average precision: the sum over thresholds of (gain in recall) x precision, without interpolation (as scikit-learn). O(n).
    #[must_use]
    pub fn average_precision(&self) -> f64 {
        if self.positives == 0 {
            return f64::NAN;
        }
        let (mut sum, mut before) = (0.0, 0u64);
        for step in &self.steps {
            let gain = step.caught - before;
            sum += gain as f64 * step.caught as f64 / (step.caught + step.alarmed) as f64;
            before = step.caught;
        }
        sum / self.positives as f64
    }

    /// The largest recall of any threshold that flags at most `fpr` of the good rows. O(n).
    #[must_use]
    pub fn recall_at_fpr(&self, fpr: f64) -> f64 {
        if self.positives == 0 || self.negatives == 0 {
            return f64::NAN;
        }
        let allowed = fpr * self.negatives as f64 + 1e-9;
        let caught = self
            .steps
            .iter()
            .take_while(|s| s.alarmed as f64 <= allowed)
            .last()
            .map_or(0, |s| s.caught);
        caught as f64 / self.positives as f64
    }

    /// Precision among the `k` highest scores; rows tied at the k-th place count with their share. 0 < k <= rows, else NaN. O(n).
    #[must_use]
    pub fn precision_at(&self, k: usize) -> f64 {
        let k = k as u64;
        if k == 0 || k > self.positives + self.negatives {
            return f64::NAN;
        }
        let mut before = (0u64, 0u64);
        for step in &self.steps {
            let taken = step.caught + step.alarmed;
            if taken >= k {
                let (tied, bad) = (taken - before.0 - before.1, step.caught - before.0);
                let room = k - before.0 - before.1;
                return (before.0 as f64 + room as f64 * bad as f64 / tied as f64) / k as f64;
            }
            before = (step.caught, step.alarmed);
        }
        f64::NAN
    }

    /// What comes of flagging every row with a score >= `threshold`. O(log n).
    #[must_use]
    pub fn confusion(&self, threshold: f64) -> Confusion {
        let flagged = self.steps.partition_point(|s| s.score >= threshold);
        let (caught, alarmed) = flagged
            .checked_sub(1)
            .map_or((0, 0), |i| (self.steps[i].caught, self.steps[i].alarmed));
        self.confusion_of(threshold, caught, alarmed)
    }

    fn confusion_of(&self, threshold: f64, caught: u64, alarmed: u64) -> Confusion {
        let share = |part: u64, whole: u64, empty: f64| {
            if whole == 0 { empty } else { part as f64 / whole as f64 }
        };
        let missed = self.positives - caught;
        Confusion {
            threshold,
            true_positives: caught,
            false_positives: alarmed,
            false_negatives: missed,
            true_negatives: self.negatives - alarmed,
            precision: share(caught, caught + alarmed, 1.0),
            recall: share(caught, self.positives, f64::NAN),
            f1: share(2 * caught, 2 * caught + alarmed + missed, f64::NAN),
            fpr: share(alarmed, self.negatives, f64::NAN),
        }
    }

    /// The threshold (one of the scores) with the best F1; the highest of them if several are equally good. `None` without bad rows. O(n).
    #[must_use]
    pub fn best_f1(&self) -> Option<Confusion> {
        let mut best: Option<Confusion> = None;
        if self.positives == 0 {
            return best;
        }
        for step in &self.steps {
            let here = self.confusion_of(step.score, step.caught, step.alarmed);
            if here.f1.is_finite() && best.is_none_or(|b| here.f1 > b.f1) {
                best = Some(here);
            }
        }
        best
    }

    /// The lowest score that flags at most `rows_max` rows; `None` if even the highest score flags more. O(log n).
    #[must_use]
    pub fn threshold_for_count(&self, rows_max: u64) -> Option<f64> {
        let within = self.steps.partition_point(|s| s.caught + s.alarmed <= rows_max);
        within.checked_sub(1).map(|i| self.steps[i].score)
    }

    /// Every distinct score with its counts of bad and good rows at or above it, highest first.
    pub fn steps(&self) -> impl Iterator<Item = (f64, u64, u64)> + '_ {
        self.steps.iter().map(|s| (s.score, s.caught, s.alarmed))
    }

    /// At most `points_max` points of the ROC and precision-recall curves, from the highest threshold to the lowest, evenly spread
    /// over the ranks of bad rows and of good rows; the first and the last step are always among them. O(n).
    #[must_use]
    pub fn curve(&self, points_max: usize) -> Vec<Point> {
        let mut points = Vec::new();
        let cells = points_max.saturating_sub(1).max(1) as f64;
        let rank = |s: &Step| {
            let share =
                |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
            ((share(s.caught, self.positives) + share(s.alarmed, self.negatives)) * 0.5 * cells)
                .floor() as i64
        };
        let mut cell = -1;
        for (index, step) in self.steps.iter().enumerate() {
            if rank(step) > cell || index + 1 == self.steps.len() {
                cell = rank(step);
                let here = self.confusion_of(step.score, step.caught, step.alarmed);
                points.push(Point {
                    threshold: step.score,
                    recall: here.recall,
                    precision: here.precision,
                    fpr: here.fpr,
                });
            }
        }
        if points.len() > points_max && points.len() > 2 {
            points.remove(points.len() - 2);
        }
        points
    }
}

/// One bin of a reliability table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Rows in the bin.
    pub rows: usize,
    /// Lowest and highest predicted probability in it.
    pub low: f64,
    /// Highest predicted probability in it.
    pub high: f64,
    /// Mean of the predicted probabilities.
    pub predicted: f64,
    /// Share of the rows that is bad.
    pub observed: f64,
}

/// Mean squared difference between probability and outcome (Brier 1950). NaN without rows. O(n).
#[must_use]
pub fn brier(probabilities: &[f64], labels: &[bool]) -> f64 {
    mean(probabilities.iter().zip(labels).map(|(&p, &l)| (p - f64::from(u8::from(l))).powi(2)))
}

/// Mean negative log-likelihood in nats; probabilities are kept 1e-15 away from 0 and 1. NaN without rows. O(n).
#[must_use]
pub fn log_loss(probabilities: &[f64], labels: &[bool]) -> f64 {
    mean(probabilities.iter().zip(labels).map(|(&p, &l)| {
        let p = p.clamp(1e-15, 1.0 - 1e-15);
        -(if l { p.ln() } else { (1.0 - p).ln() })
    }))
}

/// Rows in at most `bins` bins of equal mass, by predicted probability; equal probabilities stay in one bin. O(n log n).
#[must_use]
pub fn reliability(probabilities: &[f64], labels: &[bool], bins: usize) -> Vec<ReliabilityBin> {
    let mut order: Vec<(f64, bool)> =
        probabilities.iter().copied().zip(labels.iter().copied()).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (rows, bins) = (order.len(), bins.max(1));
    let mut table = Vec::new();
    let mut start = 0;
    for bin in 1..=bins {
        let mut end = (rows * bin).div_ceil(bins).max(start);
        while end > start && end < rows && order[end].0 == order[end - 1].0 {
            end += 1;
        }
        if end > start {
            let part = &order[start..end];
            table.push(ReliabilityBin {
                rows: part.len(),
                low: part[0].0,
                high: part[part.len() - 1].0,
                predicted: mean(part.iter().map(|x| x.0)),
                observed: mean(part.iter().map(|x| f64::from(u8::from(x.1)))),
            });
            start = end;
        }
    }
    table
}

/// Expected calibration error: the mean over [`reliability`] bins of |predicted - observed|, weighted by rows
/// (Naeini et al. 2015, with bins of equal mass as Nixon et al. 2019 advise). NaN without rows.
#[must_use]
pub fn ece(probabilities: &[f64], labels: &[bool], bins: usize) -> f64 {
    let table = reliability(probabilities, labels, bins);
    let rows: usize = table.iter().map(|b| b.rows).sum();
    if rows == 0 {
        return f64::NAN;
    }
    table.iter().map(|b| b.rows as f64 * (b.predicted - b.observed).abs()).sum::<f64>()
        / rows as f64
}

/// The measures that every report has, of probabilities in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Rows measured.
    pub events: u64,
    /// Rows labelled bad.
    pub positives: u64,
    /// See [`Ranking::auc`].
    pub auc: f64,
    /// See [`Ranking::average_precision`].
    pub average_precision: f64,
    /// Recall when 0.1 % of the good rows are flagged.
    #[serde(rename = "recall_at_fpr_0.001")]
    pub recall_at_fpr_0_001: f64,
    /// Recall when 1 % of the good rows are flagged.
    #[serde(rename = "recall_at_fpr_0.01")]
    pub recall_at_fpr_0_01: f64,
    /// Precision at `threshold`.
    pub precision: f64,
    /// Recall at `threshold`.
    pub recall: f64,
    /// F1 at `threshold`.
    pub f1: f64,
    /// False positive rate at `threshold`.
    pub fpr: f64,
    /// See [`brier`].
    pub brier: f64,
    /// See [`ece`]; 15 bins.
    pub ece: f64,
    /// See [`log_loss`].
    pub log_loss: f64,
    /// The threshold of precision, recall, F1 and FPR.
    pub threshold: f64,
}

/// Everything in [`Summary`] at `threshold`, or at the best F1 where `threshold` is `None`. O(n log n).
#[must_use]
pub fn summarise(probabilities: &[f64], labels: &[bool], threshold: Option<f64>) -> Summary {
    let ranking = Ranking::new(probabilities, labels);
    let at = match threshold {
        Some(threshold) => ranking.confusion(threshold),
        None => ranking.best_f1().unwrap_or_else(|| ranking.confusion(f64::INFINITY)),
    };
    Summary {
        events: ranking.positives + ranking.negatives,
        positives: ranking.positives,
        auc: ranking.auc(),
        average_precision: ranking.average_precision(),
        recall_at_fpr_0_001: ranking.recall_at_fpr(0.001),
        recall_at_fpr_0_01: ranking.recall_at_fpr(0.01),
        precision: at.precision,
        recall: at.recall,
        f1: at.f1,
        fpr: at.fpr,
        brier: brier(probabilities, labels),
        ece: ece(probabilities, labels, 15),
        log_loss: log_loss(probabilities, labels),
        threshold: at.threshold,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { f64::NAN } else { sum / count as f64 }
}

#[cfg(test)]
mod tests;
