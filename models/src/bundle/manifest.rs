//! `model.toml`: everything about a model but its trees.

use std::collections::{BTreeMap, BTreeSet};

use super::{BundleError, MANIFEST_FILE};
use crate::calibration::{Calibration, Stacking};
use crate::limits::{COLUMNS_MAX, NAME_BYTES_MAX};
use crate::logistic::LogisticModel;

/// The version of `model.toml` that is read and written.
pub const MANIFEST_FORMAT: u32 = 1;

/// What `model.toml` says. Written with its keys in this order, tables sorted by key.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file's form: [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The model's name.
    pub name: String,
    /// The model's version, as its trainer counts.
    pub version: String,
    /// What scores behaviour.
    pub kind: Kind,
    /// Hash of the feature set that the model was trained on.
    pub feature_set_hash: String,
    /// Names of the forest's columns, in order; empty without a forest.
    #[serde(default)]
    pub features: Vec<String>,
    /// Where the forest is, for [`Kind::Forest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forest: Option<ForestFile>,
    /// The model of behaviour, for [`Kind::Labelfree`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behaviour_model: Option<LogisticModel>,
    /// From the behaviour's margin to its probability.
    #[serde(default)]
    pub calibration: Calibration,
    /// The model of the graph; needs `stacking`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_model: Option<LogisticModel>,
    /// Joins behaviour and graph; needs `graph_model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stacking: Option<Stacking>,
    /// From the joined log-odds to the score.
    #[serde(default)]
    pub score_calibration: Calibration,
    /// Scores from which on something is due, by name (`review`, `challenge`, `suspend`, `ban`), each between 0 and 1.
    #[serde(default)]
    pub thresholds: BTreeMap<String, f64>,
    /// How and on what the model was trained: free, but every number finite.
    #[serde(default)]
    pub training: BTreeMap<String, toml::Value>,
    /// How well it did: free, but every number finite.
    #[serde(default)]
    pub metrics: BTreeMap<String, toml::Value>,
    /// SHA-256 of every other file in the bundle, by name, in hexadecimal. [`super::Bundle::new`] fills it in.
    #[serde(default)]
    pub sha256: BTreeMap<String, String>,
}

/// What scores behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Boosted trees, learnt from labels.
    Forest,
    /// A fixed logistic model, without labels.
    Labelfree,
}

/// Where the forest is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForestFile {
    /// File name in the bundle.
    pub file: String,
    /// Who wrote it.
    pub format: ForestFormat,
}

/// A format of forest files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForestFormat {
    /// XGBoost, JSON.
    XgboostJson,
    /// XGBoost, binary JSON.
    XgboostUbj,
    /// LightGBM, text.
    LightgbmText,
}

impl Manifest {
    /// A manifest with nothing optional.
    #[must_use]
    pub fn new(name: &str, version: &str, kind: Kind, feature_set_hash: &str) -> Self {
        Manifest {
            format: MANIFEST_FORMAT,
            name: name.to_owned(),
            version: version.to_owned(),
            kind,
            feature_set_hash: feature_set_hash.to_owned(),
            features: Vec::new(),
            forest: None,
            behaviour_model: None,
            calibration: Calibration::None,
            graph_model: None,
            stacking: None,
            score_calibration: Calibration::None,
            thresholds: BTreeMap::new(),
            training: BTreeMap::new(),
            metrics: BTreeMap::new(),
            sha256: BTreeMap::new(),
        }
    }

    /// Checks what can be checked without the other files.
    pub(super) fn check(&self) -> Result<(), BundleError> {
        let invalid = |what: String| Err(BundleError::invalid(MANIFEST_FILE, what));
        if self.format != MANIFEST_FORMAT {
            return invalid(format!(
                "format is {}, but this version reads {MANIFEST_FORMAT}; train again",
                self.format
            ));
        }
        for (key, text) in [("name", &self.name), ("version", &self.version)] {
            if text.is_empty() || text.len() > NAME_BYTES_MAX {
                return invalid(format!("{key} must have 1 to {NAME_BYTES_MAX} bytes"));
            }
        }
        self.check_parts()?;
        self.check_features()?;
        self.calibration.check("calibration")?;
        self.score_calibration.check("score_calibration")?;
        if let Some(model) = &self.behaviour_model {
            model.check("behaviour_model")?;
        }
        if let Some(model) = &self.graph_model {
            model.check("graph_model")?;
        }
        if let Some(stacking) = &self.stacking {
            stacking.check()?;
        }
        for (name, threshold) in &self.thresholds {
            if !(0.0..=1.0).contains(threshold) {
                return invalid(format!(
                    "thresholds.{name} ({threshold}) must lie between 0 and 1"
                ));
            }
        }
        for (table, values) in [("training", &self.training), ("metrics", &self.metrics)] {
            if let Some(key) =
                values.iter().find(|(_, value)| !is_finite(value)).map(|(key, _)| key)
            {
                return invalid(format!("{table}.{key} holds a number that is not finite"));
            }
        }
        Ok(())
    }

    fn check_parts(&self) -> Result<(), BundleError> {
        let invalid = |what: &str| Err(BundleError::invalid(MANIFEST_FILE, what));
        let (forest, fixed) = (self.forest.is_some(), self.behaviour_model.is_some());
        match self.kind {
            Kind::Forest if !forest || fixed => {
                invalid("kind = \"forest\" needs [forest], and no [behaviour_model]")
            }
            Kind::Labelfree if forest || !fixed => {
                invalid("kind = \"labelfree\" needs [behaviour_model], and no [forest]")
            }
            Kind::Labelfree if !self.features.is_empty() => {
                invalid("features are the forest's columns; kind = \"labelfree\" has none")
            }
            _ if self.graph_model.is_some() != self.stacking.is_some() => {
                invalid("[graph_model] and [stacking] need each other")
            }
            _ => Ok(()),
        }
    }

    fn check_features(&self) -> Result<(), BundleError> {
        let invalid = |what: String| Err(BundleError::invalid("features", what));
        if self.features.len() > COLUMNS_MAX {
            return invalid(format!("{} names, over {COLUMNS_MAX}", self.features.len()));
        }
        let mut seen = BTreeSet::new();
        for name in &self.features {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return invalid(format!("the name {name:?} must have 1 to {NAME_BYTES_MAX} bytes"));
            }
            if !seen.insert(name) {
                return invalid(format!("the name {name:?} stands twice"));
            }
        }
        Ok(())
    }
}

fn is_finite(value: &toml::Value) -> bool {
    match value {
        toml::Value::Float(number) => number.is_finite(),
        toml::Value::Array(values) => values.iter().all(is_finite),
        toml::Value::Table(table) => table.iter().all(|(_, value)| is_finite(value)),
        _ => true,
    }
}
