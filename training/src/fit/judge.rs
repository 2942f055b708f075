//! Out-of-sample scores, and everything that is decided by them.

use super::pack::Pack;
use super::{Progress, TrainOptions, Watcher};
use crate::boost::BoostParams;
use crate::calibrate::{self, Choice};
use crate::error::TrainError;
use crate::logistic::sigmoid;
use crate::metrics::log_loss;
use crate::stack::{self, StackReport};
use models::{Calibration, Stacking};
use std::collections::BTreeMap;

/// Longest step that is tried when the budget of trees runs out.
const ETA_MAX: f64 = 0.2;

/// Out-of-sample scores of one setting. Vectors run over [`Pack::test_rows`].
pub(super) struct Judged {
    /// Best number of rounds: the median over the folds.
    pub rounds: usize,
    /// Best number of rounds of each fold.
    pub fold_rounds: Vec<usize>,
    /// The trees' margins.
    pub margins: Vec<f64>,
    /// The graph model's log-odds; `None` if any fold has none.
    pub graph: Option<Vec<f64>>,
    /// Gain by packed column, over all folds.
    pub gains: Vec<(usize, f64)>,
    /// Log-loss of the margins as they are.
    pub log_loss: f64,
}

/// The setting adapted to how much there is to learn from: trees of 31 leaves need a few hundred bad rows.
pub(super) fn tuned(pack: &Pack<'_>, base: BoostParams, options: &TrainOptions) -> BoostParams {
    let positives = pack.bad.iter().filter(|b| **b).count();
    let smaller = positives.min(pack.bad.len() - positives);
    let leaves = match smaller {
        0..100 => 8,
        100..400 => 16,
        _ => 31,
    };
    let given = &options.boost.monotone;
    let monotone = if given.is_empty() {
        Vec::new()
    } else {
        pack.columns.iter().map(|c| given.get(*c).copied().unwrap_or(0)).collect()
    };
    BoostParams {
        leaves_max: base.leaves_max.min(leaves.max(options.boost.leaves_max.saturating_sub(31))),
        monotone,
        seed: options.seed,
        ..base
    }
}

/// Other settings worth a try around `base`, most different first.
fn candidates(base: &BoostParams) -> Vec<BoostParams> {
    let leaves = base.leaves_max;
    vec![
        base.clone(),
        BoostParams { leaves_max: (leaves / 2).max(4), lambda: base.lambda * 2.0, ..base.clone() },
        BoostParams {
            colsample_tree: 0.3,
            lambda: base.lambda * 4.0,
            min_child_weight: base.min_child_weight * 3.0,
            ..base.clone()
        },
        BoostParams { leaves_max: 4, depth_max: 3, colsample_tree: 0.5, ..base.clone() },
        BoostParams {
            min_child_weight: base.min_child_weight * 0.3,
            lambda: base.lambda * 0.4,
            ..base.clone()
        },
    ]
}

/// Judges the given setting, and others where the data are small enough, and returns the best with its scores.
pub(super) fn search(
    pack: &Pack<'_>,
    options: &TrainOptions,
    watcher: &mut Watcher<'_>,
) -> Result<(Judged, BoostParams), TrainError> {
    let base = tuned(pack, options.boost.clone(), options);
    let mut tried = candidates(&base);
    if pack.cells() > options.search_cells_max {
        tried.truncate(1);
    }
    let mut best: Option<(Judged, BoostParams)> = None;
    for params in tried {
        let judged = judge(pack, &params, options, watcher)?;
        // Another setting must be better by more than a trace, or the default stays.
        if best.as_ref().is_none_or(|b| judged.log_loss < b.0.log_loss * 0.998) {
            best = Some((judged, params));
        }
    }
    let (mut judged, mut params) = best.ok_or(TrainError::Stopped)?;
    // Not done learning when the trees ran out: longer steps reach further with as many trees.
    while judged.rounds * 10 >= params.rounds_max * 9
        && params.eta < ETA_MAX
        && pack.cells() <= options.search_cells_max.saturating_mul(5)
    {
        let longer = BoostParams { eta: (params.eta * 2.0).min(ETA_MAX), ..params.clone() };
        let again = judge(pack, &longer, options, watcher)?;
        if again.log_loss >= judged.log_loss {
            break;
        }
        (judged, params) = (again, longer);
    }
    Ok((judged, params))
}

/// Trains on every fold's past and scores its future.
pub(super) fn judge(
    pack: &Pack<'_>,
    params: &BoostParams,
    options: &TrainOptions,
    watcher: &mut Watcher<'_>,
) -> Result<Judged, TrainError> {
    let folds = pack.folds.len();
    let mut models = Vec::with_capacity(folds);
    let mut graph: BTreeMap<u32, f64> = BTreeMap::new();
    let mut gains: BTreeMap<usize, f64> = BTreeMap::new();
    for (number, (sample, stop, test)) in pack.folds.iter().enumerate() {
        let train = pack.examples(sample)?;
        let watched = pack.judged(stop)?;
        let total = folds * params.rounds_max;
        let mut each = |round: usize| {
            watcher(Progress {
                stage: "trees on the past",
                done: number * params.rounds_max + round,
                total,
            })
        };
        let model = params.boost(&train, Some(&watched), &mut each)?;
        for (column, gain) in model.gains() {
            *gains.entry(column).or_default() += gain;
        }
        models.push(model);
        if !options.graph_prefixes.is_empty()
            && let Some(fitted) = pack.graph_model(sample)?
        {
            graph.extend(test.iter().copied().zip(pack.graph_log_odds(&fitted, test)));
        }
    }
    let fold_rounds: Vec<usize> = models.iter().map(|m| m.rounds).collect();
    let mut sorted = fold_rounds.clone();
    sorted.sort_unstable();
    let rounds = sorted[sorted.len() / 2].max(1);
    let mut margins: BTreeMap<u32, f64> = BTreeMap::new();
    for ((_, _, test), model) in pack.folds.iter().zip(&models) {
        let scored = model.margins_at(&pack.judged(test)?.records, rounds)?;
        margins.extend(test.iter().copied().zip(scored));
    }
    let margins: Vec<f64> = margins.into_values().collect();
    let labels: Vec<bool> = pack.test_rows().iter().map(|row| pack.bad[*row as usize]).collect();
    let p: Vec<f64> = margins.iter().map(|m| sigmoid(*m)).collect();
    Ok(Judged {
        rounds,
        fold_rounds,
        graph: (graph.len() == margins.len()).then(|| graph.into_values().collect()),
        gains: gains.into_iter().collect(),
        log_loss: log_loss(&p, &labels),
        margins,
    })
}

/// How margins become scores.
pub(super) struct Joined {
    pub calibration: Calibration,
    pub stacking: Option<Stacking>,
    pub score_calibration: Calibration,
    pub stack_report: Option<StackReport>,
    pub choice: Choice,
    /// Out-of-sample scores, as the scorer would give them.
    pub scores: Vec<f64>,
}

/// Joins trees and graph if that is better, and calibrates.
pub(super) fn join(pack: &Pack<'_>, judged: &Judged) -> Result<Joined, TrainError> {
    let labels: Vec<bool> = pack.test_rows().iter().map(|row| pack.bad[*row as usize]).collect();
    let (mut stacking, mut stack_report) = (None, None);
    let behaviour = calibrate::platt(&judged.margins, &labels)
        .map_or(Calibration::None, |(a, b)| Calibration::Platt { a, b });
    let calibrated = stack::behaviour_log_odds(&behaviour, &judged.margins);
    if let Some(graph) = &judged.graph {
        let (found, report) = stack::stack(&calibrated, graph, &labels)?;
        (stacking, stack_report) = (found, Some(report));
    }
    Ok(match (&stacking, &judged.graph) {
        (Some(stacking), Some(graph)) => {
            let both: Vec<f64> =
                calibrated.iter().zip(graph).map(|(t, g)| stacking.combine(*t, *g)).collect();
            let (score_calibration, choice) = calibrate::choose(&both, &labels);
            let scores = both.iter().map(|x| score_calibration.probability(*x)).collect();
            Joined {
                calibration: behaviour,
                stacking: Some(*stacking),
                score_calibration,
                stack_report,
                choice,
                scores,
            }
        }
        _ => {
            let (calibration, choice) = calibrate::choose(&judged.margins, &labels);
            let scores = judged.margins.iter().map(|m| calibration.probability(*m)).collect();
            Joined {
                calibration,
                stacking: None,
                score_calibration: Calibration::None,
                stack_report,
                choice,
                scores,
            }
        }
    })
}
