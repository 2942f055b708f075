//! What is worth knowing about a trained model.

use super::TrainOptions;
use super::judge::{Joined, Judged};
use super::pack::Pack;
use crate::boost::{BoostParams, Boosted};
use crate::calibrate::Choice;
use crate::logistic::sigmoid;
use crate::metrics::{self, Point, ReliabilityBin, Summary};
use crate::resample::{self, Interval, Measure};
use crate::select::Columns;
use crate::split::{Plan, Protocol};
use crate::stack::StackReport;
use crate::table::Table;
use crate::threshold::Chosen;
use serde::Serialize;
use std::collections::BTreeMap;

/// One column's share of what the trees learned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Importance {
    /// Column.
    pub name: String,
    /// Share of the whole gain, 0..=1.
    pub share: f64,
}

/// What is worth knowing about a trained model. Measures are out of sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainReport {
    /// Labelled rows.
    pub rows: usize,
    /// Rows labelled bad.
    pub positives: usize,
    /// Rows that the final model learned from, after thinning.
    pub rows_learned: usize,
    /// Columns used and dropped.
    pub columns: Columns,
    /// By what rows were split.
    pub protocol: Protocol,
    /// Whether the gap had to be given up.
    pub gap_dropped: bool,
    /// Best number of rounds of each fold.
    pub fold_rounds: Vec<usize>,
    /// Rounds per seed in the bundle.
    pub rounds: usize,
    /// Seeds averaged.
    pub seeds: usize,
    /// Trees in the bundle.
    pub trees: usize,
    /// Settings that were used.
    pub boost: BoostParams,
    /// The final score.
    pub score: Summary,
    /// The trees alone, not calibrated.
    pub behaviour: Summary,
    /// The graph's model alone.
    pub graph: Option<Summary>,
    /// 95 % interval of the final score's AUC, over accounts.
    pub auc_interval: Option<Interval>,
    /// 95 % interval of the final score's average precision, over accounts.
    pub average_precision_interval: Option<Interval>,
    /// What joining the two models brought.
    pub stacking: Option<StackReport>,
    /// Which calibration was taken.
    pub calibration: Choice,
    /// Predicted against observed.
    pub reliability: Vec<ReliabilityBin>,
    /// Points of the ROC and precision-recall curves.
    pub curve: Vec<Point>,
    /// Thresholds and what they flag.
    pub thresholds: Vec<Chosen>,
    /// The columns that the final trees lean on, strongest first; at most 50.
    pub importance: Vec<Importance>,
    /// What the reader should be warned of.
    pub warnings: Vec<String>,
}

pub(super) struct Inputs<'a> {
    pub options: &'a TrainOptions,
    pub pack: &'a Pack<'a>,
    /// Whether bad, of every labelled row.
    pub labelled: &'a [bool],
    pub plan: &'a Plan,
    pub columns: Columns,
    pub names: &'a [String],
    pub judged: &'a Judged,
    pub joined: &'a Joined,
    pub labels: &'a [bool],
    pub accounts: &'a [u32],
    pub thresholds: Vec<Chosen>,
    pub forest: &'a Boosted,
    pub boost: BoostParams,
    pub seeds: usize,
}

pub(super) fn report(from: Inputs<'_>) -> TrainReport {
    let Inputs { options, pack, plan, judged, joined, labels, accounts, .. } = from;
    let scores = &joined.scores;
    let probabilities =
        |log_odds: &[f64]| log_odds.iter().map(|x| sigmoid(*x)).collect::<Vec<f64>>();
    let interval = |measure| {
        (options.bootstrap > 0).then(|| {
            resample::interval(measure, scores, labels, accounts, options.bootstrap, options.seed)
        })
    };
    let mut gains = from.forest.gains();
    gains.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let whole: f64 = gains.iter().map(|g| g.1).sum();
    let importance: Vec<Importance> = gains
        .iter()
        .take(50)
        .filter(|_| whole > 0.0)
        .map(|(column, gain)| Importance { name: from.names[*column].clone(), share: gain / whole })
        .collect();
    let score = metrics::summarise(scores, labels, None);
    let mut report = TrainReport {
        rows: from.labelled.len(),
        positives: from.labelled.iter().filter(|b| **b).count(),
        rows_learned: pack.everything.rows.len(),
        columns: from.columns,
        protocol: plan.protocol,
        gap_dropped: plan.gap_dropped,
        fold_rounds: judged.fold_rounds.clone(),
        rounds: judged.rounds,
        seeds: from.seeds,
        trees: from.forest.trees(),
        boost: from.boost,
        score,
        behaviour: metrics::summarise(&probabilities(&judged.margins), labels, None),
        graph: judged.graph.as_ref().map(|g| metrics::summarise(&probabilities(g), labels, None)),
        auc_interval: interval(Measure::Auc),
        average_precision_interval: interval(Measure::AveragePrecision),
        stacking: joined.stack_report,
        calibration: joined.choice.clone(),
        reliability: metrics::reliability(scores, labels, 15),
        curve: metrics::Ranking::new(scores, labels).curve(200),
        thresholds: from.thresholds,
        importance,
        warnings: Vec::new(),
    };
    report.warnings = warnings(&report);
    report
}

fn warnings(report: &TrainReport) -> Vec<String> {
    let mut warnings = Vec::new();
    if report.protocol == Protocol::AccountFolds {
        warnings.push("time could not part the classes, so accounts were split at random: measures are too kind if behaviour drifts".to_owned());
    }
    if report.gap_dropped {
        warnings.push("the gap left a slice without bad rows and was not kept: labels of later rows may speak of earlier ones".to_owned());
    }
    if report.score.positives < 50 {
        warnings.push(format!(
            "only {} bad rows out of sample: every measure is uncertain, see the intervals",
            report.score.positives
        ));
    }
    if report.score.auc > 0.999 {
        warnings.push(
            "almost perfect out of sample: look for a column that knows the label".to_owned(),
        );
    }
    if let Some(first) = report.importance.first().filter(|i| i.share > 0.9) {
        warnings.push(format!(
            "{} brings {:.0} % of the gain: make sure that it is known when an event is scored",
            first.name,
            first.share * 100.0
        ));
    }
    for missed in report.thresholds.iter().filter(|t| !t.reached) {
        warnings.push(format!(
            "no score was good enough for `{}`; its threshold is {}",
            missed.name, missed.threshold
        ));
    }
    warnings
}

impl TrainReport {
    /// How and on what: the `[training]` table of the bundle.
    pub(super) fn training_table(
        &self,
        table: &Table,
        options: &TrainOptions,
    ) -> BTreeMap<String, toml::Value> {
        let whole = |number: usize| toml::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let protocol = match self.protocol {
            Protocol::TimeHoldout => "time_holdout",
            Protocol::TimeFolds => "time_folds",
            Protocol::AccountFolds => "account_folds",
        };
        let mut out: BTreeMap<String, toml::Value> = options
            .notes
            .iter()
            .map(|(key, value)| (key.clone(), toml::Value::from(value.as_str())))
            .collect();
        for (key, value) in [
            (
                "how",
                toml::Value::from(
                    "boosted trees (hessboost 0.4.6), log-loss, refitted on all rows",
                ),
            ),
            ("protocol", toml::Value::from(protocol)),
            ("from_ts", toml::Value::Integer(table.ts_ms.first().copied().unwrap_or(0))),
            ("until_ts", toml::Value::Integer(table.ts_ms.last().copied().unwrap_or(0))),
            ("rows", whole(self.rows)),
            ("rows_learned", whole(self.rows_learned)),
            ("positives", whole(self.positives)),
            ("columns", whole(self.columns.kept.len())),
            ("rounds", whole(self.rounds)),
            ("seeds", whole(self.seeds)),
            ("trees", whole(self.trees)),
            ("seed", toml::Value::Integer(options.seed as i64)),
            (
                "gap_ms",
                toml::Value::Integer(if self.gap_dropped { 0 } else { options.split.gap_ms }),
            ),
            ("eta", toml::Value::Float(self.boost.eta)),
            ("leaves_max", whole(self.boost.leaves_max)),
            ("lambda", toml::Value::Float(self.boost.lambda)),
            ("min_child_weight", toml::Value::Float(self.boost.min_child_weight)),
            ("colsample_tree", toml::Value::Float(self.boost.colsample_tree)),
            ("calibration", toml::Value::from(self.calibration.method.as_str())),
        ] {
            out.insert(key.to_owned(), value);
        }
        out
    }

    /// How well: the `[metrics]` table of the bundle. Measures that are not defined are left out.
    pub(super) fn metrics_table(&self) -> BTreeMap<String, toml::Value> {
        let s = &self.score;
        let mut out: BTreeMap<String, toml::Value> = [
            ("auc", s.auc),
            ("average_precision", s.average_precision),
            ("recall_at_fpr_0.001", s.recall_at_fpr_0_001),
            ("recall_at_fpr_0.01", s.recall_at_fpr_0_01),
            ("brier", s.brier),
            ("ece", s.ece),
            ("log_loss", s.log_loss),
            ("best_f1", s.f1),
            ("best_f1_threshold", s.threshold),
            ("behaviour_auc", self.behaviour.auc),
            ("behaviour_average_precision", self.behaviour.average_precision),
            ("graph_auc", self.graph.map_or(f64::NAN, |g| g.auc)),
            ("graph_average_precision", self.graph.map_or(f64::NAN, |g| g.average_precision)),
        ]
        .into_iter()
        .filter(|(_, value)| value.is_finite())
        .map(|(key, value)| (key.to_owned(), toml::Value::Float(value)))
        .collect();
        out.insert("events".to_owned(), toml::Value::Integer(s.events as i64));
        out.insert("positives".to_owned(), toml::Value::Integer(s.positives as i64));
        out
    }
}
