//! Which blocks each role's profile has.

use super::{Level, Seen};
use features::config::ProfileConfig;
use std::collections::BTreeMap;

/// A key that is used less often than this (median) has no rhythm worth keeping.
const RHYTHM_USES_MIN: u64 = 4;
/// Numbers that describe accounts are worth a mean over the accounts met, for so many of them.
const OF_ACCOUNT_MAX: usize = 4;

/// Profiles for the account, for what is done to it, and for every kind.
pub fn propose(seen: &Seen<'_>, level: &Level, feedback: bool) -> BTreeMap<String, ProfileConfig> {
    let declared = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| seen.fields.has(name, level.attributes)).cloned().collect()
    };
    let of_event = declared(&seen.fields.of_event);
    let of_account = declared(&seen.fields.of_account);
    let meets = seen.meets_accounts();
    let time = seen.time;
    let first = |list: &[String], count: usize| list.iter().take(count).cloned().collect::<Vec<_>>();

    // What others see of an account when they meet it: what describes it, then what it does.
    // Where every meeting is told from both sides, `target` has the same numbers for less.
    let both_sides =
        seen.report.target.as_ref().is_some_and(|target| target.pairs.mutual_share >= 0.8);
    let own = if meets && !both_sides { level.neighbours.min(OF_ACCOUNT_MAX) } else { 0 };
    let mut account = ProfileConfig {
        numeric: first(&of_event, level.numeric),
        rhythm: time.rhythm,
        hours: time.hours,
        sessions: time.sessions,
        labels: feedback,
        ..ProfileConfig::default()
    };
    account.numeric.extend(first(&of_account, own));
    account.distinct = seen.kinds.iter().take(level.kinds).map(|kind| kind.name.clone()).collect();
    if seen.has_target() {
        account.distinct.push("target".into());
    }
    let mut of_other: Vec<String> = vec!["account.age_s".into(), "account.events".into()];
    if feedback {
        of_other.push(format!("account.labels.rate.{}", time.config.half_lives[3]));
    }
    of_other.extend(first(&of_account, own).iter().map(|name| format!("account.{name}.mean")));
    if meets {
        account.neighbours = of_other.iter().cloned().take(level.neighbours).collect();
        if level.neighbours > 2 {
            account.neighbours.push("target.events".into());
        }
    }

    let mut profiles = BTreeMap::new();
    if !meets {
        let nothing = ProfileConfig { rhythm: false, labels: false, ..ProfileConfig::default() };
        profiles.insert("target".to_owned(), nothing);
    } else {
        let mut numeric = first(&of_account, level.numeric_elsewhere);
        numeric.extend(first(&of_event, (level.numeric_elsewhere / 2).max(1)));
        profiles.insert(
            "target".to_owned(),
            ProfileConfig {
                numeric,
                distinct: vec!["account".into()],
                rhythm: time.rhythm,
                labels: feedback,
                neighbours: first(&of_other, level.neighbours.min(2)),
                ..ProfileConfig::default()
            },
        );
    }
    for (place, kind) in seen.kinds.iter().filter(|kind| !kind.config.is_account).enumerate() {
        let rich = place < level.kinds;
        let numbers = if rich { level.numeric_elsewhere / 3 } else { 0 };
        let mut numeric = first(&of_event, numbers);
        numeric.extend(first(&of_account, numbers.saturating_sub(numeric.len())));
        profiles.insert(
            kind.name.clone(),
            ProfileConfig {
                numeric,
                distinct: if rich { vec!["account".into()] } else { Vec::new() },
                rhythm: rich && time.rhythm && kind.uses_per_key >= RHYTHM_USES_MIN,
                labels: feedback && rich,
                neighbours: if rich { first(&of_other, level.neighbours.min(2)) } else { Vec::new() },
                ..ProfileConfig::default()
            },
        );
    }
    profiles.insert("account".to_owned(), account);
    profiles
}
