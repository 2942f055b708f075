//! Log-odds to probabilities that can be taken at their word.
//!
//! Platt's two numbers are the default: they are monotone and safe under drift. Isotonic regression is tried when there are many bad
//! rows, and taken when it is clearly better on rows that it has not seen; not as the staircase that it is, whose ties would
//! undo the model's ranking at the top, but as the curve through the middles of its steps.

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
/// By what share of the log-loss isotonic regression must be better than Platt on unseen rows.
pub const ISOTONIC_GAIN_MIN: f64 = 0.005;
/// A point of the curve stands for so many rows at least.
const POINT_ROWS_MIN: f64 = 50.0;

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

/// A step of the staircase: its lowest score, the sum of its scores, and the bad and all rows on it.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: f64,
    sum: f64,
    bad: f64,
    all: f64,
}

impl Step {
    fn join(&mut self, next: &Step) {
        self.sum += next.sum;
        self.bad += next.bad;
        self.all += next.all;
    }
}

/// Puts a step behind the others and pools what does not rise by `rate`.
fn pool(steps: &mut Vec<Step>, step: Step, rate: impl Fn(&Step) -> f64) {
    steps.push(step);
    while let [.., before, last] = steps.as_mut_slice() {
        if rate(before) < rate(last) {
            break;
        }
        before.join(last);
        steps.pop();
    }
}

/// Isotonic regression by pooling adjacent violators (Ayer et al. 1955): the never falling staircase with the least squared error.
/// Equal scores get one value. O(n log n).
fn isotonic(scores: &[f64], labels: &[bool]) -> Vec<Step> {
    let mut order: Vec<(f64, bool)> = scores
        .iter()
        .copied()
        .zip(labels.iter().copied())
        .filter(|r| r.0.is_finite())
        .map(|r| (r.0 + 0.0, r.1))
        .collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut steps: Vec<Step> = Vec::new();
    for same in order.chunk_by(|a, b| a.0 == b.0) {
        let (from, all) = (same[0].0, same.len() as f64);
        let bad = same.iter().filter(|r| r.1).count() as f64;
        pool(&mut steps, Step { from, sum: from * all, bad, all }, |s| s.bad / s.all);
    }
    steps
}

/// Centred isotonic regression (Oron and Flournoy 2017): the curve through the middles of the staircase's steps, in log-odds. Steps
/// of few rows are pooled with the one before, and each rate is drawn off 0 and 1 by half a row of either kind (Jeffreys' prior).
/// `None` when fewer than two steps are left. O(n log n).
#[must_use]
pub fn curve(scores: &[f64], labels: &[bool]) -> Option<Calibration> {
    let rate = |s: &Step| (s.bad + 0.5) / (s.all + 1.0);
    let mut steps: Vec<Step> = Vec::new();
    let mut rest: Option<Step> = None;
    for step in isotonic(scores, labels) {
        let mut step = rest.take().map_or(step, |mut before| {
            before.join(&step);
            before
        });
        if step.all < POINT_ROWS_MIN {
            match steps.last_mut() {
                Some(before) => before.join(&step),
                None => rest = Some(step),
            }
            continue;
        }
        step.from = step.sum / step.all;
        pool(&mut steps, step, rate);
    }
    let margins: Vec<f64> = steps.iter().map(|s| s.sum / s.all).collect();
    let log_odds: Vec<f64> =
        steps.iter().map(|s| ((s.bad + 0.5) / (s.all - s.bad + 0.5)).ln()).collect();
    let calibration = Calibration::Curve { margins, log_odds };
    calibration.check("calibration").is_ok().then_some(calibration)
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
        tried.extend(curve(early, early_labels).map(|curve| ("isotonic", curve)));
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
        "isotonic" => curve(log_odds, labels).unwrap_or_default(),
        _ => Calibration::None,
    };
    let method = match calibration {
        Calibration::None => "none",
        Calibration::Platt { .. } => "platt",
        Calibration::Isotonic { .. } | Calibration::Curve { .. } => "isotonic",
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
        let steps: Vec<(f64, f64)> =
            isotonic(&x, &y).iter().map(|s| (s.from, s.bad / s.all)).collect();
        assert_eq!(steps, [(1.0, 0.0), (3.0, 0.5), (5.0, 1.0)]);
        assert!(isotonic(&[], &[]).is_empty());
        assert_eq!(curve(&x, &y), None, "six rows are no curve");
    }

    proptest! {
        #[test]
        fn isotonic_never_falls_and_keeps_the_mean(rows in prop::collection::vec((0u8..20, any::<bool>()), 1..80)) {
            let (x, y): (Vec<f64>, Vec<bool>) = rows.iter().map(|r| (f64::from(r.0), r.1)).unzip();
            let steps = isotonic(&x, &y);
            // Naive: the value at x is the max over a <= x of the min over b >= x of the mean of rows in a..=b.
            for &at in &x {
                let mean = |a: f64, b: f64| {
                    let part: Vec<f64> = x.iter().zip(&y).filter(|r| *r.0 >= a && *r.0 <= b).map(|r| f64::from(u8::from(*r.1))).collect();
                    part.iter().sum::<f64>() / part.len() as f64
                };
                let expected = x.iter().filter(|a| **a <= at).map(|a| {
                    x.iter().filter(|b| **b >= at).map(|b| mean(*a, *b)).fold(f64::INFINITY, f64::min)
                }).fold(f64::NEG_INFINITY, f64::max);
                let step = steps.iter().rfind(|s| s.from <= at).unwrap();
                prop_assert!((step.bad / step.all - expected).abs() < 1e-9);
            }
        }

        #[test]
        fn a_curve_keeps_the_ranking(rows in prop::collection::vec((-9.0f64..9.0, 0.0f64..1.0), 200..900)) {
            let ends = (0..100).map(|i| (-10.0 - f64::from(i), 1.0)).chain((0..100).map(|i| (10.0 + f64::from(i), 0.0)));
            let (x, y): (Vec<f64>, Vec<bool>) = rows.into_iter().chain(ends).map(|r| (r.0, r.1 < sigmoid(r.0))).unzip();
            let found = curve(&x, &y).unwrap();
            let mut order = x.clone();
            order.sort_unstable_by(f64::total_cmp);
            order.dedup();
            prop_assert!(order.windows(2).all(|pair| found.log_odds(pair[0]) < found.log_odds(pair[1])));
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
    fn a_bent_curve_is_followed() {
        let mut chance = Chance::new(2, 1);
        let x: Vec<f64> = (0..40_000).map(|_| chance.unit() * 6.0 - 3.0).collect();
        // Flat, then steep, then flat below 1: no sigmoid.
        let y: Vec<bool> =
            x.iter().map(|x| chance.unit() < if *x < 0.0 { 0.02 } else { 0.5 }).collect();
        let (calibration, choice) = choose(&x, &y);
        assert_eq!(choice.method, "isotonic", "{choice:?}");
        assert!((calibration.probability(-1.5) - 0.02).abs() < 0.01);
        assert!((calibration.probability(1.5) - 0.5).abs() < 0.05);
    }
}
