//! The score of a stream for which nothing was trained: bursts, shared things, co-sharing and suspicion, in
//! fixed proportions. It is a bundle like any other, so it is scored, explained and versioned like any other.
//! And what a model is made of that is fitted to a stream, but without labels: [`families`] and [`label_evidence`].

use features::schema::Schema;
use models::LogisticModel;
use models::bundle::{Bundle, BundleError, Kind, Manifest};
use models::logistic::{Column, Transform};
use std::collections::BTreeMap;

/// Log-odds of an account about which nothing speaks.
const BIAS: f64 = -6.0;

/// What speaks against an account, with its weight; columns that the feature set lacks are left out.
fn evidence(schema: &Schema, half_lives: &[String; 4]) -> Vec<(String, Transform, f64)> {
    let share = Transform::Clamp { low: 0.0, high: 1.0 };
    let [shortest, short, .., longest] = half_lives;
    let mut out = vec![
        ("graph.suspicion".to_string(), share, 5.0),
        ("graph.bad_rate.max_strong".to_string(), share, 5.0),
        ("graph.co_share.accounts".to_string(), Transform::Log1p, 1.2),
        ("graph.component.bad_fraction".to_string(), share, 2.0),
        ("graph.component.growth".to_string(), Transform::Log1p, 0.4),
        (format!("account.labels.rate.{longest}"), share, 3.0),
        (format!("received.labels.rate.{longest}"), share, 1.0),
    ];
    for kind in schema.kinds().iter().filter(|k| !k.is_account) {
        // Many new accounts on one device say much; on an address that thousands share, little.
        let weight = if kind.strong { 0.8 } else { 0.15 };
        out.push((format!("graph.{}.new_short", kind.name), Transform::Log1p, weight));
        out.push((format!("graph.{}.bad_rate", kind.name), share, 3.0));
    }
    out.push((format!("account.events.accel_{short}_{longest}"), Transform::Log1p, 0.5));
    out.push((format!("account.events.{shortest}"), Transform::Log1p, 0.5));
    out
}

/// Columns that speak of the same thing, high values against the account.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// What they speak of.
    pub name: &'static str,
    /// How much it counts beside the other families.
    pub weight: f64,
    /// Names of the columns.
    pub columns: Vec<String>,
}

/// What a model that is fitted without labels looks at: only columns of which more is worse on any platform. Ages, totals, hours and
/// means are left out: who is old, or does much, would stand out by them and is no suspect. The proportions are a judgement
/// (a ring says most), held against streams with labels in `docs/models.md`.
#[must_use]
pub fn families(schema: &Schema, half_lives: &[String; 4], columns: &[String]) -> Vec<Family> {
    let of_thing = |name: &str, strong: Option<bool>| {
        schema.kinds().iter().any(|kind| {
            kind.name == name && !kind.is_account && strong.is_none_or(|s| s == kind.strong)
        })
    };
    let fresh = |half_life: &str| half_lives[..3].iter().any(|h| h == half_life);
    let family_of = |column: &str| -> Option<&'static str> {
        let parts: Vec<&str> = column.split('.').collect();
        match parts[..] {
            ["graph", "component", "size" | "growth"]
            | ["graph", "co_share", "accounts" | "shared_max"]
            | ["graph", "suspicion"] => Some("ring"),
            ["graph", thing, "members_suspicion"] if of_thing(thing, None) => Some("company"),
            ["graph", thing, "new_short" | "new_long" | "degree"]
            | [thing, "account", "distinct_recent"]
                if of_thing(thing, Some(true)) =>
            {
                Some("strong things")
            }
            ["graph", _, "new_short" | "new_long"] => Some("other things"),
            ["account", _, "distinct_recent"] => Some("spread"),
            ["account", _, "robust_z" | "robust_ratio" | "z" | "ratio" | "recent_z"] => {
                Some("own normal")
            }
            [thing, _, "z" | "ratio" | "recent_z"] if of_thing(thing, None) => {
                Some("normal of things")
            }
            [thing, "events", h] if of_thing(thing, Some(true)) && fresh(h) => {
                Some("bursts on things")
            }
            ["account", "events", h] if fresh(h) => Some("bursts"),
            ["account", _, h] if fresh(h) => Some("bursts of a kind"),
            ["received", "events", h] | [_, "received", "events", h] if fresh(h) => {
                Some("bursts received")
            }
            _ => None,
        }
    };
    let weights = [
        ("ring", 3.0),
        ("company", 1.0),
        ("strong things", 1.0),
        ("spread", 1.0),
        ("own normal", 1.0),
        ("normal of things", 1.0),
        ("other things", 0.5),
        ("bursts on things", 0.5),
        ("bursts", 0.5),
        ("bursts of a kind", 0.5),
        ("bursts received", 0.5),
    ];
    let members = |name: &str| {
        columns.iter().filter(|c| family_of(c) == Some(name)).cloned().collect::<Vec<_>>()
    };
    weights
        .into_iter()
        .map(|(name, weight)| Family { name, weight, columns: members(name) })
        .filter(|family| !family.columns.is_empty())
        .collect()
}

/// Columns that labels fill once there are some: shares of what is known to be bad, with their weight. A model made without labels has never seen
/// them vary, and takes them as they come.
#[must_use]
pub fn label_evidence(
    schema: &Schema,
    half_lives: &[String; 4],
    columns: &[String],
) -> Vec<(String, f64)> {
    let longest = &half_lives[3];
    let mut out = vec![
        ("graph.suspicion".to_string(), 1.0),
        ("graph.bad_rate.max_strong".to_string(), 1.0),
        ("graph.component.bad_fraction".to_string(), 0.5),
        (format!("account.labels.rate.{longest}"), 1.0),
        (format!("received.labels.rate.{longest}"), 0.5),
    ];
    for kind in schema.kinds().iter().filter(|kind| !kind.is_account) {
        out.push((format!("{}.labels.rate.{longest}", kind.name), 0.5));
        if !kind.strong {
            out.push((format!("graph.{}.bad_rate", kind.name), 0.25));
        }
    }
    out.retain(|(name, _)| columns.contains(name));
    out
}

/// Thresholds of the built-in score.
fn thresholds() -> BTreeMap<String, f64> {
    [("challenge", 0.5), ("review", 0.7), ("suspend", 0.9), ("ban", 0.98)]
        .map(|(name, value)| (name.to_string(), value))
        .into()
}

/// The built-in score over a feature set.
///
/// # Errors
/// Never for a feature set that compiled; the bundle's own checks are passed on.
pub fn bundle(
    schema: &Schema,
    half_lives: &[String; 4],
    columns: &[String],
    feature_set_hash: &str,
) -> Result<Bundle, BundleError> {
    let mut manifest = Manifest::new("labelfree", "1", Kind::Labelfree, feature_set_hash);
    let known =
        evidence(schema, half_lives).into_iter().filter(|(name, _, _)| columns.contains(name));
    let columns = known
        .map(|(name, transform, weight)| Column {
            name,
            transform,
            mean: 0.0,
            scale: 1.0,
            weight,
            default: 0.0,
        })
        .collect();
    manifest.behaviour_model = Some(LogisticModel { bias: BIAS, columns });
    manifest.thresholds = thresholds();
    Bundle::new(manifest, BTreeMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, Options};

    #[test]
    fn all_evidence_exists_in_a_feature_set_that_has_everything() {
        let toml = "[kinds.device]\nstrong = true\n[kinds.ip]\n[kinds.peer]\nis_account = true";
        let config: crate::config::Config = toml::from_str(toml).unwrap();
        let engine = Engine::new(config, None, Options::default()).unwrap();
        let half_lives = &engine.config().time.half_lives;
        for (name, _, weight) in evidence(engine.schema(), half_lives) {
            assert!(weight > 0.0 && engine.columns().contains(&name), "{name}");
        }
        let found = families(engine.schema(), half_lives, engine.columns());
        let names: Vec<&str> = found.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), 7, "{names:?}");
        let ring = &found[0];
        assert!(ring.name == "ring" && ring.weight == 3.0 && ring.columns.len() == 5, "{ring:?}");
        let known: Vec<String> = label_evidence(engine.schema(), half_lives, engine.columns())
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        for name in ["graph.suspicion", "graph.bad_rate.max_strong", "graph.ip.bad_rate"] {
            assert!(known.iter().any(|k| k == name), "{name} {known:?}");
        }
        // A column belongs to one family, and none tells of age or of totals.
        let mut all: Vec<&String> = found.iter().flat_map(|family| &family.columns).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|name| !name.contains("age") && !name.ends_with(".events")));
    }
}
