//! Which decayed counts, sums and windows are kept.

use super::{Level, Seen, names};
use crate::survey::durations::text;
use features::config::CounterConfig;
use features::limits::COUNTERS_MAX;
use std::collections::BTreeSet;

/// `events`, sums of amounts, one per type, and counts of flags and of rare values.
pub fn propose(seen: &Seen<'_>, level: &Level) -> Vec<CounterConfig> {
    let mut taken = BTreeSet::new();
    let windows: Vec<String> = seen.time.windows_ms.iter().map(|ms| text(*ms)).collect();
    let mut roles: Vec<String> = vec!["account".into()];
    if seen.meets_accounts() {
        roles.push("target".into());
    }
    let others = seen.kinds.iter().filter(|kind| !kind.config.is_account);
    let kinds: Vec<String> = others.take(level.kinds).map(|kind| kind.name.clone()).collect();
    let everywhere: Vec<String> = roles.iter().chain(&kinds).cloned().collect();

    let mut counters = vec![CounterConfig {
        name: names::plain("events", &mut taken),
        on: everywhere.clone(),
        windows: windows.clone(),
        ..CounterConfig::default()
    }];
    for name in seen.fields.amounts.iter().filter(|name| seen.fields.has(name, level.attributes)).take(level.sums) {
        counters.push(CounterConfig {
            name: names::plain(&format!("{name}_sum"), &mut taken),
            sum: Some(name.clone()),
            on: everywhere.clone(),
            windows: if counters.len() == 1 { windows.clone() } else { Vec::new() },
            ..CounterConfig::default()
        });
    }
    let frequent = |events: u64| events >= 5 && events * 10_000 >= seen.report.events;
    let several = seen.report.types.len() > 1;
    let types = seen.report.types.iter().filter(|kind| several && frequent(kind.events));
    for kind in types.filter(|kind| seen.types.contains(&kind.name)).take(level.types) {
        let mut on = vec!["account".to_owned()];
        if seen.meets_accounts() && (kind.target_share >= 0.05 || !seen.has_target()) {
            on.push("target".into());
        }
        if level.types_on_kinds {
            on.extend(kinds.iter().cloned());
        }
        counters.push(CounterConfig {
            name: names::plain(&kind.name, &mut taken),
            types: vec![kind.name.clone()],
            on,
            ..CounterConfig::default()
        });
    }
    let flags = seen.fields.flags.iter().take(level.flags);
    for (name, condition) in flags.chain(seen.fields.values.iter().take(level.values)) {
        let attribute = condition.split(' ').next().unwrap_or_default();
        if seen.fields.has(attribute, level.attributes) {
            let mut on = roles.clone();
            on.extend(kinds.iter().take(if level.types_on_kinds { kinds.len() } else { 2 }).cloned());
            counters.push(CounterConfig {
                name: names::plain(name, &mut taken),
                when: Some(condition.clone()),
                on,
                ..CounterConfig::default()
            });
        }
    }
    counters.truncate(COUNTERS_MAX);
    counters
}
