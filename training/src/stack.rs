//! The graph's own model, and the trees and the graph together.

use crate::error::TrainError;
use crate::logistic::{Logistic, LogisticFit};
use crate::metrics::log_loss;
use linfa::DatasetBase;
use linfa::traits::Fit;
use models::logistic::{Column, LogisticModel, Transform};
use models::{Calibration, Stacking};
use ndarray::{Array1, Array2};
use serde::Serialize;

/// L2 penalty of the graph model's standardised columns, in rows.
const GRAPH_L2: f64 = 3.0;
/// L2 penalty that draws the stacking weights to "the trees alone": about so many rows' worth of doubt.
const STACK_L2: f64 = 3.0;
/// Values of one column that are looked at to choose its transform.
const SAMPLE_MAX: usize = 20_000;
/// Bad out-of-sample rows from which on the graph's say can be judged.
const STACK_POSITIVES_MIN: usize = 20;

/// A column of the graph model: its name and where its values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphColumn {
    /// Name in the engine's vector.
    pub name: String,
    /// Position in the rows.
    pub at: usize,
}

/// Fits a logistic regression over `columns` of the given rows, each column transformed, standardised and penalised.
/// `row(i)` is the i-th row's values; labels and weights are by the same i. `None` when no column varies.
///
/// # Errors
/// [`TrainError::Shape`] when there are no rows. O(rows x columns^2 x Newton steps).
pub fn graph_model<'a>(
    columns: &[GraphColumn],
    row: impl Fn(usize) -> &'a [f32],
    labels: &[bool],
    weights: &[f32],
) -> Result<Option<LogisticModel>, TrainError> {
    let rows = labels.len();
    let shaped: Vec<(usize, Column)> = columns
        .iter()
        .filter_map(|c| shape(&c.name, rows, |i| row(i)[c.at]).map(|shaped| (c.at, shaped)))
        .collect();
    if shaped.is_empty() {
        return Ok(None);
    }
    let mut x = Array2::zeros((rows, shaped.len()));
    for i in 0..rows {
        let values = row(i);
        for (j, (at, column)) in shaped.iter().enumerate() {
            // With weight 1 the contribution is the standardised value, exactly as the scorer computes it.
            x[(i, j)] = column.contribution(values[*at]);
        }
    }
    let data = DatasetBase::new(x, Array1::from(labels.to_vec()))
        .with_weights(Array1::from(weights.to_vec()));
    let fit = Logistic { l2: GRAPH_L2, ..Logistic::default() }.fit(&data)?;
    let columns = shaped
        .into_iter()
        .zip(&fit.weights)
        .map(|((_, column), weight)| Column { weight: *weight, ..column })
        .collect();
    Ok(Some(LogisticModel { bias: fit.bias, columns }))
}

/// Chooses transform, mean, scale and default of one column, with weight 1; `None` for a column that does not vary.
///
/// Counts and other values >= 0 with a long tail go through log1p; everything else is clamped to its inner 99 %.
fn shape(name: &str, rows: usize, value: impl Fn(usize) -> f32) -> Option<Column> {
    let step = rows.div_ceil(SAMPLE_MAX).max(1);
    let mut sample: Vec<f64> =
        (0..rows).step_by(step).map(&value).filter(|v| v.is_finite()).map(f64::from).collect();
    sample.sort_unstable_by(f64::total_cmp);
    let last = sample.len().checked_sub(1)?;
    let at = |q: f64| sample[(last as f64 * q).round() as usize];
    let (low, median, high) = (at(0.005), at(0.5), at(0.995));
    let transform = if sample[0] >= 0.0 && sample[last] > 4.0 * (median + 1.0) {
        Transform::Log1p
    } else if high > low {
        Transform::Clamp { low, high }
    } else {
        // Nearly always one value: the clamp would flatten it.
        Transform::Clamp { low: sample[0], high: sample[last] }
    };
    let raw = Column {
        name: name.to_owned(),
        transform,
        mean: 0.0,
        scale: 1.0,
        weight: 1.0,
        default: median,
    };
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    for i in 0..rows {
        let z = raw.contribution(value(i));
        sum += z;
        squares += z * z;
        count += 1.0;
    }
    let mean = sum / count;
    let deviation = (squares / count - mean * mean).max(0.0).sqrt();
    (deviation > 1e-9 * (1.0 + mean.abs())).then_some(Column { mean, scale: deviation, ..raw })
}

/// What joining the two models brought.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StackReport {
    /// Log-loss of the trees alone on the later half of the out-of-sample rows.
    pub trees_log_loss: f64,
    /// Log-loss of both together there, fitted on the earlier half.
    pub both_log_loss: f64,
    /// Whether the bundle joins them.
    pub used: bool,
}

/// Joins the trees' calibrated log-odds and the graph's, both out of sample and in time order, by logistic stacking (Wolpert 1992).
/// The weights are drawn to 1 and 0 and never below 0. Joined only if the later half, with weights from the earlier, says so. O(n).
///
/// # Errors
/// [`TrainError::Shape`] when the slices are empty.
pub fn stack(
    trees: &[f64],
    graph: &[f64],
    labels: &[bool],
) -> Result<(Option<Stacking>, StackReport), TrainError> {
    let positives = labels.iter().filter(|l| **l).count();
    let mut seen = 0;
    let cut = labels.iter().position(|l| {
        seen += usize::from(*l);
        seen * 2 > positives
    });
    let cut = cut.unwrap_or(labels.len());
    let mut report = StackReport { trees_log_loss: f64::NAN, both_log_loss: f64::NAN, used: false };
    if positives < STACK_POSITIVES_MIN || cut == 0 {
        return Ok((None, report));
    }
    let early = fit(&trees[..cut], &graph[..cut], &labels[..cut])?;
    // The trees alone get the same two degrees of freedom as any calibration would give them.
    let alone = fit(&trees[..cut], &vec![0.0; cut], &labels[..cut])?;
    let loss = |s: &Stacking| {
        let p: Vec<f64> = (cut..labels.len())
            .map(|i| crate::logistic::sigmoid(s.combine(trees[i], graph[i])))
            .collect();
        log_loss(&p, &labels[cut..])
    };
    report.trees_log_loss = loss(&Stacking { graph: 0.0, ..alone });
    report.both_log_loss = loss(&early);
    let all = fit(trees, graph, labels)?;
    report.used = report.both_log_loss < report.trees_log_loss && all.graph > 0.0;
    Ok((report.used.then_some(all), report))
}

fn fit(trees: &[f64], graph: &[f64], labels: &[bool]) -> Result<Stacking, TrainError> {
    let solve = |columns: &[&[f64]], centre: &[f64]| -> Result<LogisticFit, TrainError> {
        let x = Array2::from_shape_fn((labels.len(), columns.len()), |(row, column)| {
            columns[column][row]
        });
        let data = DatasetBase::new(x, Array1::from(labels.to_vec()));
        Logistic { l2: STACK_L2, centre: centre.to_vec(), ..Logistic::default() }.fit(&data)
    };
    let both = solve(&[trees, graph], &[1.0, 0.0])?;
    if both.weights[0] >= 0.0 && both.weights[1] >= 0.0 {
        return Ok(Stacking {
            bias: both.bias,
            behaviour: both.weights[0],
            graph: both.weights[1],
        });
    }
    // A model whose weight would turn it round is left out.
    let (column, centre) = if both.weights[1] < 0.0 { (trees, 1.0) } else { (graph, 0.0) };
    let one = solve(&[column], &[centre])?;
    let weight = one.weights[0].max(0.0);
    Ok(match both.weights[1] < 0.0 {
        true => Stacking { bias: one.bias, behaviour: weight, graph: 0.0 },
        false => Stacking { bias: one.bias, behaviour: 0.0, graph: weight },
    })
}

/// The log-odds that the scorer joins: the trees' margins after the behaviour calibration.
#[must_use]
pub fn behaviour_log_odds(calibration: &Calibration, margins: &[f64]) -> Vec<f64> {
    margins.iter().map(|m| calibration.log_odds(*m)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::logistic::sigmoid;

    #[test]
    fn the_graph_model_finds_the_column_that_matters() {
        let mut chance = Chance::new(3, 3);
        let rows: Vec<[f32; 3]> = (0..4000)
            .map(|_| {
                let shared = (chance.unit() * 6.0).exp().floor() as f32;
                [shared, if chance.unit() < 0.1 { f32::NAN } else { chance.unit() as f32 }, 7.0]
            })
            .collect();
        let labels: Vec<bool> =
            rows.iter().map(|r| chance.unit() < sigmoid(f64::from(r[0]).ln_1p() - 4.0)).collect();
        let columns: Vec<GraphColumn> = ["graph.shared", "graph.noise", "graph.flat"]
            .iter()
            .enumerate()
            .map(|(at, name)| GraphColumn { name: (*name).to_owned(), at })
            .collect();
        let model =
            graph_model(&columns, |i| &rows[i], &labels, &vec![1.0; 4000]).unwrap().unwrap();
        assert_eq!(model.columns.len(), 2);
        assert_eq!(model.columns[0].transform, Transform::Log1p);
        assert!(model.columns[0].weight > 1.0 && model.columns[1].weight.abs() < 0.2, "{model:?}");
        let scores: Vec<f64> = rows.iter().map(|r| model.log_odds(|i| r[i])).collect();
        assert!(crate::metrics::Ranking::new(&scores, &labels).auc() > 0.8);
        assert!(
            (crate::calibrate::mean_probability(&scores)
                - labels.iter().filter(|l| **l).count() as f64 / 4000.0)
                .abs()
                < 0.01
        );
    }

    #[test]
    fn stacking_takes_what_helps_and_leaves_what_does_not() {
        let mut chance = Chance::new(4, 4);
        let truth: Vec<(f64, f64)> =
            (0..6000).map(|_| (chance.unit() * 4.0 - 4.0, chance.unit() * 4.0 - 2.0)).collect();
        let labels: Vec<bool> = truth.iter().map(|t| chance.unit() < sigmoid(t.0 + t.1)).collect();
        let trees: Vec<f64> = truth.iter().map(|t| t.0).collect();
        let graph: Vec<f64> = truth.iter().map(|t| t.1).collect();
        let (found, report) = stack(&trees, &graph, &labels).unwrap();
        let found = found.unwrap();
        assert!(
            (found.behaviour - 1.0).abs() < 0.15 && (found.graph - 1.0).abs() < 0.15,
            "{found:?}"
        );
        assert!(report.both_log_loss < report.trees_log_loss);
        let against: Vec<f64> = graph.iter().map(|g| -g).collect();
        assert_eq!(stack(&trees, &against, &labels).unwrap().0, None);
        assert_eq!(stack(&trees[..50], &graph[..50], &[false; 50]).unwrap().0, None);
    }
}
