//! The score of a stream for which nothing was trained: bursts, shared things, co-sharing and suspicion, in
//! fixed proportions. It is a bundle like any other, so it is scored, explained and versioned like any other.
//! Fitted to a stream, but without labels, it is joined by what is rare there: [`families`].

use crate::config::LabelUnit;
use features::schema::Schema;
use models::LogisticModel;
use models::bundle::{Bundle, BundleError, Kind, Manifest};
use models::logistic::{Column, Transform};
use std::collections::BTreeMap;

/// Log-odds of an account about which nothing speaks.
const BIAS: f64 = -6.0;

type Evidence = Vec<(String, Transform, f64)>;

const SHARE: Transform = Transform::Clamp { low: 0.0, high: 1.0 };

/// What is known against others, with its weight: all of it together is less than [`BIAS`] and the threshold of the
/// mildest action ask for, so that nobody is acted on for others' deeds alone. Things that anybody can use say
/// nothing more by themselves.
fn association(schema: &Schema) -> Evidence {
    let held = || schema.kinds().iter().filter(|k| !k.is_account && !k.copyable);
    let each = 0.5 / held().count().max(1) as f64;
    let mut out = vec![
        ("graph.suspicion".to_string(), SHARE, 2.0),
        ("graph.bad_rate.max_strong".to_string(), SHARE, 2.0),
        ("graph.component.bad_fraction".to_string(), SHARE, 1.0),
    ];
    out.extend(held().map(|kind| (format!("graph.{}.bad_rate", kind.name), SHARE, each)));
    out
}

/// What links and labels say against an account, with its weight.
fn standing(schema: &Schema, half_lives: &[String; 4], unit: LabelUnit) -> Evidence {
    let longest = &half_lives[3];
    let mut out = association(schema);
    out.extend([
        ("graph.co_share.accounts".to_string(), Transform::Log1p, 1.2),
        ("graph.component.growth".to_string(), Transform::Log1p, 0.4),
        (format!("account.labels.rate.{longest}"), SHARE, 3.0),
    ]);
    // Where labels speak of events, a thing is judged by what happened through it.
    let of_events = unit == LabelUnit::Event;
    if of_events {
        out.push((format!("received.labels.rate.{longest}"), SHARE, 1.0));
    }
    for kind in schema.kinds().iter().filter(|k| !k.is_account) {
        // Many new accounts on one device say much; on an address that thousands share, little.
        let weight = if kind.strong { 0.8 } else { 0.15 };
        out.push((format!("graph.{}.new_short", kind.name), Transform::Log1p, weight));
        if of_events {
            out.push((format!("{}.labels.rate.{longest}", kind.name), SHARE, 3.0));
        }
    }
    out
}

/// What the account's pace says.
fn pace(half_lives: &[String; 4]) -> Evidence {
    let [shortest, short, .., longest] = half_lives;
    vec![
        (format!("account.events.accel_{short}_{longest}"), Transform::Log1p, 0.5),
        (format!("account.events.{shortest}"), Transform::Log1p, 0.5),
    ]
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
/// (a ring says most), held against streams with labels in docs/decisions/016.
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

/// Thresholds of the built-in score.
fn thresholds() -> BTreeMap<String, f64> {
    [("challenge", 0.5), ("review", 0.7), ("suspend", 0.9), ("ban", 0.98)]
        .map(|(name, value)| (name.to_string(), value))
        .into()
}

/// A model of the evidence, without the columns that the feature set lacks.
fn model(evidence: Evidence, columns: &[String]) -> LogisticModel {
    let known = evidence.into_iter().filter(|(name, _, _)| columns.contains(name));
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
    LogisticModel { bias: BIAS, columns }
}

/// What joins the families: what links and labels say on any platform. Of the pace, the families know what is rare here.
#[must_use]
pub fn links_and_labels(
    schema: &Schema,
    half_lives: &[String; 4],
    unit: LabelUnit,
    columns: &[String],
) -> LogisticModel {
    model(standing(schema, half_lives, unit), columns)
}

/// The built-in score over a feature set.
///
/// # Errors
/// Never for a feature set that compiled; the bundle's own checks are passed on.
pub fn bundle(
    schema: &Schema,
    half_lives: &[String; 4],
    unit: LabelUnit,
    columns: &[String],
    feature_set_hash: &str,
) -> Result<Bundle, BundleError> {
    let mut manifest = Manifest::new("labelfree", "2", Kind::Labelfree, feature_set_hash);
    let mut evidence = standing(schema, half_lives, unit);
    evidence.extend(pace(half_lives));
    manifest.behaviour_model = Some(model(evidence, columns));
    manifest.thresholds = thresholds();
    Bundle::new(manifest, BTreeMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, Options};

    #[test]
    fn all_evidence_exists_in_a_feature_set_that_has_everything() {
        let toml = "[kinds.device]\nstrong = true\n[kinds.ip]\n[kinds.peer]\nis_account = true\n[profiles.device]\nlabels = true\n[profiles.ip]\nlabels = true";
        let config: crate::config::Config = toml::from_str(toml).unwrap();
        let engine = Engine::new(config, None, Options::default()).unwrap();
        let half_lives = &engine.config().time.half_lives;
        let mut all = standing(engine.schema(), half_lives, LabelUnit::Event);
        all.extend(pace(half_lives));
        for (name, _, weight) in all {
            assert!(weight > 0.0 && engine.columns().contains(&name), "{name}");
        }
        let found = families(engine.schema(), half_lives, engine.columns());
        let names: Vec<&str> = found.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), 7, "{names:?}");
        let ring = &found[0];
        assert!(ring.name == "ring" && ring.weight == 3.0 && ring.columns.len() == 5, "{ring:?}");
        // A column belongs to one family, and none tells of age or of totals.
        let mut all: Vec<&String> = found.iter().flat_map(|family| &family.columns).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|name| !name.contains("age") && !name.ends_with(".events")));
    }

    #[test]
    fn others_deeds_alone_are_not_enough_for_any_action() {
        let mut toml = String::new();
        for kinds in 0..8 {
            toml += &format!("[kinds.thing{kinds}]\nstrong = true\n");
            let config: crate::config::Config = toml::from_str(&toml).unwrap();
            let schema = Schema::compile(&config.features()).unwrap();
            let most: f64 = association(&schema).iter().map(|(_, _, weight)| weight).sum();
            let mildest = thresholds().into_values().fold(1.0, f64::min);
            let asked = (mildest / (1.0 - mildest)).ln() - BIAS;
            assert!(most < asked, "{kinds} kinds: {most} of {asked}");
            let account = standing(&schema, &config.time.half_lives, LabelUnit::Account);
            let others = account
                .iter()
                .filter(|(name, _, _)| name.contains("labels") && !name.starts_with("account."));
            assert_eq!(others.count(), 0);
        }
    }
}
