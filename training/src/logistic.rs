//! Logistic regression by Newton's method: small, weighted, and safe on separable data.
//!
//! linfa-logistic knows no sample weights, and its line search gives up on separable columns; a stacker and a graph model
//! have a few dozen columns at most, for which Newton's method with a step that halves until the loss falls is exact and quick.

use crate::error::TrainError;
use linfa::DatasetBase;
use linfa::traits::{Fit, PredictInplace};
use ndarray::{Array1, Array2};

/// Settings of a logistic regression. The penalty is on the weights, never on the bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// L2 penalty: `0.5 * l2 * |w - centre|^2` is added to the weighted sum of log-losses.
    pub l2: f64,
    /// The values that the weights are drawn to; columns beyond its end are drawn to 0.
    pub centre: Vec<f64>,
    /// Newton steps at most.
    pub steps_max: usize,
}

impl Default for Logistic {
    fn default() -> Self {
        Self { l2: 1.0, centre: Vec::new(), steps_max: 50 }
    }
}

/// A fitted logistic regression: log-odds = bias + weights . x.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticFit {
    /// Log-odds at x = 0.
    pub bias: f64,
    /// One weight per column.
    pub weights: Vec<f64>,
}

impl LogisticFit {
    /// Log-odds of one row.
    #[must_use]
    pub fn log_odds(&self, row: &[f64]) -> f64 {
        self.bias + self.weights.iter().zip(row).map(|(w, x)| w * x).sum::<f64>()
    }
}

/// ln(1 + exp(x)) without overflow.
#[must_use]
pub fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// 1 / (1 + exp(-x)) without overflow.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

impl Fit<Array2<f64>, Array1<bool>, TrainError> for Logistic {
    type Object = LogisticFit;

    /// Fits by damped Newton steps. Weights come from the data set; rows without weights count 1.
    /// O(steps x rows x columns^2). Values must be finite.
    fn fit(
        &self,
        dataset: &DatasetBase<Array2<f64>, Array1<bool>>,
    ) -> Result<LogisticFit, TrainError> {
        let (rows, columns) = dataset.records.dim();
        if rows == 0 || dataset.targets.len() != rows {
            return Err(TrainError::Shape {
                what: "label",
                found: dataset.targets.len(),
                expected: rows.max(1),
            });
        }
        let weight = |row: usize| dataset.weights().map_or(1.0, |w| f64::from(w[row]));
        // Solved at the bias of the mean, so that the first step starts from the base rate.
        let (mut total, mut bad) = (0.0, 0.0);
        for row in 0..rows {
            total += weight(row);
            bad += if dataset.targets[row] { weight(row) } else { 0.0 };
        }
        let base = ((bad + 0.5) / (total - bad + 0.5)).ln();
        let centre = |column: usize| self.centre.get(column).copied().unwrap_or(0.0);
        let mut theta: Vec<f64> = (0..columns).map(centre).collect();
        theta.push(base);
        let loss = |theta: &[f64]| {
            let mut sum = 0.0;
            for (row, x) in dataset.records.outer_iter().enumerate() {
                let z = theta[columns] + x.iter().zip(theta).map(|(x, t)| x * t).sum::<f64>();
                sum += weight(row) * softplus(if dataset.targets[row] { -z } else { z });
            }
            sum + 0.5 * self.l2 * (0..columns).map(|i| (theta[i] - centre(i)).powi(2)).sum::<f64>()
        };
        let size = columns + 1;
        let mut here = loss(&theta);
        for _ in 0..self.steps_max {
            let mut gradient = vec![0.0; size];
            let mut hessian = vec![0.0; size * size];
            for (row, x) in dataset.records.outer_iter().enumerate() {
                let z = theta[columns] + x.iter().zip(&theta).map(|(x, t)| x * t).sum::<f64>();
                let p = sigmoid(z);
                let error = weight(row) * (p - f64::from(u8::from(dataset.targets[row])));
                let curve = weight(row) * p * (1.0 - p);
                let at = |i: usize| if i < columns { x[i] } else { 1.0 };
                for i in 0..size {
                    gradient[i] += error * at(i);
                    let scaled = curve * at(i);
                    for j in 0..=i {
                        hessian[i * size + j] += scaled * at(j);
                    }
                }
            }
            for i in 0..columns {
                gradient[i] += self.l2 * (theta[i] - centre(i));
                hessian[i * size + i] += self.l2;
            }
            // A trace of ridge keeps the factorisation defined when columns are collinear and l2 is 0.
            for i in 0..size {
                hessian[i * size + i] += 1e-9 * (1.0 + hessian[i * size + i]);
            }
            let Some(step) = solve(&mut hessian, &gradient) else { break };
            let mut share = 1.0;
            let mut moved = false;
            while share > 1e-6 {
                let next: Vec<f64> = theta.iter().zip(&step).map(|(t, s)| t - share * s).collect();
                let there = loss(&next);
                if there.is_finite() && there < here {
                    moved = here - there > 1e-10 * (1.0 + here);
                    (theta, here) = (next, there);
                    break;
                }
                share *= 0.5;
            }
            if !moved {
                break;
            }
        }
        let bias = theta.pop().unwrap_or(base);
        Ok(LogisticFit { bias, weights: theta })
    }
}

impl PredictInplace<Array2<f64>, Array1<f64>> for LogisticFit {
    /// Probabilities of the rows.
    fn predict_inplace(&self, x: &Array2<f64>, y: &mut Array1<f64>) {
        for (row, out) in x.outer_iter().zip(y.iter_mut()) {
            let z = self.bias + row.iter().zip(&self.weights).map(|(x, w)| x * w).sum::<f64>();
            *out = sigmoid(z);
        }
    }

    fn default_target(&self, x: &Array2<f64>) -> Array1<f64> {
        Array1::zeros(x.nrows())
    }
}

/// Solves `a x = b` for a symmetric positive definite `a` (lower triangle, row-major) by Cholesky; `None` if it is not.
fn solve(a: &mut [f64], b: &[f64]) -> Option<Vec<f64>> {
    let n = b.len();
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            let rest = a[i * n + j] - dot;
            if i == j {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                a[i * n + i] = rest.sqrt();
            } else {
                a[i * n + j] = rest / a[j * n + j];
            }
        }
    }
    let mut x = b.to_vec();
    for i in 0..n {
        let dot: f64 = (0..i).map(|k| a[i * n + k] * x[k]).sum();
        x[i] = (x[i] - dot) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|k| a[k * n + i] * x[k]).sum();
        x[i] = (x[i] - dot) / a[i * n + i];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use linfa::traits::Predict;

    fn drawn(rows: usize) -> (Array2<f64>, Array1<bool>) {
        let mut chance = Chance::new(11, 0);
        let x = Array2::from_shape_fn((rows, 2), |_| chance.unit() * 4.0 - 2.0);
        let y = x
            .outer_iter()
            .map(|r| chance.unit() < sigmoid(-1.0 + 1.5 * r[0] - 0.5 * r[1]))
            .collect();
        (x, y)
    }

    #[test]
    fn finds_the_weights_that_drew_the_labels() {
        let (x, y) = drawn(20_000);
        let fit = Logistic::default().fit(&DatasetBase::new(x.clone(), y)).unwrap();
        assert!(
            (fit.bias + 1.0).abs() < 0.1
                && (fit.weights[0] - 1.5).abs() < 0.1
                && (fit.weights[1] + 0.5).abs() < 0.1,
            "{fit:?}"
        );
        let p: Array1<f64> = fit.predict(&x);
        assert!((p[0] - sigmoid(fit.log_odds(x.row(0).as_slice().unwrap()))).abs() < 1e-12);
    }

    #[test]
    fn the_gradient_is_zero_at_the_fit_and_a_weight_of_two_is_a_row_twice() {
        let (x, y) = drawn(300);
        let weights = Array1::from_iter((0..300).map(|row| (row % 3) as f32));
        let weighted = Logistic::default()
            .fit(&DatasetBase::new(x.clone(), y.clone()).with_weights(weights))
            .unwrap();
        let (mut twice, mut labels) = (Vec::new(), Vec::new());
        for row in 0..300 {
            for _ in 0..row % 3 {
                twice.extend(x.row(row).iter().copied());
                labels.push(y[row]);
            }
        }
        let twice = Array2::from_shape_vec((labels.len(), 2), twice).unwrap();
        let repeated = Logistic::default()
            .fit(&DatasetBase::new(twice.clone(), Array1::from(labels.clone())))
            .unwrap();
        assert!((weighted.bias - repeated.bias).abs() < 1e-6);
        let error = |row: usize| {
            sigmoid(repeated.log_odds(twice.row(row).as_slice().unwrap()))
                - f64::from(u8::from(labels[row]))
        };
        assert!((0..labels.len()).map(error).sum::<f64>().abs() < 1e-3);
        for column in 0..2 {
            let slope = (0..labels.len()).map(|row| error(row) * twice[(row, column)]).sum::<f64>()
                + repeated.weights[column];
            assert!(slope.abs() < 1e-3, "{slope}");
        }
    }

    #[test]
    fn separable_collinear_and_one_class_data_stay_finite() {
        let x = Array2::from_shape_fn(
            (40, 3),
            |(row, column)| if column == 2 { 1.0 } else { row as f64 },
        );
        let y = Array1::from_iter((0..40).map(|row| row >= 20));
        for (l2, labels) in [(1.0, y.clone()), (0.0, y), (0.0, Array1::from_elem(40, false))] {
            let fit = Logistic { l2, ..Logistic::default() }
                .fit(&DatasetBase::new(x.clone(), labels))
                .unwrap();
            assert!(fit.bias.is_finite() && fit.weights.iter().all(|w| w.is_finite()), "{fit:?}");
        }
    }
}
