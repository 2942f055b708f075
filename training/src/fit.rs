//! The whole recipe: a table in, a bundle and a report out.
//!
//! 1. Columns that cannot help are dropped; the larger class is thinned beyond a cap, with weights that undo it.
//! 2. Trees and the graph's model are trained on the past and judged on the future ([`crate::split`]). Settings, the number of
//!    rounds, the joining of the two models, calibration and thresholds all come from these out-of-sample scores.
//! 3. Both models are trained again on all rows; where the budget of trees allows, trees are the mean of several seeds.
//!
//! Every measure in the report and the bundle is out of sample, of the models of step 2.

mod judge;
mod pack;
mod report;

use crate::boost::{BoostParams, Boosted};
use crate::error::TrainError;
use crate::select;
use crate::split::{self, Plan, SplitOptions};
use crate::table::Table;
use crate::threshold::{self, Limit, Scored};
use models::bundle::{Bundle, ForestFile, ForestFormat, Kind, Manifest};
use pack::Pack;
pub use report::{Importance, TrainReport};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// What is trained, and how. The defaults suit two thousand rows as well as a million.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
    /// Hash of the feature set that the columns belong to.
    pub feature_set_hash: String,
    /// How trees are boosted. `leaves_max` is an upper bound: few bad rows get smaller trees.
    pub boost: BoostParams,
    /// Other settings are tried when rows x columns is at most this; the best by out-of-sample log-loss is taken.
    pub search_cells_max: usize,
    /// How rows are split.
    pub split: SplitOptions,
    /// Columns whose names start so are the graph model's (and the trees' as well). Empty: no graph model.
    pub graph_prefixes: Vec<String>,
    /// Rows that are learned from, at most: beyond it, the larger class is thinned and weighted up.
    pub rows_max: usize,
    /// Columns kept, by gain; 0 keeps all.
    pub columns_max: usize,
    /// Trees in the bundle, at most, where several seeds are averaged.
    pub trees_max: usize,
    /// Seeds averaged, at most.
    pub seeds_max: usize,
    /// Repetitions of the bootstrap for the report's intervals; 0 leaves them out.
    pub bootstrap: usize,
    /// Limits of the thresholds, mildest first.
    pub limits: Vec<(String, Limit)>,
    /// Written into the bundle's training table beside what is written anyway.
    pub notes: BTreeMap<String, String>,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            name: "detector".to_owned(),
            version: "1".to_owned(),
            feature_set_hash: String::new(),
            boost: BoostParams::default(),
            search_cells_max: 20_000_000,
            split: SplitOptions::default(),
            graph_prefixes: vec!["graph.".to_owned()],
            rows_max: 1_500_000,
            columns_max: 0,
            trees_max: 300,
            seeds_max: 3,
            bootstrap: 200,
            limits: threshold::default_limits(),
            notes: BTreeMap::new(),
            seed: 1,
        }
    }
}

/// How far training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: &'static str,
    /// Steps of this stage done.
    pub done: usize,
    /// Steps of this stage, at most.
    pub total: usize,
}

/// Told of progress; says whether to go on.
pub type Watcher<'a> = dyn FnMut(Progress) -> ControlFlow<()> + Send + 'a;

/// A trained model.
#[derive(Debug, Clone)]
pub struct Trained {
    /// What the service loads.
    pub bundle: Bundle,
    /// What is worth knowing about it.
    pub report: TrainReport,
    /// The rows that were scored out of sample (numbers of the table, rising), and their scores.
    pub out_of_sample: Vec<(u32, f64)>,
}

/// Labelled rows that are needed, and rows of each class.
const ROWS_MIN: usize = 50;
const CLASS_MIN: usize = 10;
const FOREST_FILE: &str = "forest.json";

/// Trains on the labelled rows of `table`. Deterministic: the same table, options and seed give the same bundle, byte for byte, on
/// any number of threads. Cost: about (folds x candidates + seeds + 1) x rounds x rows x columns x colsample; memory: the table
/// once more, and a byte per value.
///
/// # Errors
/// [`TrainError`], saying what was found, where, and what to do.
pub fn train(
    table: &Table,
    options: &TrainOptions,
    watcher: &mut Watcher<'_>,
) -> Result<Trained, TrainError> {
    check(options)?;
    table.check()?;
    let labelled = table.labelled();
    let bad: Vec<bool> =
        labelled.iter().map(|row| table.label[*row as usize] == Some(true)).collect();
    let positives = bad.iter().filter(|b| **b).count();
    let negatives = bad.len() - positives;
    if positives < CLASS_MIN || negatives < CLASS_MIN {
        return Err(TrainError::OneClass { positives, negatives, needed: CLASS_MIN });
    }
    if bad.len() < ROWS_MIN {
        return Err(TrainError::TooFewRows { found: bad.len(), needed: ROWS_MIN });
    }
    tell(watcher, "columns", 0, 1)?;
    let columns = select::columns(table, &labelled);
    if columns.kept.is_empty() {
        return Err(TrainError::NothingVaries {
            columns: table.columns.len(),
            rows: labelled.len(),
        });
    }
    let plan = plan(table, &labelled, &bad, options)?;
    let mut pack = Pack::new(table, &labelled, &bad, &plan, &columns.kept, options)?;
    let (mut judged, mut boost) = judge::search(&pack, options, watcher)?;
    if options.columns_max > 0 && options.columns_max < pack.columns.len() {
        let kept: Vec<usize> = select::by_gain(&judged.gains, options.columns_max, 1.0)
            .into_iter()
            .map(|c| pack.columns[c])
            .collect();
        if !kept.is_empty() {
            pack = Pack::new(table, &labelled, &bad, &plan, &kept, options)?;
            boost = judge::tuned(&pack, boost, options);
            judged = judge::judge(&pack, &boost, options, watcher)?;
        }
    }
    let joined = judge::join(&pack, &judged)?;

    let all = pack.all()?;
    let rounds = judged.rounds;
    let seeds = (options.trees_max / rounds.max(1)).clamp(1, options.seeds_max.max(1));
    let mut forests = Vec::with_capacity(seeds);
    for seed in 0..seeds {
        let params = BoostParams {
            rounds_max: rounds,
            seed: options.seed.wrapping_add(seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1,
            ..boost.clone()
        };
        let mut each = |round: usize| {
            watcher(Progress {
                stage: "final trees",
                done: seed * rounds + round,
                total: seeds * rounds,
            })
        };
        forests.push(params.boost(&all, None, &mut each)?);
    }
    let forest = Boosted::average(&forests)?;
    let graph = match joined.stacking {
        Some(_) => pack.graph_model(&pack.everything)?,
        None => None,
    };

    let scored = pack.test_rows();
    let accounts: Vec<u32> = scored.iter().map(|row| pack.account[*row as usize]).collect();
    let ts_ms: Vec<i64> = scored.iter().map(|row| pack.ts_ms[*row as usize]).collect();
    let labels: Vec<bool> = scored.iter().map(|row| pack.bad[*row as usize]).collect();
    let rows = Scored {
        scores: &joined.scores,
        labels: Some(&labels),
        accounts: &accounts,
        ts_ms: &ts_ms,
    };
    let thresholds = threshold::choose(rows, &options.limits);

    let names = pack.names(table);
    let report = report::report(report::Inputs {
        options,
        pack: &pack,
        labelled: &bad,
        plan: &plan,
        columns,
        names: &names,
        judged: &judged,
        joined: &joined,
        labels: &labels,
        accounts: &accounts,
        thresholds,
        forest: &forest,
        boost,
        seeds,
    });
    let mut manifest =
        Manifest::new(&options.name, &options.version, Kind::Forest, &options.feature_set_hash);
    manifest.forest =
        Some(ForestFile { file: FOREST_FILE.to_owned(), format: ForestFormat::XgboostJson });
    manifest.calibration = joined.calibration.clone();
    manifest.stacking = joined.stacking.filter(|_| graph.is_some());
    manifest.graph_model = graph;
    manifest.score_calibration = joined.score_calibration.clone();
    manifest.thresholds = threshold::as_map(&report.thresholds);
    manifest.training = report.training_table(table, options);
    manifest.metrics = report.metrics_table();
    let files = BTreeMap::from([(FOREST_FILE.to_owned(), forest.to_xgboost_json(&names)?)]);
    manifest.features = names;
    let bundle = Bundle::new(manifest, files).map_err(|e| TrainError::Bundle(e.to_string()))?;
    let out_of_sample =
        scored.iter().map(|row| pack.table_row[*row as usize]).zip(joined.scores).collect();
    Ok(Trained { bundle, report, out_of_sample })
}

fn plan(
    table: &Table,
    labelled: &[u32],
    bad: &[bool],
    options: &TrainOptions,
) -> Result<Plan, TrainError> {
    let ts_ms: Vec<i64> = labelled.iter().map(|row| table.ts_ms[*row as usize]).collect();
    let account: Vec<u32> = labelled.iter().map(|row| table.account[*row as usize]).collect();
    let plan = split::plan(&ts_ms, bad, &account, &options.split, options.seed);
    if plan.folds.is_empty() {
        let positives = bad.iter().filter(|b| **b).count();
        return Err(TrainError::OneClass {
            positives,
            negatives: bad.len() - positives,
            needed: 2 * CLASS_MIN,
        });
    }
    Ok(plan)
}

fn tell(
    watcher: &mut Watcher<'_>,
    stage: &'static str,
    done: usize,
    total: usize,
) -> Result<(), TrainError> {
    match watcher(Progress { stage, done, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(TrainError::Stopped),
    }
}

/// Refuses settings that cannot work, before anything costs time.
fn check(options: &TrainOptions) -> Result<(), TrainError> {
    let split = &options.split;
    let shares = split.stop_share > 0.0
        && split.calibrate_share > 0.0
        && split.stop_share + split.calibrate_share <= 0.9
        && (0.05..=0.95).contains(&split.first_share);
    let wrong = |name: &'static str, value: String, rule: &'static str| {
        Err(TrainError::Option { name, value, rule })
    };
    if !shares {
        let value =
            format!("{} / {} / {}", split.stop_share, split.calibrate_share, split.first_share);
        return wrong(
            "split",
            value,
            "stop_share and calibrate_share must be above 0 and at most 0.9 together, first_share 0.05 to 0.95",
        );
    }
    if split.gap_ms < 0 {
        return wrong("split.gap_ms", split.gap_ms.to_string(), "a gap cannot be negative");
    }
    if options.boost.rounds_max == 0 {
        return wrong("boost.rounds_max", "0".to_owned(), "at least one round is needed");
    }
    if options.boost.leaves_max < 2 {
        return wrong(
            "boost.leaves_max",
            options.boost.leaves_max.to_string(),
            "a tree needs two leaves",
        );
    }
    if options.rows_max < ROWS_MIN {
        return wrong("rows_max", options.rows_max.to_string(), "at least 50 rows must remain");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
