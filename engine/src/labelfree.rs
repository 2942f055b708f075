//! The score of a stream for which nothing was trained: bursts, shared things, co-sharing and suspicion, in
//! fixed proportions. It is a bundle like any other, so it is scored, explained and versioned like any other.

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
    }
}
