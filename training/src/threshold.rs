//! From which score on something is done: by how many alerts people can look at, and by how often an alert must be right.

use crate::metrics::Ranking;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a threshold must keep. With both, the stricter one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Limit {
    /// Share of the rows (0..=1) that may be flagged.
    pub alert_share_max: Option<f64>,
    /// Alerts per day that may be raised, one per account and day.
    pub accounts_per_day_max: Option<f64>,
    /// Share of the flagged rows that must be bad (0..=1).
    pub precision_min: Option<f64>,
    /// Lowest calibrated score (0..=1) at which this may be done: flagged rows together can be bad often enough while
    /// the least of them hardly ever are.
    pub score_min: Option<f64>,
}

/// Limits of the four actions, mildest first: a stricter action never gets a lower threshold than a milder one.
/// The precision is that of events, against labels that miss some of the bad; the share keeps a model that is
/// nearly always right on a stream with many bad events from flooding anybody.
#[must_use]
pub fn default_limits() -> Vec<(String, Limit)> {
    let limit = |alert_share_max: f64, certainty: f64| Limit {
        alert_share_max: Some(alert_share_max),
        precision_min: Some(certainty),
        score_min: Some(certainty),
        ..Limit::default()
    };
    vec![
        ("challenge".to_owned(), limit(0.1, 0.5)),
        ("review".to_owned(), limit(0.1, 0.6)),
        ("suspend".to_owned(), limit(0.05, 0.9)),
        ("ban".to_owned(), limit(0.05, 0.98)),
    ]
}

/// How a threshold came about, and what it does on the rows that it was chosen on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chosen {
    /// Action.
    pub name: String,
    /// Rows with a score >= this are flagged; 0..=1.
    pub threshold: f64,
    /// Whether any score reached what was asked for; if not, the threshold is the asked-for precision itself, or 1.
    pub reached: bool,
    /// Rows flagged.
    pub flagged: u64,
    /// Their precision; 1 when nothing is flagged, NaN without labels.
    pub precision: f64,
    /// Share of the bad rows flagged; NaN without labels.
    pub recall: f64,
}

/// Scored rows to choose thresholds on.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// Calibrated scores, 0..=1.
    pub scores: &'a [f64],
    /// What is known of the rows, or nothing at all.
    pub labels: Option<&'a [bool]>,
    /// Account of each row.
    pub accounts: &'a [u32],
    /// Time of each row, epoch milliseconds.
    pub ts_ms: &'a [i64],
}

const DAY_MS: i64 = 86_400_000;

/// Scores reach the policy as f32, so a threshold is rounded up to the next score that an f32 can hold: what it must not flag stays out.
fn storable(threshold: f64) -> f64 {
    let near = threshold as f32;
    f64::from(if f64::from(near) < threshold { near.next_up() } else { near }).clamp(0.0, 1.0)
}

/// Chooses a threshold for each of `limits` (mildest first). O(n log n).
#[must_use]
pub fn choose(rows: Scored<'_>, limits: &[(String, Limit)]) -> Vec<Chosen> {
    let stored: Vec<f64> = rows.scores.iter().map(|s| f64::from(*s as f32)).collect();
    let nobody = vec![false; stored.len()];
    let ranking = Ranking::new(&stored, rows.labels.unwrap_or(&nobody));
    let mut floor = 0.0f64;
    let mut chosen = Vec::new();
    for (name, limit) in limits {
        floor = floor.max(limit.score_min.unwrap_or(0.0));
        let mut threshold = Some(floor);
        let mut raise = |to: Option<f64>| threshold = threshold.zip(to).map(|(a, b)| a.max(b));
        if let Some(share) = limit.alert_share_max {
            raise(ranking.threshold_for_count((share * stored.len() as f64).floor() as u64));
        }
        if let Some(per_day) = limit.accounts_per_day_max {
            raise(by_accounts_per_day(&stored, rows.accounts, rows.ts_ms, per_day));
        }
        if let (Some(precision), Some(_)) = (limit.precision_min, rows.labels) {
            raise(by_precision(&ranking, precision));
        }
        let reached = threshold.is_some();
        // Where no score was good enough, a calibrated score as high as the precision asked for is the best word there is;
        // but never below what these rows, which were not good enough, have reached.
        let highest = ranking.steps().next().map_or(0.0, |s| s.0);
        let fallback =
            limit.precision_min.unwrap_or(1.0).max(f64::from((highest as f32).next_up())).min(1.0);
        let threshold = storable(threshold.unwrap_or(fallback).max(floor));
        floor = threshold;
        let here = ranking.confusion(threshold);
        let known = rows.labels.is_some();
        chosen.push(Chosen {
            name: name.clone(),
            threshold,
            reached,
            flagged: here.true_positives + here.false_positives,
            precision: if known { here.precision } else { f64::NAN },
            recall: if known { here.recall } else { f64::NAN },
        });
    }
    chosen
}

/// The lowest score whose flagged rows are bad often enough, also after doubt about so few rows (Wilson 1927, one standard error).
fn by_precision(ranking: &Ranking, precision_min: f64) -> Option<f64> {
    ranking
        .steps()
        .filter(|(_, caught, alarmed)| wilson_low(*caught, caught + alarmed) >= precision_min)
        .last()
        .map(|s| s.0)
}

/// Lower end of Wilson's interval of `part` in `whole`, one standard error wide.
fn wilson_low(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    let (n, p) = (whole as f64, part as f64 / whole as f64);
    ((p + 0.5 / n) - (p * (1.0 - p) / n + 0.25 / (n * n)).sqrt()) / (1.0 + 1.0 / n)
}

/// The lowest score that flags at most `per_day` accounts on the average day between the first and the last row.
fn by_accounts_per_day(
    scores: &[f64],
    accounts: &[u32],
    ts_ms: &[i64],
    per_day: f64,
) -> Option<f64> {
    let first = *ts_ms.iter().min()?;
    let days = ((ts_ms.iter().max()? - first).max(0) as f64 / DAY_MS as f64).max(1.0);
    // Each account counts once a day, with its highest score.
    let mut best: BTreeMap<(i64, u32), f64> = BTreeMap::new();
    for ((score, account), ts) in scores.iter().zip(accounts).zip(ts_ms) {
        let here = best.entry(((ts - first) / DAY_MS, *account)).or_insert(*score);
        *here = here.max(*score);
    }
    let best: Vec<f64> = best.into_values().collect();
    Ranking::new(&best, &vec![false; best.len()])
        .threshold_for_count((per_day * days).floor() as u64)
}

/// The thresholds as a bundle stores them.
#[must_use]
pub fn as_map(chosen: &[Chosen]) -> BTreeMap<String, f64> {
    chosen.iter().map(|c| (c.name.clone(), c.threshold)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    fn rows(n: usize) -> (Vec<f64>, Vec<bool>, Vec<u32>, Vec<i64>) {
        let mut chance = Chance::new(8, 8);
        let scores: Vec<f64> = (0..n).map(|_| chance.unit().powi(4)).collect();
        let labels = scores.iter().map(|s| chance.unit() < *s).collect();
        let accounts = (0..n as u32).map(|row| row % 500).collect();
        let ts = (0..n as i64).map(|row| row * 10 * DAY_MS / n as i64).collect();
        (scores, labels, accounts, ts)
    }

    #[test]
    fn budgets_and_precisions_are_kept() {
        let (scores, labels, accounts, ts_ms) = rows(50_000);
        let scored =
            Scored { scores: &scores, labels: Some(&labels), accounts: &accounts, ts_ms: &ts_ms };
        let mut limits = default_limits();
        limits[0].1 = Limit { alert_share_max: Some(0.02), ..Limit::default() };
        limits[1].1 = Limit { alert_share_max: Some(0.01), ..Limit::default() };
        limits[2].1 = Limit { precision_min: Some(0.7), ..Limit::default() };
        limits[3].1 = Limit { precision_min: Some(0.9), ..Limit::default() };
        let chosen = choose(scored, &limits);
        assert_eq!(
            chosen.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
            ["challenge", "review", "suspend", "ban"]
        );
        assert!(chosen.windows(2).all(|w| w[0].threshold <= w[1].threshold), "{chosen:?}");
        assert!(chosen[0].flagged <= 1000 && chosen[0].flagged > 990 && chosen[1].flagged <= 500);
        assert!(chosen[3].reached && chosen[3].precision >= 0.9 && chosen[3].flagged > 100);
        assert_eq!(as_map(&chosen).len(), 4);
    }

    #[test]
    fn alerts_per_day_count_accounts_once_a_day() {
        let (scores, _, accounts, ts_ms) = rows(50_000);
        let scored = Scored { scores: &scores, labels: None, accounts: &accounts, ts_ms: &ts_ms };
        let limits =
            [("review".to_owned(), Limit { accounts_per_day_max: Some(20.0), ..Limit::default() })];
        let chosen = choose(scored, &limits);
        let mut alerts: Vec<(i64, u32)> = (0..scores.len())
            .filter(|i| f64::from(scores[*i] as f32) >= chosen[0].threshold)
            .map(|i| (ts_ms[i] / DAY_MS, accounts[i]))
            .collect();
        alerts.sort_unstable();
        alerts.dedup();
        assert!(alerts.len() <= 200 && alerts.len() > 190, "{}", alerts.len());
        assert!(chosen[0].precision.is_nan());
    }

    #[test]
    fn a_precision_out_of_reach_is_said_and_flags_nothing() {
        let scored = Scored {
            scores: &[0.3, 0.2, 0.1],
            labels: Some(&[false, true, false]),
            accounts: &[1, 2, 3],
            ts_ms: &[0, 1, 2],
        };
        let limits = [("ban".to_owned(), Limit { precision_min: Some(0.9), ..Limit::default() })];
        let chosen = choose(scored, &limits);
        assert!(!chosen[0].reached && chosen[0].flagged == 0);
        assert!((chosen[0].threshold - 0.9).abs() < 1e-6);
        let ties = Scored { scores: &[0.5; 10], labels: None, accounts: &[1; 10], ts_ms: &[0; 10] };
        let limits =
            [("review".to_owned(), Limit { alert_share_max: Some(0.2), ..Limit::default() })];
        assert_eq!(choose(ties, &limits)[0].flagged, 0);
    }
}
