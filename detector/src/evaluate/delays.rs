//! How soon a bad account is noticed, and how many alerts a day brings.

use super::collect::{Outcome, Rows};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Milliseconds of a day (UTC).
pub const DAY_MS: i64 = 86_400_000;

/// From an account's first bad event in the window to its first alert or action.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delay {
    /// `score` (the report's threshold), a threshold's name, or `action`.
    pub by: String,
    /// The threshold; absent for actions.
    pub threshold: Option<f64>,
    /// Accounts with a bad event.
    pub accounts: u64,
    /// Of these, noticed before their first bad event.
    pub before: u64,
    /// Noticed at it or after.
    pub after: u64,
    /// Share that was never noticed.
    pub never_share: f64,
    /// Events up to and with the alert, counted from the first bad one (which is 1), median over `after`.
    pub events_median: f64,
    /// The same, 90 % quantile.
    pub events_p90: f64,
    /// Time in seconds, median over `after`.
    pub seconds_median: f64,
    /// The same, 90 % quantile.
    pub seconds_p90: f64,
}

/// What is known of an account while its events pass.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Time of the first bad event, and events since, it included.
    bad_since: Option<(i64, u64)>,
    before: bool,
    after: Option<(u64, i64)>,
}

/// Delays by each of `thresholds` (name and value), then by actions. O(events x thresholds).
pub fn delays(rows: &Rows, thresholds: &[(String, f64)]) -> Vec<Delay> {
    let mut out: Vec<Delay> = thresholds
        .iter()
        .map(|(name, bar)| {
            let alert = |at: usize| f64::from(rows.score[at]) >= *bar && rows.of_type[at];
            Delay { threshold: Some(*bar), ..delay(rows, name, alert) }
        })
        .collect();
    out.push(delay(rows, "action", |at| rows.acted[at]));
    out
}

fn delay(rows: &Rows, by: &str, alert: impl Fn(usize) -> bool) -> Delay {
    let count = rows.account.iter().max().map_or(0, |a| *a as usize + 1);
    let mut seen = vec![Seen::default(); count];
    for at in 0..rows.len() {
        let own = &mut seen[rows.account[at] as usize];
        if own.bad_since.is_none() && rows.is_measured(at) && rows.outcome[at] == Outcome::Bad {
            own.bad_since = Some((rows.ts_ms[at], 0));
        }
        if let Some((_, events)) = &mut own.bad_since {
            *events += 1;
        }
        if own.before || own.after.is_some() || !alert(at) {
            continue;
        }
        match own.bad_since {
            None => own.before = true,
            Some((since, events)) => own.after = Some((events, rows.ts_ms[at] - since)),
        }
    }
    let bad = || seen.iter().filter(|s| s.bad_since.is_some());
    let accounts = bad().count() as u64;
    let before = bad().filter(|s| s.before).count() as u64;
    let (mut events, mut seconds): (Vec<f64>, Vec<f64>) = bad()
        .filter_map(|s| s.after)
        .map(|(events, ms)| (events as f64, ms.max(0) as f64 / 1000.0))
        .unzip();
    let after = events.len() as u64;
    let never = accounts - before - after;
    Delay {
        by: by.to_string(),
        threshold: None,
        accounts,
        before,
        after,
        never_share: if accounts == 0 { f64::NAN } else { never as f64 / accounts as f64 },
        events_median: quantile(&mut events, 0.5),
        events_p90: quantile(&mut events, 0.9),
        seconds_median: quantile(&mut seconds, 0.5),
        seconds_p90: quantile(&mut seconds, 0.9),
    }
}

/// The value below which the share `q` lies, one of the values; NaN without any.
fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n => values[((n as f64 * q).ceil() as usize).clamp(1, n) - 1],
    }
}

/// One day (UTC) at a threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DayAlerts {
    /// Midnight, epoch milliseconds.
    pub day_ms: i64,
    /// Scored events.
    pub events: u64,
    /// Accounts with a bad event.
    pub bad_accounts: u64,
    /// Accounts with an alert.
    pub alerts: u64,
    /// Of these, accounts with a bad event that day.
    pub true_alerts: u64,
    /// Actions that enforcement would have noticed.
    pub actions: u64,
}

/// Alerts per day, one per account and day, at a threshold. Days without events are left out. O(n log n).
pub fn days(rows: &Rows, threshold: f64) -> Vec<DayAlerts> {
    #[derive(Default)]
    struct Day {
        counts: DayAlerts,
        alerted: BTreeSet<u32>,
        bad: BTreeSet<u32>,
    }
    let mut days: BTreeMap<i64, Day> = BTreeMap::new();
    for at in 0..rows.len() {
        let day = days.entry(rows.ts_ms[at].div_euclid(DAY_MS)).or_default();
        day.counts.events += 1;
        day.counts.actions += u64::from(rows.acted[at]);
        if rows.of_type[at] && f64::from(rows.score[at]) >= threshold {
            day.alerted.insert(rows.account[at]);
        }
        if rows.is_measured(at) && rows.outcome[at] == Outcome::Bad {
            day.bad.insert(rows.account[at]);
        }
    }
    days.into_iter()
        .map(|(day, found)| DayAlerts {
            day_ms: day * DAY_MS,
            bad_accounts: found.bad.len() as u64,
            alerts: found.alerted.len() as u64,
            true_alerts: found.alerted.intersection(&found.bad).count() as u64,
            ..found.counts
        })
        .collect()
}
