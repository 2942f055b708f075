//! A bundle bound to the engine's columns: rows in, scores and reasons out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Bundle, BundleError, MissingColumn};
use crate::attribution::{Explainer, NoCovers};
use crate::calibration::{Calibration, Stacking, sigmoid};
use crate::forest::{Forest, Link};
use crate::kernel::{Kernel, ShapeError};
use crate::logistic::LogisticModel;

/// How similar a name must be to be suggested (Jaro-Winkler, 0 to 1).
const SIMILAR_MIN: f64 = 0.8;

/// Scores rows of the engine's vector.
#[derive(Debug, Clone)]
pub struct Scorer {
    behaviour: Behaviour,
    calibration: Calibration,
    graph: Option<(Bound, Stacking)>,
    score_calibration: Calibration,
    version_id: String,
}

/// What scores behaviour.
#[derive(Debug, Clone)]
enum Behaviour {
    Forest {
        kernel: Box<Kernel>,
        forest: Arc<Forest>,
        positions: Vec<usize>,
        /// None if the file lacks the weights of the training rows.
        explainer: Option<Arc<Explainer>>,
    },
    Fixed(Bound),
}

/// A logistic model, and where its columns stand in a row.
#[derive(Debug, Clone)]
struct Bound {
    model: LogisticModel,
    positions: Vec<usize>,
}

/// The scores of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// The behaviour model's raw margin: the forest's, or the fixed model's log-odds.
    pub margin: f64,
    /// Calibrated probability by behaviour alone.
    pub behaviour: f32,
    /// Probability by the graph alone; `None` if the bundle has no graph model.
    pub graph: Option<f32>,
    /// Both together, calibrated; what thresholds are compared with.
    pub score: f32,
}

/// Why a row's score is what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The behaviour margin of an average training row.
    pub base: f64,
    /// Position in the engine's vector, and what was added to the behaviour margin; in the order of the model's columns.
    pub contributions: Vec<(usize, f64)>,
    /// The graph model's bias; 0 without one.
    pub graph_base: f64,
    /// Position in the engine's vector, and what was added to the graph's log-odds.
    pub graph_contributions: Vec<(usize, f64)>,
    /// What a unit of behaviour margin adds to the joined log-odds. With an isotonic calibration this is not one number;
    /// then the slope is taken as 1.
    pub behaviour_weight: f64,
    /// What a unit of the graph's log-odds adds to the joined log-odds.
    pub graph_weight: f64,
}

impl Explanation {
    /// All contributions in joined log-odds, the largest first, one per position; equal ones by position. Those of 0 are
    /// left out.
    #[must_use]
    pub fn ranked(&self) -> Vec<(usize, f64)> {
        let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
        for (list, weight) in [
            (&self.contributions, self.behaviour_weight),
            (&self.graph_contributions, self.graph_weight),
        ] {
            for &(position, contribution) in list {
                *sums.entry(position).or_default() += weight * contribution;
            }
        }
        let mut ranked: Vec<(usize, f64)> = sums.into_iter().filter(|&(_, c)| c != 0.0).collect();
        ranked.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
        ranked
    }
}

/// See [`Bundle::bind`].
pub(super) fn bind(
    bundle: &Bundle,
    available: &[String],
    feature_set_hash: &str,
    category: &dyn Fn(&str, &str) -> Option<u32>,
) -> Result<Scorer, BundleError> {
    let manifest = &bundle.manifest;
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, name) in available.iter().enumerate() {
        places.entry(name).or_insert(place);
    }
    let mut missing: Vec<MissingColumn> = Vec::new();
    let mut find = |name: &str| match places.get(name) {
        Some(&place) => place,
        None => {
            if missing.iter().all(|column| column.name != name) {
                missing.push(MissingColumn { name: name.to_owned(), nearest: None });
            }
            usize::MAX
        }
    };
    let columns: Vec<usize> = manifest.features.iter().map(|name| find(name)).collect();
    let mut bound = |model: &LogisticModel| Bound {
        positions: model.columns.iter().map(|column| find(&column.name)).collect(),
        model: model.clone(),
    };
    let fixed = manifest.behaviour_model.as_ref().map(&mut bound);
    let graph = manifest.graph_model.as_ref().map(&mut bound).zip(manifest.stacking);
    let differs = manifest.feature_set_hash != feature_set_hash;
    if differs || !missing.is_empty() {
        for column in missing.iter_mut().take(100) {
            column.nearest = nearest(&column.name, available);
        }
        let hash =
            differs.then(|| (manifest.feature_set_hash.clone(), feature_set_hash.to_owned()));
        return Err(BundleError::Features { hash, missing });
    }
    let behaviour = match (&bundle.forest, fixed) {
        (Some(forest), _) => {
            let name = |column: u32| manifest.features.get(column as usize).map(String::as_str);
            let forest = if forest.named_categories.is_empty() {
                Arc::clone(forest)
            } else {
                let declared = forest
                    .with_declared_categories(|column, text| category(name(column)?, text))
                    .map_err(|(column, names)| BundleError::Categories {
                        column: name(column).unwrap_or_default().to_owned(),
                        names,
                    })?;
                Arc::new(declared)
            };
            Behaviour::Forest {
                kernel: Box::new(Kernel::with_columns(&forest, &columns)),
                explainer: Explainer::new(Arc::clone(&forest)).ok().map(Arc::new),
                forest,
                positions: columns,
            }
        }
        (None, Some(fixed)) => Behaviour::Fixed(fixed),
        (None, None) => {
            return Err(BundleError::invalid("model.toml", "has nothing to score behaviour with"));
        }
    };
    Ok(Scorer {
        behaviour,
        calibration: manifest.calibration.clone(),
        graph,
        score_calibration: manifest.score_calibration.clone(),
        version_id: bundle.version_id(),
    })
}

fn nearest(name: &str, available: &[String]) -> Option<String> {
    let similar = |other: &String| strsim::jaro_winkler(name, other);
    available
        .iter()
        .map(|other| (similar(other), other))
        .filter(|(similarity, _)| *similarity >= SIMILAR_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, other)| other.clone())
}

impl Bound {
    fn log_odds(&self, row: &[f32]) -> f64 {
        self.model.log_odds(|i| self.value(row, i))
    }

    fn value(&self, row: &[f32], column: usize) -> f32 {
        row.get(self.positions[column]).copied().unwrap_or(f32::NAN)
    }

    fn contributions(&self, row: &[f32]) -> Vec<(usize, f64)> {
        let columns = self.model.columns.iter().enumerate();
        columns.map(|(i, c)| (self.positions[i], c.contribution(self.value(row, i)))).collect()
    }
}

impl Scorer {
    /// What actions carry as the model's version; see [`Bundle::version_id`].
    #[must_use]
    pub fn version_id(&self) -> &str {
        &self.version_id
    }

    /// Scores one row of the engine's vector. A position that the row lacks is missing. The same bits as in a batch.
    #[must_use]
    pub fn score(&self, row: &[f32]) -> Scores {
        let margin = match &self.behaviour {
            Behaviour::Forest { kernel, .. } => kernel.margin(row),
            Behaviour::Fixed(bound) => bound.log_odds(row),
        };
        self.finish(margin, row)
    }

    /// Scores rows that stand one after the other, appended to `out` in order. Nothing is gathered or copied. Cost: that of
    /// [`Kernel::margins`], and some tens of nanoseconds per row.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] if `rows` is not whole rows of `columns`; then `out` is as it was.
    pub fn score_batch(
        &self,
        rows: &[f32],
        columns: usize,
        out: &mut Vec<Scores>,
    ) -> Result<(), ShapeError> {
        let whole = rows.len().checked_rem(columns).map_or(rows.is_empty(), |rest| rest == 0);
        if !whole {
            return Err(ShapeError { values: rows.len(), columns });
        }
        let each = rows.chunks_exact(columns.max(1));
        match &self.behaviour {
            Behaviour::Forest { kernel, .. } => {
                let mut margins = Vec::with_capacity(each.len());
                kernel.margins(rows, columns, &mut margins)?;
                out.extend(margins.into_iter().zip(each).map(|(m, row)| self.finish(m, row)));
            }
            Behaviour::Fixed(bound) => {
                out.extend(each.map(|row| self.finish(bound.log_odds(row), row)));
            }
        }
        Ok(())
    }

    /// Says which positions moved a row's score, exactly (TreeSHAP). Cost: 0.2 ms for 300 trees of 31 leaves; for flagged events,
    /// after the decision.
    ///
    /// # Errors
    ///
    /// [`NoCovers`] if the forest's file does not hold the weights of its training rows.
    pub fn explain(&self, row: &[f32]) -> Result<Explanation, NoCovers> {
        let (base, contributions) = match &self.behaviour {
            Behaviour::Forest { explainer, positions, .. } => {
                let explainer = explainer.as_ref().ok_or(NoCovers)?;
                let own = |&place: &usize| row.get(place).copied().unwrap_or(f32::NAN);
                let own: Vec<f32> = positions.iter().map(own).collect();
                let explained = explainer.explain(&own);
                (explained.base, positions.iter().copied().zip(explained.columns).collect())
            }
            Behaviour::Fixed(bound) => (bound.model.bias, bound.contributions(row)),
        };
        let slope = self.slope();
        let (graph_base, graph_contributions, weights) = match &self.graph {
            None => (0.0, Vec::new(), (slope, 0.0)),
            Some((bound, stacking)) => {
                let weights = (slope * stacking.behaviour, stacking.graph);
                (bound.model.bias, bound.contributions(row), weights)
            }
        };
        Ok(Explanation {
            base,
            contributions,
            graph_base,
            graph_contributions,
            behaviour_weight: weights.0,
            graph_weight: weights.1,
        })
    }

    /// From the margin on.
    fn finish(&self, margin: f64, row: &[f32]) -> Scores {
        let behaviour = match (&self.calibration, &self.behaviour) {
            // Not calibrated: the library's own probability, to the bit.
            (Calibration::None, Behaviour::Forest { forest, .. }) => forest.probability(margin),
            _ => self.calibration.probability(margin),
        };
        let graph = self.graph.as_ref().map(|(bound, stacking)| (bound.log_odds(row), stacking));
        let joined = match graph {
            None => self.behaviour_log_odds(margin),
            Some((graph, stacking)) => stacking.combine(self.behaviour_log_odds(margin), graph),
        };
        let score = match (&self.score_calibration, graph) {
            (Calibration::None, None) => behaviour,
            _ => self.score_calibration.probability(joined),
        };
        Scores {
            margin,
            behaviour: behaviour as f32,
            graph: graph.map(|(log_odds, _)| sigmoid(log_odds) as f32),
            score: score as f32,
        }
    }

    fn behaviour_log_odds(&self, margin: f64) -> f64 {
        match &self.calibration {
            Calibration::None => self.link_scale() * margin,
            calibration => calibration.log_odds(margin),
        }
    }

    /// Log-odds per unit of margin, before stacking.
    fn slope(&self) -> f64 {
        match &self.calibration {
            Calibration::None => self.link_scale(),
            calibration => calibration.slope().unwrap_or(1.0),
        }
    }

    /// LightGBM's margin is log-odds divided by its `sigmoid` parameter.
    fn link_scale(&self) -> f64 {
        match &self.behaviour {
            Behaviour::Forest { forest, .. } => match forest.link() {
                Link::LogisticF64 { scale } => scale,
                _ => 1.0,
            },
            Behaviour::Fixed(_) => 1.0,
        }
    }
}
