//! Boosted trees: the boosting library behind linfa's `Fit` and `Predict`.
//!
//! What is trained leaves this module as XGBoost JSON, which the scorer reads bit for bit, and which XGBoost itself reads:
//! the library can be replaced without touching anything that scores.

use crate::error::TrainError;
use hessboost::config::{GrowPolicy, Monotone};
use hessboost::data::FeatureType;
use hessboost::metric::EvalMetric;
use hessboost::model::{ImportanceType, ModelFormat};
use hessboost::objective::RegLoss;
use hessboost::prelude::{
    BoostedModel, DMatrix, Iterations, Objective, Trainer, TrainingParams, TreeMethod,
};
use linfa::DatasetBase;
use linfa::dataset::Records;
use linfa::traits::{Fit, Predict, PredictInplace};
use ndarray::Array1;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Feature rows, shared: selecting rows of a matrix copies no values.
#[derive(Debug, Clone)]
pub struct Matrix {
    inner: DMatrix,
}

impl Matrix {
    /// A matrix over row-major `values`, NaN absent. Infinite values become the largest finite ones, which every split treats alike.
    /// `categorical` has one flag per column; codes of such a column must be whole and in 0..2^24.
    ///
    /// # Errors
    /// [`TrainError::Boost`] when the shape is wrong or empty, or a category is none. O(values); no copy unless the vector is shared.
    pub fn new(
        mut values: Vec<f32>,
        columns: usize,
        categorical: &[bool],
    ) -> Result<Self, TrainError> {
        for value in &mut values {
            if value.is_infinite() {
                *value = f32::MAX.copysign(*value);
            }
        }
        let rows = values.len().checked_div(columns).unwrap_or(0);
        let kinds: Vec<FeatureType> = categorical
            .iter()
            .map(|&c| if c { FeatureType::Categorical } else { FeatureType::Numerical })
            .collect();
        let inner = DMatrix::from_dense_shared(Arc::new(values), rows, columns, f32::NAN)?
            .with_feature_types(&kinds)?;
        Ok(Self { inner })
    }

    /// The rows with these numbers, in this order; values are shared.
    ///
    /// # Errors
    /// [`TrainError::Boost`] when `rows` is empty or names a row that is not there.
    pub fn select(&self, rows: &[u32]) -> Result<Self, TrainError> {
        let rows: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
        Ok(Self { inner: self.inner.select_rows(&rows)? })
    }
}

impl Records for Matrix {
    type Elem = f32;

    fn nsamples(&self) -> usize {
        self.inner.n_rows()
    }

    fn nfeatures(&self) -> usize {
        self.inner.n_cols()
    }
}

/// Feature rows with what is known of them.
pub type Examples = DatasetBase<Matrix, Array1<bool>>;

/// How trees are boosted. The loss is the unweighted log-loss: class weights distort probabilities, thresholds do not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BoostParams {
    /// Trees at most.
    pub rounds_max: usize,
    /// Share of each tree's step that is taken (learning rate).
    pub eta: f64,
    /// Leaves per tree at most; trees grow best leaf first.
    pub leaves_max: usize,
    /// Depth at most; 0 is no limit.
    pub depth_max: usize,
    /// Sum of hessians that each child of a split must have.
    pub min_child_weight: f64,
    /// L2 penalty of leaf values.
    pub lambda: f64,
    /// Loss reduction that a split must bring.
    pub gamma: f64,
    /// Share of the rows that each tree sees.
    pub subsample: f64,
    /// Share of the columns that each tree sees.
    pub colsample_tree: f64,
    /// Share of those columns that each split sees.
    pub colsample_node: f64,
    /// Histogram bins per column.
    pub bins_max: usize,
    /// One of -1, 0, 1 per column (the score must fall, is free, must rise with it); empty for none.
    pub monotone: Vec<i8>,
    /// Weight of bad rows relative to good ones; 1 leaves the probabilities true.
    pub scale_pos_weight: f64,
    /// Rounds without a better log-loss on the watched rows before boosting stops.
    pub patience_rounds: usize,
    /// Seed of row and column sampling.
    pub seed: u64,
    /// Worker threads; 0 is one per core. Any number trains the same bytes.
    pub threads: usize,
}

impl Default for BoostParams {
    fn default() -> Self {
        Self {
            rounds_max: 300,
            eta: 0.05,
            leaves_max: 31,
            depth_max: 10,
            min_child_weight: 1.0,
            lambda: 1.0,
            gamma: 0.0,
            subsample: 0.8,
            colsample_tree: 0.6,
            colsample_node: 0.8,
            bins_max: 256,
            monotone: Vec::new(),
            scale_pos_weight: 1.0,
            patience_rounds: 50,
            seed: 1,
            threads: 0,
        }
    }
}

impl BoostParams {
    fn params(&self, rows: &Examples) -> Result<TrainingParams, TrainError> {
        let monotone = self
            .monotone
            .iter()
            .map(|d| match d.signum() {
                1 => Monotone::Increasing,
                -1 => Monotone::Decreasing,
                _ => Monotone::None,
            })
            .collect::<Vec<_>>();
        let mut builder = TrainingParams::builder()
            .objective(Objective::BinaryLogistic(RegLoss::new(self.scale_pos_weight)?))
            .eval_metric(EvalMetric::LogLoss)
            .tree_method(TreeMethod::Hist)
            .grow_policy(GrowPolicy::LossGuide)
            .max_leaves(self.leaves_max)
            .eta(self.eta)
            .gamma(self.gamma)
            .lambda(self.lambda)
            .min_child_weight(self.min_child_weight)
            .subsample(self.subsample)
            .colsample_bytree(self.colsample_tree)
            .colsample_bynode(self.colsample_node)
            .max_bin(self.bins_max)
            .seed(self.seed)
            .base_score(base_rate(rows));
        builder = match self.depth_max {
            0 => builder.unlimited_depth(),
            depth => builder.max_depth(depth),
        };
        if monotone.iter().any(|m| *m != Monotone::None) {
            builder = builder.monotone_constraints(monotone);
        }
        if self.threads > 0 {
            builder = builder.nthread(self.threads);
        }
        Ok(builder.build()?)
    }

    /// Boosts on `rows` until the log-loss on `watched` (later rows, if any) has not fallen for `patience_rounds`, or `rounds_max`.
    /// `each_round` is told the number of rounds done, and says whether to go on.
    ///
    /// # Errors
    /// [`TrainError::Boost`] for parameters or data that the library refuses; [`TrainError::Stopped`] when `each_round` says so.
    /// Cost: about rows x columns x colsample x log2(leaves) per round.
    pub fn boost(
        &self,
        rows: &Examples,
        watched: Option<&Examples>,
        each_round: &mut (dyn FnMut(usize) -> ControlFlow<()> + Send),
    ) -> Result<Boosted, TrainError> {
        let params = self.params(rows)?;
        let train = labelled(rows)?;
        let watch = watched.map(labelled).transpose()?;
        let mut stopped = false;
        let result = {
            let stopped = &mut stopped;
            let mut trainer =
                Trainer::new(&params, &train, self.rounds_max).on_round(move |round| {
                    let flow = each_round(round.iteration() + 1);
                    *stopped = flow.is_break();
                    flow
                });
            if let Some(watch) = &watch {
                trainer = trainer.eval(watch, "later");
                if let Some(patience) = NonZeroUsize::new(self.patience_rounds) {
                    trainer = trainer.early_stopping_rounds(patience);
                }
            }
            trainer.train()?
        };
        if stopped {
            return Err(TrainError::Stopped);
        }
        let curve =
            result.history.series("later", "logloss").map(Iterator::collect).unwrap_or_default();
        let rounds =
            result.model.best_iteration().map_or(result.model.num_boost_rounds(), |best| best + 1);
        Ok(Boosted { model: result.model, rounds, curve })
    }
}

/// The (weighted) share of bad rows, kept away from 0 and 1: the margin that boosting starts from.
fn base_rate(rows: &Examples) -> f64 {
    let (mut bad, mut all) = (0.5, 1.0);
    for (row, &label) in rows.targets.iter().enumerate() {
        let weight = rows.weights().map_or(1.0, |w| f64::from(w[row]));
        all += weight;
        bad += if label { weight } else { 0.0 };
    }
    bad / all
}

fn labelled(rows: &Examples) -> Result<DMatrix, TrainError> {
    let labels: Vec<f32> = rows.targets.iter().map(|&bad| f32::from(u8::from(bad))).collect();
    let matrix = rows.records.inner.clone().with_labels(&labels)?;
    Ok(match rows.weights() {
        Some(weights) => matrix.with_weights(weights)?,
        None => matrix,
    })
}

impl Fit<Matrix, Array1<bool>, TrainError> for BoostParams {
    type Object = Boosted;

    /// Boosts `rounds_max` trees; see [`BoostParams::boost`] for stopping earlier.
    fn fit(&self, dataset: &Examples) -> Result<Boosted, TrainError> {
        self.boost(dataset, None, &mut |_| ControlFlow::Continue(()))
    }
}

/// Boosted trees, and how far boosting went.
#[derive(Debug, Clone)]
pub struct Boosted {
    model: BoostedModel,
    /// Trees that count: up to the best round on the watched rows, or all.
    pub rounds: usize,
    /// Log-loss on the watched rows after each round.
    pub curve: Vec<f64>,
}

impl Boosted {
    /// Log-odds of every row, from the trees that count.
    ///
    /// # Errors
    /// [`TrainError::Boost`] when the matrix has other columns.
    pub fn margins(&self, rows: &Matrix) -> Result<Vec<f64>, TrainError> {
        self.margins_at(rows, self.rounds)
    }

    /// Log-odds of every row, from the first `rounds` trees (all, if there are fewer).
    ///
    /// # Errors
    /// [`TrainError::Boost`] when the matrix has other columns.
    pub fn margins_at(&self, rows: &Matrix, rounds: usize) -> Result<Vec<f64>, TrainError> {
        let rounds = rounds.min(self.model.num_boost_rounds());
        let margins = self.model.predict_margin(&rows.inner, ..rounds)?;
        Ok(margins.as_slice().iter().map(|&m| f64::from(m)).collect())
    }

    /// Total loss reduction by column number; columns that no tree uses are absent.
    #[must_use]
    pub fn gains(&self) -> Vec<(usize, f64)> {
        self.model.feature_importance(ImportanceType::TotalGain).into_iter().collect()
    }

    /// Number of trees that count.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.rounds
    }

    /// The mean of several models as one: their trees one after the other, leaves divided by their number.
    ///
    /// # Errors
    /// [`TrainError::Boost`] when there are none or their shapes differ.
    pub fn average(models: &[Boosted]) -> Result<Boosted, TrainError> {
        if let [one] = models {
            return Ok(one.clone());
        }
        let cut =
            models.iter().map(|m| m.model.slice(..m.rounds, 1)).collect::<Result<Vec<_>, _>>()?;
        let model = BoostedModel::average(&cut)?;
        Ok(Boosted { rounds: model.num_boost_rounds(), model, curve: Vec::new() })
    }

    /// The trees that count, as an XGBoost JSON model without white space. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`TrainError::Boost`] when the library cannot express the model.
    pub fn to_xgboost_json(&self, columns: &[String]) -> Result<Vec<u8>, TrainError> {
        let cut = self.model.slice(..self.rounds, 1)?;
        let text = cut.encode(ModelFormat::XgboostJson)?;
        let mut document: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| TrainError::Forest(e.to_string()))?;
        if let Some(learner) =
            document.get_mut("learner").and_then(serde_json::Value::as_object_mut)
        {
            learner.insert("feature_names".to_owned(), serde_json::json!(columns));
        }
        serde_json::to_vec(&document).map_err(|e| TrainError::Forest(e.to_string()))
    }
}

impl PredictInplace<Matrix, Array1<f64>> for Boosted {
    /// Probabilities of the rows. Panics if the matrix has other columns than the model (linfa's trait has no errors);
    /// [`Boosted::margins`] reports it.
    fn predict_inplace(&self, x: &Matrix, y: &mut Array1<f64>) {
        let predictions = self
            .model
            .predict(&x.inner, Iterations::from(..self.rounds))
            .expect("the matrix has the columns that the model was trained on");
        for (out, &p) in y.iter_mut().zip(predictions.as_slice()) {
            *out = f64::from(p);
        }
    }

    fn default_target(&self, x: &Matrix) -> Array1<f64> {
        Array1::zeros(x.nsamples())
    }
}

impl Predict<&Matrix, Array1<f64>> for Boosted {
    /// Probabilities of the rows; panics as [`PredictInplace`] does.
    fn predict(&self, x: &Matrix) -> Array1<f64> {
        let mut y = self.default_target(x);
        self.predict_inplace(x, &mut y);
        y
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::metrics::Ranking;

    const COLUMNS: usize = 6;

    /// Numbers, gaps and infinities, and a category in the last column; 10 % bad.
    fn rows(count: usize, seed: u64) -> (Vec<f32>, Array1<bool>) {
        let mut chance = Chance::new(seed, 0);
        let mut values = Vec::new();
        let mut labels = Vec::new();
        for row in 0..count {
            let mut x: Vec<f32> =
                (0..5).map(|_| (chance.unit() * 100.0).round() as f32 / 10.0).collect();
            x.push(chance.below(12) as f32);
            let z = 0.8 * f64::from(x[0]) - 8.0 + if x[5] > 8.0 { 3.0 } else { 0.0 };
            labels.push(chance.unit() < crate::logistic::sigmoid(z));
            x[1] = if chance.unit() < 0.3 { f32::NAN } else { x[1] };
            x[2] = if row % 50 == 0 { f32::INFINITY } else { x[2] };
            values.extend(x);
        }
        (values, Array1::from(labels))
    }

    fn examples(count: usize, seed: u64) -> Examples {
        let (values, labels) = rows(count, seed);
        let matrix =
            Matrix::new(values, COLUMNS, &[false, false, false, false, false, true]).unwrap();
        DatasetBase::new(matrix, labels)
    }

    fn names() -> Vec<String> {
        (0..COLUMNS).map(|c| format!("column {c}")).collect()
    }

    fn params() -> BoostParams {
        BoostParams {
            rounds_max: 40,
            eta: 0.2,
            leaves_max: 12,
            patience_rounds: 10,
            ..BoostParams::default()
        }
    }

    #[test]
    fn the_scorer_reads_what_was_trained_bit_for_bit() {
        let (train, later) = (examples(3000, 1), examples(800, 2));
        let watched =
            params().boost(&train, Some(&later), &mut |_| ControlFlow::Continue(())).unwrap();
        let other = BoostParams { seed: 9, rounds_max: 15, ..params() }.fit(&train).unwrap();
        let mean = Boosted::average(&[watched.clone(), other]).unwrap();
        let (values, labels) = rows(800, 2);
        for model in [watched, mean] {
            let forest =
                models::forest::xgboost::from_json(&model.to_xgboost_json(&names()).unwrap())
                    .unwrap();
            assert_eq!(forest.column_names(), names());
            let mut found = Vec::new();
            models::Kernel::new(&forest).margins(&values, COLUMNS, &mut found).unwrap();
            let expected = model.margins(&later.records).unwrap();
            assert!(found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()));
            let probabilities: Array1<f64> = model.predict(&later.records);
            assert!(
                probabilities
                    .iter()
                    .zip(&found)
                    .all(|(p, m)| (p - forest.probability(*m)).abs() < 1e-7)
            );
            assert!(Ranking::new(&expected, labels.as_slice().unwrap()).auc() > 0.8);
        }
    }

    #[test]
    fn threads_change_no_byte_and_seeds_do() {
        let train = examples(2000, 3);
        let bytes = |threads: usize, seed: u64| {
            BoostParams { threads, seed, ..params() }
                .fit(&train)
                .unwrap()
                .to_xgboost_json(&names())
                .unwrap()
        };
        assert_eq!(bytes(1, 5), bytes(2, 5));
        assert_ne!(bytes(1, 5), bytes(1, 6));
    }

    #[test]
    fn boosting_stops_where_the_later_rows_say() {
        let (train, later) = (examples(600, 4), examples(600, 5));
        let params =
            BoostParams { rounds_max: 300, eta: 0.4, lambda: 0.1, patience_rounds: 5, ..params() };
        let model = params.boost(&train, Some(&later), &mut |_| ControlFlow::Continue(())).unwrap();
        assert!(
            model.rounds < 100 && model.curve.len() <= model.rounds + 6,
            "{} {}",
            model.rounds,
            model.curve.len()
        );
        let best = model.curve.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(model.curve[model.rounds - 1], best);
        let p: Array1<f64> = model.predict(&later.records);
        let loss =
            crate::metrics::log_loss(p.as_slice().unwrap(), later.targets.as_slice().unwrap());
        assert!((loss - best).abs() < 1e-5, "{loss} {best}");
        let stopped = params.boost(&train, None, &mut |round| {
            if round == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(TrainError::Stopped)));
    }

    #[test]
    fn a_monotone_score_never_falls() {
        let train = examples(2000, 6);
        let model =
            BoostParams { monotone: vec![1, 0, 0, 0, 0, 0], ..params() }.fit(&train).unwrap();
        let (values, _) = rows(50, 7);
        for row in values.chunks_exact(COLUMNS) {
            let swept: Vec<f32> =
                (0..40).flat_map(|x| [&[x as f32 / 4.0], &row[1..]].concat()).collect();
            let matrix =
                Matrix::new(swept, COLUMNS, &[false, false, false, false, false, true]).unwrap();
            let margins = model.margins(&matrix).unwrap();
            assert!(margins.windows(2).all(|w| w[0] <= w[1] + 1e-6));
        }
    }

    #[test]
    fn what_the_library_cannot_take_is_an_error() {
        assert!(Matrix::new(vec![], 3, &[false; 3]).is_err());
        assert!(Matrix::new(vec![1.0; 5], 2, &[false; 2]).is_err());
        assert!(Matrix::new(vec![0.5, 1.0], 1, &[true]).is_err());
        let train = examples(100, 1);
        assert!(train.records.select(&[]).is_err() && train.records.select(&[100]).is_err());
        assert!(BoostParams { eta: -1.0, ..params() }.fit(&train).is_err());
        assert!(
            train
                .records
                .select(&[3, 7])
                .is_ok_and(|m| m.nsamples() == 2 && m.nfeatures() == COLUMNS)
        );
    }
}
