//! Log-odds to probabilities that can be taken at their word.
//!
//! Platt's two numbers are the default: they are monotone and safe under drift. A staircase (isotonic regression) is only worth
//! its ties when there are many bad rows and it is clearly better on rows that it has not seen.

use crate::error::TrainError;
use crate::logistic::{Logistic, sigmoid};
use crate::metrics::log_loss;
use linfa::composing::platt_scaling::{Platt, platt_newton_method};
use linfa::traits::Fit;
use linfa::{DatasetBase, ParamGuard};
use models::Calibration;
use ndarray::{Array1, Array2, ArrayView1};
use serde::Serialize;

/// Bad rows from which on isotonic regression is tried.
pub const ISOTONIC_POSITIVES_MIN: usize = 1000;
/// By what share of the log-loss isotonic regression must be better than Platt on unseen rows, to pay for its ties.
pub const ISOTONIC_GAIN_MIN: f64 = 0.005;

/// Platt's calibration (Platt 1999, solved as Lin, Lin and Weng 2007): `1 / (1 + exp(a x + b))` with `a < 0`, or `None` where the
/// scores do not rise with the labels, or a class is absent. O(rows x steps).
#[must_use]
pub fn platt(log_odds: &[f64], labels: &[bool]) -> Option<(f64, f64)> {
    let positives = labels.iter().filter(|l| **l).count();
    if positives == 0 || positives == labels.len() || log_odds.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let params = Platt::<f64, ()>::params().check().ok()?;
    let fitted =
        platt_newton_method(ArrayView1::from(log_odds), ArrayView1::from(labels), &params).ok();
    // linfa's line search gives up on nearly separable scores, where a penalised Newton step still stands.
    let (a, b) = fitted
        .filter(|(a, b)| a.is_finite() && b.is_finite())
        .or_else(|| newton(log_odds, labels).ok())?;
    (a < 0.0 && b.is_finite()).then_some((a, b))
}

fn newton(log_odds: &[f64], labels: &[bool]) -> Result<(f64, f64), TrainError> {
    let x = Array2::from_shape_fn((log_odds.len(), 1), |(row, _)| log_odds[row]);
    let fit = Logistic { l2: 1.0, centre: vec![1.0], ..Logistic::default() }
        .fit(&DatasetBase::new(x, Array1::from(labels.to_vec())))?;
    Ok((-fit.weights[0], -fit.bias))
}

/// Isotonic regression by pooling adjacent violators (Ayer et al. 1955): the never falling staircase with the least squared error,
/// as (bounds, values) with `values[i]` from `bounds[i]` up to the next bound. Equal scores get one value. Values are kept off 0
/// and 1 by what so many rows can say. O(n log n).
#[must_use]
pub fn isotonic(scores: &[f64], labels: &[bool]) -> (Vec<f64>, Vec<f64>) {
    let mut order: Vec<(f64, bool)> = scores
        .iter()
        .copied()
        .zip(labels.iter().copied())
        .filter(|r| r.0.is_finite())
        .map(|r| (r.0 + 0.0, r.1))
        .collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    /// A step: its lowest score, and the bad and all rows on it.
    struct Block {
        from: f64,
        bad: f64,
        all: f64,
    }
    let mut blocks: Vec<Block> = Vec::new();
    let mut at = 0;
    while at < order.len() {
        let from = order[at].0;
        let (mut bad, mut all) = (0.0, 0.0);
        while at < order.len() && order[at].0 == from {
            bad += f64::from(u8::from(order[at].1));
            all += 1.0;
            at += 1;
        }
        blocks.push(Block { from, bad, all });
        while let [.., before, last] = blocks.as_mut_slice() {
            if before.bad * last.all < last.bad * before.all {
                break;
            }
            (before.bad, before.all) = (before.bad + last.bad, before.all + last.all);
            blocks.pop();
        }
    }
    let (bad, all) = blocks.iter().fold((0.0, 0.0), |sum, b| (sum.0 + b.bad, sum.1 + b.all));
    let (low, high) = (0.5 / (all - bad + 1.0), 1.0 - 0.5 / (bad + 1.0));
    blocks.iter().map(|b| (b.from, (b.bad / b.all).clamp(low.min(high), high.max(low)))).unzip()
}

/// Which calibration was chosen, and by what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// `none`, `platt` or `isotonic`.
    pub method: String,
    /// Log-loss on the later half, of each that was tried, fitted on the earlier half.
    pub held_out_log_loss: Vec<(String, f64)>,
}

/// Fits every calibration that the data allow on the first part of the rows (which must be in time order), takes the one with the
/// least log-loss on the rest, and fits it again on all rows. O(n log n).
#[must_use]
pub fn choose(log_odds: &[f64], labels: &[bool]) -> (Calibration, Choice) {
    let positives = labels.iter().filter(|l| **l).count();
    // The cut that leaves half of the bad rows on either side.
    let mut seen = 0;
    let cut = labels.iter().position(|l| {
        seen += usize::from(*l);
        seen * 2 > positives
    });
    let cut = cut.unwrap_or(labels.len());
    let ((early, late), (early_labels, late_labels)) =
        (log_odds.split_at(cut), labels.split_at(cut));
    let mut tried = vec![("none", Calibration::None)];
    if let Some((a, b)) = platt(early, early_labels) {
        tried.push(("platt", Calibration::Platt { a, b }));
    }
    if positives >= ISOTONIC_POSITIVES_MIN {
        let (bounds, values) = isotonic(early, early_labels);
        if !bounds.is_empty() {
            tried.push(("isotonic", Calibration::Isotonic { bounds, values }));
        }
    }
    let losses: Vec<(String, f64)> = tried
        .iter()
        .map(|(name, calibration)| {
            let p: Vec<f64> = late.iter().map(|x| calibration.probability(*x)).collect();
            ((*name).to_owned(), log_loss(&p, late_labels))
        })
        .collect();
    let loss = |name: &str| losses.iter().find(|l| l.0 == name).map_or(f64::INFINITY, |l| l.1);
    let smooth = if loss("platt") <= loss("none") { "platt" } else { "none" };
    let method = if loss("isotonic") < loss(smooth) * (1.0 - ISOTONIC_GAIN_MIN) {
        "isotonic"
    } else {
        smooth
    };
    let calibration = match method {
        "platt" => {
            platt(log_odds, labels).map_or(Calibration::None, |(a, b)| Calibration::Platt { a, b })
        }
        "isotonic" => {
            let (bounds, values) = isotonic(log_odds, labels);
            Calibration::Isotonic { bounds, values }
        }
        _ => Calibration::None,
    };
    let method = match calibration {
        Calibration::None => "none",
        Calibration::Platt { .. } => "platt",
        Calibration::Isotonic { .. } => "isotonic",
    };
    (calibration, Choice { method: method.to_owned(), held_out_log_loss: losses })
}

/// The mean of the probabilities of these log-odds.
#[must_use]
pub fn mean_probability(log_odds: &[f64]) -> f64 {
    log_odds.iter().map(|x| sigmoid(*x)).sum::<f64>() / log_odds.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use proptest::prelude::*;

    #[test]
    fn isotonic_is_what_scikit_learn_says() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let y = [false, false, true, false, true, true];
        let (bounds, values) = isotonic(&x, &y);
        assert_eq!(bounds, [1.0, 3.0, 5.0]);
        // 0, 0.5 and 1, kept off the ends by half a row.
        assert_eq!(values, [0.125, 0.5, 0.875]);
        assert_eq!(isotonic(&[], &[]), (vec![], vec![]));
    }

    proptest! {
        #[test]
        fn isotonic_never_falls_and_keeps_the_mean(rows in prop::collection::vec((0u8..20, any::<bool>()), 1..80)) {
            let (x, y): (Vec<f64>, Vec<bool>) = rows.iter().map(|r| (f64::from(r.0), r.1)).unzip();
            let (bounds, values) = isotonic(&x, &y);
            let calibration = Calibration::Isotonic { bounds: bounds.clone(), values: values.clone() };
            prop_assert!(calibration.check("test").is_ok());
            // Naive: the value at x is the max over a <= x of the min over b >= x of the mean of rows in a..=b.
            for &at in &x {
                let mean = |a: f64, b: f64| {
                    let part: Vec<f64> = x.iter().zip(&y).filter(|r| *r.0 >= a && *r.0 <= b).map(|r| f64::from(u8::from(*r.1))).collect();
                    part.iter().sum::<f64>() / part.len() as f64
                };
                let expected = x.iter().filter(|a| **a <= at).map(|a| {
                    x.iter().filter(|b| **b >= at).map(|b| mean(*a, *b)).fold(f64::INFINITY, f64::min)
                }).fold(f64::NEG_INFINITY, f64::max);
                let bad = y.iter().filter(|l| **l).count() as f64;
                let (low, high) = (0.5 / (y.len() as f64 - bad + 1.0), 1.0 - 0.5 / (bad + 1.0));
                let expected = expected.clamp(low.min(high), high.max(low));
                prop_assert!((calibration.probability(at) - expected).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn platt_undoes_a_stretch_and_refuses_what_falls() {
        let mut chance = Chance::new(1, 1);
        let x: Vec<f64> = (0..20_000).map(|_| chance.unit() * 6.0 - 4.0).collect();
        let y: Vec<bool> = x.iter().map(|x| chance.unit() < sigmoid(2.0 * x - 1.0)).collect();
        let (a, b) = platt(&x, &y).unwrap();
        assert!((a + 2.0).abs() < 0.1 && (b - 1.0).abs() < 0.1, "{a} {b}");
        let flipped: Vec<bool> = y.iter().map(|l| !l).collect();
        assert_eq!(platt(&x, &flipped), None);
        assert_eq!(platt(&x[..3], &[true; 3]), None);
        let (calibration, choice) = choose(&x, &y);
        assert_eq!(choice.method, "platt");
        let p: Vec<f64> = x.iter().map(|x| calibration.probability(*x)).collect();
        assert!(crate::metrics::ece(&p, &y, 15) < 0.02);
    }

    #[test]
    fn a_bent_curve_is_given_a_staircase() {
        let mut chance = Chance::new(2, 1);
        let x: Vec<f64> = (0..40_000).map(|_| chance.unit() * 6.0 - 3.0).collect();
        // Flat, then steep, then flat below 1: no sigmoid.
        let y: Vec<bool> =
            x.iter().map(|x| chance.unit() < if *x < 0.0 { 0.02 } else { 0.5 }).collect();
        let (_, choice) = choose(&x, &y);
        assert_eq!(choice.method, "isotonic", "{choice:?}");
    }
}
