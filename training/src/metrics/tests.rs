//! The measures against their definitions, written out naively.

use super::*;
use proptest::prelude::*;

/// Few distinct scores, so that ties are common.
fn pairs() -> impl Strategy<Value = (Vec<f64>, Vec<bool>)> {
    prop::collection::vec((0u8..12, any::<bool>()), 1..60)
        .prop_map(|rows| rows.into_iter().map(|(s, l)| (f64::from(s) / 12.0, l)).unzip())
}

fn counts(scores: &[f64], labels: &[bool], threshold: f64) -> (f64, f64) {
    let flagged = |bad: bool| {
        scores.iter().zip(labels).filter(|(s, l)| **s >= threshold && **l == bad).count() as f64
    };
    (flagged(true), flagged(false))
}

fn close(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-12
}

proptest! {
    #[test]
    fn auc_is_the_share_of_ordered_pairs((scores, labels) in pairs()) {
        let (mut sum, mut all) = (0.0, 0.0);
        for (a, &la) in scores.iter().zip(&labels) {
            for (b, &lb) in scores.iter().zip(&labels) {
                if la && !lb {
                    all += 1.0;
                    sum += if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
                }
            }
        }
        prop_assert!(close(Ranking::new(&scores, &labels).auc(), sum / all));
    }

    #[test]
    fn average_precision_sums_over_thresholds((scores, labels) in pairs()) {
        let positives = labels.iter().filter(|l| **l).count() as f64;
        let mut thresholds = scores.clone();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let (mut sum, mut before) = (0.0, 0.0);
        for threshold in thresholds {
            let (bad, good) = counts(&scores, &labels, threshold);
            sum += (bad - before) / positives * bad / (bad + good);
            before = bad;
        }
        let expected = if positives == 0.0 { f64::NAN } else { sum };
        prop_assert!(close(Ranking::new(&scores, &labels).average_precision(), expected));
    }

    #[test]
    fn decisions_count_what_they_flag((scores, labels) in pairs(), threshold in 0.0f64..1.0, fpr in 0.0f64..1.0) {
        let ranking = Ranking::new(&scores, &labels);
        let (bad, good) = counts(&scores, &labels, threshold);
        let here = ranking.confusion(threshold);
        prop_assert_eq!((here.true_positives as f64, here.false_positives as f64), (bad, good));
        prop_assert_eq!(here.true_positives + here.false_negatives, ranking.positives());
        prop_assert_eq!(here.false_positives + here.true_negatives, ranking.negatives());
        let best = scores.iter().map(|&t| ranking.confusion(t).f1).fold(f64::NAN, f64::max);
        let best = if ranking.positives() == 0 { f64::NAN } else { best };
        prop_assert!(close(ranking.best_f1().map_or(f64::NAN, |b| b.f1), best));
        let negatives = ranking.negatives() as f64;
        let recall = scores.iter().map(|&t| counts(&scores, &labels, t)).filter(|c| c.1 <= fpr * negatives + 1e-9).map(|c| c.0).fold(0.0, f64::max);
        let expected = if ranking.positives() == 0 || ranking.negatives() == 0 { f64::NAN } else { recall / ranking.positives() as f64 };
        prop_assert!(close(ranking.recall_at_fpr(fpr), expected));
    }

    #[test]
    fn precision_at_k_is_the_mean_over_the_orders_of_ties((scores, labels) in pairs(), k in 1usize..60) {
        let ranking = Ranking::new(&scores, &labels);
        let k = 1 + (k - 1) % scores.len();
        let mut sorted = scores.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let edge = sorted[k - 1];
        let (above_bad, above_good) = counts(&scores, &labels, edge + 1e-9);
        let (bad, good) = counts(&scores, &labels, edge);
        let share = (bad - above_bad) / (bad - above_bad + good - above_good);
        let expected = (above_bad + (k as f64 - above_bad - above_good) * share) / k as f64;
        prop_assert!(close(ranking.precision_at(k), expected));
    }

    #[test]
    fn curves_end_at_the_whole_and_stay_small((scores, labels) in pairs(), points_max in 3usize..20) {
        let ranking = Ranking::new(&scores, &labels);
        let curve = ranking.curve(points_max);
        prop_assert!(!curve.is_empty() && curve.len() <= points_max);
        prop_assert!(curve.windows(2).all(|w| w[0].threshold > w[1].threshold));
        let last = curve[curve.len() - 1];
        prop_assert!(ranking.positives() == 0 || last.recall == 1.0);
        for point in &curve {
            let here = ranking.confusion(point.threshold);
            prop_assert!(close(here.recall, point.recall) && close(here.precision, point.precision));
        }
        if let Some(threshold) = ranking.threshold_for_count(points_max as u64) {
            let (bad, good) = counts(&scores, &labels, threshold);
            prop_assert!((bad + good) as usize <= points_max);
        }
    }

    #[test]
    fn reliability_bins_partition_the_rows((scores, labels) in pairs(), bins in 1usize..20) {
        let table = reliability(&scores, &labels, bins);
        prop_assert!(table.len() <= bins);
        prop_assert_eq!(table.iter().map(|b| b.rows).sum::<usize>(), scores.len());
        prop_assert!(table.windows(2).all(|w| w[0].high < w[1].low));
        let bad: f64 = table.iter().map(|b| b.rows as f64 * b.observed).sum();
        prop_assert!((bad - labels.iter().filter(|l| **l).count() as f64).abs() < 1e-9);
        prop_assert!((0.0..=1.0).contains(&ece(&scores, &labels, bins)));
    }
}

#[test]
fn known_values() {
    // scikit-learn's documented example: roc_auc_score 0.75, average_precision_score 0.8333.
    let (scores, labels) = (vec![0.1, 0.4, 0.35, 0.8], vec![false, false, true, true]);
    let ranking = Ranking::new(&scores, &labels);
    assert!(close(ranking.auc(), 0.75));
    assert!(close(ranking.average_precision(), 0.5 * (1.0 + 2.0 / 3.0)));
    assert!(close(brier(&[0.0, 1.0, 0.5], &[false, false, true]), (0.0 + 1.0 + 0.25) / 3.0));
    assert!(close(log_loss(&[0.5, 0.25], &[true, false]), (2f64.ln() + (4.0f64 / 3.0).ln()) / 2.0));
    assert!(close(ece(&[0.2, 0.2, 0.9], &[false, true, true], 2), (2.0 * 0.3 + 0.1) / 3.0));
}

#[test]
fn absent_classes_and_nan_scores_are_defined() {
    let ranking = Ranking::new(&[0.3, 0.4], &[true, true]);
    assert!(ranking.auc().is_nan() && close(ranking.average_precision(), 1.0));
    assert!(Ranking::new(&[], &[]).average_precision().is_nan());
    assert!(Ranking::new(&[], &[]).best_f1().is_none());
    assert!(Ranking::new(&[0.3, 0.4], &[false, false]).best_f1().is_none());
    let ranking = Ranking::new(&[f64::NAN, 0.1], &[true, false]);
    assert!(close(ranking.auc(), 0.0));
    // Both zeroes are one score.
    assert!(close(Ranking::new(&[0.0, -0.0], &[true, false]).auc(), 0.5));
    let summary = summarise(&[0.9, 0.1], &[true, false], None);
    assert_eq!((summary.f1, summary.threshold, summary.events), (1.0, 0.9, 2));
}
