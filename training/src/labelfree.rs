//! A score for streams without labels: how far out is a row, compared with the others?
//!
//! * **Families of tails**: for every column, the log of how rare so high a value is, beyond the common part (the upper half of ECOD, Li
//!   et al. 2022): exactly one tree per column. Columns that speak of the same thing are one family: added up, put in units of the sum's own spread
//!   over the rows, and weighted. Only columns of which more is worse belong to one: over all columns, the heavy and honest users
//!   stand out the most.
//! * **Isolation**: how few random cuts part the row from a handful of others (isolation forest, Liu, Ting and Zhou 2008), over
//!   the families' columns. It sees combinations that no single column shows.
//!
//! Both are written as one forest in XGBoost's format, so that the scorer that serves trained models serves this one, and
//! explains it. A fixed logistic model of evidence joins in as the bundle's graph model: it knows what is much on any platform where
//! the tails know what is rare on this one, and it reads the labels that arrive later. The two are added, the forest in units
//! of its spread and the evidence in log-odds (or its spread, if that is more), and the sum is mapped to its rank among the rows: a score of 0.99 is among the highest 1 %.

mod grow;
mod write;

use crate::chance::Chance;
use crate::error::TrainError;
use crate::select;
use crate::table::Table;
use crate::threshold::{self, Chosen, Limit, Scored};
use models::bundle::{Bundle, ForestFile, ForestFormat, Kind, Manifest};
use models::kernel::Kernel;
use models::{Calibration, LogisticModel, Stacking};
use std::collections::{BTreeMap, BTreeSet};

/// How a label-free model is made.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelfreeOptions {
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
    /// Hash of the feature set that the columns belong to.
    pub feature_set_hash: String,
    /// Families of columns: weight, and names. Columns that the table lacks are left out. With none, every column that varies and
    /// is no category belongs to one family of weight 1.
    pub families: Vec<(f64, Vec<String>)>,
    /// What speaks against an account on any platform; joined with the forest; columns that the table
    /// lacks are left out. `None` leaves the forest alone.
    pub evidence: Option<LogisticModel>,
    /// What the isolation view counts beside the families.
    pub isolation_weight: f64,
    /// Isolation trees; 0 leaves the isolation view out.
    pub isolation_trees: usize,
    /// Rows that each isolation tree parts.
    pub isolation_rows: usize,
    /// Share of the rows above which a value begins to count as high; 0 leaves the tails view out.
    pub tail_share: f64,
    /// Rows that are looked at, at most; drawn evenly over the table.
    pub rows_max: usize,
    /// Limits of the thresholds, mildest first. Precisions cannot be known and are ignored.
    pub limits: Vec<(String, Limit)>,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for LabelfreeOptions {
    fn default() -> Self {
        let limit = |share: f64| Limit { alert_share_max: Some(share), ..Limit::default() };
        Self {
            name: "labelfree".to_owned(),
            version: "1".to_owned(),
            feature_set_hash: String::new(),
            families: Vec::new(),
            evidence: None,
            isolation_weight: 1.0,
            isolation_trees: 150,
            isolation_rows: 256,
            tail_share: 0.3,
            rows_max: 200_000,
            // Nobody is suspended or banned on rarity alone: these stay out of reach unless the policy lowers them.
            limits: vec![
                ("challenge".to_owned(), limit(0.01)),
                ("review".to_owned(), limit(0.005)),
            ],
            seed: 1,
        }
    }
}

/// A model made without labels.
#[derive(Debug, Clone)]
pub struct Labelfree {
    /// The bundle: a forest, a staircase from margin to rank, thresholds.
    pub bundle: Bundle,
    /// Thresholds and what they flag.
    pub thresholds: Vec<Chosen>,
    /// Columns used and dropped.
    pub columns: select::Columns,
}

/// Rows that are needed before ranks mean anything.
const ROWS_MIN: usize = 100;

/// Makes a label-free model of all rows; labels are not looked at. O(rows x columns x log rows) for at most `rows_max` rows.
///
/// # Errors
/// [`TrainError`] when the table is malformed, has under 100 rows, or nothing in it varies.
pub fn labelfree(table: &Table, options: &LabelfreeOptions) -> Result<Labelfree, TrainError> {
    table.check()?;
    if table.len() < ROWS_MIN {
        return Err(TrainError::TooFewRows { found: table.len(), needed: ROWS_MIN });
    }
    let step = table.len() as f64 / table.len().min(options.rows_max.max(ROWS_MIN)) as f64;
    let rows: Vec<u32> = (0..)
        .map(|i| (f64::from(i) * step) as u32)
        .take_while(|row| (*row as usize) < table.len())
        .collect();
    let mut columns = select::columns(table, &rows);
    // A category has no high end.
    columns.kept.retain(|column| !table.categorical[*column]);
    let families = families(table, &columns.kept, options);
    columns.kept.retain(|column| families.iter().any(|(_, members)| members.contains(column)));
    if columns.kept.is_empty() {
        return Err(TrainError::NothingVaries { columns: table.columns.len(), rows: rows.len() });
    }
    let width = columns.kept.len();
    let packed: Vec<f32> = rows
        .iter()
        .flat_map(|row| columns.kept.iter().map(|c| table.row(*row as usize)[*c]))
        .collect();
    let mut views: Vec<(f64, Vec<grow::Tree>)> = Vec::new();
    if options.tail_share > 0.0 {
        let share = options.tail_share.min(0.5);
        for (weight, members) in &families {
            let places = (0..width).filter(|place| members.contains(&columns.kept[*place]));
            views.push((
                *weight,
                places.filter_map(|c| grow::tail(&packed, width, c, share)).collect(),
            ));
        }
    }
    if options.isolation_trees > 0 {
        let mut chance = Chance::new(options.seed, 0x150);
        let draws = (0..options.isolation_trees)
            .map(|_| grow::isolation(&packed, width, options.isolation_rows.max(2), &mut chance));
        views.push((options.isolation_weight, draws.collect()));
    }
    let names: Vec<String> = columns.kept.iter().map(|c| table.columns[*c].clone()).collect();
    let mut trees = Vec::new();
    for (weight, mut view) in views {
        let spread = deviation(&margins(&view, &names, &packed)?);
        if spread > 0.0 {
            view.iter_mut().for_each(|tree| tree.scale(weight / spread));
            trees.append(&mut view);
        }
    }
    if trees.is_empty() {
        return Err(TrainError::NothingVaries { columns: width, rows: rows.len() });
    }
    let found = margins(&trees, &names, &packed)?;
    let mut evidence = options.evidence.clone();
    if let Some(model) = &mut evidence {
        model.columns.retain(|column| table.columns.contains(&column.name));
    }
    let joined = Joined::new(table, &rows, &found, evidence.as_ref());
    let ranks = ranks(&joined.log_odds);
    let scores: Vec<f64> = joined.log_odds.iter().map(|m| ranks.probability(*m)).collect();
    let pick = |values: &[u32]| rows.iter().map(|row| values[*row as usize]).collect::<Vec<_>>();
    let accounts = pick(&table.account);
    let ts_ms: Vec<i64> = rows.iter().map(|row| table.ts_ms[*row as usize]).collect();
    let thresholds = threshold::choose(
        Scored { scores: &scores, labels: None, accounts: &accounts, ts_ms: &ts_ms },
        &options.limits,
    );

    let mut manifest =
        Manifest::new(&options.name, &options.version, Kind::Forest, &options.feature_set_hash);
    manifest.features = names.clone();
    manifest.forest =
        Some(ForestFile { file: FOREST_FILE.to_owned(), format: ForestFormat::XgboostJson });
    if let (Some(model), Some((calibration, stacking))) = (evidence, joined.parts) {
        manifest.graph_model = Some(model);
        (manifest.calibration, manifest.stacking) = (calibration, Some(stacking));
        manifest.score_calibration = ranks;
    } else {
        manifest.calibration = ranks;
    }
    manifest.thresholds = threshold::as_map(&thresholds);
    for strictest in ["suspend", "ban"] {
        // No rank lies above 1. Without this the policy's own threshold, meant for probabilities, would suspend the upper tenth.
        manifest.thresholds.entry(strictest.to_owned()).or_insert(1.0);
    }
    let first = table.ts_ms.first().copied().unwrap_or(0);
    let last = table.ts_ms.last().copied().unwrap_or(0);
    manifest.training = BTreeMap::from([
        ("how".to_owned(), toml::Value::from("labelfree")),
        ("rows".to_owned(), whole(rows.len())),
        ("trees".to_owned(), whole(trees.len())),
        ("from_ts".to_owned(), toml::Value::Integer(first)),
        ("until_ts".to_owned(), toml::Value::Integer(last)),
        ("seed".to_owned(), toml::Value::Integer(options.seed as i64)),
    ]);
    let files = BTreeMap::from([(FOREST_FILE.to_owned(), write::xgboost_json(&trees, &names)?)]);
    let bundle = Bundle::new(manifest, files).map_err(|e| TrainError::Bundle(e.to_string()))?;
    Ok(Labelfree { bundle, thresholds, columns })
}

/// The families as positions among the table's columns that vary. A column is in the first family that names it.
fn families(table: &Table, kept: &[usize], options: &LabelfreeOptions) -> Vec<(f64, Vec<usize>)> {
    if options.families.is_empty() {
        return vec![(1.0, kept.to_vec())];
    }
    let mut taken = BTreeSet::new();
    let mut out = Vec::new();
    for (weight, names) in &options.families {
        let named = |column: &usize| names.contains(&table.columns[*column]);
        let members: Vec<usize> =
            kept.iter().copied().filter(named).filter(|column| taken.insert(*column)).collect();
        out.push((*weight, members));
    }
    out
}

const FOREST_FILE: &str = "forest.json";

fn whole(number: usize) -> toml::Value {
    toml::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// What the rows' scores are ranked by: the forest's margins alone, or with the evidence.
struct Joined {
    log_odds: Vec<f64>,
    parts: Option<(Calibration, Stacking)>,
}

impl Joined {
    fn new(table: &Table, rows: &[u32], margins: &[f64], evidence: Option<&LogisticModel>) -> Self {
        let Some(model) = evidence else {
            return Self { log_odds: margins.to_vec(), parts: None };
        };
        let places: Vec<Option<usize>> = model
            .columns
            .iter()
            .map(|column| table.columns.iter().position(|name| *name == column.name))
            .collect();
        let spoken: Vec<f64> = rows
            .iter()
            .map(|row| {
                let row = table.row(*row as usize);
                model.log_odds(|i| places[i].map_or(f32::NAN, |place| row[place]))
            })
            .collect();
        // By behaviour alone, the highest 1 % of the rows are above one half.
        let mut sorted = margins.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let high = sorted[(sorted.len() - 1) * 99 / 100];
        let spread = deviation(margins);
        let slope = if spread > 0.0 { 1.0 / spread } else { 1.0 };
        let calibration = Calibration::Platt { a: -slope, b: slope * high };
        // Evidence that hardly speaks yet is not blown up: what comes counts in the model's own log-odds.
        let graph = 1.0 / deviation(&spoken).max(1.0);
        let stacking = Stacking { bias: 0.0, behaviour: 1.0, graph };
        let log_odds = margins
            .iter()
            .zip(&spoken)
            .map(|(margin, graph)| stacking.combine(calibration.log_odds(*margin), *graph))
            .collect();
        Self { log_odds, parts: Some((calibration, stacking)) }
    }
}

/// Margins as the scorer will compute them, to the bit.
fn margins(trees: &[grow::Tree], names: &[String], packed: &[f32]) -> Result<Vec<f64>, TrainError> {
    if trees.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = write::xgboost_json(trees, names)?;
    let forest = models::forest::xgboost::from_json(&bytes)
        .map_err(|e| TrainError::Forest(e.to_string()))?;
    let mut out = Vec::new();
    Kernel::new(&forest)
        .margins(packed, names.len(), &mut out)
        .map_err(|e| TrainError::Forest(e.to_string()))?;
    Ok(out)
}

fn deviation(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// From a margin to its rank: points evenly over the common rows, ever finer towards the top, where decisions are made. What
/// is higher than any row goes on rising, so that labels that come later keep their order.
fn ranks(margins: &[f64]) -> Calibration {
    let mut sorted = margins.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    let mut places: Vec<usize> = (0..100).map(|i| n * i / 100).collect();
    let mut above = n / 100;
    while above > 0 {
        places.push(n - above);
        above = if above > 1000 { above * 97 / 100 } else { above - 1 };
    }
    places.sort_unstable();
    let (mut points, mut log_odds): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for place in places {
        if points.last() != Some(&sorted[place]) {
            // The share of rows below, and half of those beside.
            let below = sorted.partition_point(|m| *m < sorted[place]);
            let up_to = sorted.partition_point(|m| *m <= sorted[place]);
            let rank = (below + up_to) as f64 / (2 * n) as f64;
            points.push(sorted[place]);
            log_odds.push((rank / (1.0 - rank)).ln());
        }
    }
    Calibration::Curve { margins: points, log_odds }
}

#[cfg(test)]
mod tests;
