//! Compiles roles: which blocks each profile has, and which values of the other side it keeps.

use super::check::Check;
use super::counters::numeric_slot;
use crate::config::{CounterConfig, FeatureConfig, ProfileConfig};
use crate::layout::{CounterSpec, Layout, RoleSpec};
use crate::limits::BLOCKS_MAX;
use crate::profile::DistinctKey;
use crate::schema::{Attribute, Kind};
use std::collections::BTreeMap;

pub(super) fn compile_roles(
    config: &FeatureConfig,
    counters: &[CounterSpec],
    attributes: &[Attribute],
    kinds: &[Kind],
    check: &mut Check,
) -> Vec<RoleSpec> {
    let roles: Vec<&str> = ["account", "target"]
        .into_iter()
        .chain(kinds.iter().filter(|k| !k.is_account).map(|k| k.name.as_str()))
        .collect();
    let mut known = |place: &str, name: &str| {
        if kinds.iter().any(|k| k.is_account && k.name == name) {
            check.value(place, format!("the keys of `{name}` are accounts, and what is done to them is `target`; write `target`"));
        } else if !roles.contains(&name) {
            check.unknown(place, "role", name, roles.iter().copied());
        }
    };
    config.profiles.keys().for_each(|name| known(&format!("profiles.{name}"), name));
    for counter in &config.counters {
        counter.on.iter().for_each(|name| known(&format!("counters.{}.on", counter.name), name));
    }
    let usual = ProfileConfig::default();
    roles
        .iter()
        .map(|role| {
            let profile = config.profiles.get(*role).unwrap_or(&usual);
            let kept = |c: &CounterConfig| c.on.is_empty() || c.on.iter().any(|on| on == role);
            RoleSpec {
                name: (*role).into(),
                counters: (0..counters.len()).filter(|i| kept(&config.counters[*i])).collect(),
                numeric: numeric(role, profile, attributes, check),
                distinct: distinct(role, profile, kinds, check),
                rhythm: profile.rhythm,
                hours: profile.hours,
                sessions: profile.sessions,
                labels: profile.labels,
                neighbours: neighbours(role, profile, check),
            }
        })
        .collect()
}

fn numeric(
    role: &str,
    profile: &ProfileConfig,
    attributes: &[Attribute],
    check: &mut Check,
) -> Vec<(String, usize)> {
    let place = format!("profiles.{role}.numeric");
    check.cap(&place, "attributes", profile.numeric.len(), BLOCKS_MAX);
    check.unique(&place, profile.numeric.iter().map(String::as_str));
    let slot = |name: &String| Some((name.clone(), numeric_slot(check, &place, name, attributes)?));
    profile.numeric.iter().filter_map(slot).collect()
}

fn distinct(
    role: &str,
    profile: &ProfileConfig,
    kinds: &[Kind],
    check: &mut Check,
) -> Vec<(String, u8)> {
    let place = format!("profiles.{role}.distinct");
    check.cap(&place, "counts", profile.distinct.len(), BLOCKS_MAX);
    check.unique(&place, profile.distinct.iter().map(String::as_str));
    let mut found = Vec::new();
    for name in &profile.distinct {
        let kind = kinds.iter().position(|k| k.name == *name);
        let what = match (name.as_str(), kind) {
            ("target", _) => DistinctKey::TARGET,
            ("account", _) => DistinctKey::ACCOUNT,
            (_, Some(kind)) => kind as u8,
            _ => {
                let all = kinds.iter().map(|k| k.name.as_str()).chain(["target", "account"]);
                check.unknown(&place, "kind", name, all);
                continue;
            }
        };
        if name == role {
            check.value(&place, format!("one {role} has exactly one {role}; remove `{name}`"));
        }
        found.push((name.clone(), what));
    }
    found
}

fn neighbours(role: &str, profile: &ProfileConfig, check: &mut Check) -> Vec<String> {
    let place = format!("profiles.{role}.neighbours");
    check.cap(&place, "values", profile.neighbours.len(), BLOCKS_MAX);
    check.unique(&place, profile.neighbours.iter().map(String::as_str));
    profile.neighbours.clone()
}

/// Indices into account columns followed by target columns, per role.
pub(super) fn resolve_neighbours(
    specs: &[RoleSpec],
    layouts: &[Layout],
    check: &mut Check,
) -> Vec<Vec<usize>> {
    let mut names = Vec::new();
    for layout in layouts.iter().take(2) {
        names.extend(layout.names(layout.role_name()));
    }
    let index: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    let mut all = Vec::new();
    for spec in specs {
        let place = format!("profiles.{}.neighbours", spec.name);
        let mut columns = Vec::new();
        for name in &spec.neighbours {
            match index.get(name.as_str()) {
                Some(column) => columns.push(*column),
                None => check.unknown(
                    &place,
                    "feature of the account met",
                    name,
                    names.iter().map(String::as_str),
                ),
            }
        }
        all.push(columns);
    }
    all
}
