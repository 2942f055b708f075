//! Margins to probabilities, and the two models' log-odds to one.

use crate::bundle::BundleError;
use crate::limits::ISOTONIC_STEPS_MAX;

/// Probabilities are kept this far from 0 and 1 before log-odds are taken of them.
const EDGE: f64 = 1e-6;

/// `1 / (1 + exp(-x))`, without overflow.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln(p / (1 - p))`, of a probability held between 1e-6 and 1 - 1e-6.
#[must_use]
pub fn log_odds(probability: f64) -> f64 {
    let p = probability.clamp(EDGE, 1.0 - EDGE);
    (p / (1.0 - p)).ln()
}

/// How a margin becomes a probability that can be taken at its word.
///
/// ```
/// use models::Calibration;
/// assert_eq!(Calibration::None.log_odds(0.7), 0.7);
/// assert_eq!(Calibration::Platt { a: -2.0, b: 0.5 }.log_odds(1.0), 1.5);
/// let steps = Calibration::Isotonic { bounds: vec![-1.0, 1.0], values: vec![0.1, 0.8] };
/// assert_eq!([-9.0, -1.0, 0.9, 1.0, 9.0].map(|m| steps.probability(m)), [0.1, 0.1, 0.1, 0.8, 0.8]);
/// let curve = Calibration::Curve { margins: vec![-1.0, 1.0], log_odds: vec![-4.0, 2.0] };
/// assert_eq!([-2.0, -1.0, 0.0, 1.0, 3.0].map(|m| curve.log_odds(m)), [-5.0, -4.0, -1.0, 2.0, 4.0]);
/// ```
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Calibration {
    /// The sigmoid of the margin.
    #[default]
    None,
    /// `1 / (1 + exp(a * margin + b))`: Platt (1999), with his signs, so that `a` is below zero.
    Platt {
        /// Slope, below zero.
        a: f64,
        /// Offset.
        b: f64,
    },
    /// A rising staircase: `values[i]` from `bounds[i]` up to the next bound, `values[0]` below the first.
    Isotonic {
        /// Margins, rising.
        bounds: Vec<f64>,
        /// Probabilities, never falling; as many as bounds.
        values: Vec<f64>,
    },
    /// Rising lines between points, in log-odds; beyond the ends with the slope of the nearest line, but no more than 1.
    /// Unlike a staircase it keeps the order of any two margins.
    Curve {
        /// Margins of the points, rising; two at least.
        margins: Vec<f64>,
        /// Log-odds there, rising; as many.
        log_odds: Vec<f64>,
    },
}

/// Through the points, and beyond them.
fn on_curve(margins: &[f64], log_odds: &[f64], margin: f64) -> f64 {
    let after = margins.partition_point(|&x| x <= margin).clamp(1, margins.len().max(2) - 1);
    let (Some([x0, x1]), Some([y0, y1])) =
        (margins.get(after - 1..=after), log_odds.get(after - 1..=after))
    else {
        return margin;
    };
    let slope = (y1 - y0) / (x1 - x0);
    if margin < *x0 {
        y0 + (margin - x0) * slope.min(1.0)
    } else if margin > *x1 {
        y1 + (margin - x1) * slope.min(1.0)
    } else {
        y0 + (margin - x0) * slope
    }
}

impl Calibration {
    /// The probability at a margin. Cost: one `exp`, or a binary search.
    #[must_use]
    pub fn probability(&self, margin: f64) -> f64 {
        match self {
            Calibration::None | Calibration::Platt { .. } | Calibration::Curve { .. } => {
                sigmoid(self.log_odds(margin))
            }
            Calibration::Isotonic { bounds, values } => {
                let above = bounds.partition_point(|&bound| bound <= margin);
                values.get(above.saturating_sub(1)).copied().unwrap_or(0.5)
            }
        }
    }

    /// The log-odds at a margin.
    #[must_use]
    pub fn log_odds(&self, margin: f64) -> f64 {
        match self {
            Calibration::None => margin,
            Calibration::Platt { a, b } => -(a * margin + b),
            Calibration::Isotonic { .. } => log_odds(self.probability(margin)),
            Calibration::Curve { margins, log_odds } => on_curve(margins, log_odds, margin),
        }
    }

    /// Log-odds per unit of margin, where that is one number.
    #[must_use]
    pub fn slope(&self) -> Option<f64> {
        match self {
            Calibration::None => Some(1.0),
            Calibration::Platt { a, .. } => Some(-a),
            Calibration::Isotonic { .. } | Calibration::Curve { .. } => None,
        }
    }

    /// Refuses what is no rising map into probabilities. `place` names the calibration in the error.
    ///
    /// # Errors
    ///
    /// [`BundleError::Invalid`].
    pub fn check(&self, place: &str) -> Result<(), BundleError> {
        let invalid = |what: String| Err(BundleError::invalid(place, what));
        match self {
            Calibration::None => Ok(()),
            Calibration::Platt { a, b } => {
                if !(a.is_finite() && b.is_finite() && *a < 0.0) {
                    return invalid(format!("a ({a}) must be below 0, and b ({b}) finite"));
                }
                Ok(())
            }
            Calibration::Isotonic { bounds, values } => {
                let (steps, probabilities) = (bounds.len(), values.len());
                if steps == 0 || steps != probabilities || steps > ISOTONIC_STEPS_MAX {
                    return invalid(format!(
                        "{steps} bounds and {probabilities} values must be equally many, 1 to {ISOTONIC_STEPS_MAX}"
                    ));
                }
                let rising = bounds.windows(2).all(|pair| pair[0] < pair[1]);
                if !rising || bounds.iter().any(|bound| !bound.is_finite()) {
                    return invalid("bounds must rise and be finite".to_owned());
                }
                let steady = values.windows(2).all(|pair| pair[0] <= pair[1]);
                if !steady || values.iter().any(|value| !(0.0..=1.0).contains(value)) {
                    return invalid("values must not fall, and lie between 0 and 1".to_owned());
                }
                Ok(())
            }
            Calibration::Curve { margins, log_odds } => {
                let (points, heights) = (margins.len(), log_odds.len());
                if points < 2 || points != heights || points > ISOTONIC_STEPS_MAX {
                    return invalid(format!(
                        "{points} margins and {heights} log-odds must be equally many, 2 to {ISOTONIC_STEPS_MAX}"
                    ));
                }
                let rising = |numbers: &[f64]| {
                    numbers.windows(2).all(|pair| pair[0] < pair[1])
                        && numbers.iter().all(|number| number.is_finite())
                };
                if !rising(margins) || !rising(log_odds) {
                    return invalid("margins and log-odds must rise and be finite".to_owned());
                }
                Ok(())
            }
        }
    }
}

/// Logistic stacking (Wolpert 1992): a logistic model over the two models' log-odds.
///
/// ```
/// let stacking = models::Stacking { bias: -1.0, behaviour: 0.5, graph: 2.0 };
/// assert_eq!(stacking.combine(2.0, 3.0), 6.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stacking {
    /// Log-odds where both models say even.
    pub bias: f64,
    /// Weight of the behaviour model's log-odds.
    pub behaviour: f64,
    /// Weight of the graph model's log-odds.
    pub graph: f64,
}

impl Stacking {
    /// The log-odds of both together.
    #[must_use]
    pub fn combine(&self, behaviour_log_odds: f64, graph_log_odds: f64) -> f64 {
        self.bias + self.behaviour * behaviour_log_odds + self.graph * graph_log_odds
    }

    /// Refuses numbers that are not finite.
    ///
    /// # Errors
    ///
    /// [`BundleError::Invalid`].
    pub fn check(&self) -> Result<(), BundleError> {
        let numbers = [self.bias, self.behaviour, self.graph];
        if numbers.iter().any(|number| !number.is_finite()) {
            let what = format!("bias and weights {numbers:?} must be finite");
            return Err(BundleError::invalid("stacking", what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_and_log_odds_undo_each_other() {
        for x in [-12.0, -1.0, 0.0, 0.3, 9.0] {
            assert!((log_odds(sigmoid(x)) - x).abs() < 1e-9, "{x}");
        }
        assert_eq!(sigmoid(-1e9), 0.0);
        assert_eq!(sigmoid(1e9), 1.0);
        assert!(log_odds(0.0).is_finite() && log_odds(1.0).is_finite());
    }

    #[test]
    fn what_does_not_rise_is_refused() {
        let isotonic = |bounds: &[f64], values: &[f64]| {
            let (bounds, values) = (bounds.to_vec(), values.to_vec());
            Calibration::Isotonic { bounds, values }.check("calibration").is_ok()
        };
        assert!(isotonic(&[0.0, 1.0], &[0.2, 0.2]));
        assert!(!isotonic(&[], &[]));
        assert!(!isotonic(&[0.0], &[0.2, 0.3]));
        assert!(!isotonic(&[0.0, 0.0], &[0.2, 0.3]));
        assert!(!isotonic(&[0.0, f64::NAN], &[0.2, 0.3]));
        assert!(!isotonic(&[0.0, 1.0], &[0.3, 0.2]));
        assert!(!isotonic(&[0.0, 1.0], &[0.3, 1.2]));
        assert!(Calibration::Platt { a: -1.0, b: 0.0 }.check("c").is_ok());
        assert!(Calibration::Platt { a: 1.0, b: 0.0 }.check("c").is_err());
        assert!(Calibration::Platt { a: f64::NAN, b: 0.0 }.check("c").is_err());
    }

    #[test]
    fn a_curve_rises_everywhere() {
        let curve = |margins: &[f64], log_odds: &[f64]| {
            let (margins, log_odds) = (margins.to_vec(), log_odds.to_vec());
            Calibration::Curve { margins, log_odds }
        };
        let good = curve(&[-2.0, -1.0, 3.0], &[-5.0, -1.0, -0.5]);
        assert!(good.check("c").is_ok());
        let at: Vec<f64> = (-40..60).map(|i| good.log_odds(f64::from(i) / 10.0)).collect();
        assert!(at.windows(2).all(|pair| pair[0] < pair[1]), "{at:?}");
        assert_eq!(good.log_odds(-3.0), -6.0, "no steeper than the margin itself beyond the ends");
        assert_eq!(good.log_odds(3.0 + 8.0), 0.5);
        assert!(curve(&[0.0], &[0.0]).check("c").is_err());
        assert!(curve(&[0.0, 1.0], &[0.0]).check("c").is_err());
        assert!(curve(&[0.0, 1.0], &[0.0, 0.0]).check("c").is_err());
        assert!(curve(&[0.0, 0.0], &[0.0, 1.0]).check("c").is_err());
        assert!(curve(&[0.0, 1.0], &[0.0, f64::INFINITY]).check("c").is_err());
    }

    #[test]
    fn platt_has_his_signs() {
        // scikit-learn's _SigmoidCalibration: expit(-(a * x + b)).
        let p = Calibration::Platt { a: -1.5, b: 0.25 }.probability(2.0);
        assert!((p - 1.0 / (1.0 + (-1.5f64 * 2.0 + 0.25).exp())).abs() < 1e-15);
    }
}
