//! From replayed events to a report of measures.

use super::collect::{Outcome, Replayed, Rows};
use super::delays::{self, DayAlerts, Delay};
use super::intervals::{self, Intervals};
use super::slices::{self, Gap, SliceTable};
use engine::policy::ActionKind;
use serde::Serialize;
use std::collections::BTreeMap;
use training::metrics::{Confusion, Ranking, ReliabilityBin, Summary, reliability, summarise};

/// Bins of the reliability table.
const RELIABILITY_BINS: usize = 15;
/// Shares of the rows that a team may have the hands to look at.
const BUDGET_SHARES: [f64; 4] = [0.001, 0.005, 0.01, 0.05];

/// What is measured: every event, or every account once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Each event is a row.
    #[default]
    Event,
    /// Each account is a row: the highest score of its measured events; bad if one of them is.
    Account,
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Measuring {
    /// What a row is.
    pub unit: Unit,
    /// The threshold of precision, recall, F1 and FPR; `None`: the one with the best F1.
    pub threshold: Option<f64>,
    /// Names and values of the thresholds that are in force.
    pub thresholds: BTreeMap<String, f64>,
    /// Accounts that can be looked at in a day.
    pub per_day: Vec<usize>,
    /// Bootstrap draws; 0: no intervals.
    pub repeats: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// The rows to measure, of whichever unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Index of the event that stands for each row.
    pub row: Vec<u32>,
    /// Its score.
    pub score: Vec<f64>,
    /// Whether it is bad.
    pub bad: Vec<bool>,
    /// Its account.
    pub account: Vec<u32>,
}

impl Measured {
    /// Picks the rows of a unit. O(events).
    pub fn new(rows: &Rows, unit: Unit) -> Self {
        let mut out = Self::default();
        // Where an account's row is.
        let mut place: BTreeMap<u32, usize> = BTreeMap::new();
        for at in (0..rows.len()).filter(|at| rows.is_measured(*at)) {
            let (score, bad) = (f64::from(rows.score[at]), rows.outcome[at] == Outcome::Bad);
            if unit == Unit::Account
                && let Some(&own) = place.get(&rows.account[at])
            {
                out.bad[own] |= bad;
                if score > out.score[own] {
                    (out.score[own], out.row[own]) = (score, at as u32);
                }
                continue;
            }
            place.insert(rows.account[at], out.row.len());
            out.row.push(at as u32);
            out.score.push(score);
            out.bad.push(bad);
            out.account.push(rows.account[at]);
        }
        out
    }
}

/// One threshold by name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// `challenge`, `review` ...
    pub name: String,
    /// What comes of it.
    #[serde(flatten)]
    pub at: Confusion,
}

/// The highest scores, as many as can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Share of the rows that may be flagged.
    pub share: f64,
    /// What comes of the lowest threshold that keeps to it; absent if even the highest score is on more rows.
    pub at: Option<Confusion>,
}

/// The highest-scored accounts of each day.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DayBudget {
    /// Accounts looked at per day.
    pub accounts: usize,
    /// Days with at least so many accounts.
    pub days: usize,
    /// Mean over these days of the share that did something bad that day; tied accounts count with their share.
    pub precision: f64,
    /// Of the accounts that did something bad on one of these days, the share looked at that day.
    pub recall: f64,
}

/// Which model was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Its version, as its trainer counts.
    pub version: String,
    /// What actions carry.
    pub id: String,
    /// Whether its score is a probability: trained with labels.
    pub is_probability: bool,
    /// What it was trained until, epoch milliseconds, if it says.
    pub trained_until_ms: Option<i64>,
}

/// Everything that `detector evaluate` says. The order of fields is that of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The measures at `threshold`.
    #[serde(flatten)]
    pub summary: Summary,
    /// `given`, or `best_f1` of these very rows, which flatters.
    pub threshold_from: &'static str,
    /// What a row is.
    pub unit: Unit,
    /// The model.
    pub model: ModelInfo,
    /// Time of the first and the last measured event, epoch milliseconds.
    pub window_ms: [i64; 2],
    /// Distinct accounts measured.
    pub accounts: u64,
    /// Scored events in the window that are not measured: of other types, too young, or not known.
    pub unmeasured: u64,
    /// Events of the window of which a label speaks.
    pub joined: u64,
    /// Messages that could not be read.
    pub rejects: u64,
    /// 95 % intervals, whole accounts drawn; absent when not asked for.
    pub intervals: Option<Intervals>,
    /// At the thresholds in force, mildest first.
    pub thresholds: Vec<Named>,
    /// At shares of the rows.
    pub budgets: Vec<Budget>,
    /// At numbers of accounts per day.
    pub per_day: Vec<DayBudget>,
    /// Predicted against observed.
    pub reliability: Vec<ReliabilityBin>,
    /// How soon bad accounts are noticed.
    pub delays: Vec<Delay>,
    /// Alerts per day at `threshold`.
    pub days: Vec<DayAlerts>,
    /// Each attribute's values.
    pub slices: Vec<SliceTable>,
    /// How far slices are apart.
    pub gaps: Vec<Gap>,
    /// What to know before believing it.
    pub warnings: Vec<String>,
}

/// Measures a replay; with [`Measured`] and [`Ranking`] for drawing. O(n log n + draws x n).
pub fn measure(
    replayed: &Replayed,
    how: &Measuring,
    model: &ModelInfo,
) -> (Report, Measured, Ranking) {
    let rows = &replayed.rows;
    let measured = Measured::new(rows, how.unit);
    let (scores, bad) = (&measured.score, &measured.bad);
    let ranking = Ranking::new(scores, bad);
    // Without bad rows no threshold is the best: none flags anything, and is printed as absent.
    let at = how.threshold.or((ranking.positives() == 0).then_some(f64::INFINITY));
    let summary = summarise(scores, bad, at);
    let threshold = summary.threshold;
    let mut accounts = measured.account.clone();
    accounts.sort_unstable();
    accounts.dedup();
    let times = || (0..rows.len()).filter(|at| rows.is_measured(*at)).map(|at| rows.ts_ms[at]);
    let measured_events = times().count() as u64;

    let mut named: Vec<Named> = how
        .thresholds
        .iter()
        .map(|(name, value)| Named { name: name.clone(), at: ranking.confusion(*value) })
        .collect();
    // Equal ones as actions are ordered.
    let hardness = |n: &Named| ActionKind::from_name(&n.name);
    named.sort_by(|a, b| {
        a.at.threshold.total_cmp(&b.at.threshold).then_with(|| hardness(a).cmp(&hardness(b)))
    });
    let budgets = BUDGET_SHARES.map(|share| {
        let most = (share * scores.len() as f64).floor() as u64;
        Budget { share, at: ranking.threshold_for_count(most).map(|t| ranking.confusion(t)) }
    });
    let mut bars: Vec<(String, f64)> =
        named.iter().map(|n| (n.name.clone(), n.at.threshold)).collect();
    bars.insert(0, ("score".into(), threshold));
    let tables = slices::tables(rows, &measured, threshold, how.repeats, how.seed);
    let gaps = slices::gaps(&tables);
    let report = Report {
        threshold_from: if how.threshold.is_some() { "given" } else { "best_f1" },
        unit: how.unit,
        model: model.clone(),
        window_ms: [times().min().unwrap_or(0), times().max().unwrap_or(0)],
        accounts: accounts.len() as u64,
        unmeasured: rows.len() as u64 - measured_events,
        joined: replayed.joined,
        rejects: replayed.rejects,
        intervals: (how.repeats > 0)
            .then(|| intervals::all(&measured, threshold, how.repeats, how.seed)),
        thresholds: named,
        budgets: budgets.to_vec(),
        per_day: how.per_day.iter().map(|k| per_day(rows, *k)).collect(),
        reliability: reliability(scores, bad, RELIABILITY_BINS),
        delays: delays::delays(rows, &bars),
        days: delays::days(rows, threshold),
        slices: tables,
        gaps,
        warnings: warnings(replayed, how, model, &summary),
        summary,
    };
    (report, measured, ranking)
}

/// Each day's accounts by their highest score of the day.
fn per_day(rows: &Rows, accounts: usize) -> DayBudget {
    let mut days: BTreeMap<i64, BTreeMap<u32, (f64, bool)>> = BTreeMap::new();
    for at in (0..rows.len()).filter(|at| rows.is_measured(*at)) {
        let day = days.entry(rows.ts_ms[at].div_euclid(delays::DAY_MS)).or_default();
        let own = day.entry(rows.account[at]).or_insert((f64::NEG_INFINITY, false));
        own.0 = own.0.max(f64::from(rows.score[at]));
        own.1 |= rows.outcome[at] == Outcome::Bad;
    }
    let (mut counted, mut sum, mut caught, mut bad) = (0usize, 0.0, 0.0, 0u64);
    for day in days.values() {
        let (scores, labels): (Vec<f64>, Vec<bool>) = day.values().copied().unzip();
        let ranking = Ranking::new(&scores, &labels);
        let precision = ranking.precision_at(accounts);
        if precision.is_finite() {
            counted += 1;
            sum += precision;
            caught += precision * accounts as f64;
            bad += ranking.positives();
        }
    }
    let share = |part: f64, whole: f64| if whole == 0.0 { f64::NAN } else { part / whole };
    DayBudget {
        accounts,
        days: counted,
        precision: share(sum, counted as f64),
        recall: share(caught, bad as f64),
    }
}

fn warnings(
    replayed: &Replayed,
    how: &Measuring,
    model: &ModelInfo,
    summary: &Summary,
) -> Vec<String> {
    let mut out = Vec::new();
    if summary.positives == 0 {
        out.push("no row is bad: measures that need bad rows are empty (null in JSON)".to_string());
    } else if summary.positives == summary.events {
        out.push(
            "every row is bad: measures that need good rows are empty (null in JSON)".to_string(),
        );
    } else if summary.positives < 30 {
        out.push(format!(
            "only {} rows are bad: read the intervals, not the values",
            summary.positives
        ));
    }
    if how.threshold.is_none() && summary.positives > 0 {
        out.push(
            "the threshold was chosen on these rows (best F1), which flatters precision, recall and F1; --threshold X measures one that was chosen before".to_string(),
        );
    }
    if !model.is_probability {
        out.push(
            "this model was made without labels: its score is a rank, and Brier, ECE and reliability say little".to_string(),
        );
    }
    let first = (0..replayed.rows.len())
        .filter(|at| replayed.rows.is_measured(*at))
        .map(|at| replayed.rows.ts_ms[at])
        .min();
    if let (Some(until), Some(first)) = (model.trained_until_ms, first)
        && first <= until
    {
        out.push(
            "events from before the model's moment of training are measured, which flatters; --from takes its `until`".to_string(),
        );
    }
    if replayed.young_bad > 0 {
        out.push(format!(
            "{} bad events are younger than labels.maturity, where good ones are not measured yet: the share of bad rows, precision and average precision are too high; --to {} leaves them out",
            replayed.young_bad,
            replayed.young_from_ms - 1
        ));
    }
    if replayed.rejects > 0 {
        out.push(format!("{} messages could not be read", replayed.rejects));
    }
    out
}
